"""Threads that fail loudly, and calls that may block.

A thread that receives or sends for a robot is a `Worker`: what ends it is kept, logged and named, and whoever depends on it asks for
`fault`. A call into a driver goes through a `CallLane`: who makes it waits no longer than a timeout, and leaves the call behind then.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from siame_se3.errors import RobotError
from siame_se3.plants.robots.text import printable

log = logging.getLogger(__name__)
_LOOK = 0.002  # [s] between looks at whether a call has returned


def describe(error: BaseException) -> str:
    """An error in one line: its kind and what it says."""
    return printable(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


class Worker:
    """A daemon thread with a name, whose end by an error is a fault.

    Args:
        name: of the thread, in the user's words: 'UR sender'.
        target: what it runs.
        endless: it is not to end before `expect_end()`; where it does, that is a fault too.
        failed: called in the thread with the error that ended it, to put things in order.
    """

    def __init__(
        self,
        name: str,
        target: Callable[[], None],
        endless: bool = True,
        failed: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        self.name = name
        self._target, self._endless, self._failed = target, endless, failed
        self._fault = ""
        self._end_expected = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._target()
        except BaseException as error:  # whatever it is: nobody is above this frame to see it
            self._fault = f"thread '{self.name}' failed ({describe(error)}); start the program again"
            log.error("%s", self._fault, exc_info=error)
            self._failed(error)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    @property
    def fault(self) -> str:
        """Why it does not run as it should; '' where it does."""
        if self._fault or self.alive or self._end_expected or not self._endless:
            return self._fault
        return f"thread '{self.name}' has ended; start the program again"

    def expect_end(self) -> None:
        """From now on its end is no fault."""
        self._end_expected = True

    def join(self, seconds: float) -> bool:
        """Wait for its end; whether it came."""
        self._end_expected = True
        self._thread.join(seconds)
        return not self.alive


class BlockedError(RobotError):
    """A call that has not returned in time; it is left behind, and the lane makes no further one."""


class _Call:
    """One call: what to do, and what came of it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.queued = self.over = False
        # Not an event: Ctrl-C may come while one is waited for, and leave its lock taken.
        self.ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.result: Any = None
        self.error: BaseException | None = None

    def __call__(self) -> None:
        try:
            self.result = self.function()
        except BaseException as error:  # it is raised again in the thread that asked for the call
            self.error = error
        self.over = True
        self.ended.put(None)


class CallLane:
    """Makes calls, one after the other, in a thread of its own. Ctrl-C ends the waiting for a call, never the call.

    Args:
        name: of what is called: 'robot: move'.

    Attributes:
        abandoned: a call has not returned in time: no further one is made.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.abandoned = False
        self._last: _Call | None = None
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._worker = Worker(name, self._run, endless=False)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    @property
    def unfinished(self) -> bool:
        """Whether the last call has not returned, be it that nobody waits for it any more."""
        return self._last is not None and not self._last.over

    def call(self, function: Callable[[], Any], timeout: float) -> Any:
        """What `function()` returns.

        Args:
            function: is called in the lane's thread.
            timeout: to wait for it, and for those before it [s].

        Raises:
            BlockedError: it has not returned in time, or an earlier one has not.
            Exception: what the function raised.
            RobotError: it raised what would end the program, SystemExit, say.
        """
        if self.abandoned:
            raise BlockedError(f"{self.name}: an earlier call has not returned; the driver is given up")
        call = self._last = _Call(function)
        self._calls.put(call)
        call.queued = True
        try:
            call.ended.get(timeout=timeout)
        except queue.Empty:
            self.abandoned = True
            raise BlockedError(
                f"{self.name}: the call has not returned for {timeout:g} s; the driver is given up"
            ) from None
        if call.error is not None and not isinstance(call.error, Exception):
            raise RobotError(f"{self.name}: {describe(call.error)}; its driver is at fault") from call.error
        if call.error is not None:
            raise call.error
        return call.result

    def finish(self, function: Callable[[], Any], timeout: float) -> Any:
        """As `call`, and Ctrl-C is raised when it has returned."""
        try:
            return self.call(function, timeout)
        except KeyboardInterrupt:
            if self._last is None or not self._last.queued:
                self.call(function, timeout)
            else:
                self.settled(timeout)
            raise

    def settled(self, timeout: float) -> bool:
        """Wait for the last call, where Ctrl-C has ended the waiting for it; whether it has returned."""
        last, until = self._last, time.monotonic() + timeout
        while last is not None and not last.over:
            if time.monotonic() > until:
                self.abandoned = True
                break
            time.sleep(_LOOK)
        return not self.abandoned

    def close(self) -> None:
        """No further call; waits for the thread's end, if no call was left behind."""
        self._calls.put(None)
        if not self.abandoned:
            self._worker.join(1)
        self.abandoned = True
