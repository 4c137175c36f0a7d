"""How far a training is on its way, and how many steps it has left: planned again where a step takes another time than it did."""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass, field

from siame_se3.errors import require_number

_ENOUGH = 0.15  # share by which the steps left have to differ from the plan for another one
_FEW = 2  # steps that make no other plan
_SETTLED = 0.9  # share of the way after which the plan stays
_WINDOW = 20  # steps whose median time counts, at most
_LEAST = 3  # and at least
_STOOD, _MANY = 5.0, 20  # [s] and median times that no step takes


@dataclass(frozen=True)
class Schedule:
    """The learning rate, and how far apart views are drawn, follow the position: from 0 to `length`, the number of steps as it was planned first.
    A new plan goes on from the position where it is made, in longer or shorter paces, so that nothing jumps and the last step is still the last.

    Attributes:
        length: steps that were planned first.
        steps: that are planned now.
        since: step at which that was.
        at: the position there.
        seconds: of training that the steps are to take; None where their number was given.
    """

    length: int
    steps: int
    since: int = 0
    at: float = 0.0
    seconds: float | None = None

    def __post_init__(self) -> None:
        require_number(self, "length", 1, whole=True)
        require_number(self, "steps", 1, whole=True)
        require_number(self, "since", 0, self.steps, open_high=True, whole=True)
        require_number(self, "at", 0, self.length)
        if self.seconds is not None:
            require_number(self, "seconds", 0)

    def position(self, step: int) -> float:
        """That of a step."""
        if self.since == 0 and self.steps == self.length:
            return step
        if step >= self.steps:
            return self.length
        return self.at + (self.length - self.at) * (step - self.since) / (self.steps - self.since)

    def share(self, step: int) -> float:
        """Of the way, 0 to 1."""
        return self.position(step) / self.length

    def one_cycle(self, step: int, warmup: float) -> float:
        """The learning rate of a step, as a share of its peak: cosine up over the warm-up, a share of the way, cosine down to zero at the last step."""
        rise, after = max(1.0, warmup * self.length), self.position(step + 1)
        if self.position(step) < rise:
            return 0.04 + 0.96 * (1 - math.cos(math.pi * after / rise)) / 2
        return (1 + math.cos(math.pi * (after - rise) / max(1.0, self.length - rise))) / 2

    def planned(self, step: int, steps: int) -> Schedule:
        """From a step on, so many in all."""
        if steps == self.steps:
            return self
        return Schedule(self.length, max(steps, step + 1), step, self.position(step), self.seconds)


@dataclass
class Pace:
    """The time that steps take."""

    times: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))

    @property
    def median(self) -> float:
        """Of the last ones [s]."""
        return statistics.median(self.times)

    def took(self, seconds: float) -> float:
        """Of one more step; returns what of it was no step [s]: a program that is suspended (Ctrl-Z, a laptop's lid) makes none."""
        stood = 0.0
        if len(self.times) >= _LEAST and seconds > max(_STOOD, _MANY * self.median):
            stood = seconds - self.median
        self.times.append(seconds - stood)
        return stood

    def due(self, step: int, schedule: Schedule) -> bool:
        """Whether the plan is looked at after this step: now and then, until near the end. The same in all processes."""
        if schedule.seconds is None or len(self.times) < _LEAST or schedule.share(step) > _SETTLED:
            return False
        return step % max(1, min(_WINDOW, (schedule.steps - step) // _WINDOW)) == 0

    def fits(self, step: int, seconds: float, schedule: Schedule) -> int:
        """How many steps in all fit into the schedule's time, as steps are now; as many as are planned where that is about right.

        Args:
            step: steps made.
            seconds: that they took.
        """
        left = schedule.steps - step
        fits = max(1, round(((schedule.seconds or 0.0) - seconds) / max(self.median, 1e-9)))
        return step + fits if abs(fits - left) > max(_FEW, _ENOUGH * left) else schedule.steps
