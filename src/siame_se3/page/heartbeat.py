"""Whether a visitor's browser is still there: it is sent a ping again and again, and what comes from it is no older than the last one that it answered.

A network that is gone closes no connection: what is pressed meanwhile waits in the browser, and comes when the network is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

from siame_se3.errors import InputError

SILENT = 2.0  # [s] without an answer, after which a visitor counts as gone
_BEAT = 0.25  # [s] between an answer and the next ping


class Heartbeat:
    """Of all visitors, on viser's event loop.

    Args:
        server: viser's.
        lost: called, in a thread of its own, with the number of a visitor whose browser has not answered for `SILENT`. It may answer later.

    Raises:
        InputError: this version of viser is made otherwise.
    """

    def __init__(self, server: Any, lost: Callable[[int], None]) -> None:
        connections = getattr(server._websock_server, "_live_connections", None)
        if connections is None:
            raise InputError('page: this version of viser is not known; pip install --upgrade "siame-se3[page]"')
        self._lost = lost
        self._answered: dict[int, float] = {}  # when the last ping was sent that a visitor has answered
        self._tasks: set[asyncio.Task[None]] = set()  # a loop does not keep its tasks

        @server.on_client_connect
        async def _(client: Any) -> None:
            if (connection := connections.get(client.client_id)) is not None:
                task = asyncio.create_task(self._beat(client.client_id, connection))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def answered(self, visitor: int) -> float:
        """When the last ping was sent that this visitor has answered [s, of time.monotonic]: what has come from it since was sent later; -inf for none."""
        return self._answered.get(visitor, -math.inf)

    async def _beat(self, visitor: int, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    sent = time.monotonic()
                    answer = asyncio.create_task(_round_trip(connection))
                    if not (await asyncio.wait({answer}, timeout=SILENT))[0]:
                        await asyncio.to_thread(self._lost, visitor)
                    await answer
                    self._answered[visitor] = sent
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(connection.wait_closed(), _BEAT)
        finally:
            self._answered.pop(visitor, None)


async def _round_trip(connection: Any) -> None:
    """A ping and its answer; also sending it may take for ever, where a browser takes nothing in."""
    await (await connection.ping())
