"""viser pushes its messages from any thread, and there sets an event of asyncio's, which only its loop's thread may set: once in some ten thousand
messages, beside other work, that raises 'deque mutated during iteration' in the thread that pushes. Here is an event that any thread may set."""

from __future__ import annotations

import asyncio
from typing import Any

from siame_se3.errors import InputError


class AnyThreadsEvent:
    """As asyncio.Event. Set by another thread than a loop's it is set, but wakes nobody: whoever does so asks the loop to set it as well, as viser does."""

    def __init__(self) -> None:
        self._set = False
        self._waiters = asyncio.Event()

    def set(self) -> None:
        """Set it, and wake who waits, where this is a loop's thread."""
        self._set = True
        if _in_a_loop():
            self._waiters.set()

    def clear(self) -> None:
        """By the loop's thread."""
        self._set = False
        self._waiters.clear()

    def is_set(self) -> bool:
        """Whether it is."""
        return self._set

    async def wait(self) -> bool:
        """Until it is set."""
        if not self._set:
            await self._waiters.wait()
        return True


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def let_any_thread_push() -> None:
    """From now on, buffers of messages that viser makes have such an event.

    Raises:
        InputError: this version of viser is made otherwise.
    """
    from viser.infra import _infra

    theirs: Any = getattr(_infra, "AsyncMessageBuffer", None)
    if theirs is None or "message_event" not in getattr(theirs, "__dataclass_fields__", {}):
        raise InputError('page: this version of viser is not known; pip install "viser<2"')
    if issubclass(theirs, _Pushed):
        return

    class Buffer(_Pushed, theirs):  # type: ignore[misc]  # a class of a package without types
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.message_event = AnyThreadsEvent()

    _infra.AsyncMessageBuffer = Buffer  # type: ignore[misc]


class _Pushed:
    """Marks buffers that have it."""
