"""Muon (Jordan et al. 2024) for devices without bfloat16."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Float32Muon(torch.optim.Muon):
    """PyTorch's Muon with its matrices made orthogonal in their own precision.

    PyTorch does that in bfloat16 whatever the training's precision is, which where it is emulated takes longer than all the rest of a step.
    State, options and update are PyTorch's.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]  # no loss is asked for
        """One update of all matrices."""
        assert closure is None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, group)

    def _update(self, p: Tensor, group: dict[str, Any]) -> None:
        gradient, momentum = p.grad, group["momentum"]
        assert gradient is not None
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean = state["momentum_buffer"]
        mean.lerp_(gradient, 1 - momentum)
        direction = gradient.lerp(mean, momentum) if group["nesterov"] else mean
        direction = orthogonal(direction, group["ns_coefficients"], group["ns_steps"], group["eps"])
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(direction, alpha=-group["lr"] * math.sqrt(max(1.0, p.shape[0] / p.shape[1])))


def orthogonal(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, least: float = 1e-7) -> Tensor:
    """The matrix with its singular values brought near 1 by the quintic Newton-Schulz iteration X <- a X + (b A + c A^2) X, A = X X^T.

    Args:
        matrix: (m, n).
        coefficients: a, b and c.
        steps: iterations.
        least: norm that it is divided by at least.
    """
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    X = matrix.T if tall else matrix
    X = X / X.norm().clamp(min=least)
    for _ in range(steps):
        A = X @ X.T
        X = torch.addmm(X, torch.addmm(A, A, A, beta=b, alpha=c), X, beta=a)
    return X.T if tall else X


def as_matrix(p: Tensor) -> Tensor:
    """A weight's memory as (outputs, rest)."""
    return p.permute(0, *range(2, p.ndim), 1).flatten(1) if p.ndim > 2 else p
