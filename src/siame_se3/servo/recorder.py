"""Keeps what happens in a servo loop, iteration by iteration."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from siame_se3.laws.types import View
from siame_se3.servo.runs import Runs
from siame_se3.servo.trajectory import Trajectory

_BLOCK = 20_000  # numbers of a block, about


class _Column:
    """Rows of one shape, in blocks: a tensor for each row would take ten times the memory of its numbers."""

    def __init__(self, *shape: int, dtype: torch.dtype = torch.float64) -> None:
        self._shape, self._dtype = shape, dtype
        self._rows = max(8, _BLOCK // max(1, math.prod(shape)))  # of a block
        self._blocks: list[Tensor] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, row: Tensor | float) -> None:
        """One more row."""
        if self._count % self._rows == 0:
            self._blocks.append(torch.empty(self._rows, *self._shape, dtype=self._dtype))
        self._blocks[-1][self._count % self._rows] = row
        self._count += 1

    def all(self) -> Tensor:
        """(rows, *shape)."""
        if not self._blocks:
            return torch.zeros(0, *self._shape, dtype=self._dtype)
        return torch.cat(self._blocks)[: self._count]


class Recorder:
    """Of n runs.

    Args:
        view: at the start. target: the desired views.
        dt: between iterations [s].
    """

    def __init__(self, view: View, target: View, dt: float) -> None:
        (self.n,) = view.batch
        self.dt = dt
        self._in_base = view.T_wc is None and view.T_bc is not None
        self._T_wd = self._pose_of(target).clone()
        n = self.n
        self._poses, self._twists, self._applied = _Column(n, 4, 4), _Column(n, 6), _Column(n, 6)
        self._active, self._stages = _Column(n, dtype=torch.bool), _Column(n, dtype=torch.long)
        self._seconds = _Column()
        self._confidence: _Column | None = None  # from the first that a law gives
        self._poses.add(self._pose_of(view))

    def __len__(self) -> int:
        return len(self._twists)

    def _pose_of(self, view: View) -> Float[Tensor, "n 4 4"]:
        """In the scene's frame, else in the base's; NaN where it is not known."""
        T = view.T_bc if self._in_base else view.T_wc
        if T is None:
            return torch.full((self.n, 4, 4), torch.nan, dtype=torch.float64)
        return T.double().cpu()

    def add(
        self,
        view: View,
        command: Float[Tensor, "n 6"],
        applied: Float[Tensor, "n 6"],
        runs: Runs,
        stage: Int[Tensor, "n"] | None = None,
        seconds: float = 0.0,
        confidence: Float[Tensor, "n"] | None = None,
    ) -> None:
        """One iteration: what was commanded and applied, and the view after it; how sure the law was, where it says so."""
        runs.iterations = runs.iterations + runs.active
        self._poses.add(self._pose_of(view))
        self._twists.add(command)
        self._applied.add(applied.double().cpu())
        self._active.add(runs.active)
        self._stages.add(torch.full((self.n,), -1) if stage is None else stage)
        self._seconds.add(seconds)
        if confidence is not None and self._confidence is None:
            self._confidence = _Column(self.n, dtype=torch.float32)
            for _ in range(len(self) - 1):
                self._confidence.add(math.nan)
        if self._confidence is not None:
            self._confidence.add(math.nan if confidence is None else confidence)

    def trajectory(
        self, runs: Runs, settings: dict[str, Any], covariance: Float[Tensor, "n 6 6"] | None = None
    ) -> Trajectory:
        """All of it, and how sure the law was of each run's pose at the end."""
        return Trajectory(
            T_wc=self._poses.all(),
            T_wd=self._T_wd,
            twist=self._twists.all(),
            applied=self._applied.all(),
            active=self._active.all(),
            stage=self._stages.all(),
            iterations=runs.iterations,
            reason=runs.reason,
            step_seconds=self._seconds.all(),
            dt=self.dt,
            settings={**settings, "poses": "base"} if self._in_base else settings,
            confidence=None if self._confidence is None else self._confidence.all(),
            covariance=covariance,
        )
