"""viser's server at an address of ours, behind `access`: only there, and only if the guard holds."""

from __future__ import annotations

import contextlib
import http.client
import io
import logging
import socket
from typing import Any

from siame_se3.errors import InputError
from siame_se3.files.optional import needs
from siame_se3.page.access import Access, guarding
from siame_se3.page.config import PageConfig
from siame_se3.page.waking import let_any_thread_push


def check(config: PageConfig) -> None:
    """Say before the work begins that a page cannot be served.

    Raises:
        InputError: viser is not installed, or the address cannot be had.
    """
    needs("viser", "page")
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise InputError(
                f"page: {config.host}, port {config.port}: {why}; give another port, or an address of this machine",
                *("served.port", "served.host"),
            ) from None


def served(config: PageConfig, access: Access) -> Any:
    """A server of viser's.

    Raises:
        InputError: see `check`; or this version of viser cannot be guarded.
    """
    check(config)
    import viser

    # a browser that opens a connection and closes it is no fault of the page, and its traceback helps nobody
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)

    let_any_thread_push()
    with guarding(access), _silence():
        server = viser.ViserServer(config.host, config.port, verbose=False)
    if config.port not in (0, server.get_port()):  # viser takes the next one that is free
        end(server)
        raise InputError(f"page: port {config.port} was taken at this moment; give another port", "served.port")
    if not _refuses_strangers(config.host, server.get_port()):
        end(server)
        raise _unguarded()
    try:
        _refuse_tunnels(server)
    except InputError:
        end(server)
        raise
    return server


def _unguarded() -> InputError:
    return InputError('page: this version of viser cannot be guarded; pip install --upgrade "siame-se3[page]"')


def _refuse_tunnels(server: Any) -> None:
    """viser gives the page a public address, by a tunnel through a server of its makers, as soon as any visitor's program asks for it.

    Raises:
        InputError: this version of viser does so in another way.
    """
    from viser import _messages

    for name in ("ShareUrlRequest", "ShareUrlDisconnect"):
        kind = getattr(_messages, name, None)
        if kind is None:  # a viser without tunnels
            continue
        try:
            server._websock_server.unregister_handler(kind)
        except (AttributeError, AssertionError, KeyError):
            raise _unguarded() from None


def end(server: Any) -> None:
    """Stop a server."""
    with _silence():
        server.stop()


def _silence() -> contextlib.redirect_stdout[io.StringIO]:
    """viser prints a banner, with an address that lacks the token, and that it has stopped."""
    return contextlib.redirect_stdout(io.StringIO())


def _refuses_strangers(host: str, port: int) -> bool:
    """Whether a request from another site is refused, as it has to be."""
    asked = http.client.HTTPConnection(reached_at(host), port, timeout=10)
    try:
        asked.request("GET", "/", headers={"Origin": "http://elsewhere.invalid"})
        return asked.getresponse().status == http.client.FORBIDDEN
    finally:
        asked.close()


def reached_at(host: str) -> str:
    """The address by which this machine reaches what is served at `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def own_address(host: str) -> str:
    """The address by which other machines reach what is served at a wildcard `host`: of the interface that leads outwards; '' where there is none.

    Nothing is sent: the socket of a datagram only looks up its route.
    """
    family, outside = (
        (socket.AF_INET6, "2001:db8::1") if ":" in host else (socket.AF_INET, "192.0.2.1")
    )  # RFC 3849, 5737
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((outside, 9))
        found = str(probe.getsockname()[0])
        return "" if found in ("0.0.0.0", "::") else found
    return ""
