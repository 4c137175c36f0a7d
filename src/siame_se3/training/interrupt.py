"""Ctrl-C between two steps of a training, not within one: so that a whole state can be saved before the training stops."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Interrupted(KeyboardInterrupt):
    """A training that Ctrl-C stopped; its message says what was saved where."""


class Interrupts:
    """While it is entered, the first Ctrl-C only sets `asked`; a second one stops at once, as usual.

    Not in other threads than the main one, nor where somebody else handles the signal.
    """

    def __init__(self) -> None:
        self.asked = False
        self._mine = False

    def __enter__(self) -> Interrupts:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._ask)
            self._mine = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mine:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
