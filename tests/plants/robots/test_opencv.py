"""A camera of OpenCV's that fails while it is read."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from siame_se3.errors import CameraError, RobotError
from siame_se3.plants.robots.interfaces import CameraSource
from siame_se3.plants.robots.opencv import Capture, is_file, opened_as


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


@pytest.mark.parametrize(
    ("source", "film"),
    [
        (0, False),
        ("0", False),
        ("film.avi", True),
        ("pictures/%04d.png", True),
        ("/dev/null", False),  # a device, as /dev/video0 is
        ("camera", False),  # a link to it
        ("rtsp://10.0.0.5/%201", False),
        (".", False),
    ],
)
def test_what_is_a_file_and_what_a_camera(
    source: int | str, film: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("film.avi").touch()
    Path("camera").symlink_to("/dev/null")
    assert is_file(source) is film


@pytest.mark.parametrize("form", ["{}.avi", "{}/%04d.png"])
def test_a_name_that_is_no_text_is_refused(form: str, tmp_path: Path) -> None:
    """OpenCV ended the program."""
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / form.format(name)).parent.mkdir(exist_ok=True)
    (tmp_path / f"{name}.avi").touch()
    with pytest.raises(CameraError, match=r"caf .*UTF-8 only; rename it"):
        Capture(str(tmp_path / form.format(name)))


def test_a_device_is_opened_by_its_index(tmp_path: Path) -> None:
    (tmp_path / "by-id").symlink_to("/dev/video2")
    sources = (1, "1", "/dev/video12", str(tmp_path / "by-id"), "film.avi", "http://host/dev/video2")
    assert [opened_as(source) for source in sources] == [1, 1, 12, 2, "film.avi", "http://host/dev/video2"]


@pytest.mark.parametrize("film", [False, True])
def test_only_a_film_is_paced(film: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device has a rate of its own; waiting as well would make each image older than its stamp."""
    made: list[Any] = []
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: made.append(Device(source)) or made[-1])
    monkeypatch.setattr(Device, "get", lambda self, key: 1.0)  # frames a second
    (tmp_path / "film.avi").touch()
    capture = Capture(str(tmp_path / "film.avi") if film else "/dev/null")
    first = capture.latest(0.0, 5.0)
    assert first is not None
    later = capture.latest(first.stamp, 0.3)
    assert (later is None) == film
    capture.close()


def test_a_streams_password_is_not_in_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    capture = Capture("rtsp://admin:secret@10.0.0.5/1")
    assert capture.name == "camera rtsp://***@10.0.0.5/1"
    capture.close()


def another_size() -> tuple[bool, Any]:
    return True, np.zeros((50, 64, 3), np.uint8)


def gone() -> tuple[bool, Any]:
    raise cv2.error("device unplugged")


def read_on(capture: Capture) -> None:
    for _ in range(1000):
        capture.latest(time.monotonic(), 0.01)


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
    with pytest.raises(RobotError, match=f"thread 'camera 0: reading' failed .*{words}"):
        read_on(capture)
    with pytest.raises(RobotError, match=words):
        capture.latest(0.0, 0.0)  # the last frame does not hide it
    capture.close()


def no_frame() -> tuple[bool, Any]:
    return False, None


def test_a_file_that_ends_gives_no_frame_and_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    capture = Capture("v%02d.png")
    capture._source.wrong = no_frame
    began = time.monotonic()
    while capture.latest(time.monotonic(), 5.0) is not None:
        pass
    assert time.monotonic() - began < 3
    assert capture.latest(0.0, 0.0) is not None, "its last frame is there, and no fault"
    capture.close()


def test_a_camera_that_gives_no_frames_any_more_is_named_until_it_gives_one(capture: Capture) -> None:
    """It ended for good without a word, and a page showed its last image as if it were a new one."""
    assert capture.latest(0.0, 5.0) is not None
    capture._source.wrong = no_frame
    began = time.monotonic()
    words = "camera 0: gives no frames any more; see to it, and start the program again"
    with pytest.raises(RobotError, match=words):
        read_on(capture)
    assert time.monotonic() - began < 1, "later than its image is stale, a halt would not name it"
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(RobotError, match=words):
            capture.latest(time.monotonic(), 5.0)
        assert time.monotonic() - began < 1
    capture._source.wrong = None
    until = time.monotonic() + 5
    while capture._gone:
        assert time.monotonic() < until
        time.sleep(0.005)
    assert capture.latest(time.monotonic(), 5.0) is not None
    capture.close()


def test_one_read_that_fails_does_not_end_a_camera(capture: Capture) -> None:
    device = capture._source

    def once() -> tuple[bool, Any]:
        device.wrong = None
        return False, None

    device.wrong = once
    before = time.monotonic()
    while (frame := capture.latest(before, 5.0)) is None or device.wrong is not None:
        pass
    assert capture.latest(max(frame.stamp, time.monotonic()), 5.0) is not None
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
