"""Trajectory: what a batch of servo runs leaves, and its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.servo import stored


@dataclass(frozen=True, eq=False)
class Trajectory:
    """T iterations of a batch of runs.

    Attributes:
        T_wc: camera poses before each iteration's motion and one after the last; NaN when the plant does not know them. They are in the
            scene's frame, or in that of the robot's base where settings['poses'] is 'base'.
        T_wd: desired poses, in the same frame.
        twist: v commanded, camera frame [m/s, rad/s].
        applied: v that the plant made of it.
        active: runs that were still moving at that iteration.
        stage: which part of a law made of several was at work (0 the first), -1 where the run had ended.
        iterations: how many each run took.
        reason: why each run ended: settled, iterations, timeout, or a fault.
        step_seconds: wall time of the law a run and iteration [s], all runs together divided by their number.
        dt: time between iterations [s].
        settings: what made it: all options, for the report.
        confidence: of the law at each iteration, as `Output.confidence`, float32; NaN where it gave none. None is all NaN.
        covariance: of each run's pose at the end, (v, omega) in the last camera's frame [m, rad], where the law knows (`laws.certainty`);
            NaN where it does not. None is all NaN.
    """

    T_wc: Float[Tensor, "T1 n 4 4"]
    T_wd: Float[Tensor, "n 4 4"]
    twist: Float[Tensor, "T n 6"]
    applied: Float[Tensor, "T n 6"]
    active: Bool[Tensor, "T n"]
    stage: Int[Tensor, "T n"]
    iterations: Int[Tensor, "n"]
    reason: list[str]
    step_seconds: Float[Tensor, "T"]
    dt: float
    settings: dict[str, Any] = field(default_factory=dict)
    confidence: Float[Tensor, "T n"] | None = None
    covariance: Float[Tensor, "n 6 6"] | None = None

    @property
    def confidences(self) -> Float[Tensor, "T n"]:
        """`confidence`, NaN where there is none."""
        nothing = torch.full((1, 1), torch.nan).expand(self.active.shape)
        return nothing if self.confidence is None else self.confidence

    @property
    def covariances(self) -> Float[Tensor, "n 6 6"]:
        """`covariance`, NaN where it is not known."""
        nothing = torch.full((1, 1, 1), torch.nan, dtype=torch.float64).expand(len(self.T_wd), 6, 6)
        return nothing if self.covariance is None else self.covariance

    @property
    def error_norms(self) -> tuple[Float[Tensor, "T1 n"], Float[Tensor, "T1 n"]]:
        """Distance [m] and angle [rad] between current and desired camera over time."""
        return lie.error_norms(lie.inverse(self.T_wd) @ self.T_wc)

    @staticmethod
    def joined(runs: Sequence[Trajectory]) -> Trajectory:
        """Runs made one after the other, of one camera each, as one batch; those that ended early keep their last pose. Step times are the
        means over the runs."""
        T = max(len(run.twist) for run in runs)

        def padded(values: list[Tensor], fill: float | None) -> Tensor:
            length = T + 1 if fill is None else T
            parts = []
            for x in values:
                tail = x[-1:] if fill is None else torch.full((1, *x.shape[1:]), fill, dtype=x.dtype)
                parts.append(torch.cat((x, tail.expand(length - len(x), *x.shape[1:]))))
            return torch.cat(parts, 1)

        seconds = torch.zeros(T, dtype=torch.float64)
        for k in range(T):
            seconds[k] = torch.stack([run.step_seconds[k] for run in runs if k < len(run.step_seconds)]).mean()
        return Trajectory(
            T_wc=padded([run.T_wc for run in runs], None),
            T_wd=torch.cat([run.T_wd for run in runs]),
            twist=padded([run.twist for run in runs], 0),
            applied=padded([run.applied for run in runs], 0),
            active=padded([run.active for run in runs], False),
            stage=padded([run.stage for run in runs], -1),
            iterations=torch.cat([run.iterations for run in runs]),
            reason=[reason for run in runs for reason in run.reason],
            step_seconds=seconds,
            dt=runs[0].dt,
            settings=dict(runs[0].settings),
            confidence=(
                padded([run.confidences for run in runs], torch.nan)
                if any(run.confidence is not None for run in runs)
                else None
            ),
            covariance=(
                torch.cat([run.covariances for run in runs])
                if any(run.covariance is not None for run in runs)
                else None
            ),
        )

    def save(self, path: str | Path) -> None:
        """Write a compressed .npz (no pickle) that `load` reads back, whole or not at all.

        Raises:
            InputError: it cannot be written.
        """
        stored.write(self, path)

    @staticmethod
    def load(path: str | Path) -> Trajectory:
        """Read what `save` wrote.

        Raises:
            InputError: no such file, another kind of file, a damaged one, or values that no run gives.
        """
        return Trajectory(**stored.read(path))
