"""A plant and a law to look into, for the tests of the loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.trajectory import Trajectory

FREE = {"max_v": 1e3, "max_w": 1e3}  # no limit in reach
NEVER = {"settle_v": 1e-300, "settle_w": 1e-300}  # only zero is settled


class SpyPlant:
    """Free-flying cameras without images; remembers what it was asked to do."""

    camera = None
    T_tc = None

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

    def close(self) -> None:
        self.calls.append("close")


@dataclass(frozen=True, eq=False)
class TamperedState(State):
    goal: Any
    runs: Tensor


@dataclass
class Tampered:
    """PBVS whose velocities a function changes: change(v, runs, call)."""

    change: Callable[[Tensor, Tensor, int], Tensor]
    needs: frozenset[str] = frozenset({"pose"})
    calls: int = 0

    def aim(self, target: View) -> tuple[Law, TamperedState]:
        law, goal = PBVS().aim(target)
        self.calls = 0

        def tampered(view: View, state: TamperedState) -> tuple[Output, TamperedState]:
            self.calls += 1
            return Output.of(self.change(law(view, state.goal)[0].v, state.runs, self.calls)), state

        return tampered, TamperedState(goal, torch.arange(*target.batch))


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
