"""Commands of a session, for how long they count, and those that wait."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

COMMANDS = ("start", "stop", "target", "quit")
LASTS = 2.0  # [s] for which a command counts
MOST = 8  # commands that may wait
_LOOK = 0.005  # [s] between looks at whether somebody waits


@dataclass(frozen=True)
class Asked:
    """A command, when it was given [s], and how often commands had been voided before."""

    word: str
    at: float
    voided: int


class Inbox:
    """What was asked and still counts, from any thread.

    Args:
        clock: [s].

    Attributes:
        lock: of all this and of what its owner likes. Not a condition: Ctrl-C in the main thread may leave the lock of one taken.
        voided: how often all that was asked before was voided.
        why, void_at: the last time, and when that was.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.lock = threading.RLock()
        self.voided, self.why, self.void_at = 0, "", -math.inf
        self._asked: deque[Asked] = deque()
        self._came: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._waiting = False

    @property
    def full(self) -> bool:
        """Whether no further command may wait."""
        return len(self._asked) >= MOST

    def asked(self, word: str, age: float = 0.0) -> Asked:
        """A command that was given `age` s ago."""
        return Asked(word, self._clock() - age, self.voided)

    def overtaken(self, age: float) -> bool:
        """Whether all that was asked has been voided since a command was given `age` s ago: a stop waits for nothing, and a start may."""
        return self._clock() - age < self.void_at

    def put(self, asked: Asked) -> None:
        """It waits."""
        with self.lock:
            self._asked.append(asked)
        self._came.put(None)

    def void(self, why: str) -> list[str]:
        """All that was asked until now does not count any more, except 'quit'; what that was."""
        with self.lock:
            self.voided += 1
            self.why, self.void_at = why, self._clock()
            void = [asked.word for asked in self._asked if asked.word != "quit"]
            self._asked = deque(asked for asked in self._asked if asked.word == "quit")
        return void

    def take(self) -> Asked:
        """Wait for the next one."""
        while True:
            with self.lock:
                self._waiting = not self._asked
                if self._asked:
                    return self._asked.popleft()
            self._came.get()

    def wait_until_taken(self, seconds: float) -> bool:
        """Wait until all has been taken, and somebody waits for the next one; whether that is so."""
        until = time.monotonic() + seconds
        while True:
            with self.lock:
                if self._waiting and not self._asked:
                    return True
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK)
