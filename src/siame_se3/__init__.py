"""siame-se3 moves a robot's camera to where a photo was taken.

    from siame_se3 import Scene, HomographyPlant, Neural, engine_for, load_model, servo

Names are imported when they are used: `import siame_se3` loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from siame_se3.camera import Camera as Camera
    from siame_se3.checkpoint import Model as Model
    from siame_se3.checkpoint import load as load_model  # noqa: F401 - public under this name
    from siame_se3.checkpoint import save as save_model  # noqa: F401
    from siame_se3.control import Controller as Controller
    from siame_se3.control import Law as Law
    from siame_se3.control import check_law as check_law
    from siame_se3.control.geometric import PBVS as PBVS
    from siame_se3.control.geometric import Hybrid as Hybrid
    from siame_se3.control.geometric import PointIBVS as PointIBVS
    from siame_se3.control.handoff import Handoff as Handoff
    from siame_se3.control.matched import MatchedPoints as MatchedPoints
    from siame_se3.control.neural import Neural as Neural
    from siame_se3.control.neural import engine_for as engine_for
    from siame_se3.control.photometric import DVS as DVS
    from siame_se3.errors import SiameError as SiameError
    from siame_se3.loop import ServoConfig as ServoConfig
    from siame_se3.loop import servo as servo
    from siame_se3.network import NetworkConfig as NetworkConfig
    from siame_se3.network import SiameseNetwork as SiameseNetwork
    from siame_se3.plant import HomographyPlant as HomographyPlant
    from siame_se3.plant import Plant as Plant
    from siame_se3.plant import check_plant as check_plant
    from siame_se3.render import render as render
    from siame_se3.scene import Scene as Scene
    from siame_se3.view import Trajectory as Trajectory
    from siame_se3.view import View as View

__version__ = "0.1.0"

_PLACES = {
    "Camera": "camera",
    "Controller": "control",
    "DVS": "control.photometric",
    "Handoff": "control.handoff",
    "HomographyPlant": "plant",
    "Hybrid": "control.geometric",
    "Law": "control",
    "MatchedPoints": "control.matched",
    "Model": "checkpoint",
    "Neural": "control.neural",
    "NetworkConfig": "network",
    "PBVS": "control.geometric",
    "Plant": "plant",
    "PointIBVS": "control.geometric",
    "Scene": "scene",
    "ServoConfig": "loop",
    "SiameError": "errors",
    "SiameseNetwork": "network",
    "Trajectory": "view",
    "View": "view",
    "check_law": "control",
    "check_plant": "plant",
    "engine_for": "control.neural",
    "load_model": "checkpoint:load",
    "render": "render",
    "save_model": "checkpoint:save",
    "servo": "loop",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'siame_se3' has no attribute '{name}'")
    place, _, other = _PLACES[name].partition(":")
    return getattr(import_module(f"siame_se3.{place}"), other or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
