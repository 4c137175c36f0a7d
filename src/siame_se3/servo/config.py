"""How a law is followed: gain, limits, and when a run ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

from siame_se3.errors import require_number
from siame_se3.servo.limits import AccelerationLimit, Limit, SpeedLimit


@dataclass(frozen=True)
class ServoConfig:
    """How a law is followed.

    Attributes:
        gain: lambda far from the goal [1/s].
        gain_at_rest: lambda near it [1/s], reached as the commanded motion fades (adaptive gain, ViSP's form
            (g0 - ginf) exp(-slope |v| / (g0 - ginf)) + ginf); 0 for a constant gain.
        gain_slope: the adaptive gain's slope at zero motion.
        max_iterations: a run ends after this many.
        timeout: and after this much wall time [s]; 0 for none.
        settle_v: the motion has settled when the law's velocity at gain 1, averaged over the last `settle_steps` iterations
            (so that what only trembles counts as still), is below this [m/s]...
        settle_w: ...and this [rad/s], for more than half as many iterations in a row (a law whose velocity turns around is not still).
        settle_steps: how many.
        lost_steps: a run whose law finds a fault (too few matches, an image that is not one) stands still, and ends after
            this many such iterations in a row.
        max_v: limit of the commanded speed [m/s]; the whole twist is scaled, so that its direction stays.
        max_w: and of the commanded rotation [rad/s].
        max_acceleration_v: limit of the speed's change [m/s^2]; 0 for none.
        max_acceleration_w: and of the rotation's [rad/s^2]; 0 for none.
    """

    gain: float = 5.0
    gain_at_rest: float = 0.0
    gain_slope: float = 30.0
    max_iterations: int = 500
    timeout: float = 0.0
    settle_v: float = 2e-4
    settle_w: float = math.radians(0.02)
    settle_steps: int = 8
    lost_steps: int = 5
    max_v: float = 0.5
    max_w: float = math.radians(90)
    max_acceleration_v: float = 0.0
    max_acceleration_w: float = 0.0

    def __post_init__(self) -> None:
        require_number(self, "gain", 0, 1e4, open_low=True)
        require_number(self, "gain_at_rest", 0, 1e4)
        for name in ("gain_slope", "timeout", "max_acceleration_v", "max_acceleration_w"):
            require_number(self, name, 0, 1e9)
        for name in ("max_v", "max_w", "settle_v", "settle_w"):
            require_number(self, name, 0, 1e9, open_low=True)
        for name in ("max_iterations", "settle_steps", "lost_steps"):
            require_number(self, name, 1, 10**9, whole=True)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Of the commanded twist, in the order in which they are applied."""
        return (
            SpeedLimit(self.max_v, self.max_w),
            AccelerationLimit(self.max_acceleration_v, self.max_acceleration_w),
        )
