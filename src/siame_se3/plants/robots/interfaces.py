"""What a camera source and a velocity driver are: two protocols of four methods each, and what they hand over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from siame_se3.geometry.camera import Camera

WATCHDOG = 0.1  # [s] without a twist, after which a robot stands still by itself


@dataclass(frozen=True)
class Frame:
    """An image (RGB in [0, 1]) and when its shutter opened, by time.monotonic() [s]."""

    image: Float[Tensor, "3 h w"]
    stamp: float


@runtime_checkable
class CameraSource(Protocol):
    """What gives images.

    Attributes:
        camera: rectified intrinsics of the images.
        sensor: intrinsics of the pictures as they come, with distortion: `prepared` makes images of these.
    """

    @property
    def camera(self) -> Camera:
        """Rectified intrinsics of the images."""

    @property
    def sensor(self) -> Camera:
        """Intrinsics of the pictures as they come, with distortion."""

    def latest(self, after: float, wait: float) -> Frame | None:
        """The newest frame, if there is one whose shutter opened later than `after` [s]; waits up to `wait` s for it.

        Raises:
            RobotError: images come, and cannot be used; or what receives them has failed.
        """

    def prepared(self, pixels: np.ndarray) -> Float[Tensor, "3 h w"]:
        """A picture of this camera as it came (height, width, 3) RGB uint8, as `latest` gives images: rectified, the centred square."""

    def close(self) -> None:
        """Let the device go."""


@runtime_checkable
class DepthSource(Protocol):
    """What gives the depth of a camera source's images."""

    def near(self, stamp: float, wait: float) -> Float[Tensor, "h w"] | None:
        """The depth map that belongs to the image whose shutter opened at `stamp` [s], pixel by pixel [m], NaN where it is not known; None where there
        is none that is near enough in time. Waits up to `wait` s for it.

        Raises:
            RobotError: depth maps come, and cannot be used.
        """


@dataclass(frozen=True)
class RobotState:
    """What a driver knows of its robot.

    Attributes:
        T_bt: pose of the tool in the base's frame [m]; None where it is not known.
        fault: why it does not obey, or is about not to; '' where it does.
    """

    T_bt: Float[Tensor, "4 4"] | None = None
    fault: str = ""


@runtime_checkable
class VelocityDriver(Protocol):
    """What obeys twists. `stop` may be called from several threads, and any number of times.

    Attributes:
        frame: in which it takes them, one of FRAMES; see `geometry.twist.twist_in`.
    """

    @property
    def frame(self) -> str:
        """In which it takes twists."""

    def move(self, twist: Float[Tensor, "6"]) -> None:
        """Obey it until the next, for `WATCHDOG` at most [m/s, rad/s].

        Raises:
            RobotError: a twist that is not finite or too fast (the robot stands still then), or a robot that has a fault.
            OSError: the robot is lost.
        """

    def stop(self) -> None:
        """Stand still, at once."""

    def state(self) -> RobotState:
        """Where the tool is, and what is wrong."""

    def close(self) -> None:
        """Stand still, and let the robot go."""


class NoRobot:
    """A driver of no robot."""

    frame = "camera"

    def move(self, twist: Float[Tensor, "6"]) -> None:
        """Nothing moves."""

    def stop(self) -> None:
        """Nothing moves."""

    def state(self) -> RobotState:
        """Nothing is known."""
        return RobotState()

    def close(self) -> None:
        """There is nothing to let go."""
