"""Looks for the goal beside the loop: the law `auto` searches in a thread, while a robot goes on by what it follows.

A whole search takes a tenth to half of a second: a robot that moves should not go on so long by an old image, nor stop for it again and again. What it finds is
where the goal was in an earlier image; it is moved on as what is followed has moved since, and aligned to the image of now. When it is heard is a matter
of the views' times alone, not of how fast the machine is: on the same images the law gives the same velocities.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from siame_se3.laws.goals import Goal, near
from siame_se3.laws.guesses import Answer
from siame_se3.laws.templates import Pyramid

AFTER = 0.6  # [s] from a view to when what was found in it is heard; where it takes longer, it is waited for


@dataclass(frozen=True, eq=False)
class Look:
    """A search in one run's image.

    Attributes:
        time: of the view [s].
        followed: T_cd in it of what is followed.
        found: what the search gives, once it is there.
    """

    time: float
    followed: np.ndarray
    found: Future[Answer]

    @staticmethod
    def begin(search: Callable[[], Answer], time: float, followed: np.ndarray) -> Look:
        """Search in the thread that there is for it: one search after the other, so that the loop keeps a core."""
        return Look(time, followed, _thread().submit(search))

    def due(self, time: float) -> bool:
        """Whether it is to be heard at a view of this time; of a clock that was set back, at once."""
        return not 0 <= time - self.time < AFTER - 1e-9

    def heard(self, goal: Goal, now: Pyramid, followed: np.ndarray) -> Answer:
        """What was found, in a later image, in which what is followed is at this T_cd.

        Raises:
            Exception: what the search raised.
        """
        answer = self.found.result()
        found = answer.best
        if found.T_cd is None:
            return answer
        here = near(goal, now, followed @ np.linalg.inv(self.followed) @ found.T_cd, found.source)
        assert here.T_cd is not None
        return replace(answer, best=replace(found, T_cd=here.T_cd, score=here.score))


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "siame look")
