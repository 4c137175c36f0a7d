"""Places that words come from: the terminal, a topic."""

from __future__ import annotations

import contextlib
import io
import math
import queue
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from siame_se3.commissioning.commands import LASTS
from siame_se3.plants.robots.text import printable
from siame_se3.plants.robots.threads import Worker
from siame_se3.plants.robots.typed import FEW, lines_of, own_file

if TYPE_CHECKING:
    from siame_se3.commissioning.session import Session

Hear = Callable[[str, float], object]  # a word, and how long ago it was given [s]
_MOST = 64  # words that may wait; of a flood the rest is lost
_WITHIN = 1.0  # [s]: FEW words within it are a file's
_AT_ONCE = ("stop", "quit")  # which wait for nothing


class Words:
    """Takes words in at once, and gives them on in a thread of its own: where that is held up (an output that is held with Ctrl-S, say), it is known
    how old a word is. Many at once are nobody's, but a file's: from the eighth within a second on they are given as of long ago.

    Args:
        name: of the thread.
        hear: given each word, and how old it is [s].
        disarm: called at once where 'disarm' comes, which takes a permission away; it says nothing.
    """

    def __init__(self, name: str, hear: Hear, disarm: Callable[[], None] = lambda: None) -> None:
        self._hear, self._disarm, self._ended = hear, disarm, False
        self._times: deque[float] = deque(maxlen=FEW)
        self._waiting: queue.Queue[tuple[str, float]] = queue.Queue(_MOST)
        self._worker = Worker(name, self._give)

    def put(self, word: str, age: float = 0.0, many: bool = False) -> None:
        """A word has come, which was given `age` s ago: a little less than 0 by a clock that is ahead, which counts as now.

        Args:
            many: it came with many others.
        """
        age = age if age < -LASTS else max(0.0, age)
        word, at = printable(word[:8192].strip(), 20).lower(), time.monotonic() - age
        self._times.append(at)
        if word == "disarm":
            self._disarm()
        if word in _AT_ONCE:
            self._hear(word, 0.0)
        else:
            many = many or (len(self._times) == FEW and at - self._times[0] < _WITHIN)
            with contextlib.suppress(queue.Full):
                self._waiting.put_nowait((word, -math.inf if many else at))

    def end(self) -> None:
        """Who gave them is gone: what waits is given as of long ago."""
        self._ended = True

    def _give(self) -> None:
        while True:
            word, at = self._waiting.get()
            self._hear(word, math.inf if self._ended else time.monotonic() - at)

    @property
    def fault(self) -> str:
        """Why words are not given on any more; '' where they are."""
        return self._worker.fault


def listen(
    session: Session, stream: io.BufferedIOBase | None, alone: bool, hear: Hear, disarm: Callable[[], None]
) -> None:
    """Take commands, a line each, in threads of their own.

    Args:
        session: learns when the stream ends, and watches the threads.
        stream: of lines; None for standard input.
        alone: nobody else gives commands: the session ends with the stream.
        hear: given each line, and how long ago it was read [s].
        disarm: called when the stream ends, and where 'disarm' comes; it says nothing.
    """
    if stream is None and sys.stdin is not None:
        stream = own_file(sys.stdin.fileno())
    words = Words("keyboard", hear, disarm)

    def read() -> None:
        try:
            for line in lines_of(stream):
                words.put(line.text, time.monotonic() - line.at, line.many)
        finally:  # also of a keyboard that fails, before the thread's fault is seen
            words.end()
            disarm()
            session.disconnected("the keyboard", alone)

    reader = Worker("keyboard", read, endless=False)
    session.plant.watch(lambda: reader.fault or words.fault)
