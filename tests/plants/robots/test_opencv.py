"""A camera of OpenCV's that fails while it is read."""

from __future__ import annotations

import threading
import time
from typing import Any

import cv2
import numpy as np
import pytest

from siame_se3.errors import RobotError
from siame_se3.plants.robots.interfaces import CameraSource
from siame_se3.plants.robots.opencv import Capture


class Device:
    """Gives frames of 64 x 48 px; `wrong` is what the next read does instead."""

    def __init__(self, source: Any) -> None:
        self.wrong: Any = None

    def isOpened(self) -> bool:
        return True

    def get(self, key: int) -> float:
        return 30.0

    def read(self) -> tuple[bool, Any]:
        time.sleep(0.005)
        if self.wrong is not None:
            return self.wrong()
        return True, np.zeros((48, 64, 3), np.uint8)

    def release(self) -> None:
        pass


def another_size() -> tuple[bool, Any]:
    return True, np.zeros((50, 64, 3), np.uint8)


def gone() -> tuple[bool, Any]:
    raise cv2.error("device unplugged")


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> Capture:
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    return Capture(0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [(another_size, "frame of 64 x 50 px; the camera is calibrated for 64 x 48"), (gone, "unplugged")],
)
def test_a_reading_thread_that_fails_is_said(capture: Capture, wrong: Any, words: str) -> None:
    assert isinstance(capture, CameraSource)
    assert capture.latest(0.0, 5.0) is not None
    capture._source.wrong = wrong

    def read_on() -> None:
        for _ in range(1000):
            capture.latest(time.monotonic(), 0.01)

    with pytest.raises(RobotError, match=f"thread 'camera 0: reading' failed .*{words}"):
        read_on()
    with pytest.raises(RobotError, match=words):
        capture.latest(0.0, 0.0)  # the last frame does not hide it
    capture.close()


def test_a_source_that_ends_gives_no_frame_and_no_wait(capture: Capture) -> None:
    capture._source.wrong = lambda: (False, None)
    began = time.monotonic()
    while capture.latest(time.monotonic(), 5.0) is not None:
        pass
    assert time.monotonic() - began < 3
    capture.close()


def test_a_read_that_blocks_is_left_behind(capture: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    capture._source.wrong = lambda: (free.wait(5), None)
    capture.latest(time.monotonic(), 0.05)
    join = capture._reader.join
    monkeypatch.setattr(capture._reader, "join", lambda seconds: join(0.05))
    with pytest.raises(RobotError, match="camera 0: a read has not returned"):
        capture.close()
    free.set()
