"""Any thread may push messages to visitors."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Any

import pytest

pytest.importorskip("viser")

from siame_se3.errors import InputError
from siame_se3.page.waking import AnyThreadsEvent, let_any_thread_push


def test_another_thread_sets_and_the_loop_wakes() -> None:
    async def waited() -> list[bool]:
        event, loop = AnyThreadsEvent(), asyncio.get_running_loop()
        said: list[bool] = []

        def push() -> None:
            event.set()
            said.append(event.is_set())  # at once
            loop.call_soon_threadsafe(event.set)

        task = asyncio.ensure_future(event.wait())
        await asyncio.sleep(0)
        thread = threading.Thread(target=push)
        thread.start()
        said.append(await asyncio.wait_for(task, 5))
        thread.join()
        event.clear()
        said.append(event.is_set())
        return said

    assert asyncio.run(waited()) == [True, True, False]


def test_another_thread_leaves_the_waiters_alone() -> None:
    """Those of asyncio's own event change while another thread goes through them."""

    by: set[int] = set()

    class Watched(deque[Any]):
        def __iter__(self) -> Any:
            by.add(threading.get_ident())
            return super().__iter__()

    async def pushed() -> set[int]:
        event, loop = AnyThreadsEvent(), asyncio.get_running_loop()
        event._waiters._waiters = Watched()  # type: ignore[attr-defined]  # of asyncio's
        task = asyncio.ensure_future(event.wait())
        await asyncio.sleep(0)
        thread = threading.Thread(target=lambda: (event.set(), loop.call_soon_threadsafe(event.set)))
        thread.start()
        await task
        thread.join()
        return by

    assert asyncio.run(pushed()) == {threading.get_ident()}


def test_visers_buffers_have_it() -> None:
    from viser.infra import _infra

    let_any_thread_push()
    made = _infra.AsyncMessageBuffer
    let_any_thread_push()
    assert _infra.AsyncMessageBuffer is made
    loop = asyncio.new_event_loop()
    assert isinstance(made(loop, persistent_messages=False).message_event, AnyThreadsEvent)
    loop.close()


def test_another_viser_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from viser.infra import _infra

    monkeypatch.setattr(_infra, "AsyncMessageBuffer", object)
    with pytest.raises(InputError, match="this version of viser is not known"):
        let_any_thread_push()
