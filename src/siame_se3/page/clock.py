"""The time of a simulated robot: it goes on only while somebody sleeps, as fast as real time or slower, and can be held."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_AHEAD = 1e6  # [s] of the real clock, by which a guard judges how late a law is: here a law may take its time


class PausableClock:
    """Time of one simulated robot [s].

    Args:
        tick: called in the sleeping thread each time that time has gone on.
        paced: sleep as long as asked for, by the real clock; False: no longer than needed, for tests.
    """

    def __init__(self, tick: Callable[[], None], paced: bool = True) -> None:
        self._tick, self._paced = tick, paced
        self._changed = threading.Condition()
        self._now = time.monotonic() + _AHEAD
        self._due = 0.0  # of the real clock, when the present sleep ends
        self._held = False

    def __call__(self) -> float:
        """Now [s]."""
        return self._now

    @property
    def held(self) -> bool:
        """Whether time stands still."""
        return self._held

    def hold(self, held: bool) -> None:
        """Let time stand still, or go on."""
        with self._changed:
            self._held = held
            self._changed.notify_all()

    def sleep(self, seconds: float) -> None:
        """Wait for that long, and for the end of a hold; then time has gone on."""
        with self._changed:
            self._due = max(self._due + seconds, time.monotonic())
            while self._held or (self._paced and self._due > time.monotonic()):
                self._changed.wait(None if self._held else self._due - time.monotonic())
            self._now += seconds
        self._tick()
