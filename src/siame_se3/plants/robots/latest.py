"""The newest frame of a camera, handed from the thread that receives to the one that asks."""

from __future__ import annotations

import threading

from siame_se3.plants.robots.interfaces import Frame


class LatestFrame:
    """Keeps the newest frame only."""

    def __init__(self) -> None:
        self._new = threading.Condition()
        self._frame: Frame | None = None
        self._ended = False

    def put(self, frame: Frame) -> None:
        """A frame has come."""
        with self._new:
            self._frame = frame
            self._new.notify_all()

    def end(self) -> None:
        """No more will come."""
        with self._new:
            self._ended = True
            self._new.notify_all()

    def get(self, after: float, wait: float) -> Frame | None:
        """See `CameraSource.latest`."""

        def there() -> bool:
            return self._ended or (self._frame is not None and self._frame.stamp > after)

        with self._new:
            self._new.wait_for(there, wait)
            return self._frame if self._frame is not None and self._frame.stamp > after else None
