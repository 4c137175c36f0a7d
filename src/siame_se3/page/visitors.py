"""Who has the page open: what is each one's own (light or dark), and notices to one of them."""

from __future__ import annotations

import logging
from typing import Any

from siame_se3.analysis.style import BLUE
from siame_se3.page import style
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

    def tell(self, visitor: int | None, text: str) -> bool:
        """Show a notice to one visitor; whether that one is still there."""
        client = None if visitor is None else self._server.get_clients().get(visitor)
        if client is None:
            return False
        client.add_notification("siame", text, color="red", auto_close_seconds=_NOTICE)
        return True

    def _welcome(self, client: Any) -> None:
        """A switch of its own between light and dark, as this browser had it the last time."""
        switch = client.gui.add_checkbox("dark page (yours alone)", False, order=1e9)

        @switch.on_update
        async def _(event: Any) -> None:
            self._paint(client, switch.value)
            client.local_storage.set_item(_KEY, "yes" if switch.value else "no")

        try:
            switch.value = client.local_storage.get_item(_KEY, _PATIENCE) == "yes"
        except (RuntimeError, TimeoutError):  # it has left, or lets no page keep anything: then it is light
            log.debug("a browser keeps nothing")

    @staticmethod
    def _paint(client: Any, dark: bool) -> None:
        client.gui.configure_theme(
            dark_mode=dark, show_logo=False, show_share_button=False, brand_color=style.rgb(BLUE)
        )
