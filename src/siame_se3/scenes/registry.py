"""Scenes by name: ours, those of installed packages (entry points `siame_se3.scenes`), 'package.module:Name'; photos, models and folders of objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from siame_se3.errors import SceneError
from siame_se3.files import BUNDLED_PHOTO, bundled
from siame_se3.files.registry import Registry

if TYPE_CHECKING:
    from siame_se3.scenes import planar
    from siame_se3.scenes.mujoco import MujocoScene
    from siame_se3.scenes.relief import Relief
    from siame_se3.scenes.types import Scene

_OWN = {name: f"siame_se3.scenes.registry:{name}" for name in ("coffee", "relief", "objects")}
REGISTRY = Registry("scene", "siame_se3.scenes", _OWN, SceneError)


def coffee(width: float = 0.8) -> planar.Scene:
    """The bundled photo, `width` metres wide."""
    from siame_se3.scenes.planar import Scene

    return Scene.from_photo(bundled(BUNDLED_PHOTO), width)


def relief(width: float = 0.8) -> Relief:
    """Boxes, cylinders and steps under the bundled photo, an eighth of its width high."""
    from siame_se3.scenes.relief import Relief

    return Relief.drawn(coffee(width), width / 8, 0, ("box", "cylinder", "step"))


def objects(width: float = 0.52) -> MujocoScene:
    """Boxes, cylinders and balls on a table, within `width` metres."""
    from siame_se3.scenes.mujoco_objects import dropped

    return dropped(0, None, width)


def scene_for(source: str | Path | None, width: float = 0.8, fill: planar.Fill = 0.0) -> Scene:
    """A scene by a path, by its name in the registry, or by 'package.module:Name'.

    Args:
        source: a photo, an MJCF file of MuJoCo (.xml), or a folder of objects that are dropped on a table; None for the bundled photo. A file of
            that path comes before a name.
        width: of the scene [m]; what a name stands for is called with it.
        fill: what lies beyond the print of a photo.

    Raises:
        SceneError: neither a file nor a name, or what a name stands for gives no scene.
    """
    from siame_se3.scenes import planar
    from siame_se3.scenes.types import Scene

    path = bundled(BUNDLED_PHOTO) if source is None else Path(source)
    name = str(source)
    if path.is_dir() and name not in REGISTRY.names():
        from siame_se3.scenes.mujoco_objects import dropped

        return dropped(0, path, width)
    if path.suffix.lower() in (".xml", ".mjcf"):
        from siame_se3.scenes.mujoco import MujocoScene

        return MujocoScene.from_file(path, width)
    if path.exists() or path.suffix or (":" not in name and name not in REGISTRY.names()):
        return planar.Scene.from_photo(path, width, fill=fill)
    made = REGISTRY.load(name)(width)
    if not isinstance(made, Scene):
        raise SceneError(f"scene {name}: {type(made).__name__} is not a scene; see siame_se3.scenes.types", "scene")
    return made
