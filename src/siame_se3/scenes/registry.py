"""Scenes by name: ours, those of installed packages (entry points `siame_se3.scenes`), 'package.module:Name', and photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from siame_se3.errors import SceneError
from siame_se3.files import BUNDLED_PHOTO, bundled
from siame_se3.files.registry import Registry

if TYPE_CHECKING:
    from siame_se3.scenes import planar
    from siame_se3.scenes.types import Scene

REGISTRY = Registry("scene", "siame_se3.scenes", {"coffee": "siame_se3.scenes.registry:coffee"}, SceneError)


def coffee(width: float = 0.8) -> planar.Scene:
    """The bundled photo, `width` metres wide."""
    from siame_se3.scenes.planar import Scene

    return Scene.from_photo(bundled(BUNDLED_PHOTO), width)


def scene_for(source: str | Path | None, width: float = 0.8, fill: planar.Fill = 0.0) -> Scene:
    """A scene by a photo's path, by its name in the registry, or by 'package.module:Name'.

    Args:
        source: None for the bundled photo. A file of that path comes before a name.
        width: of the scene [m]; what a name stands for is called with it.
        fill: what lies beyond the print of a photo.

    Raises:
        SceneError: neither a file nor a name, or what a name stands for gives no scene.
    """
    from siame_se3.scenes import planar
    from siame_se3.scenes.types import Scene

    path = bundled(BUNDLED_PHOTO) if source is None else Path(source)
    name = str(source)
    if path.exists() or path.suffix or (":" not in name and name not in REGISTRY.names()):
        return planar.Scene.from_photo(path, width, fill=fill)
    made = REGISTRY.load(name)(width)
    if not isinstance(made, Scene):
        raise SceneError(f"scene {name}: {type(made).__name__} is not a scene; see siame_se3.scenes.types", "scene")
    return made
