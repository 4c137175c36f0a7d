"""ROS 2: an Eye on image topics, a Mover on a twist topic, and the bus under them: rclpy where ROS 2 is installed, else CycloneDDS with ROS 2's
topic and type names (extra `ros2`), which needs no ROS.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import threading
import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3 import lie
from siame_se3.camera import Camera
from siame_se3.errors import SiameError
from siame_se3.plant.capture import Newest, as_image
from siame_se3.plant.live import Frame, RobotState

_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1, "8UC3": 3}


@runtime_checkable
class Bus(Protocol):
    """Topics, by ROS names such as /camera/image_raw; messages are those of `ros2_messages`."""

    def subscribe(self, topic: str, kind: type, heard: Callable[[Any], None]) -> None:
        """Call `heard` with each message, from another thread."""

    def publisher(self, topic: str, kind: type) -> Callable[[Any], None]:
        """What sends a message."""

    def close(self) -> None:
        """Leave."""


def messages() -> Any:
    """The module of messages.

    Raises:
        SiameError: CycloneDDS is not installed.
    """
    try:
        return importlib.import_module("siame_se3.plant.ros2_messages")
    except ImportError as error:
        raise SiameError(f"ROS 2: {error.name} is not installed; pip install 'siame-se3[ros2]'") from None


class DdsBus:
    """CycloneDDS by itself. Topics begin with rt/, as ROS 2's do; the domain is ROS_DOMAIN_ID's by default."""

    def __init__(self, domain: int = 0) -> None:
        messages()
        from cyclonedds.core import Policy, Qos
        from cyclonedds.domain import DomainParticipant
        from cyclonedds.util import duration

        self._participant = DomainParticipant(domain)
        # Readers take from best-effort and reliable writers alike, the newest message only; writers serve both kinds of readers.
        self._reading = Qos(Policy.Reliability.BestEffort, Policy.History.KeepLast(1))
        self._writing = Qos(Policy.Reliability.Reliable(duration(milliseconds=20)), Policy.History.KeepLast(1))
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def _topic(self, name: str, kind: type) -> Any:
        from cyclonedds.topic import Topic

        return Topic(self._participant, "rt/" + name.lstrip("/"), kind)

    def subscribe(self, topic: str, kind: type, heard: Callable[[Any], None]) -> None:
        """See Bus."""
        from cyclonedds.core import ReadCondition, WaitSet
        from cyclonedds.sub import DataReader
        from cyclonedds.util import duration

        reader = DataReader(self._participant, self._topic(topic, kind), qos=self._reading)
        every = ReadCondition(reader, 1 | 2 | 4 | 8 | 16 | 32 | 64)  # any state
        waiting = WaitSet(self._participant)
        waiting.attach(every)

        def listen() -> None:
            while not self._ended.is_set():
                with contextlib.suppress(Exception):  # of DDS: a sample of another type is not ours
                    if waiting.wait(duration(milliseconds=100)):
                        for message in reader.take(8):
                            if isinstance(message, kind):  # not a notice that a writer left
                                heard(message)

        self._threads.append(threading.Thread(target=listen, daemon=True))
        self._threads[-1].start()

    def publisher(self, topic: str, kind: type) -> Callable[[Any], None]:
        """See Bus."""
        from cyclonedds.pub import DataWriter

        writer = DataWriter(self._participant, self._topic(topic, kind), qos=self._writing)

        def send(message: Any) -> None:
            try:
                writer.write(message)
            except Exception as error:  # of DDS
                raise OSError(f"DDS: cannot send on {topic} ({error})") from None

        return send

    def close(self) -> None:
        """See Bus."""
        self._ended.set()
        for thread in self._threads:
            thread.join(1)
        self._participant.__del__()


class RclpyBus:
    """A node of rclpy, where ROS 2 is installed."""

    def __init__(self, name: str = "siame") -> None:
        rclpy = importlib.import_module("rclpy")
        qos = importlib.import_module("rclpy.qos")
        self._rclpy = rclpy
        self._owns = not rclpy.ok()
        if self._owns:
            rclpy.init()
        self._node = rclpy.create_node(name)
        self._reading = qos.qos_profile_sensor_data
        executors = importlib.import_module("rclpy.executors")
        self._executor = executors.SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def _kind(self, kind: type) -> Any:
        """ROS's class of a message: sensor_msgs.msg.dds_.Image_ is sensor_msgs.msg.Image."""
        package, _, _, name = kind.__idl__.idl_transformed_typename.replace("::", ".").split(".")  # type: ignore[attr-defined]  # CycloneDDS's
        return getattr(importlib.import_module(f"{package}.msg"), name.rstrip("_"))

    def subscribe(self, topic: str, kind: type, heard: Callable[[Any], None]) -> None:
        """See Bus. `heard` gets rclpy's message, whose fields have the same names."""
        self._node.create_subscription(self._kind(kind), topic, heard, self._reading)

    def publisher(self, topic: str, kind: type) -> Callable[[Any], None]:
        """See Bus."""
        theirs = self._kind(kind)
        publisher = self._node.create_publisher(theirs, topic, 1)

        def filled(target: Any, source: Any) -> Any:
            for item in fields(source):
                value = getattr(source, item.name)
                if is_dataclass(value):
                    filled(getattr(target, item.name), value)
                else:
                    setattr(target, item.name, value)
            return target

        return lambda message: publisher.publish(filled(theirs(), message))

    def close(self) -> None:
        """See Bus."""
        self._executor.shutdown()
        self._node.destroy_node()
        if self._owns:
            self._rclpy.shutdown()


def bus_for(kind: str = "auto", domain: int = 0) -> Bus:
    """'rclpy', 'dds', or 'auto': rclpy where it is installed, else CycloneDDS."""
    if kind == "auto":
        kind = "rclpy" if importlib.util.find_spec("rclpy") else "dds"
    if kind == "dds":
        return DdsBus(domain)
    if kind == "rclpy":
        messages()
        if not importlib.util.find_spec("rclpy"):
            raise SiameError("--bus rclpy: ROS 2 is not on Python's path; source its setup.bash, or take --bus dds")
        return RclpyBus()
    raise SiameError(f"--bus {kind}: use auto, rclpy or dds")


def stamp_now() -> Any:
    """The time, as a message has it."""
    now = time.time_ns()
    return messages().Time(now // 1_000_000_000, now % 1_000_000_000)


def rgb_of(message: Any) -> np.ndarray:
    """Pixels (h, w, 3) uint8 of an Image or a CompressedImage.

    Raises:
        SiameError: an unknown encoding, or data that do not fit.
    """
    data = np.frombuffer(memoryview(bytes(message.data)), np.uint8)
    if not hasattr(message, "encoding"):
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
        if bgr is None:
            raise SiameError(f"compressed image: format '{message.format}' cannot be read; send jpeg or png")
        return np.ascontiguousarray(bgr[..., ::-1])
    channels = _CHANNELS.get(message.encoding)
    if channels is None:
        raise SiameError(f"image: encoding '{message.encoding}' is not known; send one of {', '.join(_CHANNELS)}")
    h, w, step = message.height, message.width, message.step or message.width * channels
    if len(data) < h * step or step < w * channels or not h * w:
        raise SiameError(
            f"image: {len(data)} bytes for {w} x {h} px of {message.encoding}; the camera's driver is at fault"
        )
    pixels = data[: h * step].reshape(h, step)[:, : w * channels].reshape(h, w, channels)
    if channels == 1:
        return np.repeat(pixels, 3, 2)
    pixels = pixels[..., :3]
    return np.ascontiguousarray(
        pixels[..., ::-1] if message.encoding.startswith("bgr") or message.encoding == "8UC3" else pixels
    )


def camera_of(info: Any) -> Camera:
    """Of a CameraInfo.

    Raises:
        SiameError: not calibrated, or a distortion that is not known.
    """
    k = list(info.k)
    if not k[0] > 0:
        raise SiameError("camera_info: K is zero, the camera is not calibrated; calibrate it (siame calibrate camera)")
    return Camera(k[0], k[4], k[2], k[5], info.width, info.height, tuple(info.d), info.distortion_model or "plumb_bob")


def info_of(camera: Camera, header: Any) -> Any:
    """A CameraInfo of a camera."""
    p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    d = list(camera.distortion) or [0.0] * 5
    K = camera.K.flatten().tolist()
    return messages().CameraInfo(header, camera.height, camera.width, camera.distortion_model, d, K, p=p)


def pose_message(T: Float[Tensor, "4 4"], header: Any) -> Any:
    """A PoseStamped of a pose."""
    m = messages()
    w, x, y, z = quaternion(T[:3, :3])
    return m.PoseStamped(header, m.Pose(m.Point(*T[:3, 3].tolist()), m.Quaternion(x, y, z, w)))


def quaternion(R: Float[Tensor, "3 3"]) -> tuple[float, ...]:
    """(w, x, y, z) of a rotation."""
    theta_u = lie.so3_log(R.double())
    half = theta_u.norm() / 2
    w = torch.cos(half)
    return (float(w), *(0.5 * torch.sinc(half / torch.pi) * theta_u).tolist())


def pose_of(message: Any) -> Float[Tensor, "4 4"]:
    """The pose of a PoseStamped.

    Raises:
        SiameError: its quaternion is not one.
    """
    p, q = message.pose.position, message.pose.orientation
    w, v = float(q.w), torch.tensor([q.x, q.y, q.z], dtype=torch.float64)
    size = float((w * w + v @ v) ** 0.5)
    if not 0.99 < size < 1.01:
        raise SiameError(f"pose: a quaternion of length {size:.3f}; the robot's driver is at fault")
    w, v = w / size, v / size
    K = lie.hat(v)
    R = torch.eye(3, dtype=torch.float64) + 2 * w * K + 2 * K @ K
    return lie.pose(R, torch.tensor([p.x, p.y, p.z], dtype=torch.float64))


class Ros2Eye:
    """Images of a topic, rectified by a camera_info topic or a given camera; the centred square.

    Args:
        bus: of topics.
        image: topic; one that ends with /compressed has CompressedImage.
        info: topic of CameraInfo, '' for none.
        camera: instead of `info`.
        stamps: 'header': an image is as old as its header says, which takes clocks that agree; 'receipt': as when it came.

    Raises:
        SiameError: no CameraInfo within five seconds.
    """

    def __init__(
        self, bus: Bus, image: str, info: str = "", camera: Camera | None = None, stamps: str = "header"
    ) -> None:
        m = messages()
        if stamps not in ("header", "receipt"):
            raise SiameError(f"--stamps {stamps}: use header or receipt")
        if camera is None and not info:
            raise SiameError("ROS 2 camera: give its camera_info topic, or a calibration (--camera FILE.yaml)")
        self._stamps, self._newest, self._given = stamps, Newest(), camera
        self._known = threading.Event()
        self._error = ""
        if camera is None:
            bus.subscribe(info, m.CameraInfo, self._informed)
            if not self._known.wait(5.0):
                raise SiameError(f"{info}: no CameraInfo within 5 s; check the topic's name and ROS_DOMAIN_ID")
            if self._given is None:
                raise SiameError(f"{info}: {self._error}")
        bus.subscribe(image, m.CompressedImage if image.endswith("/compressed") else m.Image, self._heard)

    def _informed(self, message: Any) -> None:
        if not self._known.is_set():
            try:
                self._given = camera_of(message)
            except SiameError as error:
                self._error = str(error)
            self._known.set()

    @property
    def camera(self) -> Camera:
        """Of the rectified square that laws see."""
        assert self._given is not None
        return self._given.square()

    def _heard(self, message: Any) -> None:
        assert self._given is not None
        stamp = time.monotonic()
        if self._stamps == "header":
            t = message.header.stamp
            stamp -= time.time() - (t.sec + 1e-9 * t.nanosec)
        try:
            pixels = self._given.rectify(rgb_of(message))
        except SiameError as error:
            self._error = str(error)
            return
        side = min(pixels.shape[:2])
        top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        self._newest.put(Frame(as_image(pixels[top : top + side, left : left + side]), stamp))

    def latest(self, after: float, wait: float) -> Frame | None:
        """See Eye.

        Raises:
            SiameError: images come, and cannot be used.
        """
        frame = self._newest.get(after, wait)
        if frame is None and self._error:
            error, self._error = self._error, ""
            raise SiameError(error)
        return frame

    def close(self) -> None:
        """The bus is closed by who made it."""


class Ros2Mover:
    """Sends TwistStamped, as MoveIt Servo and Cartesian velocity controllers take them; these stand still by themselves when none comes
    (MoveIt Servo: incoming_command_timeout, which should be 0.1 s).

    Args:
        bus: of topics.
        twist: topic.
        frame: in which twists are sent, one of `live.FRAMES`.
        frame_id: that frame's name, for the header.
        pose: topic of the tool's PoseStamped in the base's frame (ros2_controllers' pose_broadcaster), '' for none.
    """

    def __init__(self, bus: Bus, twist: str, frame: str, frame_id: str, pose: str = "") -> None:
        m = messages()
        self.frame, self._frame_id = frame, frame_id
        self._send = bus.publisher(twist, m.TwistStamped)
        self._T_bt: Tensor | None = None
        self._heard_at = time.monotonic()
        self._pose_topic = pose
        self._known = threading.Event()
        if pose:
            bus.subscribe(pose, m.PoseStamped, self._heard)
            if not self._known.wait(5.0):
                raise SiameError(f"{pose}: no PoseStamped within 5 s; check the topic's name and ROS_DOMAIN_ID")

    def _heard(self, message: Any) -> None:
        with contextlib.suppress(SiameError):
            self._T_bt, self._heard_at = pose_of(message), time.monotonic()
            self._known.set()

    def move(self, twist: Float[Tensor, "6"]) -> None:
        """See Mover."""
        m = messages()
        v = twist.tolist()
        self._send(m.TwistStamped(m.Header(stamp_now(), self._frame_id), m.Twist(m.Vector3(*v[:3]), m.Vector3(*v[3:]))))

    def stop(self) -> None:
        """See Mover."""
        self.move(torch.zeros(6))

    def state(self) -> RobotState:
        """See Mover."""
        age = time.monotonic() - self._heard_at
        if self._pose_topic and age > 0.5:
            return RobotState(self._T_bt, f"lost connection: no pose on {self._pose_topic} for {age:.1f} s")
        return RobotState(self._T_bt)

    def close(self) -> None:
        """See Mover."""
        self.stop()
