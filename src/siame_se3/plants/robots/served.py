"""The simulated arm as a robot on ROS 2's topics: it sends images, camera_info and the tool's pose, and obeys twists for as long as they come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from siame_se3.geometry.twist import FRAMES, camera_twist
from siame_se3.images.decode import as_pixels
from siame_se3.plants.arm import ArmPlant
from siame_se3.plants.robots.live import WATCHDOG
from siame_se3.plants.robots.ros2 import Bus, info_of, messages, pose_message, stamp_now

IMAGE, INFO, TWIST, POSE = "/camera/image_raw", "/camera/camera_info", "/arm/twist", "/arm/tool_pose"


class ArmServer:
    """One arm on a bus. A twist's frame_id is one of `live.FRAMES`; the base is the world.

    Args:
        bus: of topics.
        arm: that was reset.
    """

    def __init__(self, bus: Bus, arm: ArmPlant) -> None:
        m = messages()
        self._m, self._arm = m, arm
        self._images, self._infos = bus.publisher(IMAGE, m.Image), bus.publisher(INFO, m.CameraInfo)
        self._poses = bus.publisher(POSE, m.PoseStamped)
        self._lock = threading.Lock()
        self._twist, self._frame, self._due = torch.zeros(6, dtype=torch.float64), "camera", 0.0
        bus.subscribe(TWIST, m.TwistStamped, self._heard)

    def _heard(self, message: Any) -> None:
        t, w = message.twist.linear, message.twist.angular
        twist = torch.tensor([t.x, t.y, t.z, w.x, w.y, w.z], dtype=torch.float64)
        with self._lock:
            if message.header.frame_id in FRAMES and bool(torch.isfinite(twist).all()):
                self._twist, self._frame, self._due = twist, message.header.frame_id, time.monotonic() + WATCHDOG

    def _now(self) -> Tensor:
        """The camera twist to obey."""
        with self._lock:
            if time.monotonic() > self._due or not bool(self._twist.any()):
                return torch.zeros(6, dtype=torch.float64)
            return camera_twist(self._frame, self._twist, self._arm.T_tc, self._arm.T_wt)

    def run(
        self, running: Callable[[], bool], moved: Callable[[float, Tensor], None] = lambda at, applied: None
    ) -> None:
        """Serve while `running`; `moved` is told of each frame's end by time.monotonic() and the twist that the camera made."""
        m, tick = self._m, time.monotonic()
        while running():
            view, applied = self._arm.step(self._now())
            moved(time.monotonic(), applied)
            assert view.image is not None
            header = m.Header(stamp_now(), "camera_optical_frame")
            pixels = as_pixels(view.image.reshape(view.image.shape[-3:]))
            h, w = pixels.shape[:2]
            self._poses(pose_message(self._arm.T_wt, header))
            self._infos(info_of(self._arm.camera, header))
            self._images(m.Image(header, h, w, "rgb8", 0, 3 * w, pixels.tobytes()))
            tick = max(tick + self._arm.dt, time.monotonic())
            time.sleep(max(0.0, tick - time.monotonic()))
