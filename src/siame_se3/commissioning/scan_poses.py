"""The views' poses as their images know them, from measured ones: a bundle adjustment with every pixel's depth eliminated.

The differences r_ik of pixel i in view k change with the view's twist xi_k and the inverse depth d_i: r + J xi + g d. The measured poses are a
prior with their standard deviation; it alone knows the scale. For each pixel d_i is eliminated (Schur complement), which leaves one system of
6 k unknowns; its inverse says how far errors of the poses that the images do not show move each depth.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from siame_se3.commissioning.scan_refine import Photometry
from siame_se3.geometry import lie

_PIXELS = 12_000  # of the goal image, that poses are refined with
_ALIKE = 6.0  # neighbouring pixels that say the same, about: they are interpolated, and the noise is not all there is
_BINS = 8  # rows and columns of the image in which the poses' part of the depths' errors is found


@dataclass(frozen=True, eq=False)
class Adjusted:
    """Poses, and what is left of their errors.

    Attributes:
        T_gk: (k, 4, 4).
        std: of the inverse depths by the poses' errors (h, w) [1/m].
    """

    T_gk: Tensor
    std: np.ndarray


def adjusted(
    photometry: Photometry,
    d: np.ndarray,
    valid: np.ndarray,
    measured: Tensor,
    std: tuple[float, float],
    pool: ThreadPoolExecutor,
) -> Adjusted:
    """One Gauss-Newton step of all poses, from inverse depths d (h, w) where they are `valid`, held near the `measured` poses (k, 4, 4), which
    are known to `std` along and about each axis [m, rad]."""
    seen, noise = photometry.look(d, valid, pool)
    T_gk, at = photometry.lines.T_gk.double().cpu(), _some(valid)
    J, g, r, weight = _rows(photometry, seen, d, at, T_gk)
    W = weight / (noise**2 * _ALIKE)
    (n, k) = g.shape
    H_dd = (W * g * g).sum(1).clamp(min=1e-9)
    H_dp = (W * g)[..., None] * J  # (n, k, 6)
    b_d = (W * g * r).sum(1)
    flat = H_dp.reshape(n, 6 * k)
    S = torch.block_diag(*torch.einsum("nki,nkj,nk->kij", J, J, W)) - flat.T @ (flat / H_dd[:, None])
    b = torch.einsum("nki,nk,nk->ki", J, W, r).reshape(-1) - flat.T @ (b_d / H_dd)
    prior = torch.tensor([std[0]] * 3 + [std[1]] * 3, dtype=torch.float64).repeat(k) ** -2
    away = lie.log(lie.inverse(measured.double().cpu()) @ T_gk).reshape(-1)
    covariance = torch.linalg.inv(S + torch.diag(prior))
    moved = -(covariance @ (b + prior * away))
    return Adjusted(T_gk @ lie.exp(moved.reshape(k, 6)), _std(flat, H_dd, covariance, at, d.shape))


def _some(valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of some of the valid pixels, spread evenly."""
    rows, columns = np.nonzero(valid)
    every = max(1, len(rows) // _PIXELS)
    return rows[::every], columns[::every]


def _rows(
    photometry: Photometry, seen: list, d: np.ndarray, at: tuple[np.ndarray, np.ndarray], T_gk: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """J (n, k, 6), g, r and the weights (n, k) of n pixels."""
    camera = photometry.lines.camera
    pixels = torch.from_numpy(np.stack((at[1], at[0]), -1).astype(np.float64))
    X_g = camera.rays(pixels) / torch.from_numpy(d[at].astype(np.float64))[:, None]
    parts: list[list[Tensor]] = []
    for T, s in zip(T_gk, seen, strict=True):
        ju, jv, g, r, weight = (torch.from_numpy(z[at].astype(np.float64)) for z in (s.ju, s.jv, s.g, s.r, s.weight))
        rates = pixel_rates(camera.fx, camera.fy, (X_g - T[:3, 3]) @ T[:3, :3])
        parts.append([ju[:, None] * rates[:, 0] + jv[:, None] * rates[:, 1], g, r, weight])
    J, g, r, weight = (torch.stack(column, 1) for column in zip(*parts, strict=True))
    return J, g, r, weight


def pixel_rates(fx: float, fy: float, X: Tensor) -> Tensor:
    """(p, 2, 6): how the pixels of points X (p, 3) [m] in a camera's frame move with its twist [px / (m, rad)]."""
    x, y, Z = X[:, 0] / X[:, 2], X[:, 1] / X[:, 2], X[:, 2]
    zero = torch.zeros_like(x)
    across = torch.stack((-1 / Z, zero, x / Z, x * y, -(1 + x * x), y), -1)
    down = torch.stack((zero, -1 / Z, y / Z, 1 + y * y, -x * y, -x), -1)
    return torch.stack((fx * across, fy * down), 1)


def _std(
    flat: Tensor, H_dd: Tensor, covariance: Tensor, at: tuple[np.ndarray, np.ndarray], size: tuple[int, ...]
) -> np.ndarray:
    """Standard deviation of the inverse depths by the poses, smooth over the image: a depth moves by -(H_dp / H_dd) xi."""
    h, w = size
    bins = torch.from_numpy((at[0] * _BINS // h) * _BINS + at[1] * _BINS // w)
    rows = torch.zeros(_BINS**2, flat.shape[1], dtype=torch.float64).index_add_(0, bins, flat)
    total = torch.zeros(_BINS**2, dtype=torch.float64).index_add_(0, bins, H_dd)
    rows = rows / total.clamp(min=1e-9)[:, None]
    std = torch.einsum("bi,ij,bj->b", rows, covariance, rows).clamp(min=0).sqrt()
    known = total > 0
    std[~known] = std[known].max() if bool(known.any()) else torch.inf
    return cv2.resize(std.reshape(_BINS, _BINS).float().numpy(), (w, h), interpolation=cv2.INTER_LINEAR)
