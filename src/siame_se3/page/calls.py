"""Calls that wait for their turn, one of each name: what a page asks for cannot pile up."""

from __future__ import annotations

import threading
from collections.abc import Callable

from siame_se3.errors import SiameError
from siame_se3.plants.robots.threads import Worker

Call = Callable[[], None]
Failed = Callable[[str], None]


class LatestCalls:
    """Makes calls in a thread of its own, in the order in which they were asked for; one that waits is replaced by a later one of its name.

    Args:
        name: of the thread.
        failed: called with what went wrong in a call, where the call has none of its own.
    """

    def __init__(self, name: str, failed: Failed) -> None:
        self._failed = failed
        self._changed = threading.Condition()
        self._waiting: dict[str, tuple[Call, Failed]] = {}
        self._busy = self._closed = False
        self._worker = Worker(name, self._run)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def fault(self) -> str:
        """Why calls are not made any more; '' where they are."""
        return self._worker.fault

    def post(self, name: str, call: Call, failed: Failed | None = None) -> None:
        """Ask for a call, without waiting for it.

        Args:
            name: what it is; a waiting one of this name is not made any more.
            call: may raise a SiameError or an OSError, which is given to `failed`.
            failed: see the class.
        """
        with self._changed:
            self._waiting.pop(name, None)
            self._waiting[name] = call, failed or self._failed
            self._changed.notify_all()

    def drop(self, *names: str) -> None:
        """Take back calls that wait; all of them without names."""
        with self._changed:
            for name in names or tuple(self._waiting):
                self._waiting.pop(name, None)
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until no call is waiting or being made; whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._closed)
                if self._closed:
                    return
                call, failed = self._waiting.pop(next(iter(self._waiting)))
                self._busy = True
            try:
                call()
            except (SiameError, OSError) as error:
                failed(str(error))
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def close(self) -> None:
        """No further call is made; waits for the one that is being made."""
        self._worker.expect_end()
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        self._worker.join(5)
