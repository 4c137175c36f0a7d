"""Laws by name: ours, those of installed packages (entry points `siame_se3.laws`), and 'package.module:Name' for any other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from siame_se3.errors import LawError
from siame_se3.files.registry import Registry

if TYPE_CHECKING:
    from siame_se3.laws.light import LightDVS
    from siame_se3.laws.matched import MatchedPoints
    from siame_se3.laws.photometric import DVS
    from siame_se3.laws.types import Controller
    from siame_se3.networks.checkpoint import Model

_OWN = {
    "auto": "siame_se3.laws.auto:Auto",
    "handoff": "siame_se3.laws.handoff:Handoff",
    "neural": "siame_se3.laws.neural:Neural",
    "dvs": "siame_se3.laws.photometric:DVS",
    "dvs-light": "siame_se3.laws.light:LightDVS",
    "dct": "siame_se3.laws.photometric:DVS",
    "pbvs-sift": "siame_se3.laws.matched:MatchedPoints",
    "pbvs-orb": "siame_se3.laws.matched:MatchedPoints",
    "ibvs-sift": "siame_se3.laws.matched:MatchedPoints",
    "ibvs-orb": "siame_se3.laws.matched:MatchedPoints",
    # these know the simulator's poses
    "pbvs": "siame_se3.laws.pose:PBVS",
    "ibvs": "siame_se3.laws.pose:PointIBVS",
    "2.5d": "siame_se3.laws.pose:Hybrid",
}
LAWS = tuple(_OWN)
REGISTRY = Registry("law", "siame_se3.laws", _OWN, LawError)


@runtime_checkable
class OfModel(Protocol):
    """A controller's class that is made from a trained model."""

    def from_model(self, model: Model, engine: str) -> Controller:
        """A controller that runs the model's network on an engine ('auto', 'torch', ...)."""


def controller_for(
    law: str,
    model: Model | None = None,
    engine: str = "auto",
    dvs: DVS | None = None,
    light: LightDVS | None = None,
    points: MatchedPoints | None = None,
) -> Controller:
    """A law by its name: one of LAWS with its options, or one that another package adds (`added`).

    `handoff` without a model begins with `auto`, whose network is the model's, or the bundled one for any scene.

    Raises:
        LawError: no such law, or one that needs a model and has none.
    """
    from siame_se3.files import BUNDLED_MODELS, bundled
    from siame_se3.laws.auto import Auto
    from siame_se3.laws.handoff import Handoff
    from siame_se3.laws.light import LightDVS
    from siame_se3.laws.matched import MatchedPoints
    from siame_se3.laws.neural import Neural
    from siame_se3.laws.photometric import DVS
    from siame_se3.laws.pose import TEACHERS
    from siame_se3.networks.checkpoint import load

    if law in TEACHERS:
        return TEACHERS[law]
    if law == "neural":
        if model is None:
            raise LawError("law 'neural' needs a model; give one, or take the law 'handoff'", "model", "law")
        return Neural.from_model(model, engine)
    if law == "handoff":
        coarse = controller_for("neural" if model else "auto", model, engine)
        return Handoff(coarse, light or LightDVS())
    if law == "auto":
        return Auto(Neural.from_model(model or load(bundled(BUNDLED_MODELS["any-scene"])), engine))
    if law == "dvs-light":
        return light or LightDVS()
    if law in ("dvs", "dct"):
        chosen = dvs or DVS()
        return replace(chosen, coefficients=(chosen.coefficients or 20) if law == "dct" else 0)
    if law in _OWN:
        kind, _, detector = law.partition("-")
        return replace(points or MatchedPoints(), law=kind, detector=detector)  # type: ignore[arg-type]  # names of _OWN
    return added(law, model, engine)


def added(law: str, model: Model | None = None, engine: str = "auto") -> Controller:
    """A law that another package adds: a controller, or something without arguments that gives one (its class).

    A class with a method `from_model(model, engine)`, as `Neural` has, is asked for a controller of the model.

    Raises:
        LawError: no such law, no model for one that needs it, or something that is not a controller.
    """
    from siame_se3.laws.types import Controller

    found = REGISTRY.load(law)
    if isinstance(found, OfModel):
        if model is None:
            raise LawError(f"law {law}: it needs a model; give one", "model")
        found = found.from_model(model, engine)
    elif isinstance(found, type) or not isinstance(found, Controller):
        if not callable(found):
            raise LawError(f"law {law}: {type(found).__name__} is not a controller; give one, or its class", "law")
        found = found()
    if not isinstance(found, Controller):
        raise LawError(f"law {law}: {type(found).__name__} lacks `needs` or `aim`; see siame_se3.laws.types", "law")
    return found
