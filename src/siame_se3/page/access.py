"""Who may see the page and press its buttons: checks of each request before viser sees it.

A page in another tab of the same browser can open a WebSocket to any address of this machine. So a request has to name the host that the page is
served at (which stops names that point here only for an attack, DNS rebinding), and a WebSocket has to come from that page itself (its Origin). Where
a token is asked for, it comes once in the address or in the form below, and is then kept in a cookie that scripts cannot read.
"""

from __future__ import annotations

import contextlib
import hmac
import http
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_LARGEST = 4 * 2**20  # [bytes] of a message from a browser; files come in parts of half a megabyte
_UNSENT = 2**18  # [bytes] that the system keeps for a slow browser: more would only be older when it comes
_UNTAKEN = (
    2000  # [ms] for which a browser's machine may leave what it was sent unacknowledged; then the connection is closed
)
_installing = threading.Lock()

_FORM = """<!doctype html><meta name="viewport" content="width=device-width"><title>siame</title>
<style>:root{color-scheme:light dark}body{font:16px system-ui;max-width:26em;margin:15vh auto;padding:0 1em}
input,button{font:inherit;padding:.5em;width:100%;box-sizing:border-box;margin:.3em 0}button{background:#0072B2;color:#fff;border:0}</style>
<h1>siame</h1><p><!--note--></p>
<form><input name="token" type="password" placeholder="token" aria-label="token" autofocus><button>Open the page</button></form>"""


class Access:
    """Judges requests.

    Args:
        host: that the page is served at.
        local: only this machine reaches it: requests have to name this machine.
        token: that visitors have to give; '' for none.
    """

    def __init__(self, host: str, local: bool, token: str) -> None:
        self._names = {*_LOCAL_NAMES, host.strip("[]")} if local else None
        self.token = token

    def refusal(self, path: str, headers: Any) -> tuple[http.HTTPStatus, dict[str, str], str] | None:
        """Status, headers and body of the answer to a request that does not pass; None for one that does.

        Args:
            path: with its query.
            headers: of the request, by name in any case: a mapping.
        """
        host, origin = headers.get("Host", ""), headers.get("Origin")
        if self._names is not None and _name(f"//{host}") not in self._names:
            return http.HTTPStatus.FORBIDDEN, {}, "this page is served at 127.0.0.1 only: open that address"
        if origin is not None and urlsplit(origin).netloc != host:
            return http.HTTPStatus.FORBIDDEN, {}, "this comes from another site, and is refused"
        return self._without_token(path, headers) if self.token else None

    def _without_token(self, path: str, headers: Any) -> tuple[http.HTTPStatus, dict[str, str], str] | None:
        given = parse_qs(urlsplit(path).query).get("token", [""])[0]
        if self._right(given):
            # Lax, not Strict: a link in a mail or a chat opens the page; the requests that press buttons are judged by their origin.
            cookie = f"{self._cookie(headers)}={self.token}; HttpOnly; SameSite=Lax; Path=/"
            return http.HTTPStatus.FOUND, {"Location": "/", "Set-Cookie": cookie}, ""
        # By hand: `http.cookies` drops all that comes after a cookie it cannot read, as another program of this host may have set one.
        cookies = (cookie.strip().partition("=") for cookie in headers.get("Cookie", "").split(";"))
        if any(name == self._cookie(headers) and self._right(value) for name, _, value in cookies):
            return None
        note = "This token is not right; it is in the terminal that serves the page." if given else ""
        return http.HTTPStatus.UNAUTHORIZED, {}, _FORM.replace("<!--note-->", note or "Give the terminal's token.")

    def _right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="surrogatepass"), self.token.encode())

    @staticmethod
    def _cookie(headers: Any) -> str:
        """Name of the cookie: one a port, for browsers share cookies among ports."""
        return f"siame_page_{urlsplit('//' + headers.get('Host', '')).netloc.rpartition(':')[2] or 80}"


def _name(url: str) -> str:
    """Host of an address; '' where it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # brackets that do not match
        return ""


def _limit(connection: Any) -> None:
    """Keep little for a browser that is slow, and notice soon that its machine is gone: by itself the system tries for a quarter of an hour."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNSENT)
    if sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNTAKEN)


@contextlib.contextmanager
def guarding(access: Access) -> Iterator[None]:
    """Servers of the package `websockets` that are started in this context ask `access` first. viser has no such hook of its own.

    That it holds is for the caller to check, by a request that has to be refused.
    """
    import websockets.asyncio.server as server
    from websockets.datastructures import Headers
    from websockets.http11 import Response

    serve = server.serve
    Process = Callable[[Any, Any], Awaitable[Response | None] | Response | None]

    def guarded(*arguments: Any, process_request: Process | None = None, **options: Any) -> Any:
        def judged(connection: Any, request: Any) -> Awaitable[Response | None] | Response | None:
            if (found := access.refusal(request.path, request.headers)) is not None:
                status, headers, text = found
                body = text.encode()
                kind = {"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(body))}
                return Response(status, status.phrase, Headers(**kind | headers), body)
            _limit(connection.transport.get_extra_info("socket"))
            return process_request(connection, request) if process_request else None

        return serve(*arguments, process_request=judged, **options | {"max_size": _LARGEST})

    with _installing:
        server.serve = guarded  # type: ignore[assignment, misc]  # for the time that the server takes to start
        try:
            yield
        finally:
            server.serve = serve  # type: ignore[misc]
