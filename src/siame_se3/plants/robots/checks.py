"""What may be sent to a robot: hard limits of twists, and what counts as a pose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.files import require_types

FARTHEST = 100.0  # [m]: a tool farther from its base, or a camera from its tool, is an error
_NEAR = math.radians(2)  # of a joint's limit: a fault
_SKEW = 1e-3  # by which R R^T may differ from the identity: poses come as text and as float32


@dataclass(frozen=True)
class HardLimits:
    """Speeds that no robot is ever sent, whatever the law, the gain and `Safety` say: a twist above them is an error, and is not scaled.

    Attributes:
        speed: largest speed [m/s], of the camera, of the tool, and of the point whose velocity is sent.
        rotation: largest rotation [rad/s].
    """

    speed: float = 1.0
    rotation: float = math.pi

    def __post_init__(self) -> None:
        require_types(self, "hard limits")
        for name in ("speed", "rotation"):
            value = getattr(self, name)
            if not 0 < value <= 10:
                shown = f"{value:g}" if isinstance(value, float) else f"{value}"[:20]
                raise InputError(
                    f"hard limit of {name}: {shown}; give a number above 0, at most 10", f"hard_limits.{name}"
                )

    def fault_of(self, twist: Float[Tensor, "6"]) -> str:
        """Why a twist [m/s, rad/s] must not be sent; '' where it may be."""
        if twist.shape != (6,) or not bool(torch.isfinite(twist).all()):
            return "a twist that is not finite"
        v, w = float(twist[:3].double().norm()), float(twist[3:].double().norm())
        if v > self.speed:
            return f"a twist of {v:.3g} m/s, over the hard limit of {self.speed:g} m/s"
        if w > self.rotation:
            return f"a twist of {w:.3g} rad/s, over the hard limit of {self.rotation:.3g} rad/s"
        return ""

    def clamped(self, twist: Float[Tensor, "6"]) -> Float[Tensor, "6"]:
        """A finite twist, scaled as a whole to within the limits."""
        over = max(float(twist[:3].norm()) / self.speed, float(twist[3:].norm()) / self.rotation, 1.0)
        return twist / over


def pose_fault(T: Float[Tensor, "4 4"]) -> str:
    """Why a matrix is no pose of a robot's parts; '' where it is one: finite, a rotation, within `FARTHEST`."""
    if not isinstance(T, Tensor) or T.is_complex():
        return f"is no tensor of real numbers, but {type(T).__name__}"
    if T.shape != (4, 4) or not bool(torch.isfinite(T).all()):
        return "is not finite"
    T = T.double()
    R = T[:3, :3]
    apart = float((R @ R.mT - torch.eye(3, dtype=torch.float64)).abs().max())
    if apart > _SKEW or float(torch.linalg.det(R)) < 0 or T[3].tolist() != [0, 0, 0, 1]:
        return "has no rotation in it"
    far = float(T[:3, 3].norm())
    return f"is {far:.4g} m away; {FARTHEST:g} m are possible" if far > FARTHEST else ""


def joint_fault(angles: Sequence[float], limits: Sequence[float]) -> str:
    """Which joint is near its limit; '' for none.

    Args:
        angles: of the joints [rad].
        limits: +- of each [rad].
    """
    near = [k for k, (angle, most) in enumerate(zip(angles, limits, strict=True)) if abs(angle) > most - _NEAR]
    return f"joint {near[0]} is within {math.degrees(_NEAR):.0f} deg of its limit" if near else ""
