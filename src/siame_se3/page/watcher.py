"""A visitor without a browser, which speaks viser's protocol: it counts what a browser would get, and presses buttons. For measurements and tests."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from typing import Any
from urllib.parse import parse_qs, urlsplit

from siame_se3.errors import RobotError
from siame_se3.plants.robots.threads import Worker

_HEADER = 16  # [bytes] before a message's compressed part: its lengths before and after decompression
_CAMERA = {
    "type": "ViewerCameraMessage",
    "wxyz": (1.0, 0.0, 0.0, 0.0),
    "position": (0.0, 0.0, -1.0),
    "fov": 1.0,
    "near": 0.01,
    "far": 100.0,
    "image_height": 600,
    "image_width": 800,
    "look_at": (0.0, 0.0, 0.0),
    "up_direction": (0.0, 0.0, -1.0),
}


class Watcher:
    """One visitor.

    Args:
        url: of the page, with the token where one is asked for.
        slow: seconds that it takes for each message, as a browser on a slow line.

    Attributes:
        images: updates of the page's images until now. bytes: of all messages.
        notices: that it was shown, the last few.
        uploaded: bytes of its last file that the page has acknowledged.

    Raises:
        RobotError: the page does not let it in.
    """

    def __init__(self, url: str, slow: float = 0.0) -> None:
        import viser
        import zstandard
        from websockets.exceptions import InvalidStatus
        from websockets.sync.client import connect
        from websockets.typing import Subprotocol

        parts = urlsplit(url)
        token = parse_qs(parts.query).get("token", [""])[0]
        try:
            self._socket = connect(
                f"ws://{parts.netloc}/",
                subprotocols=[Subprotocol(f"viser-v{viser.__version__}")],
                additional_headers={"Cookie": f"siame_page_{parts.port}={token}"} if token else None,
                max_size=None,
                compression=None,
            )
        except InvalidStatus as refused:
            raise RobotError(f"{url}: the page answers {refused.response.status_code}") from None
        self._decompress = zstandard.ZstdDecompressor().decompress
        self._closed, self._slow = threading.Event(), slow
        self._images: set[str] = set()
        self._buttons: dict[str, str] = {}
        self._lists: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        self._texts: dict[str, str] = {}
        self.notices: deque[str] = deque(maxlen=8)
        self.images = self.bytes = self.uploaded = 0
        self._send(_CAMERA)
        self._worker = Worker("watcher", self._receive, endless=False)

    def _send(self, message: dict[str, Any]) -> None:
        import msgspec

        self._socket.send(msgspec.msgpack.encode(message))

    def _receive(self) -> None:
        import msgspec
        from websockets.exceptions import ConnectionClosed

        while not self._closed.wait(self._slow):
            try:
                data = self._socket.recv()
            except ConnectionClosed:  # by us, or by the page's end
                return
            assert isinstance(data, bytes)
            self.bytes += len(data)
            size, packed = int.from_bytes(data[:8], "little"), int.from_bytes(data[8:_HEADER], "little")
            window = self._decompress(data[_HEADER : _HEADER + packed], max_output_size=size)
            for message in msgspec.msgpack.decode(window)["messages"]:
                self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "GuiImageMessage":
            self._images.add(message["uuid"])
        elif kind in ("GuiButtonMessage", "GuiUploadButtonMessage"):
            self._buttons[message["props"]["label"]] = message["uuid"]
        elif kind == "GuiDropdownMessage":
            self._lists[message["props"]["label"]] = message["uuid"]
            self._values[message["uuid"]] = message["value"]
        elif kind == "GuiHtmlMessage":
            self._texts[message["uuid"]] = str(message["props"]["content"])
        elif kind == "NotificationShowMessage":
            self.notices.append(message["props"]["body"])
        elif kind == "FileTransferPartAck":
            self.uploaded = int(message["transferred_bytes"])
        elif kind == "GuiUpdateMessage":
            self.images += message["uuid"] in self._images and "_data" in message["updates"]
            if message["uuid"] in self._values and "value" in message["updates"]:
                self._values[message["uuid"]] = message["updates"]["value"]
            if message["uuid"] in self._texts and "content" in message["updates"]:
                self._texts[message["uuid"]] = str(message["updates"]["content"])

    @property
    def buttons(self) -> tuple[str, ...]:
        """Labels of the buttons that are there."""
        return tuple(self._buttons)

    def press(self, label: str) -> None:
        """Press a button."""
        self._send({"type": "GuiUpdateMessage", "uuid": self._buttons[label], "updates": {"value": True}})

    def upload(self, label: str, name: str, data: bytes, size: int | None = None) -> None:
        """Drop a file into an upload button.

        Args:
            label: of the button.
            name: of the file.
            data: its first part; all of it, where `size` is not given.
            size: that is announced [bytes].
        """
        transfer = {"source_component_uuid": self._buttons[label], "transfer_uuid": uuid.uuid4().hex}
        whole = len(data) if size is None else size
        parts = -(-whole // max(1, len(data)))
        about = {"filename": name, "mime_type": "", "part_count": parts, "size_bytes": whole}
        self._send({"type": "FileTransferStartUpload", **transfer, **about})
        self._send({"type": "FileTransferPart", **transfer, "part_index": 0, "content": data})

    def choose(self, label: str, value: str) -> None:
        """Choose from a list, also what is not in it."""
        self._values[self._lists[label]] = value
        self._send({"type": "GuiUpdateMessage", "uuid": self._lists[label], "updates": {"value": value}})

    def chosen(self, label: str) -> Any:
        """What a list shows: what was chosen, or what the page has said since."""
        return self._values[self._lists[label]]

    def shows(self, words: str) -> bool:
        """Whether a text of the page has these words."""
        return any(words in text for text in self._texts.values())

    @property
    def alive(self) -> bool:
        """Whether the page still sends."""
        return self._worker.alive

    def close(self) -> None:
        """Close the tab."""
        self._closed.set()
        self._socket.close()
        self._worker.join(5)
