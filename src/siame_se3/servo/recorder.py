"""Keeps what happens in a servo loop, iteration by iteration."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from siame_se3.laws.types import View
from siame_se3.servo.columns import Blocks, Column
from siame_se3.servo.runs import Runs
from siame_se3.servo.trajectory import Trajectory

log = logging.getLogger(__name__)


class Recorder:
    """Of n runs. However long they are, it takes a few megabytes of memory; the rest is in a temporary file (see `Blocks`).

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
        self._count = 0  # whole iterations: one that Ctrl-C interrupts while it is recorded does not count
        self._blocks = blocks = Blocks()
        self._poses, self._twists, self._applied = (Column(blocks, n, *shape) for shape in ((4, 4), (6,), (6,)))
        self._active, self._stages = Column(blocks, n, dtype=torch.bool), Column(blocks, n, dtype=torch.long)
        self._seconds = Column(blocks)
        self._confidence: Column | None = None  # from the first that a law gives
        self._poses.put(0, self._pose_of(view))

    def __len__(self) -> int:
        return self._count

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
        k = self._count
        self._poses.put(k + 1, self._pose_of(view))
        self._twists.put(k, command)
        self._applied.put(k, applied.double().cpu())
        self._active.put(k, runs.active)
        self._stages.put(k, torch.full((self.n,), -1) if stage is None else stage)
        self._seconds.put(k, seconds)
        if confidence is not None and self._confidence is None:
            self._confidence = Column(self._blocks, self.n, dtype=torch.float32)
            for j in range(k):
                self._confidence.put(j, math.nan)
        if self._confidence is not None:
            self._confidence.put(k, math.nan if confidence is None else confidence)
        runs.iterations = runs.iterations + runs.active
        self._count = k + 1

    def trajectory(
        self, runs: Runs, settings: dict[str, Any], covariance: Float[Tensor, "n 6 6"] | None = None
    ) -> Trajectory:
        """All of it, and how sure the law was of each run's pose at the end.

        Raises:
            InputError: what lies in the temporary file cannot be read any more.
        """
        if refused := self._blocks.refused:
            log.warning(
                "the temporary folder did not take the record of this long run (%s), which stayed in memory; "
                "free some space there, or set TMPDIR to another folder",
                refused.strerror or refused,
            )
        T = self._count
        return Trajectory(
            T_wc=self._poses.first(T + 1),
            T_wd=self._T_wd,
            twist=self._twists.first(T),
            applied=self._applied.first(T),
            active=self._active.first(T),
            stage=self._stages.first(T),
            iterations=runs.iterations,
            reason=runs.reason,
            step_seconds=self._seconds.first(T),
            dt=self.dt,
            settings={**settings, "poses": "base"} if self._in_base else settings,
            confidence=None if self._confidence is None else self._confidence.first(T),
            covariance=covariance,
        )
