"""Who has the page open: whether they are still there, what is each one's own (light or dark), and notices to one of them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

from siame_se3.analysis.style import BLUE
from siame_se3.commissioning.commands import LASTS
from siame_se3.page import style
from siame_se3.page.heartbeat import Heartbeat
from siame_se3.page.show import Show

log = logging.getLogger(__name__)

_KEY = "siame dark"  # in the browser's own memory
_PATIENCE = 3.0  # [s] for a browser to answer
_NOTICE = 12.0  # [s] that a notice stays


class Visitors:
    """See the file.

    Args:
        server: viser's.
        show: that learns who has left.
    """

    def __init__(self, server: Any, show: Show) -> None:
        self._server, self._show = server, show
        server.on_client_connect(self._welcome)
        server.on_client_disconnect(lambda client: show.left(client.client_id))
        self._heartbeat = Heartbeat(server, show.left)

    def __len__(self) -> int:
        return len(self._server.get_clients())

    @property
    def kept(self) -> dict[str, int]:
        """Messages that the server keeps for browsers: those of the page as it is now, and those that are on their way to one of them."""
        own = [client._websock_connection.get_message_buffer() for client in self._server.get_clients().values()]
        return {
            "visitors": len(self),
            "page": len(self._server._websock_server.get_message_buffer().message_from_id),
            "on their way": sum(len(buffer.message_from_id) for buffer in own),
        }

    def presence(self, visitor: int | None) -> Callable[[], str]:
        """Of who has just pressed a button: gives, later, why that does not count any more; '' where it does.

        A press has come after the last answer to a ping, and may have waited for the network since.
        """
        if visitor is None:
            return lambda: ""
        since = self._heartbeat.answered(visitor)

        def absent() -> str:
            if visitor not in self._server.get_clients():
                return "who pressed it has left"
            if self._show.simulated or (silent := time.monotonic() - since) <= LASTS:
                return ""
            what = "has not answered yet" if silent == math.inf else f"had not answered for {silent:.1f} s"
            return f"your browser {what}; press it again"

        return absent

    def tell(self, visitor: int | None, text: str) -> bool:
        """Show a notice to one visitor; whether that one is still there."""
        client = None if visitor is None else self._server.get_clients().get(visitor)
        if client is None:
            return False
        client.add_notification("siame", text, color="red", auto_close_seconds=_NOTICE)
        return True

    def _welcome(self, client: Any) -> None:
        """A switch of its own between light and dark, as this browser had it the last time: a button, as the key Esc does nothing in a field."""
        switch = client.gui.add_button("dark or light (yours alone)", icon="moon", order=1e9)
        dark = False

        @switch.on_click
        async def _(event: Any) -> None:
            nonlocal dark
            dark = not dark
            self._paint(client, dark)
            client.local_storage.set_item(_KEY, "yes" if dark else "no")

        try:
            dark = client.local_storage.get_item(_KEY, _PATIENCE) == "yes"
        except (RuntimeError, TimeoutError):  # it has left, or lets no page keep anything: then it is light
            log.debug("a browser keeps nothing")
        if dark:
            self._paint(client, dark)

    @staticmethod
    def _paint(client: Any, dark: bool) -> None:
        client.gui.configure_theme(
            dark_mode=dark, show_logo=False, show_share_button=False, brand_color=style.rgb(BLUE)
        )
