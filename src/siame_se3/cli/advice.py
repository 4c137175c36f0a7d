"""After runs that failed: why that may be, and which command next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from siame_se3.analysis.failures import Failure

if TYPE_CHECKING:
    from siame_se3.geometry.camera import Camera
    from siame_se3.networks.checkpoint import Model

_ALMOST = 0.03  # sizes that differ by less are the same


@dataclass(frozen=True)
class Asked:
    """What the runs were asked for.

    Attributes:
        scene: its name, and `photo` what --scene takes.
        width, distance: [m].
        law, iterations: of the run.
        model: that the law took, as `name` gives it; None for none.
    """

    scene: str
    photo: str
    width: float
    distance: float
    camera: Camera
    law: str
    iterations: int
    model: Model | None
    name: str = ""

    @property
    def quoted(self) -> str:
        """The photo as a shell takes it."""
        return shlex.quote(self.photo)

    def knows(self) -> list[str]:
        """The photos that the model was trained on; empty where it is for any scene, or does not say."""
        card = {} if self.model is None else self.model.card
        found = card.get("photo", card.get("scenes", []))
        return [str(name) for name in found] if isinstance(found, list | tuple) else []


def advise(asked: Asked, found: Sequence[Failure], any_converged: bool = True) -> list[str]:
    """Lines for people: what the runs have in common, what may be the reason, and the command that helps."""
    if not found:
        return []
    lines = [*([] if any_converged else ["no run converged"]), *(failure.text for failure in found)]
    wrong = list(_of_another_scene(asked)) or list(_of_other_sizes(asked))
    lines += wrong
    kinds = {failure.kind for failure in found}
    if "undetermined" in kinds:
        lines.append(
            "what tells a shift from a tilt: a wider field of view, a scene or goal with depth (--depth), or a goal nearer to it (--distance)"
        )
    if "repeats" in kinds:
        lines.append("where a scene repeats itself, show more of it (--distance), or start nearer (--starts-from FILE)")
    if "unfinished" in kinds:
        lines.append(f"next: give them more time, --max-iterations {2 * asked.iterations}, or a higher --gain")
    if not wrong and kinds & {"left", "elsewhere", "fault"}:
        lines += _another_law(asked)
    return lines


def _of_another_scene(asked: Asked) -> Iterator[str]:
    known = asked.knows()
    if known and asked.scene not in known:
        names = ", ".join(known[:3]) + (" ..." if len(known) > 3 else "")
        yield f"the model {asked.name} was trained on {names}, and knows no other scene; this one is {asked.scene}"
        size = f"--width {asked.width:g} --distance {asked.distance:g}"
        out = shlex.quote(f"{Path(asked.scene).stem}.safetensors")
        yield f"next: siame train {asked.quoted} {size} --out {out}"
        yield f"or without training: siame servo --model any-scene --scene {asked.quoted} --width {asked.width:g}"


def _of_other_sizes(asked: Asked) -> Iterator[str]:
    model = asked.model
    if model is None or not asked.knows():
        return
    for what, flag, now, then in (
        ("a scene width", "--width", asked.width, model.scene_width),
        ("a distance", "--distance", asked.distance, model.distance),
    ):
        if abs(math.log(now / then)) > _ALMOST:
            yield f"the model {asked.name} was trained for {what} of {then:g} m, this is {now:g} m: give {flag} {then:g}"
    ratio = asked.camera.fx / asked.camera.width
    if abs(math.log(ratio / model.focal_ratio)) > _ALMOST:
        yield (
            f"the model {asked.name} was trained for a field of view of {_fov(model.focal_ratio):.0f} deg, this camera has "
            f"{_fov(ratio):.0f} deg: leave out --camera and --fov, or train for this camera"
        )


def _fov(ratio: float) -> float:
    return math.degrees(2 * math.atan(0.5 / ratio))


def _another_law(asked: Asked) -> Iterator[str]:
    if asked.law in ("dvs", "dct", "dvs-light"):
        yield f"photometric laws converge from near starts only; next: --law handoff (a coarse law first) instead of --law {asked.law}"
    elif asked.law not in ("auto", "pbvs", "ibvs", "2.5d") and not asked.knows():
        yield f"next: train a network for this scene: siame train {asked.quoted} --width {asked.width:g} --distance {asked.distance:g}"
    elif asked.knows() and asked.law in ("neural", "handoff"):
        yield f"next: train {asked.name} longer, or let the law auto begin: leave out --model, or --model any-scene"
    else:
        yield "next: look at a failed run: --figure runs.png (its last row), or --save runs.npz and siame plot"
