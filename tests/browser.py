"""A headless Chromium, driven by its own DevTools protocol over a WebSocket: no driver and no package beside `websockets`."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-port=0"),
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
)


class Browser:
    """One window.

    Args:
        width, height: of it [px].
    """

    def __init__(self, width: int = 1000, height: int = 700) -> None:
        from websockets.sync.client import connect

        assert CHROMIUM is not None
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        command = [CHROMIUM, *_OPTIONS, f"--user-data-dir={self._folder.name}", f"--window-size={width},{height}"]
        self._process = subprocess.Popen(
            [*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        port = Path(self._folder.name) / "DevToolsActivePort"
        wait_for(lambda: port.is_file() and len(port.read_text().splitlines()) == 2, 30)
        number, path = port.read_text().splitlines()
        self._socket = connect(f"ws://127.0.0.1:{number}{path}", max_size=None, compression=None)
        self._ids = itertools.count(1)
        self._session = ""
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Runtime.enable")
        self.resize(width, height)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol, and its result."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return dict(answer["result"])

    def resize(self, width: int, height: int, mobile: bool = False) -> None:
        """Of the page's area [px]."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def open(self, url: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=url)

    def js(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def text(self) -> str:
        """All that the page says."""
        return str(self.js("document.body ? document.body.innerText : ''"))

    def click(self, label: str) -> None:
        """Press the button with this label."""
        find = self.button(label)
        wait_for(lambda: bool(self.js(f"!!({find}) && !({find}).disabled")), 20, f"a button '{label}'")
        self.js(f"({find}).click()")

    @staticmethod
    def button(label: str) -> str:
        """The expression for the button with this label."""
        return f"[...document.querySelectorAll('button')].find(b => b.innerText.trim() === {json.dumps(label)})"

    def give_file(self, path: Path, selector: str = "input[type=file]") -> None:
        """Choose a file in the page's field for one."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        assert node, selector
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def key(self, name: str, code: int) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
        """Press the mouse's button at a place [px], and let go at another."""
        points = [tuple(a + (b - a) * k / steps for a, b in zip(start, end, strict=True)) for k in range(steps + 1)]
        self._mouse("mouseMoved", points[0], 0)
        time.sleep(0.3)  # the page looks at what is under the mouse once a frame
        self._mouse("mousePressed", points[0], 1)
        for point in points[1:]:
            self._mouse("mouseMoved", point, 1)
            time.sleep(0.05)
        self._mouse("mouseReleased", points[-1], 0)

    def _mouse(self, kind: str, point: tuple[float, ...], buttons: int) -> None:
        button = "left" if kind != "mouseMoved" or buttons else "none"
        x, y = point
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=buttons, clickCount=1)

    def screenshot(self, path: Path) -> None:
        """The page as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """The window, and all that it has written."""
        self._socket.close()
        self._process.terminate()
        self._process.wait(20)
        self._folder.cleanup()


def wait_for(condition: Callable[[], bool], seconds: float, what: str = "") -> None:
    """Wait until a condition holds; an AssertionError where it does not."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s: {what or condition}"
        time.sleep(0.05)
