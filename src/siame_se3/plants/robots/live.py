"""A real robot as a plant: any Eye (what gives images) with any Mover (what obeys twists), paced by the wall clock.

A step never waits longer than a frame: when no new image comes, the last one is handed out with its age, and `safety` ends the run. What
stands between a stalled program and a moving arm is the mover's watchdog: it stands still when no twist has come for `WATCHDOG`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.twist import twist_in
from siame_se3.laws.types import View

WATCHDOG = 0.1  # [s] without a twist, after which a mover stands still by itself


@dataclass(frozen=True)
class Frame:
    """An image and when its shutter opened, by time.monotonic() [s]."""

    image: Float[Tensor, "3 h w"]
    stamp: float


@runtime_checkable
class Eye(Protocol):
    """What gives images.

    Attributes:
        camera: rectified intrinsics of the images.
    """

    @property
    def camera(self) -> Camera:
        """See above."""

    def latest(self, after: float, wait: float) -> Frame | None:
        """The newest frame, if there is one whose shutter opened later than `after`; waits up to `wait` s for it."""

    def prepared(self, pixels: np.ndarray) -> Float[Tensor, "3 h w"]:
        """A picture of this camera as it came (height, width, 3) RGB uint8, as `latest` gives images: rectified, the centred square."""

    def close(self) -> None:
        """Let the device go."""


@dataclass(frozen=True)
class RobotState:
    """What a mover knows of its robot.

    Attributes:
        T_bt: pose of the tool in the base's frame [m]; None where it is not known.
        fault: why it does not obey, or is about not to; '' where it does.
    """

    T_bt: Float[Tensor, "4 4"] | None = None
    fault: str = ""


@runtime_checkable
class Mover(Protocol):
    """What obeys twists.

    Attributes:
        frame: in which it takes them, one of FRAMES; see `twist_in`.
    """

    frame: str

    def move(self, twist: Float[Tensor, "6"]) -> None:
        """Obey it until the next, for `WATCHDOG` at most. Raises OSError when the robot is lost."""

    def stop(self) -> None:
        """Stand still, at once."""

    def state(self) -> RobotState:
        """Where the tool is, and what is wrong."""

    def close(self) -> None:
        """Stand still, and let the robot go."""


class LivePlant:
    """One camera on one robot; batch axes ().

    Views have the image, the depth that was told, and the pose of the camera in the base's frame where the mover knows the tool's.

    Args:
        eye: gives images.
        mover: obeys twists.
        T_tc: camera in the tool's frame (hand-eye); None for the same frame.
        dt: between steps [s].
        depth: distance of the scene, as told [m]; None where it is not known.
        dry: send nothing to the robot.
    """

    def __init__(
        self,
        eye: Eye,
        mover: Mover,
        T_tc: Float[Tensor, "4 4"] | None = None,
        dt: float = 0.04,
        depth: float | None = None,
        dry: bool = False,
    ) -> None:
        self.eye, self.mover, self.dt, self.dry = eye, mover, dt, dry
        self.T_tc = torch.eye(4, dtype=torch.float64) if T_tc is None else T_tc.double()
        self._depth = depth
        self._frame: Frame | None = None
        self._tick = self._returned = 0.0
        self._sent = torch.zeros(6, dtype=torch.float64)
        self._stop_reason = ""
        self.asked = torch.zeros(6, dtype=torch.float64)  # the last twist, sent or not
        known = mover.state().T_bt is not None
        self.provides = frozenset({"image", *(["depth"] if depth else []), *(["pose"] if known else [])})

    def ask_to_stop(self, reason: str) -> None:
        """From another thread: no further twist is sent, and the next view has this fault; '' takes it back."""
        self._stop_reason = reason

    def reset(self, start: Float[Tensor, "*B 4 4"] | None) -> View:
        """Stand still where the robot is, and look.

        Raises:
            SiameError: a start pose (no real robot jumps), or no image within five seconds.
        """
        if start is not None:
            raise SiameError("a real robot starts where it is; give no start pose")
        if not self.dry:
            self.mover.stop()
        self._frame = self.eye.latest(time.monotonic() - 0.5, 5.0)
        if self._frame is None:
            raise SiameError("camera: no image within 5 s; check that it is connected and sends")
        self._tick = self._returned = time.monotonic()
        self._sent = torch.zeros(6, dtype=torch.float64)
        return self._view()

    def _view(self) -> View:
        assert self._frame is not None
        state = self.mover.state()
        T_wc = None if state.T_bt is None else state.T_bt @ self.T_tc
        depth = None if self._depth is None else torch.tensor(self._depth, dtype=torch.float64)
        age = time.monotonic() - self._frame.stamp
        return View(self._frame.image, T_wc, depth, self.eye.camera, age, self._stop_reason or state.fault)

    def step(self, v: Float[Tensor, "*B 6"]) -> tuple[View, Float[Tensor, "*B 6"]]:
        """Send a camera-frame twist, wait for the next tick, and look.

        Told as applied is what was sent for as long as it was obeyed, until the next one or for `WATCHDOG`, over dt: a slow law between two
        steps makes the motion longer.
        """
        if self._frame is None:
            raise SiameError("robot: step before reset; call reset(None) first")
        self.asked = v.double().reshape(6)
        before, self._sent = self._sent, torch.zeros(6, dtype=torch.float64)
        if self._stop_reason:
            self.stop()
        elif not self.dry:
            T_bt = self.mover.state().T_bt
            self.mover.move(twist_in(self.mover.frame, self.asked, self.T_tc, T_bt))
            self._sent = self.asked
        now = time.monotonic()
        more = min(now - self._returned, WATCHDOG)
        # A late step begins a new row of ticks: no two twists in a hurry.
        self._tick = max(self._tick + self.dt, now)
        time.sleep(self._tick - now)
        frame = self.eye.latest(self._frame.stamp, 0.5 * self.dt)
        self._frame = frame or self._frame
        self._returned = time.monotonic()
        obeyed = min(self._returned - now, WATCHDOG)
        applied = (self._sent * obeyed + before * more) / self.dt
        return self._view(), applied.reshape(v.shape).to(v)

    def stop(self) -> None:
        """Stand still, at once."""
        if not self.dry:
            self.mover.stop()

    def close(self) -> None:
        """Stand still, and let camera and robot go."""
        try:
            self.mover.close()
        finally:
            self.eye.close()


class Nowhere:
    """A Mover of no robot."""

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
