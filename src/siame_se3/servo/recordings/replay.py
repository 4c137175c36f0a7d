"""What laws say of recorded views, and how that compares with what was recorded.

The views are those of the recorded motion, whatever a law says of them: this compares what laws say at the same places, not where they lead.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from siame_se3.errors import LawError
from siame_se3.laws.types import Controller, Law, View
from siame_se3.servo.recordings.reading import RecordedView

REPRODUCED = 1e-5  # [m/s, rad/s] by which a law may differ from its own record
LOST = "the image was not recorded"
_STILL = 1e-9  # [m/s, rad/s] below which a velocity has no direction


class Answers:
    """What one law said, a row for each view.

    Attributes:
        v: at gain 1 [m/s, rad/s]; NaN where it was not asked, or gave what is not finite.
        faults: why there is no valid one; '' where there is.
        confidence: NaN where the law says nothing.
        seconds: wall time of the law [s]; empty where that is not known.
    """

    def __init__(self) -> None:
        self.v: list[Float[Tensor, "6"]] = []
        self.faults: list[str] = []
        self.confidence: list[float] = []
        self.seconds: list[float] = []

    def add(self, v: Float[Tensor, "6"] | None, fault: str, confidence: float) -> None:
        """One view's."""
        self.v.append(torch.full((6,), torch.nan, dtype=torch.float64) if v is None else v.double().cpu())
        self.faults.append(fault)
        self.confidence.append(confidence)

    def velocities(self) -> Float[Tensor, "T 6"]:
        """All of them."""
        return torch.stack(self.v) if self.v else torch.zeros(0, 6, dtype=torch.float64)


class _Asked:
    """A law in the middle of a replay."""

    def __init__(self, name: str, controller: Controller, goal: View) -> None:
        if missing := controller.needs - goal.provides:
            raise LawError(
                f"law {name}: it needs {', '.join(sorted(missing))} of the goal, and that is not known here", "law"
            )
        self.name, self.needs, self.answers = name, controller.needs, Answers()
        law, self._state = controller.aim(goal)
        self._law: Law = law

    def ask(self, view: View) -> None:
        missing = self.needs - view.provides
        if missing and missing <= {"image", "depth"}:  # which the goal has: they were lost while it was recorded
            self.answers.add(None, LOST, math.nan)
            return
        if missing:
            raise LawError(
                f"law {self.name}: it needs {', '.join(sorted(missing))}, and the recorded views have none", "law"
            )
        began = time.perf_counter()
        output, self._state = self._law(view, self._state)
        self.answers.seconds.append(time.perf_counter() - began)
        confidence = math.nan if output.confidence is None else float(output.confidence[0])
        self.answers.add(output.v[0], output.faults[0], confidence)


def replay(
    views: Iterable[RecordedView], goal: View, controllers: Mapping[str, Controller], asked_only: bool = True
) -> tuple[Answers, dict[str, Answers]]:
    """Ask laws for recorded views, each in a state of its own from the first view on.

    Args:
        views: of one run, in order.
        goal: the desired view, a batch of one.
        controllers: by name.
        asked_only: leave out views that the recorded law was not asked for, as while the robot came to rest.

    Returns:
        what was recorded, and what each law says now, of the same views.

    Raises:
        LawError: a law needs what goal or views do not have.
    """
    recorded = Answers()
    laws = [_Asked(name, controller, goal.flat()) for name, controller in controllers.items()]
    for one in views:
        if one.v is None and asked_only:
            continue
        recorded.add(one.v, one.fault, one.confidence)
        for law in laws:
            law.ask(one.view)
    return recorded, {law.name: law.answers for law in laws}


@dataclass(frozen=True)
class Comparison:
    """How a law's velocities differ from others of the same views.

    Attributes:
        law: its name.
        views: how many there are.
        compared: of these, where both laws have a velocity.
        missing: where one of them has none, and the other one does.
        lost: where a law could not be asked, since the view's image was not recorded; these are in neither of `compared` and `missing`.
        faults: views where this law has none, each kind with its number.
        median_v, largest_v: size of the difference of v [m/s].
        median_w, largest_w: of omega [rad/s].
        largest: of all components of the difference [m/s, rad/s].
        angle_v, angle_w: median angle between the two [deg]; NaN where one of them stands still.
        confidence: median of the law's; NaN where it says nothing.
        ms: median wall time of a view [ms]; NaN where it is not known.
    """

    law: str
    views: int
    compared: int
    missing: int
    lost: int
    faults: dict[str, int]
    median_v: float
    largest_v: float
    median_w: float
    largest_w: float
    largest: float
    angle_v: float
    angle_w: float
    confidence: float
    ms: float

    @property
    def reproduced(self) -> bool:
        """Whether both have a velocity in the same views, and the same one within REPRODUCED. Lost views say nothing of that; nor does a run of them alone."""
        return not self.missing and not self.largest > REPRODUCED and not 0 < self.lost == self.views


def compare(name: str, answers: Answers, reference: Answers) -> Comparison:
    """A law's answers beside those of another one."""
    v, other = answers.velocities(), reference.velocities()
    valid, others = (_valid(x.velocities(), x.faults) for x in (answers, reference))
    both = valid & others
    lost = torch.tensor([LOST in x for x in zip(answers.faults, reference.faults, strict=True)], dtype=torch.bool)
    difference = (v - other)[both]
    size_v, size_w = difference[:, :3].norm(dim=1).tolist(), difference[:, 3:].norm(dim=1).tolist()
    faults: dict[str, int] = {}
    for fault in answers.faults:
        if fault:
            faults[fault] = faults.get(fault, 0) + 1
    return Comparison(
        law=name,
        views=len(v),
        compared=int(both.sum()),
        missing=int(((valid != others) & ~lost).sum()),
        lost=int(lost.sum()),
        faults=faults,
        median_v=_median(size_v),
        largest_v=max(size_v, default=math.nan),
        median_w=_median(size_w),
        largest_w=max(size_w, default=math.nan),
        largest=float(difference.abs().max()) if len(difference) else math.nan,
        angle_v=_median(_angles(v[both][:, :3], other[both][:, :3])),
        angle_w=_median(_angles(v[both][:, 3:], other[both][:, 3:])),
        confidence=_median([x for x in answers.confidence if not math.isnan(x)]),
        ms=1e3 * _median(answers.seconds),
    )


def _valid(v: Float[Tensor, "T 6"], faults: list[str]) -> Bool[Tensor, "T"]:
    """Where there is a velocity."""
    return v.isfinite().all(1) & torch.tensor([not fault for fault in faults], dtype=torch.bool)


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else math.nan


def _angles(a: Float[Tensor, "k 3"], b: Float[Tensor, "k 3"]) -> list[float]:
    """Between vectors [deg], where both have a direction."""
    moving = (a.norm(dim=1) > _STILL) & (b.norm(dim=1) > _STILL)
    a, b = a[moving], b[moving]
    # by the tangent, which is exact for small angles too
    return torch.rad2deg(torch.atan2(torch.linalg.cross(a, b).norm(dim=1), (a * b).sum(1))).tolist()


def row(comparison: Comparison) -> dict[str, Any]:
    """Of a table, in a reader's units; '-' where there is no number."""

    def text(value: float, digits: int, factor: float = 1.0) -> str:
        return "-" if math.isnan(value) else f"{factor * value:.{digits}f}"

    c, degrees = comparison, math.degrees(1)
    return {
        "law": c.law,
        "views": c.views,
        "faults": sum(c.faults.values()),
        "dv [mm/s]": text(c.median_v, 3, 1e3),
        "most of dv": text(c.largest_v, 3, 1e3),
        "dw [deg/s]": text(c.median_w, 3, degrees),
        "most of dw": text(c.largest_w, 3, degrees),
        "v, angle [deg]": text(c.angle_v, 2),
        "w, angle [deg]": text(c.angle_w, 2),
        "confidence": text(c.confidence, 2),
        "ms a view": text(c.ms, 1),
    }
