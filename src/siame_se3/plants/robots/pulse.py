"""Whether the program has been suspended (SIGSTOP, a laptop's lid): what was said meanwhile is old, however late it is read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from siame_se3.plants.robots.threads import Worker

_BEAT = 0.1  # [s] between beats
_GAP = 1.5  # [s] between two beats, from which on the program was suspended; less than a command counts for
_AFTER = 0.5  # [s] after it within which what is read may have been said during it


def now() -> float:
    """A clock that goes on while the machine sleeps, where there is one [s]."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Pulse:
    """Beats in a thread of its own while it is entered.

    Args:
        suspended: called in that thread with how long the program has been suspended [s].
        clock: [s].
    """

    def __init__(self, suspended: Callable[[float], None], clock: Callable[[], float] = now) -> None:
        self._suspended, self._clock = suspended, clock
        self._last, self._resumed = float("nan"), float("-inf")
        self._end = threading.Event()

    def __enter__(self) -> Pulse:
        self._end.clear()
        self._last = self._clock()
        self._worker = Worker("pulse", self._beat)
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._worker.join(1)
        self._last = float("nan")

    @property
    def interrupted(self) -> bool:
        """Whether the program is suspended, or was just now: what is read now may have been said during it."""
        t = self._clock()
        return t - self._last > _GAP or t - self._resumed < _AFTER

    def _beat(self) -> None:
        while not self._end.wait(_BEAT):
            t = self._clock()
            if (gap := t - self._last) > _GAP:
                self._resumed = t
                self._suspended(gap)
            self._last = t
