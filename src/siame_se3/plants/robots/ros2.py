"""ROS 2: an Eye on image topics, a Mover on a twist topic, and the bus under them: rclpy where ROS 2 is installed, else CycloneDDS with ROS 2's
topic and type names (extra `ros2`), which needs no ROS.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.camera_info import info_from_message, is_rectified, projection
from siame_se3.images.crop import centred_square
from siame_se3.images.decode import as_image
from siame_se3.images.messages import ImageReader
from siame_se3.plants.robots.live import Frame, RobotState
from siame_se3.plants.robots.opencv import Newest


@dataclass(frozen=True)
class Publisher:
    """Sends messages; `listeners` is how many hear them. Sending raises OSError when it cannot."""

    send: Callable[[Any], None]
    listeners: Callable[[], int]

    def __call__(self, message: Any) -> None:
        self.send(message)


@runtime_checkable
class Bus(Protocol):
    """Topics, by ROS names such as /camera/image_raw; messages are those of `ros2_messages`."""

    def subscribe(self, topic: str, kind: type, heard: Callable[[Any], None], reliable: bool = False) -> None:
        """Call `heard` with each message, from another thread; only the newest counts, unless it is to be `reliable`."""

    def publisher(self, topic: str, kind: type) -> Publisher:
        """What sends a message."""

    def close(self) -> None:
        """Leave."""


def messages() -> Any:
    """The module of messages.

    Raises:
        SiameError: CycloneDDS is not installed.
    """
    try:
        return importlib.import_module("siame_se3.plants.robots.ros2_messages")
    except ImportError as error:
        raise SiameError(f"ROS 2: {error.name} is not installed; pip install 'siame-se3[ros2]'") from None


class DdsBus:
    """CycloneDDS by itself. Topics begin with rt/, as ROS 2's do."""

    def __init__(self, domain: int = 0) -> None:
        messages()
        from cyclonedds.core import Policy, Qos
        from cyclonedds.domain import DomainParticipant
        from cyclonedds.util import duration

        self._participant = DomainParticipant(domain)
        # Readers take from best-effort and reliable writers alike, the newest message only; writers serve both kinds of readers.
        self._newest = Qos(Policy.Reliability.BestEffort, Policy.History.KeepLast(1))
        self._each = Qos(Policy.Reliability.Reliable(duration(seconds=1)), Policy.History.KeepLast(10))
        self._writing = Qos(Policy.Reliability.Reliable(duration(milliseconds=20)), Policy.History.KeepLast(1))
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def _topic(self, name: str, kind: type) -> Any:
        from cyclonedds.topic import Topic

        return Topic(self._participant, "rt/" + name.lstrip("/"), kind)

    def subscribe(self, topic: str, kind: type, heard: Callable[[Any], None], reliable: bool = False) -> None:
        """See Bus."""
        from cyclonedds.core import ReadCondition, WaitSet
        from cyclonedds.sub import DataReader
        from cyclonedds.util import duration

        reader = DataReader(self._participant, self._topic(topic, kind), qos=self._each if reliable else self._newest)
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

    def publisher(self, topic: str, kind: type) -> Publisher:
        """See Bus."""
        from cyclonedds.pub import DataWriter

        writer = DataWriter(self._participant, self._topic(topic, kind), qos=self._writing)

        def send(message: Any) -> None:
            try:
                writer.write(message)
            except Exception as error:  # of DDS
                raise OSError(f"DDS: cannot send on {topic} ({error})") from None

        return Publisher(send, lambda: len(writer.get_matched_subscriptions()))

    def close(self) -> None:
        """See Bus."""
        self._ended.set()
        for thread in self._threads:
            thread.join(1)
        self._participant.__del__()


class RclpyBus:
    """A node of rclpy, where ROS 2 is installed."""

    def __init__(self, domain: int | None = None, name: str = "siame") -> None:
        rclpy = importlib.import_module("rclpy")
        qos = importlib.import_module("rclpy.qos")
        self._rclpy = rclpy
        self._owns = not rclpy.ok()
        if self._owns:
            # Ctrl-C is ours: rclpy's handler would close the node before the robot could be told to stop.
            signals = importlib.import_module("rclpy.signals")
            rclpy.init(domain_id=domain, signal_handler_options=signals.SignalHandlerOptions.NO)
        self._node = rclpy.create_node(name)
        self._newest, self._each = qos.qos_profile_sensor_data, qos.QoSProfile(depth=10)  # the latter reliable
        executors = importlib.import_module("rclpy.executors")
        self._executor = executors.SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def _kind(self, kind: type) -> Any:
        """ROS's class of a message: sensor_msgs.msg.dds_.Image_ is sensor_msgs.msg.Image."""
        package, _, _, name = kind.__idl__.idl_transformed_typename.replace("::", ".").split(".")  # type: ignore[attr-defined]  # CycloneDDS's
        return getattr(importlib.import_module(f"{package}.msg"), name.rstrip("_"))

    def subscribe(self, topic: str, kind: type, heard: Callable[[Any], None], reliable: bool = False) -> None:
        """See Bus. `heard` gets rclpy's message, whose fields have the same names."""
        self._node.create_subscription(self._kind(kind), topic, heard, self._each if reliable else self._newest)

    def publisher(self, topic: str, kind: type) -> Publisher:
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

        def send(message: Any) -> None:
            try:
                publisher.publish(filled(theirs(), message))
            except Exception as error:  # RCLError, when the context is gone
                raise OSError(f"rclpy: cannot send on {topic} ({error})") from None

        return Publisher(send, publisher.get_subscription_count)

    def close(self) -> None:
        """See Bus."""
        self._executor.shutdown()
        self._node.destroy_node()
        if self._owns:
            self._rclpy.shutdown()


def bus_for(kind: str = "auto", domain: int | None = None) -> Bus:
    """'rclpy', 'dds', or 'auto': rclpy where it is installed, else CycloneDDS; the domain is ROS_DOMAIN_ID's if it is not given."""
    if kind == "auto":
        kind = "rclpy" if importlib.util.find_spec("rclpy") else "dds"
    if kind == "dds":
        text = os.environ.get("ROS_DOMAIN_ID", "") or "0"
        if domain is None and not text.isdecimal():
            raise SiameError(f"ROS_DOMAIN_ID is '{text}'; give a whole number")
        return DdsBus(int(text) if domain is None else domain)
    if kind == "rclpy":
        messages()
        if not importlib.util.find_spec("rclpy"):
            raise SiameError("--bus rclpy: ROS 2 is not on Python's path; source its setup.bash, or take --bus dds")
        return RclpyBus(domain)
    raise SiameError(f"--bus {kind}: use auto, rclpy or dds")


def stamp_now() -> Any:
    """The time, as a message has it."""
    now = time.time_ns()
    return messages().Time(now // 1_000_000_000, now % 1_000_000_000)


def rgb_of(message: Any) -> np.ndarray:
    """Pixels (h, w, 3) uint8 of an Image or a CompressedImage by itself; a topic's images are read by one `ImageReader`.

    Raises:
        CameraError: an unknown encoding, or data that do not fit.
    """
    return ImageReader()(message)


def camera_of(info: Any, rectified: bool = False) -> Camera:
    """The camera of a CameraInfo; `rectified` of images that are rectified already.

    Raises:
        CameraError: not calibrated, or a distortion that is not known.
    """
    return info_from_message(info).camera(rectified)


def info_of(camera: Camera, header: Any) -> Any:
    """A CameraInfo of a camera."""
    d = list(camera.distortion) or [0.0] * 5
    K = camera.K.flatten().tolist()
    return messages().CameraInfo(
        header, camera.height, camera.width, camera.distortion_model, d, K, p=projection(camera)
    )


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
        rectified: whether the images are rectified already; None: by the topic's name (image_rect...).
        stamps: 'header': an image is as old as its header says, which takes clocks that agree; 'receipt': as when it came.

    Raises:
        SiameError: no CameraInfo within five seconds.
    """

    def __init__(
        self,
        bus: Bus,
        image: str,
        info: str = "",
        camera: Camera | None = None,
        stamps: str = "header",
        rectified: bool | None = None,
    ) -> None:
        m = messages()
        if stamps not in ("header", "receipt"):
            raise SiameError(f"--stamps {stamps}: use header or receipt")
        if camera is None and not info:
            raise SiameError("ROS 2 camera: give its camera_info topic, or a calibration (--camera FILE.yaml)")
        self._stamps, self._newest, self._given = stamps, Newest(), camera
        self._rgb, self._rectified = ImageReader(), is_rectified(image) if rectified is None else rectified
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
                self._given = camera_of(message, self._rectified)
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
            age = time.time() - (t.sec + 1e-9 * t.nanosec)
            if not -0.02 <= age <= 10:
                self._error = (
                    f"images: {age:.2f} s old by their headers; set the clocks (NTP), or take --ros2.stamps receipt"
                )
                return
            stamp -= age
        try:
            self._newest.put(Frame(self.prepared(self._rgb(message)), stamp))
        except SiameError as error:
            self._error = str(error)

    def prepared(self, pixels: np.ndarray) -> Float[Tensor, "3 h w"]:
        """See Eye."""
        assert self._given is not None
        return as_image(centred_square(self._given.rectify(pixels)))

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
        dry: send nothing.

    Raises:
        SiameError: nobody listens, or no pose comes, within five seconds.
    """

    def __init__(self, bus: Bus, twist: str, frame: str, frame_id: str, pose: str = "", dry: bool = False) -> None:
        m = messages()
        self.frame, self._frame_id, self._twist_topic = frame, frame_id, twist
        self._send = None if dry else bus.publisher(twist, m.TwistStamped)
        until = time.monotonic() + 5
        while self._send and not self._send.listeners():
            if time.monotonic() > until:
                raise SiameError(
                    f"{twist}: nobody listens; check the topic's name, ROS_DOMAIN_ID, and that the controller runs"
                )
            time.sleep(0.02)
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
        if self._send is None:
            return
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
        if self._send and not self._send.listeners():
            return RobotState(self._T_bt, f"lost connection: nobody listens on {self._twist_topic}")
        return RobotState(self._T_bt)

    def close(self) -> None:
        """See Mover."""
        self.stop()
