"""Limits of a robot's motion, and what makes it stand still: the settings of `guard`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError, require_number
from siame_se3.files import require_types
from siame_se3.servo.limits import AxisAccelerationLimit, AxisSpeedLimit, Limit


@dataclass(frozen=True)
class Safety:
    """Limits; the default ones are slow.

    Attributes:
        max_twist: of each axis of the commanded twist [m/s, rad/s]; the whole twist is scaled, so that its direction stays.
        max_change: of each axis of its change [m/s^2, rad/s^2]; the change is scaled as a whole.
        reach: the camera stays within this distance of where it started [m]; 0 for any.
        box: corners (x, y, z low, x, y, z high) that the camera stays in, in the frame of the plant's poses [m]; () for none.
        max_age: an image older than this is stale [s].
        frozen: an image that has not moved for this long [s], while the motion made since should have moved it, is frozen.
        jump: share of the view that may change otherwise than by the motion, within half a second: an occlusion, another scene.
        jump_contrast: a part of it has changed when it differs by this, of the range, and 0.6 of its own contrast, from what was nearby.
        drift: share of the view's width that it may move by otherwise than commanded, within half a second; 0 for no such limit.
        max_law: a law's velocity at gain 1 above this has exploded [m/s]; rotations: 2 pi rad/s.
        no_progress: the law's velocity has not fallen for this long [s]: overlap is lost, or the motion is not what is commanded; 0 for
            no such limit.
        ramp: a smooth stop takes this long [s], half a second at most.
    """

    max_twist: tuple[float, ...] = (0.1, 0.1, 0.1, 0.35, 0.35, 0.35)
    max_change: tuple[float, ...] = (0.5, 0.5, 0.5, 2.0, 2.0, 2.0)
    reach: float = 0.8
    box: tuple[float, ...] = ()
    max_age: float = 0.2
    frozen: float = 0.25
    jump: float = 0.3
    jump_contrast: float = 0.03
    drift: float = 0.06
    max_law: float = 5.0
    no_progress: float = 15.0
    ramp: float = 0.08

    def __post_init__(self) -> None:
        require_types(self)
        for name in ("max_twist", "max_change"):
            values = getattr(self, name)
            if len(values) != 6 or not all(0 < x <= 100 for x in values):
                raise InputError(
                    f"{name} {values}: give six numbers above 0 (at most 100), of vx vy vz wx wy wz", f"safety.{name}"
                )
        for name in ("max_age", "frozen", "jump", "jump_contrast", "max_law"):
            require_number(self, name, 0, 1e6, open_low=True)
        for name in ("reach", "no_progress", "drift"):
            require_number(self, name, 0, 1e6)
        require_number(self, "ramp", 0, 0.5)
        low, high = self.box[:3], self.box[3:]
        finite = all(map(math.isfinite, self.box))
        if self.box and not (len(self.box) == 6 and finite and all(a < b for a, b in zip(low, high, strict=True))):
            raise InputError(f"box {self.box}: give x y z of the low corner, then of the high one [m]", "safety.box")

    def limits(self, T_tc: Float[Tensor, "4 4"] | None) -> tuple[Limit, ...]:
        """Of the commanded twist, for a camera at T_tc in the tool's frame (None: no tool)."""
        return AxisSpeedLimit(self.max_twist, T_tc), AxisAccelerationLimit(self.max_change)


@dataclass(frozen=True)
class Halt:
    """Why the robot is to stand still, and whether at once."""

    reason: str
    at_once: bool
