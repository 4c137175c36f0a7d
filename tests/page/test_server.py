"""The server itself, over sockets: what is refused, by whom, and where it is served."""

from __future__ import annotations

import http.client
import socket
import sys
from collections.abc import Iterator

import pytest

from siame_se3.errors import InputError
from siame_se3.page import server
from siame_se3.page.access import Access
from siame_se3.page.config import PageConfig

pytest.importorskip("viser")


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server with a token, at this machine's address."""
    found = server.served(PageConfig(port=0), Access("127.0.0.1", True, "the-token"))
    yield found.get_port()
    server.end(found)


def status(port: int, path: str = "/", **headers: str) -> int:
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    asked.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        return asked.getresponse().status
    finally:
        asked.close()


def test_pages_and_sockets_need_the_token(port: int) -> None:
    socket_headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec_WebSocket_Version": "13",
    }
    cookie = f"siame_page_{port}=the-token"
    assert status(port) == 401
    assert status(port, "/?token=wrong-one") == 401
    assert status(port, "/?token=the-token") == 302
    assert status(port, Cookie=cookie) == 200
    assert status(port, **socket_headers) == 401
    assert status(port, **socket_headers, Cookie=cookie) == 101
    assert status(port, **socket_headers, Cookie=cookie, Origin="http://attacker.example") == 403
    assert status(port, Cookie=cookie, Host="attacker.example") == 403


def test_other_servers_are_not_guarded(port: int) -> None:
    from websockets.asyncio import server as theirs

    assert theirs.serve.__module__.startswith("websockets")


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1, port {taken}: address already in use") as caught:
            server.check(PageConfig(port=taken))
    assert caught.value.settings == ("served.port", "served.host")


def test_an_address_of_another_machine_is_one_line() -> None:
    with pytest.raises(InputError, match=r"192\.0\.2\.1"):
        server.check(PageConfig(host="192.0.2.1", port=0))


def test_without_viser_the_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(InputError, match=r'pip install .*"siame-se3\[page\]"'):
        server.check(PageConfig(port=0))


def test_a_server_that_lets_strangers_in_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if viser had changed, and the guard did not hold any more."""
    monkeypatch.setattr(Access, "refusal", lambda self, path, headers: None)
    with pytest.raises(InputError, match="cannot be guarded"):
        server.served(PageConfig(port=0), Access("127.0.0.1", True, ""))


def test_no_visitor_opens_a_public_address() -> None:
    """viser asks a server of its makers for one as soon as any visitor's program wishes it, whatever buttons are shown."""
    from viser import _messages

    found = server.served(PageConfig(port=0), Access("127.0.0.1", True, ""))
    try:
        handlers = found._websock_server._incoming_handlers
        assert _messages.GuiUpdateMessage in handlers, "others are kept elsewhere now"
        assert not [kind.__name__ for kind in handlers if "ShareUrl" in kind.__name__]
    finally:
        server.end(found)


def test_a_viser_that_opens_public_addresses_in_another_way_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from viser.infra import WebsockServer

    monkeypatch.delattr("viser.infra._infra.WebsockMessageHandler.unregister_handler")
    assert not hasattr(WebsockServer, "unregister_handler")
    with pytest.raises(InputError, match="cannot be guarded"):
        server.served(PageConfig(port=0), Access("127.0.0.1", True, ""))


def test_the_address_for_others_is_no_wildcard() -> None:
    for host in ("0.0.0.0", "::"):
        assert server.own_address(host) not in ("0.0.0.0", "::")
