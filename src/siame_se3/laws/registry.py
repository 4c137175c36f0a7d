"""Laws by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siame_se3.errors import LawError

if TYPE_CHECKING:
    from siame_se3.laws.light import LightDVS
    from siame_se3.laws.matched import MatchedPoints
    from siame_se3.laws.photometric import DVS
    from siame_se3.laws.types import Controller
    from siame_se3.networks.checkpoint import Model


LAWS = (
    *("handoff", "neural", "dvs", "dvs-light", "dct", "pbvs-sift", "pbvs-orb", "ibvs-sift", "ibvs-orb"),
    *("pbvs", "ibvs", "2.5d"),  # these know the simulator's poses
)


def controller_for(
    law: str,
    model: Model | None = None,
    engine: str = "auto",
    dvs: DVS | None = None,
    light: LightDVS | None = None,
    points: MatchedPoints | None = None,
) -> Controller:
    """A law by its name (one of LAWS). `handoff` without a model begins with matched points (pbvs-sift)."""
    from dataclasses import replace

    from siame_se3.laws.handoff import Handoff
    from siame_se3.laws.light import LightDVS
    from siame_se3.laws.matched import MatchedPoints
    from siame_se3.laws.neural import Neural
    from siame_se3.laws.photometric import DVS
    from siame_se3.laws.pose import TEACHERS

    if law in TEACHERS:
        return TEACHERS[law]
    if law == "neural":
        if model is None:
            raise LawError("law 'neural' needs a model; give one, or take the law 'handoff'", "model", "law")
        return Neural.from_model(model, engine)
    if law == "handoff":
        coarse = controller_for("neural" if model else "pbvs-sift", model, engine, points=points)
        return Handoff(coarse, light or LightDVS())
    if law == "dvs-light":
        return light or LightDVS()
    if law in ("dvs", "dct"):
        chosen = dvs or DVS()
        return replace(chosen, coefficients=(chosen.coefficients or 20) if law == "dct" else 0)
    kind, _, detector = law.partition("-")
    if (kind, detector) in {(k, d) for k in ("pbvs", "ibvs") for d in ("sift", "orb")}:
        return replace(points or MatchedPoints(), law=kind, detector=detector)  # type: ignore[arg-type]  # checked above
    raise LawError(f"unknown law '{law}'; use one of {', '.join(LAWS)}", "law")
