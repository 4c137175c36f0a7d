"""Any camera that OpenCV opens: by index, by file, by URL; rectified, the newest frame only."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import CameraError, RobotError
from siame_se3.geometry.camera import Camera
from siame_se3.images.crop import centred_square
from siame_se3.images.decode import as_image
from siame_se3.plants.robots.interfaces import Frame
from siame_se3.plants.robots.latest import LatestFrame
from siame_se3.plants.robots.threads import Worker


def check_source(source: int | str) -> None:
    """Refuse a file that is not there, and a folder.

    Raises:
        CameraError: it is not.
    """
    if isinstance(source, int) or source.isdecimal() or "://" in source or "%" in source:
        return
    if not Path(source).exists():
        raise CameraError(f"{source}: no such file; give a camera's index, a video file or a URL", "source")
    if Path(source).is_dir():
        raise CameraError(
            f"{source}: a folder; give a video file, or its numbered pictures as {source}/%04d.png", "source"
        )


class Capture:
    """A CameraSource on OpenCV's VideoCapture. A thread reads all frames and keeps the newest, so that none waits in a buffer.

    Args:
        source: index of a camera (0 for the first), path of a video or of numbered pictures, or URL of a stream.
        camera: intrinsics and distortion as calibrated; frames must have its size. None for the paper's field of view.

    Raises:
        CameraError: it cannot be opened, or gives no frame, or frames of another size.
    """

    def __init__(self, source: int | str, camera: Camera | None = None) -> None:
        import cv2

        if isinstance(source, str) and source.isdecimal():
            source = int(source)
        check_source(source)
        self.name = f"camera {source}"
        self._source: Any = cv2.VideoCapture(source)
        self._stop = threading.Event()
        self._latest = LatestFrame()
        self._paced = isinstance(source, str) and "://" not in source  # a file gives frames as fast as they are read
        ok, first = self._source.read() if self._source.isOpened() else (False, None)
        if not ok or first is None:
            raise CameraError(
                f"{self.name}: gives no frame; check index, file or URL, and that no other program has it", "source"
            )
        h, w = first.shape[:2]
        if camera is not None and camera.size != (h, w):
            raise CameraError(
                f"{self.name}: frames of {w} x {h} px, calibrated for {camera.width} x {camera.height}; calibrate at this size",
                "camera",
            )
        self._given = camera or Camera.from_focal(300 / 224 * min(w, h), w, h)
        self._reader = Worker(f"{self.name}: reading", lambda: self._read(first), endless=False)

    @property
    def camera(self) -> Camera:
        """Of the rectified square that laws see."""
        return self._given.square()

    @property
    def sensor(self) -> Camera:
        """See `CameraSource`."""
        return self._given

    def _read(self, frame: np.ndarray) -> None:
        """The reading thread: until the source has no frame any more, or `close`."""
        rate = self._source.get(5) or 25.0  # CAP_PROP_FPS
        ok = True
        try:
            while ok and not self._stop.is_set():
                stamp = time.monotonic()
                self._latest.put(Frame(self.prepared(frame[..., ::-1]), stamp))
                if self._paced:
                    self._stop.wait(1 / rate)
                ok, frame = self._source.read()
        finally:
            self._latest.end()

    def prepared(self, pixels: np.ndarray) -> Float[Tensor, "3 h w"]:
        """See `CameraSource`.

        Raises:
            CameraError: a picture of another size than the camera's.
        """
        return as_image(centred_square(self._given.rectify(np.ascontiguousarray(pixels))))

    def latest(self, after: float, wait: float) -> Frame | None:
        """See `CameraSource`.

        Raises:
            RobotError: the reading thread has failed.
        """
        frame = self._latest.get(after, wait)
        if self._reader.fault:
            raise RobotError(self._reader.fault)
        return frame

    def close(self) -> None:
        """Let the device go.

        Raises:
            RobotError: a read has not returned; the device is left behind, as OpenCV cannot release it then.
        """
        self._stop.set()
        if not self._reader.join(2):
            raise RobotError(f"{self.name}: a read has not returned for 2 s; it is left behind")
        self._source.release()
