"""Whether the program has been suspended (SIGSTOP, a laptop's lid): what was said meanwhile is old, however late it is read."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from siame_se3.plants.robots.live import LivePlant
from siame_se3.plants.robots.threads import Worker
from siame_se3.plants.types import Plant

_BEAT = 0.1  # [s] between beats
_GAP = 1.5  # [s] between two beats, from which on the program was suspended; less than a command counts for
BEGINS = 5.0  # [s] after it was asked for within which a motion begins, or not at all
_AFTER = 0.5  # [s] after it within which what is read may have been said during it


def now() -> float:
    """A clock that goes on while the machine sleeps, where there is one [s]."""
    if hasattr(time, "CLOCK_BOOTTIME"):  # Linux
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    if sys.platform == "darwin":  # where this one counts sleep, and time.monotonic() does not
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.monotonic()


class Pulse:
    """Beats in a thread of its own while it is entered.

    Args:
        suspended: called in that thread with how long the program has been suspended [s].
        clock: [s].
    """

    def __init__(
        self, suspended: Callable[[float], None] = lambda seconds: None, clock: Callable[[], float] = now
    ) -> None:
        self._suspended, self._clock = suspended, clock
        self._last, self._resumed, self._gap = float("nan"), float("-inf"), 0.0
        self._end = threading.Event()
        self._worker: Worker | None = None

    def __enter__(self) -> Pulse:
        self._end.clear()
        self._last, self._gap = self._clock(), 0.0
        self._worker = Worker("pulse", self._beat)
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        if self._worker:
            self._worker.join(1)
        self._last = float("nan")

    @property
    def fault(self) -> str:
        """Why it does not beat; '' where it does. A program that has just been suspended is at fault before it beats again."""
        gap = self._clock() - self._last
        suspended = f"the program was suspended for {gap:.1f} s" if gap > _GAP else ""
        return (self._worker.fault if self._worker else "") or suspended

    def void(self) -> str:
        """Why what was asked for when this was entered does not count any more: the program has been suspended since; '' where it counts."""
        gap = max(self._gap, self._clock() - self._last)
        return f"the program was suspended for {gap:.1f} s before it moved; start it again" if gap > _GAP else ""

    def interrupted(self, ago: float = 0.0) -> bool:
        """Whether the program was suspended, or had been just then: what was read then may have been said during it.

        Args:
            ago: that long [s].
        """
        t = self._clock()
        return t - self._last > _GAP or t - ago - self._resumed < _AFTER

    def _beat(self) -> None:
        while not self._end.wait(_BEAT):
            t = self._clock()
            if (gap := t - self._last) > _GAP:
                self._resumed, self._gap = t, gap
                self._suspended(gap)
            self._last = t


@contextlib.contextmanager
def awake(plant: Plant) -> Iterator[Callable[[], None]]:
    """While it is entered, a suspension of the program stops a real robot for good: whoever asked for a motion is not there any more.

    Gives what is to be called before each motion is announced: where it does not begin soon, as of an output that is held, it does not begin.
    """
    if not isinstance(plant, LivePlant):
        yield lambda: None
        return
    with Pulse(lambda seconds: plant.ask_to_stop(f"the program was suspended for {seconds:.1f} s")) as pulse:

        def fault() -> str:
            return pulse.fault

        plant.watch(fault)
        try:
            yield lambda: plant.begin_within(BEGINS)
        finally:
            plant.unwatch(fault)
