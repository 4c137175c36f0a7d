"""The ROS 2 driver and camera on a bus without a network: what is sent, and what wrong messages do."""

from __future__ import annotations

import importlib.util
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from siame_se3.errors import RobotError
from siame_se3.geometry.camera import Camera

if not importlib.util.find_spec("cyclonedds"):
    pytest.skip("CycloneDDS is not installed", allow_module_level=True)

from robot_bus import FakeBus, header, image, pose
from siame_se3.plants.robots import ros2_messages as m
from siame_se3.plants.robots.interfaces import CameraSource, VelocityDriver
from siame_se3.plants.robots.ros2_camera import Ros2Camera
from siame_se3.plants.robots.ros2_driver import Ros2Driver

V = torch.tensor([0.1, 0.2, 0.3, -0.1, -0.2, -0.3], dtype=torch.float64)
CAMERA = Camera(61.0, 62.0, 31.0, 23.5, 64, 48)
PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def last(bus: FakeBus) -> list[float]:
    twist = bus.sent[-1].twist
    return [*(getattr(twist.linear, k) for k in "xyz"), *(getattr(twist.angular, k) for k in "xyz")]


@pytest.mark.parametrize(("v", "words"), [(V * math.nan, "not finite"), (V * 1e6, "over the hard limit")])
def test_what_must_not_be_sent_sends_zero(v: torch.Tensor, words: str) -> None:
    bus = FakeBus()
    driver = Ros2Driver(bus, "/t", "camera", "c")
    assert isinstance(driver, VelocityDriver)
    driver.move(V)
    assert last(bus) == V.tolist()
    with pytest.raises(RobotError, match=words):
        driver.move(v)
    assert last(bus) == [0.0] * 6


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (pose((math.nan, 0.0, 0.0)), "pose: is not finite"),
        (pose((1000.0, 0.0, 0.0)), "pose: is 1000 m away"),
        (pose((0.0, 0.0, 0.0), (math.nan, 0.0, 0.0, 1.0)), "a quaternion of length nan"),
        (pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)), "a quaternion of length 0.000"),
    ],
)
def test_one_pose_that_is_none_is_a_fault(bad: Any, words: str) -> None:
    bus = FakeBus(p=pose((1.0, 0.0, 0.0)))
    driver = Ros2Driver(bus, "/t", "spatial", "c", "/p")
    assert driver.state().fault == ""
    bus.heard["/p"](bad)
    bus.heard["/p"](pose((2.0, 0.0, 0.0)))  # a good one after it hides nothing
    state = driver.state()
    assert words in state.fault
    assert state.T_bt is not None
    assert state.T_bt[:3, 3].tolist() == [2.0, 0.0, 0.0]
    assert driver.state().fault == "", "it is reported once: the gate keeps it"


def test_a_first_pose_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siame_se3.plants.robots.ros2_driver._PATIENCE", 0.01)
    with pytest.raises(RobotError, match="/p: /p: pose: is not finite"):
        Ros2Driver(FakeBus(p=pose((math.nan, 0.0, 0.0))), "/t", "spatial", "c", "/p")


def test_nobody_who_listens_is_a_fault() -> None:
    bus = FakeBus()
    driver = Ros2Driver(bus, "/t", "camera", "c")
    bus.hearing = 0
    assert driver.state().fault == "lost connection: nobody listens on /t"


class Corrupt:
    """An image whose data raise something that no decoder of ours raises."""

    encoding, height, width, step, is_bigendian = "rgb8", 48, 64, 192, 0

    def __init__(self) -> None:
        self.header = header()

    @property
    def data(self) -> bytes:
        raise MemoryError("65000 x 65000")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Corrupt, r"images: one cannot be decoded \(MemoryError: 65000 x 65000\)"),
        (lambda: image(PIXELS[:40]), "images: frame of 64 x 40 px"),
        (lambda: m.Image(header(), 48, 64, "\x1b[2Jowned", 0, 64, b""), r"images: .*\[2Jowned'"),
        (lambda: image(PIXELS, age=-3.0), r"images: -[23]\.\d\d s old by their headers"),
        (lambda: image(PIXELS, age=60.0), r"images: 6\d\.\d\d s old by their headers"),
    ],
    ids=["corrupt", "size", "encoding", "future", "past"],
)
def test_one_image_that_cannot_be_used_is_a_fault(bad: Callable[[], Any], words: str) -> None:
    bus = FakeBus()
    source = Ros2Camera(bus, "/i", camera=CAMERA)
    assert isinstance(source, CameraSource)
    bus.heard["/i"](image(PIXELS))
    assert source.latest(-math.inf, 0.0) is not None
    bus.heard["/i"](bad())
    bus.heard["/i"](image(PIXELS))  # a good one after it hides nothing
    with pytest.raises(RobotError, match=words) as error:
        source.latest(-math.inf, 0.0)
    assert str(error.value).isprintable()
    assert source.latest(-math.inf, 0.0) is not None, "it is said once"


def test_who_looks_on_does_not_take_a_fault_from_the_run() -> None:
    """A page's thread did."""
    bus = FakeBus()
    source = Ros2Camera(bus, "/i", camera=CAMERA)
    bus.heard["/i"](Corrupt())
    errors: list[str] = []

    def look() -> None:
        try:
            source.latest(-math.inf, 0.0)
        except RobotError as error:
            errors.append(str(error))

    page = threading.Thread(target=look)
    page.start()
    page.join()
    look()
    look()
    assert len(errors) == 2


@pytest.mark.parametrize("K", [[math.nan] * 9, [math.inf] * 9, [0.0] * 9, [1e-300, 0, 31, 0, 62, 23, 0, 0, 1]])
def test_a_camera_info_that_is_none_is_named(K: list[float]) -> None:
    info = m.CameraInfo(header(), 48, 64, "plumb_bob", [0.0] * 5, K)
    with pytest.raises(RobotError, match=r"^/info: .*(K|fx)"):
        Ros2Camera(FakeBus(info=info), "/i", "/info")
