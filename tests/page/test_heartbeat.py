"""Visitors who drop off the network without closing anything."""

from __future__ import annotations

import asyncio
import math
import socket
import sys
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest

from browser import wait_for
from page_helpers import Desk, setup
from siame_se3.errors import InputError
from siame_se3.geometry.camera import Camera
from siame_se3.page import heartbeat, visitors
from siame_se3.page.app import Page
from siame_se3.page.config import PageConfig
from siame_se3.page.heartbeat import Heartbeat
from siame_se3.page.simulation import Simulation
from siame_se3.page.visitors import Visitors
from siame_se3.page.watcher import Watcher
from siame_se3.scenes.planar import Scene

viser = pytest.importorskip("viser")
linux = pytest.mark.skipif(sys.platform != "linux", reason="the option of the socket is Linux's")


@pytest.fixture
def desk(camera: Camera) -> Iterator[Desk]:
    found = Desk(camera)
    yield found
    found.close()


class Connection:
    """Answers a ping when it is let."""

    def __init__(self) -> None:
        self.pongs: list[asyncio.Future[float]] = []

    async def ping(self) -> asyncio.Future[float]:
        self.pongs.append(asyncio.get_running_loop().create_future())
        return self.pongs[-1]

    async def wait_closed(self) -> None:
        await asyncio.sleep(60)


class Server:
    """What a heartbeat and visitors use of viser's server, with one visitor of number 7."""

    def __init__(self, connection: Connection | None = None) -> None:
        self._websock_server = types.SimpleNamespace(_live_connections={7: connection or Connection()})
        self.welcome: list[Any] = []

    def on_client_connect(self, call: Any) -> None:
        self.welcome.append(call)

    def on_client_disconnect(self, call: Any) -> None:
        pass

    def get_clients(self) -> dict[int, Any]:
        return {7: types.SimpleNamespace(client_id=7)}


def test_a_visitor_that_does_not_answer_counts_as_gone_and_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "SILENT", 0.1)
    connection, lost = Connection(), []
    server = Server(connection)
    beats = Heartbeat(server, lost.append)

    async def visit() -> None:
        await server.welcome[0](types.SimpleNamespace(client_id=7))
        await asyncio.sleep(0.02)
        assert beats.answered(7) == -math.inf
        connection.pongs[0].set_result(0.0)
        await asyncio.sleep(0.05)
        first = beats.answered(7)
        assert time.monotonic() - 0.2 < first < time.monotonic() - 0.05, "when it was sent, not when it was answered"
        await asyncio.sleep(0.25)
        assert lost == []
        sent = time.monotonic()
        await asyncio.sleep(0.15)
        assert lost == [7]
        assert beats.answered(7) == first
        connection.pongs[1].set_result(0.0)
        await asyncio.sleep(0.02)
        assert first < beats.answered(7) < sent + 0.05
        assert lost == [7], "once"

    asyncio.run(visit())
    assert beats.answered(7) == -math.inf, "it has left"


def test_a_press_that_waited_for_the_network_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes when the network is back, minutes later, and is as new as anything to who receives it."""
    show = types.SimpleNamespace(simulated=False, left=lambda visitor: None)
    found = Visitors(Server(), show)  # type: ignore[arg-type]  # as much of one as is used
    assert found.presence(7)() == "your browser has not answered yet; press it again"
    now = [100.0]
    monkeypatch.setattr(visitors.time, "monotonic", lambda: now[0])
    found._heartbeat._answered[7] = 99.5
    absent = found.presence(7)
    assert absent() == ""
    now[0] = 101.6  # it waits for its turn
    assert absent() == "your browser had not answered for 2.1 s; press it again"
    found._heartbeat._answered[7] = 101.5  # which says nothing of the press
    assert absent()
    assert found.presence(7)() == ""
    assert found.presence(8)() == "who pressed it has left"
    assert found.presence(None)() == ""
    show.simulated = True
    assert absent() == "", "a simulation takes it from a slow line too"


def test_a_viser_whose_connections_are_not_known_is_not_used() -> None:
    server = types.SimpleNamespace(_websock_server=types.SimpleNamespace())
    with pytest.raises(InputError, match="this version of viser is not known"):
        Heartbeat(server, print)


def test_a_run_ends_when_its_starter_drops_off_the_network(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection stays, and nothing comes through it."""
    monkeypatch.setattr(heartbeat, "SILENT", 0.5)
    page = Page(desk.show, PageConfig(port=0), 0.6)
    watcher = Watcher(page.url)
    try:
        wait_for(lambda: "Start" in watcher.buttons and watcher.images > 0, 20)
        desk.show.terminal("arm")
        (visitor,) = page.clients
        wait_for(lambda: page._visitors.presence(visitor)() == "", 20)
        watcher.press("Start")
        wait_for(lambda: desk.robot.moves > 2, 20)
        time.sleep(0.8)
        assert desk.moving(), "it answers, and goes on"
        with watcher._socket.protocol_mutex:  # nothing is taken in, and no ping is answered
            assert desk.session.wait_until_idle(20)
            assert visitor in page.clients
        assert any("the page's visitor who started it is gone" in line for line in desk.lines)
    finally:
        watcher.close()
        page.close()


@pytest.fixture
def page(scene: Scene, camera: Camera) -> Iterator[Page]:
    found = Page(Simulation(setup(scene, camera)), PageConfig(port=0))
    yield found
    found.close()


@linux
def test_the_system_is_asked_to_notice_soon_that_a_browser_s_machine_is_gone(page: Page) -> None:
    watcher = Watcher(page.url)
    wait_for(lambda: len(page.clients) == 1, 20)
    (connection,) = page._server._websock_server._live_connections.values()
    at_server = connection.transport.get_extra_info("socket")
    assert at_server.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2000
    watcher.close()


@linux
@pytest.mark.slow
def test_a_browser_that_takes_nothing_in_is_dropped_within_seconds(page: Page) -> None:
    """A ping of the protocol would wait behind what it does not take."""
    connections = page._server._websock_server._live_connections
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(("127.0.0.1", page.port))
        client.sendall(
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: viser-v{viser.__version__}\r\n\r\n".encode()
        )
        wait_for(lambda: len(connections) == 1, 20)
        wait_for(lambda: not connections, 10, "it is kept")
