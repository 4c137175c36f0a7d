"""siame-se3 moves a robot's camera to where a photo was taken.

    from siame_se3 import FlyingCameras, Neural, Scene, load_model, servo

Names are imported when they are used: `import siame_se3` loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from siame_se3.errors import SiameError as SiameError
    from siame_se3.geometry.camera import Camera as Camera
    from siame_se3.laws.handoff import Handoff as Handoff
    from siame_se3.laws.matched import MatchedPoints as MatchedPoints
    from siame_se3.laws.neural import Neural as Neural
    from siame_se3.laws.photometric import DVS as DVS
    from siame_se3.laws.pose import PBVS as PBVS
    from siame_se3.laws.pose import Hybrid as Hybrid
    from siame_se3.laws.pose import PointIBVS as PointIBVS
    from siame_se3.laws.types import Controller as Controller
    from siame_se3.laws.types import Law as Law
    from siame_se3.laws.types import View as View
    from siame_se3.laws.types import check_law as check_law
    from siame_se3.networks.checkpoint import Model as Model
    from siame_se3.networks.checkpoint import load as load_model  # noqa: F401
    from siame_se3.networks.checkpoint import save as save_model  # noqa: F401
    from siame_se3.networks.config import NetworkConfig as NetworkConfig
    from siame_se3.networks.engines import engine_for as engine_for
    from siame_se3.networks.siamese import SiameseNetwork as SiameseNetwork
    from siame_se3.plants.flying import FlyingCameras as FlyingCameras
    from siame_se3.plants.flying import FlyingCameras as HomographyPlant  # noqa: F401
    from siame_se3.plants.types import Plant as Plant
    from siame_se3.plants.types import check_plant as check_plant
    from siame_se3.scenes.planar import Scene as Scene
    from siame_se3.scenes.render import render as render
    from siame_se3.scenes.types import check_scene as check_scene
    from siame_se3.servo.config import ServoConfig as ServoConfig
    from siame_se3.servo.loop import servo as servo
    from siame_se3.servo.trajectory import Trajectory as Trajectory

__version__ = "0.1.0"

_PLACES = {
    "Camera": "geometry.camera",
    "Controller": "laws.types",
    "DVS": "laws.photometric",
    "FlyingCameras": "plants.flying",
    "Handoff": "laws.handoff",
    "Hybrid": "laws.pose",
    "Law": "laws.types",
    "MatchedPoints": "laws.matched",
    "Model": "networks.checkpoint",
    "NetworkConfig": "networks.config",
    "Neural": "laws.neural",
    "PBVS": "laws.pose",
    "Plant": "plants.types",
    "PointIBVS": "laws.pose",
    "Scene": "scenes.planar",
    "ServoConfig": "servo.config",
    "SiameError": "errors",
    "SiameseNetwork": "networks.siamese",
    "Trajectory": "servo.trajectory",
    "View": "laws.types",
    "check_law": "laws.types",
    "check_plant": "plants.types",
    "check_scene": "scenes.types",
    "engine_for": "networks.engines",
    "load_model": "networks.checkpoint:load",
    "render": "scenes.render",
    "save_model": "networks.checkpoint:save",
    "servo": "servo.loop",
}

_FORMER = {"HomographyPlant": "FlyingCameras"}  # names until the next version, and what they are called now

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name in _FORMER:
        import warnings

        now = _FORMER[name]
        warnings.warn(f"siame_se3.{name} is called siame_se3.{now} now", DeprecationWarning, stacklevel=2)
        name = now
    if name not in _PLACES:
        raise AttributeError(f"module 'siame_se3' has no attribute '{name}'")
    place, _, other = _PLACES[name].partition(":")
    return getattr(import_module(f"siame_se3.{place}"), other or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
