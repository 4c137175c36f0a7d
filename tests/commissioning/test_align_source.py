"""Frames of films, cameras and topics."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from siame_se3.commissioning.align_source import Frames, OpenCVFrames, SourceFrames, let_go, one_frame
from siame_se3.errors import CameraError, RobotError
from siame_se3.geometry.camera import Camera
from siame_se3.plants.robots.interfaces import Frame


@pytest.fixture
def video(tmp_path: Path) -> str:
    """Three pictures of a growing red."""
    path = str(tmp_path / "video.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 50, (64, 48))
    for k in range(3):
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[..., 2] = 80 * (k + 1)
        writer.write(frame)
    writer.release()
    return path


@pytest.mark.parametrize("pace", [False, True])
def test_a_film_gives_each_frame_in_rgb(video: str, pace: bool) -> None:
    frames = OpenCVFrames(video, pace)
    assert isinstance(frames, Frames)
    assert frames.video
    found = list(frames)
    frames.close()
    assert [round(float(f[..., 0].mean()) / 80) for f in found] == [1, 2, 3]
    assert max(float(f[..., 2].mean()) for f in found) < 10


def test_one_frame_of_a_film_is_its_first(video: str) -> None:
    frames = OpenCVFrames(video)
    assert one_frame(frames, 5.0)[..., 0].mean() == pytest.approx(80, abs=5)
    frames.close()


def test_numbered_pictures_are_a_film(tmp_path: Path) -> None:
    for k in range(3):
        cv2.imwrite(str(tmp_path / f"{k:02d}.png"), np.full((48, 64, 3), 80 * k, np.uint8))
    frames = OpenCVFrames(str(tmp_path / "%02d.png"))
    assert frames.video
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 80, 160]
    frames.close()


@pytest.mark.parametrize("source", ["nothing.avi", "text.avi"])
def test_what_is_no_film(source: str, tmp_path: Path) -> None:
    (tmp_path / "text.avi").write_text("no video")
    with pytest.raises(CameraError, match=source):
        OpenCVFrames(str(tmp_path / source))


class Device:
    """A camera by its index, as OpenCV shows it: it gives frames as they are allowed."""

    def __init__(self, *_: object) -> None:
        self.number = 0
        self.allowed = threading.Semaphore(1)

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        if not self.allowed.acquire(timeout=5) or self.number >= 4:
            return False, None
        self.number += 1
        return True, np.full((4, 4, 3), self.number, np.uint8)

    def get(self, _: int) -> float:
        return 30.0

    def release(self) -> None:
        pass


@pytest.mark.parametrize(
    ("source", "opened", "name"),
    [
        ("3", 3, "camera 3"),
        ("/dev/video3", 3, "camera /dev/video3"),
        ("/dev/null", "/dev/null", "camera /dev/null"),
        ("rtsp://admin:secret@10.0.0.5/1", "rtsp://admin:secret@10.0.0.5/1", r"camera rtsp://\*\*\*@10.0.0.5/1"),
    ],
)
def test_a_camera_gives_its_newest_frame_until_it_is_gone(
    monkeypatch: pytest.MonkeyPatch, source: str, opened: int | str, name: str
) -> None:
    """A cable that is pulled is no end of a film."""
    device, asked = Device(), []
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: asked.append(source) or device)
    monkeypatch.setattr(Path, "exists", lambda self: True)  # this machine may have no camera
    frames = OpenCVFrames(source, pace=True)
    assert asked == [opened]
    assert not frames.video
    seen: list[int] = []

    def watch() -> None:
        for frame in frames:
            seen.append(int(frame[0, 0, 0]))
            device.allowed.release()

    with pytest.raises(RobotError, match=f"^{name}: gives no more frames; check its cable"):
        watch()
    frames.close()
    assert seen == [1, 2, 3, 4]


def test_a_camera_that_cannot_be_let_go_hides_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At the end of a command, a stream is frozen."""
    device = Device()
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: device)
    frames = OpenCVFrames("3")
    assert frames._reader is not None
    monkeypatch.setattr(frames._reader, "join", lambda seconds: False)
    let_go(frames)
    assert [record.getMessage() for record in caplog.records] == [
        "camera 3: a read has not returned for 2 s; it is left behind"
    ]
    device.allowed.release(5)


def test_a_camera_that_hangs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: device)
    monkeypatch.setattr("siame_se3.commissioning.align_source._PATIENCE", 0.05)
    frames = OpenCVFrames("3")
    with pytest.raises(RobotError, match="camera 3: no frame for"):
        list(frames)
    for _ in range(5):
        device.allowed.release()
    frames.close()


class Topic:
    """A camera source with two frames."""

    camera = Camera.from_focal(30, 4)

    def __init__(self) -> None:
        self.frames = [Frame(torch.full((3, 4, 4), 0.2 * k), float(k)) for k in (1, 2)]
        self.closed = False

    def latest(self, after: float, wait: float) -> Frame | None:
        return next((f for f in self.frames if f.stamp > after), None)

    def prepared(self, pixels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pixels).permute(2, 0, 1) / 255

    def close(self) -> None:
        self.closed = True


def test_a_topic_gives_frames_until_it_is_silent() -> None:
    source = Topic()
    frames = SourceFrames(source, "/camera/image_raw")
    some = iter(frames)
    assert [int(next(some)[0, 0, 0]) for _ in range(2)] == [51, 102]
    with pytest.raises(RobotError, match="/camera/image_raw: no image"):
        next(some)
    frames.close()
    assert source.closed
