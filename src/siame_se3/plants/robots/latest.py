"""The newest frame of a camera, handed from the thread that receives to the one that asks."""

from __future__ import annotations

import threading
import time

from siame_se3.plants.robots.interfaces import Frame

_LOOK = 0.001  # [s] between looks at whether a frame has come


class LatestFrame:
    """Keeps the newest frame only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # no condition: Ctrl-C in the main thread may leave the lock of one taken
        self._frame: Frame | None = None
        self._ended = False

    def put(self, frame: Frame) -> None:
        """A frame has come."""
        with self._lock:
            self._frame = frame

    def end(self) -> None:
        """No more will come."""
        self._ended = True

    def get(self, after: float, wait: float) -> Frame | None:
        """See `CameraSource.latest`."""
        until = time.monotonic() + wait
        while True:
            ended = self._ended
            with self._lock:
                frame = self._frame
            if frame is not None and frame.stamp > after:
                return frame
            if ended or time.monotonic() >= until:
                return None
            time.sleep(_LOOK)
