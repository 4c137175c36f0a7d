"""When a motion has settled: its mean over some iterations is small, and stays so."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from siame_se3.servo.config import ServoConfig


class Settling:
    """Watches the velocities of n runs.

    The mean counts, so that a law that only trembles has settled; and it must be small for more than half of `settle_steps` in a row, so
    that a law whose velocity turns around on the way has not.

    Args:
        config: thresholds and number of iterations.
        n: number of runs.
    """

    def __init__(self, config: ServoConfig, n: int) -> None:
        self._config = config
        self._recent = torch.zeros(config.settle_steps, n, 6, dtype=torch.float64)
        self._valid = torch.zeros(n, dtype=torch.long)  # iterations since the last fault
        self._still = torch.zeros(n, dtype=torch.long)  # iterations in a row with a small mean

    def update(self, v: Float[Tensor, "n 6"], faulty: Bool[Tensor, "n"]) -> Bool[Tensor, "n"]:
        """Which runs have settled, after one more iteration with the velocities v at gain 1 [m/s, rad/s]."""
        c = self._config
        self._recent = torch.cat((self._recent[1:], v[None]))
        self._valid = torch.where(faulty, 0, self._valid + 1)
        mean = self._recent.mean(0)
        small = (mean[:, :3].norm(dim=1) < c.settle_v) & (mean[:, 3:].norm(dim=1) < c.settle_w)
        self._still = torch.where(small & (self._valid >= c.settle_steps), self._still + 1, 0)
        return self._still > c.settle_steps // 2
