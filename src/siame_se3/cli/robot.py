"""The robot of siame live and siame check: its camera source, its velocity driver, and their options."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from siame_se3.cli.topics import ImageTopics
from siame_se3.errors import InputError, require_numbers
from siame_se3.files import doing
from siame_se3.plants.robots.checks import HardLimits
from siame_se3.servo.safety import Safety

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from siame_se3.geometry.camera import Camera
    from siame_se3.plants.robots.bus import Bus
    from siame_se3.plants.robots.interfaces import CameraSource, DepthSource, VelocityDriver
    from siame_se3.plants.robots.live import LivePlant


@dataclass(frozen=True)
class Ros2(ImageTopics):
    """Topics, for --robot ros2 and --camera-source ros2."""

    depth: str = ""
    """sensor_msgs/Image, 16UC1 (mm) or 32FC1 (m): depth that is aligned to the image, such as /camera/aligned_depth_to_color/image_raw, or with
    --ros2.depth-info; a name that ends with /compressedDepth is a CompressedImage. Read when 'target' is said; '' for none."""
    depth_info: str = ""
    """sensor_msgs/CameraInfo of a depth camera whose images are not aligned."""
    depth_pose: tuple[float, float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    """Where that depth camera is in the image's camera: x y z [m], theta u [rad]."""
    twist: str = "/arm/twist"
    """geometry_msgs/TwistStamped, to MoveIt Servo (/servo_node/delta_twist_cmds) or a Cartesian velocity controller."""
    pose: str = ""
    """geometry_msgs/PoseStamped of the tool in the base's frame (ros2_controllers' pose_broadcaster); '' for none."""
    frame: Literal["camera", "tool", "base", "spatial"] = "camera"
    """In which frame twists are sent. camera: its optical frame. tool: by --hand-eye. base: velocity of the tool's origin in the base's
    axes. spatial: in the base's frame, full adjoint. base and spatial need the pose's topic."""
    frame_id: str = ""
    """The name of that frame in the header; default: as --ros2.frame."""
    command: str = ""
    """std_msgs/String with target, start, stop or quit, for example /siame/command; '' for the keyboard only. Whoever reaches the topic can
    start the robot: see docs/robots.md."""
    status: str = "/siame/status"
    """std_msgs/String of what happens; '' for none."""


@dataclass(frozen=True)
class Robot:
    """Which robot, which camera."""

    robot: Literal["ros2", "ur", "none"] = "ros2"
    """ros2: twists to a topic. ur: a Universal Robots arm (pip install 'siame-se3[ur]'). none: nothing moves (--dry-run)."""
    camera_source: Annotated[Literal["ros2", "opencv"], arg(aliases=["--eye"])] = "ros2"
    """Where images come from: a topic, or --source."""
    source: str = "0"
    """For --camera-source opencv: index of a camera, its device (/dev/video0), video file, or URL."""
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
    hard_limits: HardLimits = field(default_factory=HardLimits)
    """Speeds that are never sent, whatever else is given: the robot is stopped instead."""

    @property
    def on_bus(self) -> bool:
        """Whether anything of it is on ROS 2's topics."""
        return "ros2" in (self.robot, self.camera_source) or bool(self.ros2.depth)

    def hand_eye_pose(self) -> Float[Tensor, "4 4"] | None:
        """T_tc of --hand-eye.

        Raises:
            InputError: this robot needs it, or the file is none.
        """
        from siame_se3.commissioning.hand_eye_file import hand_eye_from_yaml

        if self.hand_eye:
            return hand_eye_from_yaml(self.hand_eye)
        if self.robot == "ur" or (self.robot == "ros2" and self.ros2.frame != "camera"):
            raise InputError(
                "--hand-eye: this robot takes twists of its tool; give the file of 'siame calibrate hand-eye'"
            )
        return None

    @cached_property
    def checked(self) -> tuple[Float[Tensor, "4 4"] | None, Camera | None]:
        """T_tc of --hand-eye and the camera of --camera; what can be refused without opening anything is refused here.

        Raises:
            InputError: a bad option or file.
        """
        from siame_se3.geometry.camera import Camera
        from siame_se3.geometry.camera_info import is_rectified
        from siame_se3.plants.robots.interfaces import WATCHDOG
        from siame_se3.plants.robots.opencv import check_source

        if any(word.split("=")[0] == "--eye" for word in sys.argv):
            print(
                "siame: --eye is called --camera-source now; the old name goes with the next version", file=sys.stderr
            )
        if not 1 / WATCHDOG < self.rate <= 500:
            raise InputError(
                f"--rate {self.rate:g}: give more than {1 / WATCHDOG:g} steps a second, 500 at most; robots stand still when none comes for {WATCHDOG:g} s"
            )
        require_numbers(self.ros2, "depth_pose", 6)
        if (self.ros2.depth_info or any(self.ros2.depth_pose)) and not self.ros2.depth:
            raise InputError("--ros2.depth-info, --ros2.depth-pose: of which images? give --ros2.depth too")
        if any(self.ros2.depth_pose) and not self.ros2.depth_info:
            raise InputError(
                "--ros2.depth-pose: depth in another place is not aligned; give its camera_info too, --ros2.depth-info"
            )
        T_tc = self.hand_eye_pose()
        if self.camera_source == "opencv":
            check_source(self.source)
        if self.robot == "ur" and not self.host:
            raise InputError("--robot ur: give its address, --host")
        rectified = self.camera_source == "ros2" and is_rectified(self.ros2.image)
        camera = Camera.from_yaml(self.camera, rectified) if self.camera else None
        return T_tc, camera

    def open(
        self, closing: contextlib.ExitStack, depth: float, dry: bool = False, safety: Safety | None = None
    ) -> tuple[LivePlant, Bus | None]:
        """The robot, and its bus if it has one; let go when `closing` ends.

        Args:
            closing: ends with the command.
            depth: distance of the scene [m].
            dry: send nothing to the robot.
            safety: limits of what it will be commanded; None for the default ones.

        Raises:
            InputError: a bad option.
            RobotError: something that does not answer.
        """
        from siame_se3.plants.robots.buses import bus_for
        from siame_se3.plants.robots.live import LivePlant
        from siame_se3.plants.robots.text import without_password

        T_tc, camera = self.checked
        bus = bus_for(self.ros2.bus, self.ros2.domain) if self.on_bus else None
        if bus:
            closing.callback(bus.close)
        place = self.ros2.image if self.camera_source == "ros2" else without_password(self.source)
        with doing(f"waiting for the camera ({place})"):
            source = self._source(bus, camera)
        parts = closing.enter_context(contextlib.ExitStack())  # closes them if no plant comes of them
        parts.callback(source.close)
        with doing(f"waiting for the robot ({self.ros2.twist if self.robot == 'ros2' else self.host or 'none'})"):
            driver = self._driver(bus, dry, safety or Safety())
        parts.callback(driver.close)
        with doing(f"waiting for {self.ros2.depth}"):
            seen = self._depth(bus, source.sensor)
        plant = LivePlant(source, driver, T_tc, 1 / self.rate, depth, dry, self.hard_limits, depth_source=seen)
        parts.pop_all()
        closing.callback(plant.close)
        if bus:
            plant.watch(bus.fault)
        return plant, bus

    def _source(self, bus: Bus | None, camera: Camera | None) -> CameraSource:
        from siame_se3.plants.robots.opencv import Capture
        from siame_se3.plants.robots.ros2_camera import Ros2Camera

        if self.camera_source == "opencv":
            return Capture(self.source, camera)
        assert bus is not None
        return Ros2Camera(bus, self.ros2.image, "" if camera else self.ros2.info_topic, camera, self.ros2.stamps)

    def _depth(self, bus: Bus | None, sensor: Camera) -> DepthSource | None:
        import torch

        from siame_se3.geometry import lie
        from siame_se3.plants.robots.ros2_depth import Ros2Depth

        topics = self.ros2
        if not topics.depth:
            return None
        assert bus is not None
        T_ci = (
            lie.pose_from_vector(torch.tensor(topics.depth_pose, dtype=torch.float64))
            if any(topics.depth_pose)
            else None
        )
        return Ros2Depth(bus, topics.depth, sensor, topics.depth_info, T_ci, topics.stamps)

    def _driver(self, bus: Bus | None, dry: bool, safety: Safety) -> VelocityDriver:
        from siame_se3.plants.robots.interfaces import NoRobot
        from siame_se3.plants.robots.ros2_driver import Ros2Driver
        from siame_se3.plants.robots.ur import UrDriver

        if self.robot == "none":
            return NoRobot()
        if self.robot == "ur":
            return UrDriver(self.host, acceleration=max(safety.max_change), dry=dry, hard=self.hard_limits)
        assert bus is not None
        topics = self.ros2
        frame_id = topics.frame_id or topics.frame
        return Ros2Driver(bus, topics.twist, topics.frame, frame_id, topics.pose, dry, self.hard_limits)
