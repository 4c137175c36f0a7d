"""Any camera that OpenCV opens: by index, by device, by file, by URL; rectified, the newest frame only."""

from __future__ import annotations

import os
import re
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
from siame_se3.plants.robots.text import printable, without_password
from siame_se3.plants.robots.threads import Worker

_PATIENCE = 0.1  # [s] for which a camera may give no frame: it is at fault before its last one is stale
_AGAIN = 0.01  # [s] between reads that fail


def is_file(source: int | str) -> bool:
    """Whether a source is a video file, or numbered pictures (a pattern with %): its frames wait to be taken. All else is a camera, whose frames run
    away: an index, a device such as /dev/video0, a stream's URL."""
    return isinstance(source, str) and "://" not in source and ("%" in source or Path(source).is_file())


def opened_as(source: int | str) -> int | str:
    """What OpenCV opens a source by: a camera by its index, also where it is given as a device (/dev/video2, or a link to that); all else as it is."""
    if isinstance(source, int) or source.isdecimal():
        return int(source)
    device = None if "://" in source else re.fullmatch(r"/dev/video(\d+)", os.path.realpath(source))
    return int(device[1]) if device else source


def check_source(source: int | str) -> None:
    """Refuse a file that is not there, a folder, and a name that is no text: OpenCV ends the program there.

    Raises:
        CameraError: it is one of them.
    """
    if isinstance(source, int) or source.isdecimal():
        return
    try:
        source.encode()
    except UnicodeEncodeError:
        raise CameraError(f"{printable(source)}: OpenCV opens names in UTF-8 only; rename it", "source") from None
    if "://" in source or "%" in source:
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
        source: index of a camera (0 for the first), its device, path of a video or of numbered pictures, or URL of a stream.
        camera: intrinsics and distortion as calibrated; frames must have its size. None for the paper's field of view.

    Raises:
        CameraError: it cannot be opened, or gives no frame, or frames of another size.
    """

    def __init__(self, source: int | str, camera: Camera | None = None) -> None:
        import cv2

        check_source(source)
        self.name = f"camera {without_password(source)}"
        self._source: Any = cv2.VideoCapture(opened_as(source))
        self._stop = threading.Event()
        self._latest = LatestFrame()
        self._gone = ""  # why a camera gives no frames any more
        self._paced = is_file(source)  # a file gives frames as fast as they are read
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
        """The reading thread: until a file has no frame any more, or `close`."""
        rate = self._source.get(5) or 25.0  # CAP_PROP_FPS
        ok = True
        try:
            while ok and not self._stop.is_set():
                stamp = time.monotonic()
                self._latest.put(Frame(self.prepared(frame[..., ::-1]), stamp))
                if self._paced:
                    self._stop.wait(1 / rate)
                ok, frame = self._next()
        finally:
            self._latest.end()

    def _next(self) -> tuple[bool, Any]:
        """The next frame. A file has an end; a camera has none: it is at fault until it gives one again."""
        until = time.monotonic() + _PATIENCE
        while True:
            ok, frame = self._source.read()
            if ok or self._paced or self._stop.wait(_AGAIN):
                self._gone = ""
                return ok, frame
            if time.monotonic() > until:
                self._gone = f"{self.name}: gives no frames any more; see to it, and start the program again"

    def prepared(self, pixels: np.ndarray) -> Float[Tensor, "3 h w"]:
        """See `CameraSource`.

        Raises:
            CameraError: a picture of another size than the camera's.
        """
        return as_image(centred_square(self._given.rectify(np.ascontiguousarray(pixels))))

    def latest(self, after: float, wait: float) -> Frame | None:
        """See `CameraSource`.

        Raises:
            RobotError: the reading thread has failed, or a camera gives no frames any more.
        """
        frame = self._latest.get(after, 0.0 if self._gone else wait)
        if fault := self._reader.fault or self._gone:
            raise RobotError(fault)
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
