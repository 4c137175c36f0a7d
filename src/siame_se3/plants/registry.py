"""Simulated plants by name: ours, those of installed packages (entry points `siame_se3.plants`), and 'package.module:Name'."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siame_se3.errors import InputError
from siame_se3.files.registry import Registry

if TYPE_CHECKING:
    from siame_se3.geometry.camera import Camera
    from siame_se3.plants.types import Plant
    from siame_se3.scenes.types import Scene

_OWN = {"flying": "siame_se3.plants.flying:FlyingCameras", "arm": "siame_se3.plants.arm:ArmPlant"}
REGISTRY = Registry("plant", "siame_se3.plants", _OWN)


def plant_for(name: str, scene: Scene, camera: Camera) -> Plant:
    """A simulated plant by its name: what stands under it is called with a scene and a camera.

    Raises:
        InputError: no such plant, or something that is not one.
    """
    from siame_se3.plants.types import Plant

    plant = REGISTRY.load(name)(scene, camera)
    if not isinstance(plant, Plant):
        raise InputError(f"plant {name}: {type(plant).__name__} is not a plant; see siame_se3.plants.types", "plant")
    return plant
