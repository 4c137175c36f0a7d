"""From a law's velocity at gain 1 to a command: the gain, then limits, each an object that may be put beside others.

A limit is called with the twists (n, 6) [m/s, rad/s], the commands before (n, 6) and the time between them [s], and gives the
limited twists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.files import require_types
from siame_se3.geometry import lie


@runtime_checkable
class Limit(Protocol):
    """Twists made to fit."""

    def __call__(self, v: Float[Tensor, "n 6"], previous: Float[Tensor, "n 6"], dt: float) -> Float[Tensor, "n 6"]:
        """The twists within the limit; `previous` are the commands before."""


@dataclass(frozen=True)
class SpeedLimit:
    """Speed [m/s] and rotation [rad/s]; the twist is scaled as a whole, so that its direction stays."""

    v: float
    w: float

    def __post_init__(self) -> None:
        require_types(self)

    def __call__(self, v: Float[Tensor, "n 6"], previous: Float[Tensor, "n 6"], dt: float) -> Float[Tensor, "n 6"]:
        """See `Limit`."""
        speed = torch.stack((v[..., :3].norm(dim=-1) / self.v, v[..., 3:].norm(dim=-1) / self.w), -1).amax(-1)
        return v / speed.clamp(min=1)[..., None]


@dataclass(frozen=True)
class AccelerationLimit:
    """Change of the speed [m/s^2] and of the rotation [rad/s^2]; 0 for none."""

    v: float
    w: float

    def __post_init__(self) -> None:
        require_types(self)

    def __call__(self, v: Float[Tensor, "n 6"], previous: Float[Tensor, "n 6"], dt: float) -> Float[Tensor, "n 6"]:
        """See `Limit`."""
        change = v - previous
        for part, limit in ((slice(0, 3), self.v), (slice(3, 6), self.w)):
            if limit > 0:
                size = change[..., part].norm(dim=-1, keepdim=True)
                change[..., part] *= (limit * dt / size.clamp(min=1e-12)).clamp(max=1)
        return previous + change


@dataclass(frozen=True)
class AxisSpeedLimit:
    """Each axis of the camera's twist, and of that of the tool which carries it [m/s, rad/s]; scaled as a whole.

    Attributes:
        most: of vx, vy, vz, wx, wy, wz.
        T_tc: the camera in the tool's frame; None where there is no tool.
    """

    most: tuple[float, ...]
    T_tc: Float[Tensor, "4 4"] | None = None

    def __post_init__(self) -> None:
        require_types(self)

    def __call__(self, v: Float[Tensor, "n 6"], previous: Float[Tensor, "n 6"], dt: float) -> Float[Tensor, "n 6"]:
        """See `Limit`."""
        largest = v.abs()
        if self.T_tc is not None:
            largest = torch.maximum(largest, (v @ lie.adjoint(self.T_tc.double()).to(v).mT).abs())
        return v / (largest / v.new_tensor(self.most)).amax(-1, keepdim=True).clamp(min=1)


@dataclass(frozen=True)
class AxisAccelerationLimit:
    """Change of each axis of the twist [m/s^2, rad/s^2]; the change is scaled as a whole."""

    most: tuple[float, ...]

    def __post_init__(self) -> None:
        require_types(self)

    def __call__(self, v: Float[Tensor, "n 6"], previous: Float[Tensor, "n 6"], dt: float) -> Float[Tensor, "n 6"]:
        """See `Limit`."""
        change = v - previous
        return previous + change / (change.abs() / (v.new_tensor(self.most) * dt)).amax(-1, keepdim=True).clamp(min=1)


def adaptive_gain(
    v: Float[Tensor, "n 6"], gain: float, gain_at_rest: float = 0.0, slope: float = 30.0
) -> Float[Tensor, "n 1"]:
    """lambda(|v|): `gain` far away, `gain_at_rest` as |v| goes to zero, for 0 always `gain` (ViSP's vpAdaptiveGain) [1/s]."""
    size = v.norm(dim=-1, keepdim=True)
    span = gain_at_rest - gain
    if gain_at_rest <= 0 or span == 0:
        return torch.full_like(size, gain)
    return span * torch.exp(-slope * size / abs(span)) + gain


def limited(
    limits: Sequence[Limit], v: Float[Tensor, "n 6"], previous: Float[Tensor, "n 6"], dt: float
) -> Float[Tensor, "n 6"]:
    """The twists within all limits, one after the other."""
    for limit in limits:
        v = limit(v, previous, dt)
    return v
