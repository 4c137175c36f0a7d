"""The simulated arm as a robot on ROS 2's topics: it sends images, camera_info, the tool's pose and, where it has a depth camera, depths; it obeys
twists for as long as they come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.twist import FRAMES, camera_twist
from siame_se3.images.decode import as_pixels
from siame_se3.images.encode import millimetres
from siame_se3.laws.types import View
from siame_se3.plants.arm import ArmConfig
from siame_se3.plants.arm_model import TICK
from siame_se3.plants.robots.bus import Bus, Publisher, messages, stamp_now
from siame_se3.plants.robots.checks import HardLimits
from siame_se3.plants.robots.interfaces import WATCHDOG
from siame_se3.plants.robots.ros2 import info_of
from siame_se3.plants.robots.ros2_poses import pose_message

IMAGE, INFO, TWIST, POSE = "/camera/image_raw", "/camera/camera_info", "/arm/twist", "/arm/tool_pose"
DEPTH = "/camera/aligned_depth_to_color/image_raw"  # as RealSense's driver calls it: 16UC1, in mm, 0 where not known


def base_in_world(base: tuple[float, float, float]) -> Float[Tensor, "4 4"]:
    """T_wb of an arm that stands at `base`: x right, y away, height over the print [m] (`ArmConfig.base`); its z axis points up. The world is
    the print's, whose z axis points down and whose y axis points towards the arm's user."""
    T = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
    T[:3, 3] = T[:3, :3] @ torch.tensor(base, dtype=torch.float64)
    return T


@runtime_checkable
class ServedArm(Protocol):
    """What is served of an arm, such as `ArmPlant`: n = 1.

    Attributes:
        config: where it stands.
        camera: intrinsics. dt: between steps [s].
        T_tc: camera in the tool's frame, as assumed. T_wt: tool in the world, as measured [m].
    """

    config: ArmConfig
    camera: Camera
    dt: float

    @property
    def T_tc(self) -> Float[Tensor, "4 4"]:
        """Camera in the tool's frame."""

    @property
    def T_wt(self) -> Float[Tensor, "4 4"]:
        """Tool in the world."""

    def follow(self, twist: Callable[[], Float[Tensor, "6"]]) -> tuple[View, Float[Tensor, "1 6"]]:
        """Obey for dt the camera-frame twist that `twist` gives at each tick; the view after it, and the motion that was made."""


class ArmServer:
    """One arm on a bus, in real time: it obeys the last twist at each tick of its joint controller. A twist's frame_id is one of `geometry.twist.FRAMES`. It obeys whoever sends, but finite twists only, scaled to
    within its limits.

    Args:
        bus: of topics.
        arm: that was reset.
        T_wb: the arm's base in the world [m], for poses and twists in the base's frame; None: where the arm's configuration has it.
        limits: of the twist that the camera makes.
    """

    def __init__(
        self, bus: Bus, arm: ServedArm, T_wb: Float[Tensor, "4 4"] | None = None, limits: HardLimits | None = None
    ) -> None:
        m = messages()
        self._m, self._arm = m, arm
        self._T_bw = lie.inverse(base_in_world(arm.config.base) if T_wb is None else T_wb)
        self._limits = limits or HardLimits(0.5, torch.pi / 2)
        self._images, self._infos = bus.publisher(IMAGE, m.Image), bus.publisher(INFO, m.CameraInfo)
        self._poses = bus.publisher(POSE, m.PoseStamped)
        self._bus = bus
        self._depths: Publisher | None = None  # a topic that exists where there are maps
        self._lock = threading.Lock()
        self._twist, self._frame, self._due = torch.zeros(6, dtype=torch.float64), "camera", 0.0
        bus.subscribe(TWIST, m.TwistStamped, self._heard)

    @property
    def T_bt(self) -> Float[Tensor, "4 4"]:
        """The tool in the base's frame, as the robot measures it [m]."""
        return self._T_bw @ self._arm.T_wt

    def _heard(self, message: Any) -> None:
        t, w = message.twist.linear, message.twist.angular
        twist = torch.tensor([t.x, t.y, t.z, w.x, w.y, w.z], dtype=torch.float64)
        with self._lock:
            if message.header.frame_id in FRAMES and bool(torch.isfinite(twist).all()):
                self._twist, self._frame, self._due = twist, message.header.frame_id, time.monotonic() + WATCHDOG

    def _now(self) -> Float[Tensor, "6"]:
        """The camera twist to obey."""
        with self._lock:
            if time.monotonic() > self._due or not bool(self._twist.any()):
                return torch.zeros(6, dtype=torch.float64)
            v = camera_twist(self._frame, self._twist, self._arm.T_tc, self.T_bt)
        # A finite twist may be too large to be turned into another frame.
        return self._limits.clamped(v) if bool(torch.isfinite(v).all()) else torch.zeros(6, dtype=torch.float64)

    def _paced(self, ticks: int) -> Callable[[], Float[Tensor, "6"]]:
        """The twist to obey at each of a frame's ticks, which it waits for."""
        begins = [time.monotonic() + k * self._arm.dt / ticks for k in range(ticks)]

        def now() -> Float[Tensor, "6"]:
            if begins:
                time.sleep(max(0.0, begins.pop(0) - time.monotonic()))
            return self._now()

        return now

    def _send_depth(self, Z: Float[Tensor, "h w"], header: Any) -> None:
        """A map [m], NaN where it is not known."""
        if self._depths is None:
            self._depths = self._bus.publisher(DEPTH, self._m.Image)
        h, w = Z.shape
        self._depths(self._m.Image(header, h, w, "16UC1", 0, 2 * w, millimetres(Z.cpu().numpy()).tobytes()))

    def run(
        self, running: Callable[[], bool], moved: Callable[[float, Tensor], None] = lambda at, applied: None
    ) -> None:
        """Serve while `running`; `moved` gets each frame's end by time.monotonic() and the twist that the camera made."""
        m, tick = self._m, time.monotonic()
        while running():
            view, applied = self._arm.follow(self._paced(max(1, round(self._arm.dt / TICK))))
            moved(time.monotonic(), applied)
            assert view.image is not None
            header = m.Header(stamp_now(), "camera_optical_frame")
            pixels = as_pixels(view.image.reshape(view.image.shape[-3:]))
            h, w = pixels.shape[:2]
            self._poses(pose_message(self.T_bt, header))
            self._infos(info_of(self._arm.camera, header))
            if view.depth_map is not None:
                self._send_depth(view.depth_map[0], header)
            self._images(m.Image(header, h, w, "rgb8", 0, 3 * w, pixels.tobytes()))
            tick = max(tick + self._arm.dt, time.monotonic())
            time.sleep(max(0.0, tick - time.monotonic()))
