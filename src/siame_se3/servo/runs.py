"""Which runs of a batch still move, and why the others have ended."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class Runs:
    """Of n runs.

    Args:
        n: how many.
        lost_steps: a run ends after so many iterations in a row without a valid law.

    Attributes:
        active: which still move.
        reason: why each has ended, or will have when nothing else ends it.
        iterations: how many each took.
        asked: numbers of the runs that the law is asked for; those that have ended leave them when a tenth has.
    """

    def __init__(self, n: int, lost_steps: int) -> None:
        self._lost_steps = lost_steps
        self._lost = torch.zeros(n, dtype=torch.long)
        self.active: Bool[Tensor, "n"] = torch.ones(n, dtype=torch.bool)
        self.reason = ["iterations"] * n
        self.iterations: Int[Tensor, "n"] = torch.zeros(n, dtype=torch.long)
        self.asked: Int[Tensor, "k"] = torch.arange(n)

    def shrink(self) -> Int[Tensor, "m"] | None:
        """Leave out the runs that have ended, if a tenth of those asked for has: the places of the rest among them, else None."""
        moving = self.active[self.asked]
        if int(moving.sum()) > 0.9 * len(self.asked):
            return None
        self.asked = self.asked[moving]
        return moving.nonzero()[:, 0]

    def end(self, which: Bool[Tensor, "n"], reason: str) -> None:
        """Some runs end, if they have not yet."""
        for k in (which & self.active).nonzero()[:, 0].tolist():
            self.reason[k] = reason
        self.active = self.active & ~which

    def faults(self, faults: tuple[str, ...]) -> Bool[Tensor, "n"]:
        """Which runs have no valid law now (`faults` of those asked for, '' for none); those without one for long end with its fault."""
        faulty = torch.zeros(len(self.active), dtype=torch.bool)
        faulty[self.asked] = torch.tensor([fault != "" for fault in faults])
        self._lost = torch.where(faulty, self._lost + 1, 0)
        lost = self._lost >= self._lost_steps
        for k, fault in zip(self.asked.tolist(), faults, strict=True):
            if lost[k] and self.active[k]:
                self.reason[k] = fault
        self.active = self.active & ~lost
        return faulty
