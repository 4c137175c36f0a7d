"""viser keeps an upload in memory whole before anybody is asked about it: here a file that is too large is refused as soon as it is announced."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


def refuse_large(server: Any, most: int, refused: Callable[[str, int, int], None]) -> None:
    """From now on no file above a size is kept: its parts are dropped as they come. Does nothing with a viser that takes files in another way.

    Args:
        server: viser's.
        most: size of the largest file that is taken [bytes].
        refused: called on viser's event loop with the name of a file that is refused, its size [bytes] and the visitor's number.
    """
    try:
        from viser._messages import FileTransferPartAck, FileTransferStartUpload

        begin, sockets = server.gui._handle_file_transfer_start, server._websock_server
        sockets.unregister_handler(FileTransferStartUpload, begin)
    except (ImportError, AttributeError, AssertionError, ValueError):
        log.debug("this viser announces no uploads: their size is looked at when they have come")
        return

    def announced(visitor: Any, message: Any) -> None:
        if message.size_bytes <= most:
            begin(visitor, message)
            return
        refused(message.filename, message.size_bytes, visitor)
        if (client := server.get_clients().get(visitor)) is not None:  # whose button waits until all has come
            size = message.size_bytes
            done = FileTransferPartAck(message.source_component_uuid, message.transfer_uuid, size, size)
            client._websock_connection.queue_message(done)

    sockets.register_handler(FileTransferStartUpload, announced)
