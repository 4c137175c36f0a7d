"""Why may runs have failed? From their trajectories and last images, in the order of how surely it is known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from siame_se3.analysis.metrics import Row
from siame_se3.analysis.report import counted
from siame_se3.laws.types import View
from siame_se3.servo.trajectory import Trajectory

ALIKE = 0.8  # correlation of two images that look the same; of converged runs it is above 0.95
_STILL_FALLING = 0.9  # an error that fell to this share of itself within the last fifth of a run goes on falling
_SIGMAS = 3  # standard deviations of the pose that are no surprise
_FEW = 0.02  # share of failed runs that needs no word

Kind = Literal["fault", "undetermined", "repeats", "unfinished", "left", "elsewhere"]


@dataclass(frozen=True)
class Failure:
    """What some of the runs have in common that did not converge.

    Attributes:
        kind: fault (the law or the plant said why), undetermined (they stand still within what the law says it does not know of the pose), repeats (they stand still where the scene looks like the goal), unfinished (on their
            way when their iterations were over), left (farther away than at the start), elsewhere (they stand still, or wander, at another place).
        runs: how many.
        text: one line for people, with numbers.
    """

    kind: Kind
    runs: int
    text: str


def correlation(a: Float[Tensor, "c h w"], b: Float[Tensor, "c h w"]) -> float:
    """Of two images, over all pixels and channels; 0 where one is constant."""
    x, y = (image.double().cpu().flatten() for image in (a, b))
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / (x.norm() * y.norm()).clamp(min=1e-12))


def failures(trajectory: Trajectory, table: Sequence[Row], desired: View, last: View) -> list[Failure]:
    """Of the runs that did not converge: what they have in common, most frequent first; nothing where they are few.

    Args:
        trajectory, table: of all runs, and their rows.
        desired, last: the goal images, and those at the end.
    """
    failed = [row for row in table if not row.converged]
    if len(failed) <= _FEW * len(table):
        return []
    seen = desired.image is not None and last.image is not None
    t, _ = trajectory.error_norms
    kinds: Counter[Kind] = Counter()
    faults: Counter[str] = Counter()
    for row in failed:
        alike = correlation(last.image[row.run], desired.image[row.run]) if seen else 0.0  # type: ignore[index]  # they are there
        kind = _kind(row, t[:, row.run], alike)
        kinds[kind] += 1
        if kind == "fault":
            faults[row.reason] += 1
    return [Failure(kind, n, _text(kind, n, len(table), faults)) for kind, n in kinds.most_common()]


def _kind(row: Row, t: Float[Tensor, "T"], alike: float) -> Kind:
    if row.reason not in ("settled", "iterations", "timeout"):
        return "fault"
    known = row.end_t_m >= _SIGMAS * row.pose_sigma_t_m or row.end_r_deg >= _SIGMAS * row.pose_sigma_r_deg
    if row.reason == "settled" and not known and not math.isnan(row.pose_sigma_t_m):
        return "undetermined"
    if alike > ALIKE:
        return "repeats"
    before = float(t[int(0.8 * row.iterations)])
    if row.reason != "settled" and row.end_t_m < _STILL_FALLING * before:
        return "unfinished"
    return "left" if row.end_t_m > row.start_t_m else "elsewhere"


def _text(kind: Kind, runs: int, of: int, faults: Counter[str]) -> str:
    if kind == "fault":
        fault, times = faults.most_common(1)[0]
        more = f" ({times} of them)" if times < runs else ""
        return f"{counted(runs, 'run')} of {of} ended with a fault: {fault}{more}"
    said = {
        "undetermined": "stopped near the goal, where the images do not say the pose any better (often a shift that a tilt undoes)",
        "repeats": "stopped where the image looks like the goal image, and is not it: the scene repeats itself",
        "unfinished": "came nearer until the last iteration",
        "left": "ended farther away than they began",
        "elsewhere": "ended away from the goal",
    }
    return f"{counted(runs, 'run')} of {of} {said[kind]}"
