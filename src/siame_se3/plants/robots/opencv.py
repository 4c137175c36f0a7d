"""Any camera that OpenCV opens: by index, by file, by URL; rectified, the newest frame only."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry.camera import Camera
from siame_se3.images.crop import centred_square
from siame_se3.images.decode import as_image
from siame_se3.plants.robots.live import Frame


class Newest:
    """The newest frame, handed from the thread that receives to the one that asks."""

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
        """See Eye.latest."""

        def there() -> bool:
            return self._ended or (self._frame is not None and self._frame.stamp > after)

        with self._new:
            self._new.wait_for(there, wait)
            return self._frame if self._frame is not None and self._frame.stamp > after else None


class Capture:
    """An Eye on OpenCV's VideoCapture. A thread reads all frames and keeps the newest, so that none waits in a buffer.

    Args:
        source: index of a camera (0 for the first), path of a video or of numbered pictures, or URL of a stream.
        camera: intrinsics and distortion as calibrated; frames must have its size. None for the paper's field of view.

    Raises:
        SiameError: it cannot be opened, or gives no frame.
    """

    def __init__(self, source: int | str, camera: Camera | None = None) -> None:
        import cv2

        if isinstance(source, str) and source.isdecimal():
            source = int(source)
        if isinstance(source, str) and "://" not in source and "%" not in source and not Path(source).exists():
            raise SiameError(f"{source}: no such file; give a camera's index, a video file or a URL")
        self._source: Any = cv2.VideoCapture(source)
        self._stop = threading.Event()
        self._newest = Newest()
        self._paced = isinstance(source, str) and "://" not in source  # a file gives frames as fast as they are read
        ok, first = self._source.read() if self._source.isOpened() else (False, None)
        if not ok or first is None:
            raise SiameError(
                f"camera {source}: gives no frame; check index, file or URL, and that no other program has it"
            )
        h, w = first.shape[:2]
        if camera is not None and camera.size != (h, w):
            raise SiameError(
                f"camera {source}: frames of {w} x {h} px, calibrated for {camera.width} x {camera.height}; calibrate at this size"
            )
        self._given = camera or Camera.from_focal(300 / 224 * min(w, h), w, h)
        self._thread = threading.Thread(target=self._read, args=(first,), daemon=True)
        self._thread.start()

    @property
    def camera(self) -> Camera:
        """Of the rectified square that laws see."""
        return self._given.square()

    def _read(self, frame: np.ndarray) -> None:
        rate = self._source.get(5) or 25.0  # CAP_PROP_FPS
        for bgr in self._frames(frame):
            stamp = time.monotonic()
            self._newest.put(Frame(self.prepared(bgr[..., ::-1]), stamp))
            if self._paced:
                self._stop.wait(1 / rate)
        self._newest.end()

    def _frames(self, frame: np.ndarray) -> Iterator[np.ndarray]:
        ok = True
        while ok and not self._stop.is_set():
            yield frame
            with contextlib.suppress(Exception):  # OpenCV's errors of a device that went away
                ok, frame = self._source.read()
                continue
            ok = False

    def prepared(self, pixels: np.ndarray) -> Float[Tensor, "3 h w"]:
        """See Eye."""
        return as_image(centred_square(self._given.rectify(np.ascontiguousarray(pixels))))

    def latest(self, after: float, wait: float) -> Frame | None:
        """See Eye."""
        return self._newest.get(after, wait)

    def close(self) -> None:
        """Let the device go."""
        self._stop.set()
        self._thread.join(2)
        self._source.release()
