"""A plant and a law to look into, for the tests of the loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.laws.pose import PBVS, PBVSLaw
from siame_se3.laws.types import View
from siame_se3.servo.loop import ServoConfig, servo
from siame_se3.servo.trajectory import Trajectory

FREE = {"max_v": 1e3, "max_w": 1e3}  # no limit in reach
NEVER = {"settle_v": 1e-300, "settle_w": 1e-300}  # only zero is settled


class SpyPlant:
    """Free-flying cameras without images; remembers what it was told."""

    def __init__(self, provides: frozenset[str] = frozenset({"pose"}), dt: float = 0.04, share: float = 1.0) -> None:
        self.provides, self.dt, self.share = provides, dt, share
        self.calls: list[str] = []

    def reset(self, start: Tensor | None) -> View:
        assert start is not None
        self.calls.append("reset")
        self.T_wc = start
        return View(T_wc=start)

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        self.calls.append("step")
        applied = self.share * v
        self.T_wc = self.T_wc @ lie.exp(applied * self.dt)
        return View(T_wc=self.T_wc), applied

    def stop(self) -> None:
        self.calls.append("stop")


@dataclass
class Tampered:
    """PBVS whose velocities a function changes: change(v, runs, call)."""

    change: Callable[[Tensor, Tensor, int], Tensor]
    needs: frozenset[str] = frozenset({"pose"})

    def aim(self, target: View) -> TamperedLaw:
        assert target.T_wc is not None
        return TamperedLaw(self.change, PBVS().aim(target), torch.arange(len(target.T_wc)))


@dataclass
class TamperedLaw:
    change: Callable[[Tensor, Tensor, int], Tensor]
    law: PBVSLaw
    runs: Tensor
    calls: list[int] = field(default_factory=list)

    def __call__(self, view: View) -> Tensor:
        self.calls.append(1)
        return self.change(self.law(view), self.runs, len(self.calls))

    def __getitem__(self, index: Any) -> TamperedLaw:
        return TamperedLaw(self.change, self.law[index], self.runs[index], self.calls)


def desired(*shape: int) -> Tensor:
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    p = torch.randn(*shape, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return T @ lie.pose_from_vector(0.05 * p)


def starts(*shape: int, spread: float = 1.0) -> Tensor:
    sigma = torch.tensor([0.1, 0.1, 0.05, 0.15, 0.15, 0.3], dtype=torch.float64)
    p = torch.randn(*shape, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return desired(*shape) @ lie.pose_from_vector(spread * sigma * p)


def unequal_starts(n: int) -> Tensor:
    """Far to near, so that runs settle one after the other."""
    p = lie.vector_from_pose(lie.inverse(desired(n)) @ starts(n))
    return desired(n) @ lie.pose_from_vector(p * torch.logspace(0, -2, n, dtype=torch.float64)[:, None])


def run(controller: Any, T_wd: Tensor, T_wc: Tensor, plant: Any = None, **config: Any) -> Trajectory:
    return servo(plant or SpyPlant(), controller, View(T_wc=T_wd), T_wc, ServoConfig(**config))
