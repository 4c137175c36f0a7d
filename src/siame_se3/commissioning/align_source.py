"""Where the frames of a live alignment come from: a camera, a video file, a ROS 2 topic. Whole frames, RGB, uint8, as they come."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np

from siame_se3.errors import CameraError, RobotError
from siame_se3.images.decode import as_pixels
from siame_se3.plants.robots.interfaces import CameraSource
from siame_se3.plants.robots.opencv import check_source
from siame_se3.plants.robots.threads import Worker

_PATIENCE = 5.0  # [s] without a frame


@runtime_checkable
class Frames(Protocol):
    """A source of frames.

    Attributes:
        name: for messages.
        video: its frames wait to be taken: none is passed over.
    """

    name: str
    video: bool

    def __iter__(self) -> Iterator[np.ndarray]:
        """Frames (h, w, 3), until there are no more."""

    def close(self) -> None:
        """Let it go."""


class OpenCVFrames:
    """Of anything that OpenCV opens: each frame of a video or of numbered pictures; the newest frame of a camera (by its index) or a stream (by its URL).

    Args:
        source: index, path or URL.
        pace: frames of a video come no faster than it was taken.

    Raises:
        CameraError: it cannot be opened, or gives no frame.
    """

    def __init__(self, source: str, pace: bool = False) -> None:
        import cv2

        check_source(source)
        self.video = not source.isdecimal() and "://" not in source
        self.name = source if self.video else f"camera {source}"
        self._source: Any = cv2.VideoCapture(int(source) if source.isdecimal() else source)
        ok, first = self._source.read() if self._source.isOpened() else (False, None)
        if not ok or first is None:
            self._source.release()
            raise CameraError(
                f"{self.name}: gives no frame; check index, file or URL, and that no other program has it", "source"
            )
        rate = self._source.get(cv2.CAP_PROP_FPS)
        self._pace = 1 / rate if pace and self.video and 1 <= rate <= 1000 else 0.0
        self._newest: np.ndarray | None = first
        self._new, self._stop = threading.Condition(), threading.Event()
        self._reader = None if self.video else Worker(f"{self.name}: reading", self._read, endless=False)

    def _read(self) -> None:
        """The thread of a camera: keeps the newest frame."""
        ok = True
        while ok and not self._stop.is_set():
            ok, frame = self._source.read()
            with self._new:
                self._newest = frame if ok else None
                self._new.notify_all()

    def __iter__(self) -> Iterator[np.ndarray]:
        return self._video() if self._reader is None else self._live(self._reader)

    def _video(self) -> Iterator[np.ndarray]:
        frame, due = self._newest, time.monotonic()
        while frame is not None:
            yield frame[..., ::-1]
            due += self._pace
            time.sleep(max(0.0, due - time.monotonic()))
            frame = self._source.read()[1]

    def _live(self, reader: Worker) -> Iterator[np.ndarray]:
        seen: np.ndarray | None = None
        while (frame := self._after(seen, reader)) is not None:
            seen = frame
            yield frame[..., ::-1]

    def _after(self, seen: np.ndarray | None, reader: Worker) -> np.ndarray | None:
        """The newest frame, once it is another one than that; None where the camera has ended."""
        with self._new:
            arrived = self._new.wait_for(lambda: self._newest is not seen or not reader.alive, _PATIENCE)
            frame = self._newest
        if reader.fault:
            raise RobotError(reader.fault)
        if not arrived:
            raise RobotError(
                f"{self.name}: no frame for {_PATIENCE:g} s; check its cable, and that no other program has it"
            )
        return None if frame is seen else frame

    def close(self) -> None:
        """Let the device go.

        Raises:
            RobotError: a read has not returned; the device is left behind, as OpenCV cannot release it then.
        """
        self._stop.set()
        if self._reader is not None and not self._reader.join(2):
            raise RobotError(f"{self.name}: a read has not returned for 2 s; it is left behind")
        self._source.release()


class SourceFrames:
    """Of a robot's camera source: rectified squares, each newest one."""

    video = False

    def __init__(self, source: CameraSource, name: str) -> None:
        self.name, self.source = name, source

    def __iter__(self) -> Iterator[np.ndarray]:
        after = float("-inf")
        while True:
            frame = self.source.latest(after, _PATIENCE)
            if frame is None:
                raise RobotError(f"{self.name}: no image for {_PATIENCE:g} s; check the topic's name and ROS_DOMAIN_ID")
            after = frame.stamp
            yield as_pixels(frame.image)

    def close(self) -> None:
        """Let it go."""
        self.source.close()


def one_frame(frames: Frames, settle: float = 0.0) -> np.ndarray:
    """A frame, once a camera has had some seconds to find its exposure; a video's first.

    Raises:
        CameraError: there is none.
    """
    until = time.monotonic() + (0.0 if frames.video else settle)
    for frame in frames:
        if time.monotonic() >= until:
            return frame
    raise CameraError(f"{frames.name}: ended before it gave a picture; check the camera", "source")


def ros2_frames(bus: Any, image: str, info: str, camera: Any, stamps: str) -> SourceFrames:
    """Of a ROS 2 image topic; see `Ros2Camera`.

    Raises:
        RobotError: no CameraInfo, where no camera is given.
    """
    from siame_se3.plants.robots.ros2_camera import Ros2Camera

    return SourceFrames(Ros2Camera(bus, image, "" if camera else info, camera, stamps), image)
