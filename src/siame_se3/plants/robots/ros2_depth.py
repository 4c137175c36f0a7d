"""A depth source on a ROS 2 depth topic."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import RobotError, SiameError
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.camera_info import is_rectified
from siame_se3.geometry.crop import square_box
from siame_se3.images.depth import depth_of
from siame_se3.images.registration import registered
from siame_se3.plants.robots.bus import Bus, messages
from siame_se3.plants.robots.ros2 import camera_of
from siame_se3.plants.robots.text import printable
from siame_se3.plants.robots.threads import describe

_PATIENCE = 5.0  # [s] for the first CameraInfo
_TOGETHER = 0.1  # [s] between an image and its depth map, at most: the robot stands still
_KEPT = 6  # messages; they are decoded when they are asked for


class Ros2Depth:
    """Depth images of a topic, in the raster of the camera source's images.

    Args:
        bus: of topics.
        depth: topic of sensor_msgs/Image (16UC1 in mm, 32FC1 in m); one that ends with /compressedDepth has CompressedImage.
        sensor: intrinsics of the colour pictures as they come, in whose raster depth is aligned.
        info: topic of the depth camera's own CameraInfo, where depth is not aligned; '' for aligned depth.
        T_ci: the depth camera in the colour camera's frame [m]; None where depth is aligned.
        stamps: as of `Ros2Camera`.

    Raises:
        RobotError: no CameraInfo within five seconds, or none that can be used.
    """

    def __init__(
        self,
        bus: Bus,
        depth: str,
        sensor: Camera,
        info: str = "",
        T_ci: Float[Tensor, "4 4"] | None = None,
        stamps: str = "header",
    ) -> None:
        m = messages()
        self._topic, self._sensor, self._T_ci, self._by_header = depth, sensor, T_ci, stamps == "header"
        self._own: Camera | None = None
        self._error = ""
        self._new = threading.Condition()
        self._kept: deque[tuple[float, Any]] = deque(maxlen=_KEPT)
        if info:
            self._wait_for_info(bus, info)
        bus.subscribe(depth, m.CompressedImage if depth.endswith("/compressedDepth") else m.Image, self._heard)

    def _wait_for_info(self, bus: Bus, info: str) -> None:
        known = threading.Event()

        def informed(message: Any) -> None:
            if not known.is_set():
                try:
                    self._own = camera_of(message, is_rectified(self._topic))
                except SiameError as error:
                    self._error = printable(error)
                known.set()

        bus.subscribe(info, messages().CameraInfo, informed)
        if not known.wait(_PATIENCE):
            raise RobotError(
                f"{info}: no CameraInfo within {_PATIENCE:g} s; check the topic's name and ROS_DOMAIN_ID",
                "ros2.depth_info",
            )
        if self._own is None:
            raise RobotError(f"{info}: {self._error}", "ros2.depth_info")

    def _heard(self, message: Any) -> None:
        """The bus's thread: a depth image has come."""
        stamp = time.monotonic()
        if self._by_header:
            t = message.header.stamp
            stamp -= time.time() - (t.sec + 1e-9 * t.nanosec)
        with self._new:
            self._kept.append((stamp, message))
            self._new.notify_all()

    def near(self, stamp: float, wait: float) -> Float[Tensor, "h w"] | None:
        """See `DepthSource`."""
        with self._new:
            # one that is later than the image is waited for: what is nearest is known then
            self._new.wait_for(lambda: any(at >= stamp for at, _ in self._kept), wait)
            kept = list(self._kept)
        if not kept:
            return None
        at, message = min(kept, key=lambda item: abs(item[0] - stamp))
        return self._square(message) if abs(at - stamp) <= _TOGETHER else None

    def _square(self, message: Any) -> Float[Tensor, "h w"]:
        """The depth of the rectified square that laws see."""
        try:
            depth = depth_of(message)
            h, w = depth.shape
            aligned = self._sensor if (h, w) == self._sensor.size else self._sensor.resized(w, h)
            if self._own is None and abs(w * self._sensor.height / (h * self._sensor.width) - 1) > 0.02:
                raise RobotError(
                    f"{self._topic}: {w} x {h} px beside images of {self._sensor.width} x {self._sensor.height} are not aligned to them; give the "
                    "aligned topic, or the depth camera's camera_info",
                    *("ros2.depth", "ros2.depth_info"),
                )
            straight = registered(depth, self._own or aligned, self._sensor, self._T_ci)
        except RobotError:
            raise
        except SiameError as error:
            raise RobotError(f"{self._topic}: {printable(error)}", "ros2.depth") from None
        except Exception as error:  # a corrupt image may do anything to its decoder: that is a fault of the camera
            raise RobotError(
                f"{self._topic}: an image cannot be decoded ({describe(error)}); the camera's driver is at fault",
                "ros2.depth",
            ) from None
        top, left, side = square_box(*straight.shape)
        return torch.from_numpy(straight[top : top + side, left : left + side].copy())
