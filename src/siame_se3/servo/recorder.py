"""Keeps what happens in a servo loop, iteration by iteration."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from siame_se3.laws.types import View
from siame_se3.servo.runs import Runs
from siame_se3.servo.trajectory import Trajectory


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
        self._T_wd = self._pose_of(target)
        self._poses = [self._pose_of(view)]
        self._twists: list[Tensor] = []
        self._applied: list[Tensor] = []
        self._active: list[Tensor] = []
        self._stages: list[Tensor] = []
        self._seconds: list[float] = []

    def __len__(self) -> int:
        return len(self._twists)

    def _pose_of(self, view: View) -> Float[Tensor, "n 4 4"]:
        """In the scene's frame, else in the base's; NaN where it is not known."""
        T = view.T_bc if self._in_base else view.T_wc
        if T is None:
            return torch.full((self.n, 4, 4), torch.nan, dtype=torch.float64)
        return T.double().cpu().clone()

    def add(
        self,
        view: View,
        command: Float[Tensor, "n 6"],
        applied: Float[Tensor, "n 6"],
        runs: Runs,
        stage: Int[Tensor, "n"] | None = None,
        seconds: float = 0.0,
    ) -> None:
        """One iteration: what was commanded and applied, and the view after it."""
        runs.iterations = runs.iterations + runs.active
        self._poses.append(self._pose_of(view))
        self._twists.append(command)
        self._applied.append(applied.double().cpu())
        self._active.append(runs.active.clone())
        self._stages.append(torch.full((self.n,), -1) if stage is None else stage)
        self._seconds.append(seconds)

    def trajectory(self, runs: Runs, settings: dict[str, Any]) -> Trajectory:
        """All of it."""

        def stacked(parts: list[Tensor], *tail: int, dtype: torch.dtype = torch.float64) -> Tensor:
            return torch.stack(parts) if parts else torch.zeros(0, self.n, *tail, dtype=dtype)

        return Trajectory(
            T_wc=torch.stack(self._poses),
            T_wd=self._T_wd,
            twist=stacked(self._twists, 6),
            applied=stacked(self._applied, 6),
            active=stacked(self._active, dtype=torch.bool),
            stage=stacked(self._stages, dtype=torch.long),
            iterations=runs.iterations,
            reason=runs.reason,
            step_seconds=torch.tensor(self._seconds, dtype=torch.float64),
            dt=self.dt,
            settings={**settings, "poses": "base"} if self._in_base else settings,
        )
