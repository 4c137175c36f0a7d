from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from siame_se3.errors import CameraError, InputError, RobotError, SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.twist import FRAMES, camera_twist, twist_in
from siame_se3.images.decode import as_image
from siame_se3.laws.types import View
from siame_se3.plants.robots.interfaces import Frame, NoRobot, RobotState
from siame_se3.plants.robots.latest import LatestFrame
from siame_se3.plants.robots.live import LivePlant
from siame_se3.plants.robots.opencv import Capture
from siame_se3.plants.types import Plant

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


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"torch.uint8, \(3, 8, 8\)"),
        (torch.zeros(8, 8, 3), r"torch.float32, \(8, 8, 3\)"),
        (torch.zeros(1, 3, 8, 8), r"torch.float32, \(1, 3, 8, 8\)"),
        (torch.zeros(3, 0, 8), r"torch.float32, \(3, 0, 8\)"),
    ],
)
def test_images_of_another_kind_are_refused_in_one_line(image: Tensor, words: str) -> None:
    """They ended in a traceback of whatever used them first."""

    class Source(NoRobot):
        camera = CAMERA

        def latest(self, after: float, wait: float) -> Frame:
            return Frame(image, time.monotonic())

    plant = LivePlant(Source(), NoRobot())  # type: ignore[arg-type]  # as much of one as is used
    with pytest.raises(RobotError, match=f"camera: an image of {words}; a camera source gives RGB in"):
        plant.reset(None)
    plant.close()


@pytest.mark.parametrize("frame", FRAMES)
def test_the_arms_server_undoes_them(frame: str) -> None:
    torch.testing.assert_close(camera_twist(frame, twist_in(frame, V, T_TC, T_BT), T_TC, T_BT), V)


def test_unknown_frames_and_poses_are_refused() -> None:
    with pytest.raises(SiameError, match="use one of"):
        twist_in("world", V, T_TC, T_BT)
    with pytest.raises(SiameError, match="pose is not known"):
        twist_in("base", V, T_TC, None)


class FakeCamera:
    """Gives a new frame every `period`, until it `dies`."""

    camera = sensor = CAMERA

    def __init__(self, period: float = 0.002) -> None:
        self.period, self.dead = period, False
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


class FakeDriver:
    """Keeps what it is asked."""

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


@pytest.fixture
def live() -> Iterator[Callable[..., LivePlant]]:
    """Makes plants, and closes them."""
    made: list[LivePlant] = []

    def make(source: Any = None, driver: Any = None, *args: Any, **options: Any) -> LivePlant:
        made.append(LivePlant(source or FakeCamera(), driver or FakeDriver(), *args, **options))
        return made[-1]

    yield make
    for plant in made:
        plant.close()


def test_live_plant_sends_twists_and_tells_age_pose_and_depth(live: Callable[..., LivePlant]) -> None:
    source, driver = FakeCamera(), FakeDriver("base", T_BT)
    plant = live(source, driver, T_TC, 0.02, 0.7)
    assert isinstance(plant, Plant)
    assert plant.provides == {"image", "base_pose", "depth"}
    assert plant.camera == CAMERA
    torch.testing.assert_close(plant.T_tc, T_TC)
    view = plant.reset(None)
    assert driver.sent == ["stop"]
    assert view.image is not None
    assert view.image.shape == (1, 3, 48, 48)
    assert view.T_wc is None, "where the scene is in the base's frame nobody knows"
    torch.testing.assert_close(view.T_bc, (T_BT @ T_TC)[None])
    torch.testing.assert_close(view.depth, torch.tensor([0.7], dtype=torch.float64))
    view, applied = plant.step(V[None])
    torch.testing.assert_close(driver.sent[-1], twist_in("base", V, T_TC, T_BT))
    assert applied.shape == (1, 6)
    assert float(applied[0] @ V) > 0
    torch.testing.assert_close(applied[0] / applied.norm(), V / V.norm())
    assert view.age < 2.0
    assert abs(view.time - time.monotonic()) < 2.0  # type: ignore[operator]  # is there
    source.dead = True
    time.sleep(0.25)
    assert plant.step(V[None])[0].age > 0.25
    driver.fault = "protective stop"
    assert plant.step(V[None])[0].fault == "protective stop"
    plant.ask_to_stop("'stop' was said")
    assert plant.step(V[None])[0].fault == "'stop' was said"
    source.dead = False
    assert plant.reset(None).fault == "'stop' was said", "it stays until it is taken back"
    driver.fault = ""
    sent = len([x for x in driver.sent if x != "stop"])
    plant.step(V[None])
    assert len([x for x in driver.sent if x != "stop"]) == sent, "no further twist is sent"
    plant.close()
    assert driver.sent[-1] == "close"
    assert source.closed
    plant.close()  # a second time does nothing
    assert driver.sent.count("close") == 1


def test_live_plant_keeps_its_pace(live: Callable[..., LivePlant]) -> None:
    plant = live(FakeCamera(0.001), dt=0.02)
    plant.reset(None)
    began = time.monotonic()
    for _ in range(10):
        plant.step(V[None])
    assert time.monotonic() - began >= 0.195  # never faster; how much slower is the machine's affair


class Clock:
    """A clock that goes only as it is set; sleeping sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_slow_law_makes_the_motion_longer_and_that_is_told(live: Callable[..., LivePlant]) -> None:
    clock = Clock()
    plant = live(FakeCamera(0.001), dt=0.02, clock=clock, sleep=clock.sleep, late=10.0)
    plant.reset(None)
    _, applied = plant.step(V[None])
    torch.testing.assert_close(applied[0], V)
    clock.now += 0.05  # the law; the last twist is obeyed meanwhile
    _, applied = plant.step(V[None])
    torch.testing.assert_close(applied[0], V * 0.05 / 0.02)  # a late step waits no further
    clock.now += 0.5
    _, applied = plant.step(torch.zeros(1, 6, dtype=torch.float64))
    torch.testing.assert_close(applied[0], V * 0.1 / 0.02)  # then the watchdog has ended it


def test_dry_runs_send_nothing(live: Callable[..., LivePlant]) -> None:
    driver = FakeDriver()
    plant = live(FakeCamera(), driver, dt=0.01, dry=True)
    plant.reset(None)
    _, applied = plant.step(V[None])
    plant.stop()
    assert driver.sent == []
    assert not bool(applied.any())
    torch.testing.assert_close(plant.asked, V)
    assert live(driver=NoRobot()).provides == {"image"}


def test_what_cannot_be_is_refused(live: Callable[..., LivePlant]) -> None:
    plant = live()
    with pytest.raises(RobotError, match="step before reset"):
        plant.step(V[None])
    with pytest.raises(InputError, match="starts where it is"):
        plant.reset(torch.eye(4, dtype=torch.float64)[None])
    blind = FakeCamera()
    blind.dead = True
    with pytest.raises(RobotError, match="no image within 5 s"):
        live(blind).reset(None)
    for settings, words in (
        ({"dt": math.nan}, "time between steps"),
        ({"depth": -0.1}, "distance of the scene"),
        ({"driver": FakeDriver("world")}, "twist frame 'world'"),
    ):
        with pytest.raises(InputError, match=words):
            live(**settings)


def test_what_a_plant_depends_on_stops_it_when_it_fails(live: Callable[..., LivePlant]) -> None:
    driver, faults = FakeDriver(), [""]
    plant = live(FakeCamera(), driver, dt=0.01)
    plant.watch(lambda: faults[0])
    plant.reset(None)
    assert plant.step(V[None])[0].fault == ""
    faults[0] = "thread 'keyboard' failed"
    assert plant.step(V[None])[0].fault == "thread 'keyboard' failed"
    faults[0] = ""  # a fault that is told once counts until the next reset
    assert plant.step(V[None])[0].fault == "thread 'keyboard' failed"
    until = time.monotonic() + 5  # the watchdog's thread stops it
    while not isinstance(driver.sent[-1], str) and time.monotonic() < until:
        time.sleep(0.001)
    assert driver.sent[-1] == "stop"
    assert plant.reset(None).fault == ""


def test_newest_frame_only() -> None:
    latest = LatestFrame()
    assert latest.get(-math.inf, 0.0) is None
    for k in range(3):
        latest.put(Frame(torch.full((3, 2, 2), float(k)), float(k)))
    frame = latest.get(1.5, 0.0)
    assert frame is not None
    assert frame.stamp == 2
    assert latest.get(2.0, 0.01) is None
    threading.Timer(0.05, lambda: latest.put(Frame(torch.zeros(3, 2, 2), 9.0))).start()
    assert latest.get(2.0, 5.0) is not None
    latest.end()
    assert latest.get(9.0, 60.0) is None, "does not wait for what will not come"


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
    source = Capture(str(video))
    frame = source.latest(-math.inf, 5.0)
    source.close()
    assert frame is not None
    assert frame.image.shape == (3, 60, 60)
    assert source.camera.size == (60, 60)
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
    with pytest.raises(CameraError, match="no such file"):
        Capture(str(tmp_path / "no.mp4"))
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    with pytest.raises(CameraError, match="gives no frame"):
        Capture(str(tmp_path / "bad.mp4"))
    with pytest.raises(CameraError, match="gives no frame"):
        Capture("97")
    with pytest.raises(CameraError, match="calibrated for 48 x 48"):
        Capture(str(video), CAMERA)


def test_views_keep_age_and_fault() -> None:
    view = View(torch.rand(2, 3, 4, 4), None, None, CAMERA, 0.1, "x")[0]
    assert (view.age, view.fault) == (0.1, "x")


class FakeDepth:
    """Gives one map, and notes for when it was asked."""

    def __init__(self, depth: Tensor | None) -> None:
        self.depth = depth
        self.asked: list[float] = []

    def near(self, stamp: float, wait: float) -> Tensor | None:
        self.asked.append(stamp)
        return self.depth


def test_a_view_gets_the_depth_map_of_its_image(live: Callable[..., LivePlant]) -> None:
    camera, depth = FakeCamera(), FakeDepth(torch.full((48, 48), 0.5))
    plant = live(camera, depth_source=depth, depth=0.7)
    view = plant.reset(None)
    assert view.depth_map is None
    assert view.distance is not None
    assert float(view.distance[0]) == pytest.approx(0.7), "laws see the current view as they did"
    with_map = plant.with_depth(view)
    assert with_map.image is view.image
    assert with_map.depth_map is not None
    assert with_map.depth_map.shape == (1, 48, 48)
    assert camera.last is not None
    assert depth.asked == [camera.last.stamp]


def test_without_a_depth_source_a_view_stays_as_it_is(live: Callable[..., LivePlant]) -> None:
    plant = live()
    view = plant.reset(None)
    assert plant.with_depth(view) is view


@pytest.mark.parametrize(
    ("depth", "words"),
    [(None, "no depth map near the image's time"), (torch.full((48, 48), torch.nan), "no pixel's depth is known")],
    ids=["none", "nothing known"],
)
def test_a_depth_map_that_is_missing_is_said(live: Callable[..., LivePlant], depth: Any, words: str) -> None:
    plant = live(depth_source=FakeDepth(depth))
    with pytest.raises(RobotError, match=words):
        plant.with_depth(plant.reset(None))


def test_a_stop_while_it_looks_is_not_lost(live: Callable[..., LivePlant]) -> None:
    """A button that calls `stop`, while a run waits for its first image."""
    source, driver = FakeCamera(), FakeDriver()
    plant = live(source, driver)
    latest = source.latest

    def slow(after: float, wait: float) -> Frame | None:
        plant.stop()
        return latest(after, wait)

    source.latest = slow  # type: ignore[method-assign]
    view = plant.reset(None)
    assert view.fault == "the robot was stopped before it began to move"
    plant.step(V[None])
    assert not any(isinstance(sent, Tensor) for sent in driver.sent)
    source.latest = latest  # type: ignore[method-assign]
    assert plant.reset(None).fault == ""


def test_errors_of_camera_and_watchers_are_named(live: Callable[..., LivePlant]) -> None:
    source = FakeCamera()
    plant = live(source)
    plant.reset(None)

    def broken(*args: Any) -> Any:
        raise ValueError("odd")

    latest = source.latest
    source.latest = broken  # type: ignore[method-assign]
    with pytest.raises(RobotError, match=r"camera: it has failed \(ValueError: odd\); its driver is at fault"):
        plant.step(V[None])
    source.latest = latest  # type: ignore[method-assign]
    plant.watch(broken)
    assert plant.step(V[None])[0].fault == "what watches the robot has failed (ValueError: odd)"


def test_a_first_twist_that_comes_too_late_is_not_sent(live: Callable[..., LivePlant]) -> None:
    driver, now = FakeDriver(), [5.0]
    plant = live(None, driver, clock=lambda: now[0], sleep=lambda seconds: None)
    plant.begin_within(2.0)
    plant.reset(None)
    plant.step(0 * V[None])
    now[0] += 2.5
    view, applied = plant.step(V[None])
    assert "too late after it was asked for; ask again" in view.fault
    assert not applied.any()
    plant.begin_within(2.0)
    plant.reset(None)
    plant.step(V[None])
    now[0] += 60
    assert plant.step(V[None])[0].fault == "", "one that moves already"


def test_what_it_depends_on_is_asked_before_it_moves(live: Callable[..., LivePlant]) -> None:
    """After a suspension the last view and all times look new."""
    driver, fault = FakeDriver(), [""]
    plant = live(None, driver)
    plant.watch(lambda: fault[0])
    plant.reset(None)
    fault[0] = "the program was suspended"
    view, applied = plant.step(V[None])
    assert view.fault == "the program was suspended"
    assert not applied.any()
    assert not any(isinstance(sent, Tensor) for sent in driver.sent)
