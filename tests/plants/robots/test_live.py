from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.twist import FRAMES, camera_twist, twist_in
from siame_se3.images.decode import as_image
from siame_se3.laws.types import View
from siame_se3.plants.robots.live import Frame, LivePlant, Nowhere, RobotState
from siame_se3.plants.robots.opencv import Capture, Newest

CAMERA = Camera.from_focal(60, 48)


def pose(*vector: float) -> Tensor:
    return lie.pose_from_vector(torch.tensor(vector, dtype=torch.float64))


T_TC, T_BT = pose(0.03, -0.02, 0.08, 0.1, -0.2, 0.7), pose(0.4, -0.3, 0.5, 1.2, 0.4, -2.0)
V = torch.tensor([0.05, -0.03, 0.02, 0.1, 0.2, -0.3], dtype=torch.float64)


def test_twists_in_other_frames_are_the_same_motion() -> None:
    """Against the definition: where the camera is a moment later."""
    h = 1e-6
    T_bc = T_BT @ T_TC
    later = T_bc @ lie.exp(V * h)
    tool = later @ lie.inverse(T_TC)
    torch.testing.assert_close(
        twist_in("tool", V, T_TC, T_BT), lie.log(lie.inverse(T_BT) @ tool) / h, atol=1e-8, rtol=0
    )
    at_origin = lie.log(later @ lie.inverse(T_bc)) / h  # of the motion in the base's frame
    torch.testing.assert_close(twist_in("spatial", V, T_TC, T_BT), at_origin, atol=1e-8, rtol=0)
    base = twist_in("base", V, T_TC, T_BT)
    torch.testing.assert_close(base[:3], (tool[:3, 3] - T_BT[:3, 3]) / h, atol=1e-6, rtol=0)
    torch.testing.assert_close(base[3:], lie.so3_log(tool[:3, :3] @ T_BT[:3, :3].mT) / h, atol=1e-6, rtol=0)
    torch.testing.assert_close(twist_in("camera", V, T_TC, None), V)


@pytest.mark.parametrize("frame", FRAMES)
def test_the_arms_server_undoes_them(frame: str) -> None:
    torch.testing.assert_close(camera_twist(frame, twist_in(frame, V, T_TC, T_BT), T_TC, T_BT), V)


def test_unknown_frames_and_poses_are_refused() -> None:
    with pytest.raises(SiameError, match="use one of"):
        twist_in("world", V, T_TC, T_BT)
    with pytest.raises(SiameError, match="pose is not known"):
        twist_in("base", V, T_TC, None)


class FakeEye:
    """Gives a new frame every `period`, until it `dies`."""

    camera = CAMERA

    def __init__(self, period: float = 0.01) -> None:
        self.period, self.dead = period, False
        self.born = time.monotonic()
        self.closed = False
        self.last: Frame | None = None

    def latest(self, after: float, wait: float) -> Frame | None:
        time.sleep(min(wait, self.period))
        if not self.dead:
            self.last = Frame(torch.rand(3, 48, 48), time.monotonic())
        return self.last if self.last is not None and self.last.stamp > after else None

    def prepared(self, pixels: np.ndarray) -> Tensor:
        return as_image(pixels)

    def close(self) -> None:
        self.closed = True


class FakeMover:
    def __init__(self, frame: str = "camera", T_bt: Tensor | None = None) -> None:
        self.frame, self.T_bt, self.fault = frame, T_bt, ""
        self.sent: list[Any] = []

    def move(self, twist: Tensor) -> None:
        self.sent.append(twist)

    def stop(self) -> None:
        self.sent.append("stop")

    def state(self) -> RobotState:
        return RobotState(self.T_bt, self.fault)

    def close(self) -> None:
        self.sent.append("close")


def test_live_plant_sends_twists_and_tells_age_pose_and_depth() -> None:
    eye, mover = FakeEye(), FakeMover("base", T_BT)
    plant = LivePlant(eye, mover, T_TC, 0.02, 0.7)
    assert plant.provides == {"image", "pose", "depth"}
    view = plant.reset(None)
    assert mover.sent == ["stop"]
    assert view.image is not None
    assert view.image.shape == (3, 48, 48)
    torch.testing.assert_close(view.T_wc, T_BT @ T_TC)
    assert float(view.depth) == 0.7  # type: ignore[arg-type]  # is there
    view, applied = plant.step(V)
    torch.testing.assert_close(mover.sent[-1], twist_in("base", V, T_TC, T_BT))
    assert float(applied @ V) > 0
    torch.testing.assert_close(applied / applied.norm(), V / V.norm())
    assert view.age < 2.0
    eye.dead = True
    time.sleep(0.25)
    assert plant.step(V)[0].age > 0.25
    mover.fault = "protective stop"
    assert plant.step(V)[0].fault == "protective stop"
    plant.ask_to_stop("'stop' was said")
    assert plant.step(V)[0].fault == "'stop' was said"
    assert mover.sent[-1] == "stop", "no further twist is sent"
    assert plant.reset(None).fault == "'stop' was said", "it stays until it is taken back"
    plant.close()
    assert mover.sent[-1] == "close"
    assert eye.closed


def test_live_plant_keeps_its_pace() -> None:
    plant = LivePlant(FakeEye(0.001), FakeMover(), dt=0.02)
    plant.reset(None)
    began = time.monotonic()
    for _ in range(10):
        plant.step(V)
    assert time.monotonic() - began >= 0.195  # never faster; how much slower is the machine's affair


def test_a_slow_law_makes_the_motion_longer_and_that_is_told() -> None:
    plant = LivePlant(FakeEye(0.001), FakeMover(), dt=0.02)
    plant.reset(None)
    plant.step(V)
    time.sleep(0.05)  # the law; the last twist is obeyed meanwhile
    _, applied = plant.step(V)
    assert float((applied / V).min()) * 0.02 >= 0.049
    time.sleep(0.5)
    _, applied = plant.step(torch.zeros(6, dtype=torch.float64))
    assert float((applied / V).max()) * 0.02 <= 0.1 + 1e-6, "the mover's watchdog has ended it"


def test_dry_runs_send_nothing() -> None:
    mover = FakeMover()
    plant = LivePlant(FakeEye(), mover, dt=0.01, dry=True)
    plant.reset(None)
    _, applied = plant.step(V)
    plant.stop()
    assert mover.sent == []
    assert not bool(applied.any())
    torch.testing.assert_close(plant.asked, V)
    assert LivePlant(FakeEye(), Nowhere()).provides == {"image"}


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = LivePlant(FakeEye(), FakeMover())
    with pytest.raises(SiameError, match="step before reset"):
        plant.step(V)
    with pytest.raises(SiameError, match="starts where it is"):
        plant.reset(torch.eye(4))
    blind = FakeEye()
    blind.dead = True
    with pytest.raises(SiameError, match="no image within 5 s"):
        LivePlant(blind, FakeMover()).reset(None)


def test_newest_frame_only() -> None:
    newest = Newest()
    assert newest.get(-math.inf, 0.0) is None
    for k in range(3):
        newest.put(Frame(torch.full((3, 2, 2), float(k)), float(k)))
    frame = newest.get(1.5, 0.0)
    assert frame is not None
    assert frame.stamp == 2
    assert newest.get(2.0, 0.01) is None
    threading.Timer(0.05, lambda: newest.put(Frame(torch.zeros(3, 2, 2), 9.0))).start()
    assert newest.get(2.0, 5.0) is not None
    newest.end()
    assert newest.get(9.0, 60.0) is None, "does not wait for what will not come"


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Numbered pictures, as OpenCV reads them: red left, blue right."""
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[:, :40] = (10, 20, 230)  # BGR
    picture[:, 40:] = (220, 30, 10)
    for k in range(4):
        cv2.imwrite(str(tmp_path / f"{k:02d}.png"), picture)
    return tmp_path / "%02d.png"


def test_capture_gives_rgb_squares(video: Path) -> None:
    eye = Capture(str(video))
    frame = eye.latest(-math.inf, 5.0)
    eye.close()
    assert frame is not None
    assert frame.image.shape == (3, 60, 60)
    assert eye.camera.size == (60, 60)
    torch.testing.assert_close(frame.image[:, 5, 5], torch.tensor([230, 20, 10]) / 255)
    torch.testing.assert_close(frame.image[:, 5, -5], torch.tensor([10, 30, 220]) / 255)


def test_capture_rectifies(video: Path) -> None:
    camera = Camera(50, 50, 39.5, 29.5, 80, 60, (-0.3, 0.1, 0, 0, 0))
    plain, rectified = Capture(str(video)), Capture(str(video), camera)
    a, b = plain.latest(-math.inf, 5.0), rectified.latest(-math.inf, 5.0)
    plain.close()
    rectified.close()
    assert a is not None
    assert b is not None
    expected = camera.rectify(cv2.imread(str(video.parent / "00.png")))[..., ::-1][:, 10:70]
    torch.testing.assert_close(b.image, as_image(expected))
    assert not torch.equal(a.image, b.image)


def test_capture_refuses_what_it_cannot_open(tmp_path: Path, video: Path) -> None:
    with pytest.raises(SiameError, match="no such file"):
        Capture(str(tmp_path / "no.mp4"))
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    with pytest.raises(SiameError, match="gives no frame"):
        Capture(str(tmp_path / "bad.mp4"))
    with pytest.raises(SiameError, match="gives no frame"):
        Capture("97")
    with pytest.raises(SiameError, match="calibrated for 48 x 48"):
        Capture(str(video), CAMERA)


def test_views_keep_age_and_fault() -> None:
    view = View(torch.rand(2, 3, 4, 4), None, None, CAMERA, 0.1, "x")[0]
    assert (view.age, view.fault) == (0.1, "x")
