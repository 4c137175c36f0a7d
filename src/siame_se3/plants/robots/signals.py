"""Signals that stop a robot: Ctrl-C, Ctrl-Z, Ctrl-\\, a terminal that is closed, `kill`."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP")
_GO_ON = ("SIGINT", "SIGTSTP")  # from the keyboard: they end a run, the others the program
_SWITCH = 0.001  # [s] after which one of Python's threads makes way for another: a stop passes through three
_AGAIN = 2.0  # [s]: a signal interrupts again that long after the last one that did
_WORDS = {"SIGINT": "Ctrl-C", "SIGTSTP": "Ctrl-Z"}


class Interrupted(KeyboardInterrupt):
    """A signal came; the message is its name, or what was pressed for it."""


class StopSignals:
    """While this context is open, each of the signals stops the robot at once, and interrupts the program as Ctrl-C does.

    The robot is stopped by `stop`, before anything is raised, and in a thread of its own, which does not wait for the main thread to come back
    from a computation: a second signal has nothing to skip. It is not raised while the first one is being dealt with, so that the program
    closes in order; after two seconds, another one interrupts again. Meanwhile Python changes threads more often than it does by itself.
    Ctrl-Z does not suspend the program. Earlier handlers come back at the end; outside the main thread, where Python has no signals, the
    context does nothing.

    Args:
        stop: called with the reason, from a thread and from the signal's handler: it must not wait or take a lock.
        clock: [s].

    Attributes:
        received: the last signal's name; '' for none since `forget`.

    Raises:
        Interrupted: at the end of the context, where a signal came and something else ends the context.
    """

    def __init__(
        self, stop: Callable[[str], None] = lambda reason: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stop = stop
        self.received = ""
        self._clock = clock
        self._raised = float("-inf")
        self._earlier: dict[int, Any] = {}
        self._wake: tuple[socket.socket, socket.socket] | None = (
            None  # where the system writes a signal's number, and the other end
        )
        self._earlier_wake = -1
        self._earlier_switch = 0.005

    @property
    def ending(self) -> bool:
        """Whether a signal came that ends the program, and not only a run."""
        return self.received not in ("", *_GO_ON)

    def forget(self) -> None:
        """The signals until now have been dealt with: the next one interrupts. One that ends the program is not forgotten."""
        self._raised = float("-inf")  # first: one that comes between these lines interrupts
        if not self.ending:
            self.received = ""

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for name in _NAMES:
                if hasattr(signal, name):  # not all systems have all
                    number = getattr(signal, name)
                    self._earlier[number] = signal.signal(number, self._handle)
            self._wake = socket.socketpair()
            for end in self._wake:
                end.setblocking(end is self._wake[1])
            self._earlier_wake = signal.set_wakeup_fd(self._wake[0].fileno(), warn_on_full_buffer=False)
            self._earlier_switch = sys.getswitchinterval()
            sys.setswitchinterval(min(_SWITCH, self._earlier_switch))
            threading.Thread(target=self._listen, args=(self._wake[1],), name="signals", daemon=True).start()
        return self

    def _listen(self, end: socket.socket) -> None:
        """The thread: Python's handlers run in the main thread only, and not before it has come back from PyTorch, say."""
        while numbers := end.recv(64):
            for number in numbers:
                if number in self._earlier:
                    name = signal.Signals(number).name
                    self.stop(_WORDS.get(name, name))
        end.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if not self.ending:
            self.received = name
        word = _WORDS.get(name, name)
        self.stop(word)
        now = self._clock()
        if now - self._raised > _AGAIN:
            self._raised = now
            raise Interrupted(word)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._wake:
            signal.set_wakeup_fd(self._earlier_wake)
            sys.setswitchinterval(self._earlier_switch)
            self._wake[0].close()  # which ends the thread
        for number, handler in self._earlier.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
            outer = getattr(handler, "__self__", None)
            if isinstance(outer, StopSignals):  # what it closes now is closed in order, as here
                outer._raised = max(outer._raised, self._raised)
        if self.received and not isinstance(error, KeyboardInterrupt):
            raise Interrupted(self.received) from error
