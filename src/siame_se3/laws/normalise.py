"""Grey levels made blind to light: of zero mean and unit variance, over the whole image or around each pixel."""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor


def globally_normalised(s: Float[Tensor, "n N"], L: Float[Tensor, "n 6 M"]) -> tuple[Tensor, Tensor]:
    """n = 100 (I - mean) / std of the pixels s, and its interaction matrix from that of s (L^T; empty where there is none):
    dn = (100 / std) (I - m - n n^T / (10^4 N)) dI."""
    mean, std = s.mean(1, keepdim=True), s.std(1, correction=0, keepdim=True).clamp(min=1e-6)
    s = (s - mean) * (100 / std)
    if L.shape[2]:
        L = L - L.mean(2, keepdim=True)
        along = (L @ s[..., None]) / (1e4 * s.shape[1])
        L = (L - along * s[:, None]) * (100 / std)[..., None]
    return s, L


def locally_normalised(grey: Float[Tensor, "n h w"], window: float) -> Float[Tensor, "n h w"]:
    """50 (I - mean) / deviation, both over a window, a share of the width; deviations under 2 % of the range count as that."""
    side = 2 * max(2, round(window * grey.shape[-1] / 2)) + 1
    down, along = (_box(n, side, grey.dtype) for n in grey.shape[-2:])

    def mean(z: Tensor) -> Tensor:
        return down @ z @ along.T

    middle = grey - mean(grey)
    return middle * (50 * torch.rsqrt(mean(middle.square()) + 5.1**2))


@lru_cache(maxsize=8)
def _box(n: int, side: int, dtype: torch.dtype) -> Float[Tensor, "n n"]:
    """Means over `side` of n samples, fewer at the ends, as a matrix."""
    k = torch.arange(n)
    inside = ((k[:, None] - k).abs() <= side // 2).double()
    return (inside / inside.sum(1, keepdim=True)).to(dtype)
