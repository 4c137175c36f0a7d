"""ROS 2's messages and topics over DDS, without ROS; rosbags decodes independently."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.plants.robots.bus import stamp_now
from siame_se3.plants.robots.bus_dds import DdsBus
from siame_se3.plants.robots.bus_rclpy import RclpyBus
from siame_se3.plants.robots.buses import bus_for
from siame_se3.plants.robots.interfaces import RobotState
from siame_se3.plants.robots.ros2 import camera_of, info_of, rgb_of
from siame_se3.plants.robots.ros2_camera import Ros2Camera
from siame_se3.plants.robots.ros2_driver import Ros2Driver
from siame_se3.plants.robots.ros2_poses import pose_message, pose_of

if not all(importlib.util.find_spec(name) for name in ("cyclonedds", "rosbags")):
    pytest.skip("CycloneDDS or rosbags are not installed", allow_module_level=True)

from rosbags.typesys import Stores, get_typestore

from siame_se3.plants.robots import ros2_messages as m

STORE = get_typestore(Stores.ROS2_HUMBLE)
DOMAIN = 100 + os.getpid() % 100
CAMERA = Camera(61.0, 62.0, 31.0, 23.5, 64, 48, (0.1, -0.05, 0.001, 0.002, 0.01))
rng = np.random.default_rng(0)
PIXELS = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
HEADER = m.Header(m.Time(1700000000, 123456789), "camera_optical_frame")
MESSAGES = [
    m.Image(HEADER, 48, 64, "rgb8", 0, 192, PIXELS.tobytes()),
    m.CompressedImage(HEADER, "png", cv2.imencode(".png", PIXELS)[1].tobytes()),
    info_of(CAMERA, HEADER),
    m.TwistStamped(HEADER, m.Twist(m.Vector3(0.1, -0.2, 0.3), m.Vector3(-1.0, 2.0, -3.0))),
    m.PoseStamped(HEADER, m.Pose(m.Point(1.0, 2.0, 3.0), m.Quaternion(0.5, -0.5, 0.5, 0.5))),
    m.String("start"),
]


def ros_name(message: Any) -> str:
    name = type(message).__idl__.idl_transformed_typename.replace("::", ".").replace(".dds_.", "/").replace(".", "/")
    return name.rstrip("_")


def same(ours: Any, theirs: Any) -> None:
    """Every field, and no other."""
    assert {f.name for f in fields(ours)} == {f.name for f in fields(theirs)} - {"__msgtype__"}
    for item in fields(ours):
        a, b = getattr(ours, item.name), getattr(theirs, item.name)
        if is_dataclass(a):
            same(a, b)
        elif isinstance(a, str | bool | int | float):
            assert a == b, item.name
        else:
            assert np.array_equal(np.asarray(list(a)), np.asarray(list(b))), item.name


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_rosbags_reads_ours_and_we_read_its(message: Any) -> None:
    name = ros_name(message)
    theirs = STORE.deserialize_cdr(message.serialize(), name)
    same(message, theirs)
    same(type(message).deserialize(bytes(STORE.serialize_cdr(theirs, name))), theirs)


@pytest.mark.parametrize(
    ("encoding", "make"),
    [
        ("rgb8", lambda x: x),
        ("bgr8", lambda x: x[..., ::-1]),
        ("8UC3", lambda x: x[..., ::-1]),
        ("rgba8", lambda x: np.dstack((x, x[..., :1]))),
        ("bgra8", lambda x: np.dstack((x[..., ::-1], x[..., :1]))),
    ],
)
@pytest.mark.parametrize("padding", [0, 5])
def test_encodings(encoding: str, make: Callable[[np.ndarray], np.ndarray], padding: int) -> None:
    pixels = make(PIXELS)
    rows = np.pad(pixels.reshape(48, -1), ((0, 0), (0, padding)))
    message = m.Image(HEADER, 48, 64, encoding, 0, rows.shape[1], rows.tobytes())
    assert np.array_equal(rgb_of(message), PIXELS)


def test_grey_compressed_and_bad_images() -> None:
    grey = m.Image(HEADER, 48, 64, "mono8", 0, 64, PIXELS[..., 0].tobytes())
    assert np.array_equal(rgb_of(grey), np.repeat(PIXELS[..., :1], 3, 2))
    png = cv2.imencode(".png", PIXELS[..., ::-1])[1]
    assert np.array_equal(rgb_of(m.CompressedImage(HEADER, "png", png.tobytes())), PIXELS)
    for bad, words in (
        (m.Image(HEADER, 48, 64, "bayer_rgbx8", 0, 64, b"0" * 3072), "encoding 'bayer_rgbx8' is not known"),
        (m.Image(HEADER, 48, 64, "rgb8", 0, 192, b"0" * 100), "100 bytes for 64 x 48 px"),
        (m.Image(HEADER, 0, 0, "rgb8", 0, 0, b""), "0 bytes"),
        (m.CompressedImage(HEADER, "jpeg", b"nothing"), "not an image that can be read"),
        (m.CompressedImage(HEADER, "jpeg", b""), "not an image that can be read"),
    ):
        with pytest.raises(SiameError, match=words):
            rgb_of(bad)


def test_camera_info_and_poses_there_and_back() -> None:
    assert camera_of(info_of(CAMERA, HEADER)) == CAMERA
    with pytest.raises(SiameError, match="not calibrated"):
        camera_of(m.CameraInfo(height=48, width=64))
    for vector in (
        (0.1, 0.2, 0.3, 0.0, 0.0, 0.0),
        (1, 2, 3, 0.5, -1.0, 2.0),
        (0, 0, 0, math.pi, 0, 0),
        (0, 0, 0, 1e-9, 0, 0),
    ):
        T = lie.pose_from_vector(torch.tensor(vector, dtype=torch.float64))
        torch.testing.assert_close(pose_of(pose_message(T, HEADER)), T, atol=1e-12, rtol=0)
    with pytest.raises(SiameError, match="quaternion of length 0"):
        pose_of(m.PoseStamped(HEADER, m.Pose(m.Point(), m.Quaternion(0.0, 0.0, 0.0, 0.0))))


@pytest.fixture
def buses() -> Iterator[tuple[DdsBus, DdsBus]]:
    both = DdsBus(DOMAIN), DdsBus(DOMAIN)
    yield both
    for bus in both:
        with contextlib.suppress(Exception):  # a test may have closed it
            bus.close()


def repeat_until(send: Callable[[], Any], there: Callable[[], Any], seconds: float = 20.0) -> None:
    """Topics are found after a moment; readers take the newest."""
    until = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < until, "nothing came"
        send()
        time.sleep(0.02)


def test_topics_have_ros_names_and_reach_the_other_side(buses: tuple[DdsBus, DdsBus]) -> None:
    from cyclonedds.builtin import BuiltinDataReader, BuiltinTopicDcpsPublication

    heard: list[Any] = []
    buses[1].subscribe("/siame/status", m.String, heard.append)
    send = buses[0].publisher("/siame/status", m.String)
    repeat_until(lambda: send(m.String("here")), lambda: heard)
    assert heard[0].data == "here"
    found = BuiltinDataReader(buses[1]._participant, BuiltinTopicDcpsPublication).take(50)
    assert ("rt/siame/status", "std_msgs::msg::dds_::String_") in {(p.topic_name, p.type_name) for p in found}


def test_camera_rectifies_and_tells_ages(buses: tuple[DdsBus, DdsBus]) -> None:
    images, infos = buses[0].publisher("/c/image", m.Image), buses[0].publisher("/c/info", m.CameraInfo)
    sending, shift = True, 2

    def send() -> None:
        while sending:
            infos(info_of(CAMERA, HEADER))
            stamp = stamp_now()
            stamp.sec -= shift
            images(m.Image(m.Header(stamp, "c"), 48, 64, "rgb8", 0, 192, PIXELS.tobytes()))
            time.sleep(0.02)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        source = Ros2Camera(buses[1], "/c/image", "/c/info")
        assert source.camera == CAMERA.square()
        frame = source.latest(-math.inf, 20.0)
        assert frame is not None
        assert 1.9 < time.monotonic() - frame.stamp < 4.0, "as old as its header says"
        expected = CAMERA.rectify(PIXELS)[:, 8:56]
        assert np.array_equal((255 * frame.image).round().byte().permute(1, 2, 0).numpy(), expected)
        by_receipt = Ros2Camera(buses[1], "/c/image", "", CAMERA, "receipt").latest(-math.inf, 20.0)
        assert by_receipt is not None
        assert time.monotonic() - by_receipt.stamp < 1.5
        for wrong in (-1, 60):  # the camera's clock
            shift = wrong
            time.sleep(0.2)
            with pytest.raises(SiameError, match="set the clocks"):
                source.latest(time.monotonic() + 100, 0.1)
    finally:
        sending = False
        sender.join()


def test_driver_sends_twists_and_knows_the_pose(buses: tuple[DdsBus, DdsBus]) -> None:
    heard: list[Any] = []
    buses[1].subscribe("/t", m.TwistStamped, heard.append)
    driver = Ros2Driver(buses[0], "/t", "tool", "tool0")  # waits for the listener
    v = torch.tensor([0.1, 0.2, 0.3, -0.1, -0.2, -0.3], dtype=torch.float64)
    repeat_until(lambda: driver.move(v), lambda: heard)
    assert (heard[0].twist.linear.y, heard[0].twist.angular.z) == (0.2, -0.3)
    assert heard[0].header.frame_id == "tool0"
    assert abs(heard[0].header.stamp.sec - time.time()) < 60
    assert driver.state() == RobotState()
    driver.stop()
    repeat_until(driver.stop, lambda: heard[-1].twist.linear.y == 0)
    count = len(heard)
    dry = Ros2Driver(buses[0], "/t", "tool", "tool0", dry=True)
    dry.move(v)
    dry.close()
    buses[1].close()
    repeat_until(lambda: None, lambda: "nobody listens on /t" in driver.state().fault)
    assert len(heard) == count


def test_what_does_not_come_is_named(buses: tuple[DdsBus, DdsBus], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threading.Event.wait", lambda self, seconds=None: self.is_set())
    with pytest.raises(SiameError, match="no CameraInfo within 5 s"):
        Ros2Camera(buses[0], "/no/image", "/no/info")
    with pytest.raises(SiameError, match="no PoseStamped within 5 s"):
        Ros2Driver(buses[0], "/t", "base", "base", "/no/pose", dry=True)
    clock = iter(range(1000))
    with monkeypatch.context() as hurry:
        hurry.setattr("time.monotonic", lambda: float(next(clock)))
        with pytest.raises(SiameError, match="/t: nobody listens"):
            Ros2Driver(buses[0], "/t", "camera", "camera")
    with pytest.raises(SiameError, match="give its camera_info topic"):
        Ros2Camera(buses[0], "/c/image")
    with pytest.raises(SiameError, match="header or receipt"):
        Ros2Camera(buses[0], "/c/image", "/c/info", stamps="never")
    with pytest.raises(SiameError, match="use auto, rclpy or dds"):
        bus_for("carrier pigeon")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SiameError, match=r"source its setup.bash"):
        bus_for("rclpy")
    monkeypatch.setitem(sys.modules, "siame_se3.plants.robots.ros2_messages", None)
    with pytest.raises(SiameError, match=r"siame-se3\[ros2\]"):
        bus_for("dds")


def test_rclpy_gets_its_own_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A double of rclpy: it has not run with ROS 2 installed."""
    published: list[tuple[str, Any]] = []
    subscribed: dict[str, Any] = {}
    begun: dict[str, Any] = {}
    gone: list[bool] = []

    class Node:
        def create_publisher(self, kind: Any, topic: str, depth: int) -> Any:
            def publish(message: Any) -> None:
                if gone:
                    raise RuntimeError("publisher's context is invalid")
                published.append((topic, message))

            return types.SimpleNamespace(publish=publish, get_subscription_count=lambda: 1)

        def create_subscription(self, kind: Any, topic: str, heard: Any, qos: Any) -> None:
            subscribed[topic] = (kind, heard, qos)

        def destroy_node(self) -> None:
            published.append(("destroyed", None))

    class Part:
        pass

    class TwistStamped:
        def __init__(self) -> None:
            self.header, self.twist = Part(), Part()
            self.header.stamp, self.twist.linear, self.twist.angular = Part(), Part(), Part()  # type: ignore[attr-defined]

    ended = threading.Event()
    executor = types.SimpleNamespace(add_node=lambda node: None, spin=ended.wait, shutdown=ended.set)
    rclpy = types.ModuleType("rclpy")
    vars(rclpy).update(ok=lambda: False, init=begun.update, shutdown=lambda: None, create_node=lambda name: Node())
    for name, content in {
        "rclpy": rclpy,
        "rclpy.qos": types.SimpleNamespace(
            QoSProfile=lambda depth, reliability="reliable", history="": f"{reliability} {depth}",
            ReliabilityPolicy=types.SimpleNamespace(BEST_EFFORT="best effort"),
            HistoryPolicy=types.SimpleNamespace(KEEP_LAST="keep last"),
        ),
        "rclpy.signals": types.SimpleNamespace(SignalHandlerOptions=types.SimpleNamespace(NO="none")),
        "rclpy.executors": types.SimpleNamespace(SingleThreadedExecutor=lambda: executor),
        "geometry_msgs.msg": types.SimpleNamespace(TwistStamped=TwistStamped),
        "std_msgs.msg": types.SimpleNamespace(String="their String"),
    }.items():
        monkeypatch.setitem(sys.modules, name, content)
    bus = RclpyBus(7)
    assert begun == {"domain_id": 7, "signal_handler_options": "none"}, (
        "Ctrl-C must not close the node before the robot is stopped"
    )
    driver = Ros2Driver(bus, "/t", "camera", "cam")
    driver.move(torch.arange(6, dtype=torch.float64) / 10)
    bus.subscribe("/siame/command", m.String, print, reliable=True)
    gone.append(True)
    with pytest.raises(OSError, match="context is invalid"):
        driver.stop()
    bus.close()
    topic, message = published[0]
    assert topic == "/t"
    assert isinstance(message, TwistStamped)
    assert (message.header.frame_id, message.twist.linear.y, message.twist.angular.z) == ("cam", 0.1, 0.5)  # type: ignore[attr-defined]
    assert message.header.stamp.sec > 0  # type: ignore[attr-defined]
    assert subscribed["/siame/command"][::2] == ("their String", "reliable 10")
    assert published[-1][0] == "destroyed"
