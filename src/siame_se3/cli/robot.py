"""The robot of siame live and siame check: its eye, its mover, how they are told."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from siame_se3.errors import SiameError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from siame_se3.geometry.camera import Camera
    from siame_se3.plants.robots.live import Eye, LivePlant, Mover
    from siame_se3.plants.robots.ros2 import Bus


@dataclass(frozen=True)
class Ros2:
    """Topics, for --robot ros2 and --eye ros2."""

    image: str = "/camera/image_raw"
    """sensor_msgs/Image; a name that ends with /compressed is a CompressedImage."""
    info: str = "/camera/camera_info"
    """sensor_msgs/CameraInfo; not used with --camera."""
    twist: str = "/arm/twist"
    """geometry_msgs/TwistStamped, to MoveIt Servo (/servo_node/delta_twist_cmds) or a Cartesian velocity controller."""
    pose: str = ""
    """geometry_msgs/PoseStamped of the tool in the base's frame (ros2_controllers' pose_broadcaster); '' for none."""
    frame: Literal["camera", "tool", "base", "spatial"] = "camera"
    """In which frame twists are sent. camera: its optical frame. tool: by --hand-eye. base: velocity of the tool's origin in the base's
    axes. spatial: in the base's frame, full adjoint. base and spatial need the pose's topic."""
    frame_id: str = ""
    """The name of that frame in the header; default: as --ros2.frame."""
    command: str = "/siame/command"
    """std_msgs/String with target, start, stop or quit; '' for the keyboard only."""
    status: str = "/siame/status"
    """std_msgs/String of what happens; '' for none."""
    bus: Literal["auto", "rclpy", "dds"] = "auto"
    """rclpy where ROS 2 is installed, else CycloneDDS (pip install 'siame-se3[ros2]')."""
    domain: int | None = None
    """Default: ROS_DOMAIN_ID, else 0."""
    stamps: Literal["header", "receipt"] = "header"
    """How old an image is: by its header (clocks must agree), or from when it came."""


@dataclass(frozen=True)
class Robot:
    """Which robot, which camera."""

    robot: Literal["ros2", "ur", "none"] = "ros2"
    """ros2: twists to a topic. ur: a Universal Robots arm (pip install 'siame-se3[ur]'). none: nothing moves (--dry-run)."""
    eye: Literal["ros2", "opencv"] = "ros2"
    """Where images come from: a topic, or --source."""
    source: str = "0"
    """For --eye opencv: index of a camera, video file, or URL."""
    host: str = ""
    """For --robot ur: its address."""
    camera: Path | None = None
    """ROS camera_info YAML ('siame calibrate camera' writes one); without one: the camera_info topic, or the paper's field of view."""
    hand_eye: Path | None = None
    """Where the camera sits in the tool ('siame calibrate hand-eye' writes it); for twists in the tool's or the base's frame."""
    rate: float = 25.0
    """Steps a second; not above the camera's."""
    ros2: Ros2 = field(default_factory=Ros2)
    """Topics."""

    def hand_eye_pose(self) -> Float[Tensor, "4 4"] | None:
        """T_tc of --hand-eye.

        Raises:
            SiameError: this robot needs it.
        """
        from siame_se3.commissioning.hand_eye_file import hand_eye_from_yaml

        if self.hand_eye:
            return hand_eye_from_yaml(self.hand_eye)
        if self.robot == "ur" or (self.robot == "ros2" and self.ros2.frame != "camera"):
            raise SiameError(
                "--hand-eye: this robot takes twists of its tool; give the file of 'siame calibrate hand-eye'"
            )
        return None

    def open(self, closing: contextlib.ExitStack, depth: float, dry: bool = False) -> tuple[LivePlant, Bus | None]:
        """The robot, and its bus if it has one; let go when `closing` ends.

        Raises:
            SiameError: a bad option, or something that does not answer.
        """
        from siame_se3.geometry.camera import Camera
        from siame_se3.geometry.camera_info import is_rectified
        from siame_se3.plants.robots.live import WATCHDOG, LivePlant
        from siame_se3.plants.robots.ros2 import bus_for

        if not 1 / WATCHDOG < self.rate <= 500:
            raise SiameError(
                f"--rate {self.rate:g}: give more than {1 / WATCHDOG:g} steps a second, 500 at most; robots stand still when none comes for {WATCHDOG:g} s"
            )
        T_tc = self.hand_eye_pose()
        rectified = self.eye == "ros2" and is_rectified(self.ros2.image)
        camera = Camera.from_yaml(self.camera, rectified) if self.camera else None
        bus = bus_for(self.ros2.bus, self.ros2.domain) if "ros2" in (self.robot, self.eye) else None
        if bus:
            closing.callback(bus.close)
        eye = self._eye(bus, camera)
        closing.callback(eye.close)
        mover = self._mover(bus, dry)
        closing.callback(mover.close)
        return LivePlant(eye, mover, T_tc, 1 / self.rate, depth, dry), bus

    def _eye(self, bus: Bus | None, camera: Camera | None) -> Eye:
        from siame_se3.plants.robots.opencv import Capture
        from siame_se3.plants.robots.ros2 import Ros2Eye

        if self.eye == "opencv":
            return Capture(self.source, camera)
        assert bus is not None
        return Ros2Eye(bus, self.ros2.image, "" if camera else self.ros2.info, camera, self.ros2.stamps)

    def _mover(self, bus: Bus | None, dry: bool) -> Mover:
        from siame_se3.plants.robots.live import Nowhere
        from siame_se3.plants.robots.ros2 import Ros2Mover
        from siame_se3.plants.robots.ur import UrMover

        if self.robot == "none":
            return Nowhere()
        if self.robot == "ur":
            if not self.host:
                raise SiameError("--robot ur: give its address, --host")
            return UrMover(self.host, dry=dry)
        assert bus is not None
        topics = self.ros2
        return Ros2Mover(bus, topics.twist, topics.frame, topics.frame_id or topics.frame, topics.pose, dry)
