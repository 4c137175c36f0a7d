"""Where the frames of a live alignment come from: a camera, a video file, a ROS 2 topic. Whole frames, RGB, uint8, as they come."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np

from siame_se3.errors import CameraError, RobotError
from siame_se3.images.decode import as_pixels
from siame_se3.plants.robots.interfaces import CameraSource
from siame_se3.plants.robots.opencv import check_source, is_file, opened_as
from siame_se3.plants.robots.text import without_password
from siame_se3.plants.robots.threads import Worker

log = logging.getLogger(__name__)
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
        """Frames (h, w, 3), until there are no more.

        Raises:
            RobotError: a camera that gives none any more; only a video ends.
        """

    def close(self) -> None:
        """Let it go."""


class OpenCVFrames:
    """Of anything that OpenCV opens: each frame of a video or of numbered pictures; the newest frame of a camera (by its index or device) or a stream (by its URL).

    Args:
        source: index, device, path or URL.
        pace: frames of a video come no faster than it was taken.

    Raises:
        CameraError: it cannot be opened, or gives no frame.
    """

    def __init__(self, source: str, pace: bool = False) -> None:
        import cv2

        check_source(source)
        self.video = is_file(source)
        self.name = source if self.video else f"camera {without_password(source)}"
        self._source: Any = cv2.VideoCapture(opened_as(source))
        ok, first = self._source.read() if self._source.isOpened() else (False, None)
        if not ok or first is None:
            self._source.release()
            raise CameraError(
                f"{self.name}: gives no frame; check index, file or URL, and that no other program has it", "source"
            )
        rate = self._source.get(cv2.CAP_PROP_FPS)
        self._pace = 1 / rate if pace and self.video and 1 <= rate <= 1000 else 0.0
        self._newest: np.ndarray = first
        self._gone = False  # a camera that gives no more
        self._new, self._stop = threading.Condition(), threading.Event()
        self._reader = None if self.video else Worker(f"{self.name}: reading", self._read, endless=False)

    def _read(self) -> None:
        """The thread of a camera: keeps the newest frame."""
        ok = True
        while ok and not self._stop.is_set():
            ok, frame = self._source.read()
            with self._new:
                if ok:
                    self._newest = frame
                self._gone = not ok
                self._new.notify_all()

    def __iter__(self) -> Iterator[np.ndarray]:
        return self._video() if self._reader is None else self._live(self._reader)

    def _video(self) -> Iterator[np.ndarray]:
        frame: np.ndarray | None = self._newest
        due = time.monotonic()
        while frame is not None:
            yield frame[..., ::-1]
            due += self._pace
            time.sleep(max(0.0, due - time.monotonic()))
            frame = self._source.read()[1]

    def _live(self, reader: Worker) -> Iterator[np.ndarray]:
        seen: np.ndarray | None = None
        while True:
            seen = self._after(seen, reader)
            yield seen[..., ::-1]

    def _after(self, seen: np.ndarray | None, reader: Worker) -> np.ndarray:
        """The newest frame, once it is another one than that."""
        with self._new:
            arrived = self._new.wait_for(lambda: self._newest is not seen or self._gone or not reader.alive, _PATIENCE)
            frame = self._newest
        if reader.fault:
            raise RobotError(reader.fault)
        if not arrived:
            raise RobotError(
                f"{self.name}: no frame for {_PATIENCE:g} s; check its cable, and that no other program has it"
            )
        if frame is seen:
            raise RobotError(
                f"{self.name}: gives no more frames; check its cable, its network, and that no other program has it"
            )
        return frame

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
    """Of a robot's camera source: its images, each newest one."""

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


def let_go(frames: Frames) -> None:
    """Close a source at the end of a command: that a camera cannot be released is logged, and hides nothing of what came before."""
    try:
        frames.close()
    except RobotError as error:
        log.warning("%s", error)


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


def ros2_frames(bus: Any, image: str, info: str, camera: Any, stamps: str, whole: bool = False) -> SourceFrames:
    """Of a ROS 2 image topic; see `Ros2Camera`. `whole`: as they come, neither rectified nor cut, whatever camera they are of.

    Raises:
        RobotError: no CameraInfo, where no camera is given.
    """
    from siame_se3.plants.robots.ros2_camera import Ros2Camera

    if whole:
        return SourceFrames(Ros2Camera(bus, image, stamps=stamps, as_it_comes=True), image)
    return SourceFrames(Ros2Camera(bus, image, "" if camera else info, camera, stamps), image)
