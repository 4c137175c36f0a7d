"""Plane sweep: which inverse depth of each goal pixel makes the views agree, to about a third of a pixel of parallax.

A pixel x = (u, v, 1) of the goal image at the inverse depth d [1/m] is seen by view k, whose camera is at T_gk = (R, t) in the goal camera's
frame, at the pixel A_k x + d b_k (homogeneous), A = K R^T K^-1, b = -K R^T t: a line in d, and for one d a homography of the whole image
(Collins 1996, "A space-sweep approach to true multi-image matching"). Planes in space are linear functions d(u, v).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera

_NOISE = 0.01  # of the range: contrasts below it correlate with nothing
_OUTSIDE = -10.0  # what a view shows beyond its border: correlates with nothing either
_STEP = 0.75  # between levels, of the view with most parallax [px]
_WINDOW, _SUPPORT = (
    5,
    4,
)  # side of the correlation's windows, and radius over which costs are averaged within edges [px]
_EDGE = 0.03  # contrast that counts as an edge there
_MOST_LEVELS = 400
_BESIDE = 8  # levels on each side that count as the same depth, at most: costs of smooth textures rise slowly


@dataclass(frozen=True, eq=False)
class Lines:
    """Where views see the goal's pixels: at A x + d b.

    Attributes:
        A, b: (k, 3, 3) and (k, 3), of k views.
        T_gk: (k, 4, 4) camera of each view in the goal camera's frame [m].
        camera: intrinsics of all images.
    """

    A: np.ndarray
    b: np.ndarray
    T_gk: Tensor
    camera: Camera

    @staticmethod
    def of(camera: Camera, T_gk: Tensor) -> Lines:
        """Of views at T_gk (k, 4, 4)."""
        K, T_kg = camera.K, lie.inverse(T_gk.double().cpu())
        A = K @ T_kg[:, :3, :3] @ torch.linalg.inv(K)
        return Lines(A.numpy(), (K @ T_kg[:, :3, 3:])[..., 0].numpy(), T_gk, camera)

    def start(self, k: int) -> np.ndarray:
        """A_k x of all pixels (3, h, w), float32: what is left is to add d b_k."""
        h, w = self.camera.size
        u, v = np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)[:, None]
        return np.stack([np.float32(row[0]) * u + np.float32(row[1]) * v + np.float32(row[2]) for row in self.A[k]])

    def parallax(self, d: float, depths: float = 0.1) -> np.ndarray:
        """(k, p, 2): how far views at rest over a plane square to the goal see it move where its inverse depth changes from `d` by the share
        `depths` [px / share], at p pixels over the goal image."""
        h, w = self.camera.size
        grid = np.stack(np.meshgrid(np.linspace(0, w - 1, 5), np.linspace(0, h - 1, 5)), -1).reshape(-1, 2)
        x = np.concatenate((grid, np.ones((len(grid), 1))), 1) @ self.A.transpose(0, 2, 1)
        near, far = (x + (d * (1 + s * depths)) * self.b[:, None] for s in (0.5, -0.5))
        return (near[..., :2] / near[..., 2:] - far[..., :2] / far[..., 2:]) / depths


@dataclass(frozen=True, eq=False)
class Swept:
    """What a sweep found.

    Attributes:
        d: inverse depth (h, w) [1/m], where the views agree best.
        cost: of it, from 0 (they agree) to 1.
        second: the lowest cost of any other depth that is not beside it.
        inner: whether it is neither the first nor the last that was looked at.
        step: between levels [1/m].
    """

    d: np.ndarray
    cost: np.ndarray
    second: np.ndarray
    inner: np.ndarray
    step: float


def levels(lines: Lines, low: float, high: float, d: float) -> np.ndarray:
    """Inverse depths from `low` to `high` [1/m], `_STEP` pixels of parallax apart at `d`."""
    most = np.linalg.norm(lines.parallax(d), axis=-1).mean(1).max() / d  # px m
    count = int(np.clip(np.ceil((high - low) * most / _STEP) + 1, 8, _MOST_LEVELS))
    return np.linspace(low, high, count)


def sweep(goal: np.ndarray, views: list[np.ndarray], lines: Lines, at: np.ndarray) -> Swept:
    """Costs of the inverse depths `at` (rising, evenly spaced), and the best of each pixel.

    A level's cost is 1 - the normalised correlation of windows, averaged over the half of the views that agree best among those beside each
    other (something in front hides a pixel from one side), then within the goal image's edges (guided filter, He et al. 2013).
    """
    order = neighbours(lines)
    guide = _Guide(goal)
    correlation = _Correlation(goal)

    def cost(d: float) -> np.ndarray:
        seen = [correlation.cost(_warped(views[k], lines, k, d)) for k in order]
        return guide.smooth(best_half(seen))

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return _best(np.stack(list(pool.map(cost, at.tolist()))), at)


def neighbours(lines: Lines) -> list[int]:
    """The views in the order of the direction in which they see the middle of the goal image move."""
    moved = lines.parallax(1 / 0.6).mean(1)
    return np.argsort(np.arctan2(moved[:, 1], moved[:, 0]), kind="stable").tolist()


def best_half(costs: list[np.ndarray]) -> np.ndarray:
    """The least mean over half of the views that are beside each other, for each pixel."""
    k = len(costs)
    half = (k + 1) // 2
    total = costs[0].copy()
    for other in costs[1:half]:
        total += other
    best = total.copy()
    for i in range(1, k):
        total += costs[(i + half - 1) % k]
        total -= costs[i - 1]
        np.minimum(best, total, out=best)
    return best / half


def _warped(view: np.ndarray, lines: Lines, k: int, d: float) -> np.ndarray:
    H = lines.A[k] + d * np.outer(lines.b[k], [0.0, 0.0, 1.0])
    h, w = lines.camera.size
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(view, H, (w, h), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=_OUTSIDE)


class _Correlation:
    """Normalised correlation of windows with those of one image."""

    def __init__(self, goal: np.ndarray) -> None:
        self._goal, self._mean = goal, _box(goal, _WINDOW)
        self._variance = _box(goal * goal, _WINDOW) - self._mean**2 + _NOISE**2

    def cost(self, other: np.ndarray) -> np.ndarray:
        """1 - correlation, at most 1."""
        mean = _box(other, _WINDOW)
        variance = _box(other * other, _WINDOW) - mean * mean
        covariance = _box(self._goal * other, _WINDOW) - self._mean * mean
        variance += _NOISE**2
        variance *= self._variance
        np.maximum(variance, _NOISE**4, out=variance)
        np.sqrt(variance, out=variance)
        covariance /= variance
        return np.clip(1 - covariance, 0, 1, out=covariance)


class _Guide:
    """Means within the edges of an image (guided filter)."""

    def __init__(self, image: np.ndarray) -> None:
        self._side = 2 * _SUPPORT + 1
        self._image, self._mean = image, _box(image, self._side)
        self._inverse = 1 / (np.maximum(_box(image * image, self._side) - self._mean**2, 0) + _EDGE**2)

    def smooth(self, x: np.ndarray) -> np.ndarray:
        """The mean of x around each pixel, among pixels like it."""
        mean = _box(x, self._side)
        a = (_box(self._image * x, self._side) - self._mean * mean) * self._inverse
        b = _box(mean - a * self._mean, self._side)
        return _box(a, self._side) * self._image + b


def _box(x: np.ndarray, side: int) -> np.ndarray:
    return cv2.blur(x, (side, side), borderType=cv2.BORDER_REFLECT)


def _best(costs: np.ndarray, at: np.ndarray) -> Swept:
    """The best level of each pixel, refined by a parabola, and the best one elsewhere."""
    n, step = len(at), float(at[1] - at[0])
    best = costs.argmin(0)
    inner = best.clip(1, n - 2)[None]
    before, here, after = (np.take_along_axis(costs, inner + s, 0)[0] for s in (-1, 0, 1))
    curve = before - 2 * here + after
    offset = np.where(curve > 1e-6, (before - after) / (2 * np.maximum(curve, 1e-6)), 0).clip(-0.5, 0.5)
    offset[best != inner[0]] = 0
    cost = np.take_along_axis(costs, best[None], 0)[0]
    far = np.abs(np.arange(n)[:, None, None] - best) > int(np.clip(n // 5, 2, _BESIDE))
    second = np.where(far, costs, np.inf).min(0)
    d = at[0] + step * (best + offset)
    return Swept(d.astype(np.float32), cost, second, best == inner[0], step)
