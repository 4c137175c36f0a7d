"""Where blocks of the reference picture are in the current one, to a part of a pixel: what `align_fit` works from.

The current picture is seen through a homography as the reference's camera would see it; block by block its local contrast is then brought over
the reference's by displacements (Lucas and Kanade 1981, with the mean of both gradients), from coarse to fine copies.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 40  # of a block [px]
LEVELS = (2, 1, 0)  # halvings
_ROUNDS = 3  # on each
_MOST = 0.25  # of a block's side: a step
_FLOOR = 0.02  # of the range: contrast below this is the sensor's noise
_ALIKE = 0.5  # correlation of a block with the current picture, at least
_TEXTURE = 0.003  # mean square gradient of the local contrast along an axis that says where a block is [1/px^2]
_SEEN = 0.4  # share of a block that both pictures show, at least
_FINEST = 0.01  # what no block is known better than [px]
_APERTURE = 30.0  # standard deviation along an edge that looks the same along itself [px]


@dataclass(frozen=True, eq=False)
class Blocks:
    """Those that were found.

    Attributes:
        pixels: where they are in the reference (n, 2).
        shift: displacements in the reference's pixels, of the current picture seen through the homography (n, 2).
        covariance: of these (n, 2, 2) [px^2], up to a factor that is the same for all: noise is taken for independent from pixel to pixel.
        alike: correlation of each with the current picture (n,).
    """

    pixels: np.ndarray
    shift: np.ndarray
    covariance: np.ndarray
    alike: np.ndarray

    def mapped(self, H: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of those in front of the current camera: where they are in the reference and in the current picture (n, 2), and the covariances there
        (n, 2, 2), for the homography that they were found with."""
        X = np.c_[self.pixels + self.shift, np.ones(len(self.pixels))] @ H.T
        front = X[:, 2] > 1e-6 * np.abs(X[:, 2]).max(initial=0.0)
        X, spread = X[front], self.covariance[front]
        at = X[:, :2] / X[:, 2:]
        J = (H[None, :2, :2] - at[:, :, None] * H[None, 2:, :2]) / X[:, 2, None, None]
        moved = J @ spread @ J.transpose(0, 2, 1)
        return self.pixels[front], at, (moved + moved.transpose(0, 2, 1)) / 2 + _FINEST**2 * np.eye(2)


def found_blocks(
    goal: np.ndarray,
    counts: np.ndarray,
    now: np.ndarray,
    H: np.ndarray,
    side: int = SIDE,
    levels: tuple[int, ...] = LEVELS,
    rounds: int = _ROUNDS,
) -> Blocks:
    """Blocks of the reference in the current picture.

    Args:
        goal: the reference (h, w), grey, in [0, 1].
        counts: 1 where it counts, 0 where it is left out (h, w), float32.
        now: the current picture (y, x).
        H: reference pixels to current ones, within some pixels.
        side: of a block [px].
        levels: halvings of both pictures, the coarsest first.
        rounds: on each level.
    """
    h, w = goal.shape
    grid = max(2, round(h / side)), max(2, round(w / side))
    shift = np.zeros((*grid, 2))
    step: _Step | None = None
    for level in levels:
        scale = 0.5**level
        size = max(4 * grid[1], round(w * scale)), max(4 * grid[0], round(h * scale))
        mine = _resized(goal, size)
        mask = _resized(counts, size) > 0.99
        source = _resized(now, (max(8, round(now.shape[1] * scale)), max(8, round(now.shape[0] * scale))))
        M = resizing(now.shape, source.shape) @ H @ np.linalg.inv(resizing(goal.shape, mine.shape))
        factor = np.array([size[0] / w, size[1] / h])
        most = _MOST * side * scale
        for _ in range(rounds):
            image, known = _seen(
                source, M, shift * factor, size, cv2.INTER_LINEAR if level or rounds == 1 else cv2.INTER_CUBIC
            )
            step = _step(mine, image, (known & mask).astype(np.float32), grid)
            shift = _calm(shift + np.clip(step.shift, -most, most) / factor, step.usable)
    assert step is not None
    covariance = step.covariance / (factor[:, None] * factor)
    middle = (step.middle + 0.5) / factor - 0.5
    keep = step.usable
    return Blocks(middle[keep], shift[keep], covariance[keep], step.alike[keep])


def resizing(old: tuple[int, ...], new: tuple[int, ...]) -> np.ndarray:
    """Pixels of a picture of shape (h, w, ...) to those of a resized one."""
    y, x = new[0] / old[0], new[1] / old[1]
    return np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1.0]])


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return image if image.shape[::-1] == size else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _calm(shift: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Blocks that could not be used move with their neighbours."""
    weight = usable.astype(np.float64)
    size = (3, 3)
    total = cv2.boxFilter(weight, cv2.CV_64F, size, normalize=False, borderType=cv2.BORDER_CONSTANT)
    mean = cv2.boxFilter(shift * weight[..., None], cv2.CV_64F, size, normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.where(usable[..., None], shift, mean / np.maximum(total, 1e-9)[..., None])


def _seen(
    source: np.ndarray, M: np.ndarray, shift: np.ndarray, size: tuple[int, int], flags: int
) -> tuple[np.ndarray, np.ndarray]:
    """The current picture at the reference's displaced pixels (h, w), and where it is known."""
    w, h = size
    field = cv2.resize(shift.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    x = np.arange(w, dtype=np.float32) + field[..., 0]
    y = np.arange(h, dtype=np.float32)[:, None] + field[..., 1]
    m = (M / np.abs(M).max()).astype(np.float32)
    third = m[2, 0] * x + m[2, 1] * y + m[2, 2]
    front = third > 1e-6 * float(np.abs(third).max())
    safe = np.where(front, third, 1)
    u, v = (np.where(front, (m[k, 0] * x + m[k, 1] * y + m[k, 2]) / safe, -9) for k in range(2))
    last = np.array(source.shape) - 1
    known = front & (u >= 0) & (v >= 0) & (u <= last[1]) & (v <= last[0])
    return cv2.remap(source, u, v, flags, borderMode=cv2.BORDER_REPLICATE), known


def _contrast(image: np.ndarray, known: np.ndarray, side: int) -> np.ndarray:
    """Local contrast of a grey image (h, w) in [0, 1], 0 where it is not known."""

    def mean(z: np.ndarray) -> np.ndarray:
        found: np.ndarray = cv2.boxFilter(z, cv2.CV_32F, (side, side), borderType=cv2.BORDER_REFLECT)
        return found

    share, inside = mean(known) + 1e-6, image * known
    middle = mean(inside) / share
    deviation = np.sqrt(np.maximum(mean(inside * image) / share - middle * middle, 0.0))
    found: np.ndarray = (image - middle) / (deviation + _FLOOR) * known
    return found


@dataclass(frozen=True, eq=False)
class _Step:
    """Of the blocks of a grid: what is left to be moved, its covariance, their correlation, which can be used, the middles of their textures
    (rows, columns, ...) in pixels of the level."""

    shift: np.ndarray
    covariance: np.ndarray
    alike: np.ndarray
    usable: np.ndarray
    middle: np.ndarray


def _step(mine: np.ndarray, image: np.ndarray, known: np.ndarray, grid: tuple[int, int]) -> _Step:
    """One step of each block of `mine` to where `image` has it."""
    h, w = mine.shape
    window = 2 * (min(h // grid[0], w // grid[1]) // 2) + 1
    a, b = _contrast(mine, known, window), _contrast(image, known, window)
    mean, e = 0.5 * (a + b), a - b
    gx, gy = cv2.Sobel(mean, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(mean, cv2.CV_32F, 0, 1, scale=0.125)
    inner = cv2.erode(known, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    gx, gy, a, b, e = (z * inner for z in (gx, gy, a, b, e))
    squared = gx * gx + gy * gy
    x, y = np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)[:, None]
    images = (inner, gx * gx, gx * gy, gy * gy, gx * e, gy * e, e * e, a * b, a * a, b * b, squared * x, squared * y)
    edges = [np.linspace(0, n, k + 1).round().astype(int)[:-1] for n, k in zip((h, w), grid, strict=True)]
    sums = [np.add.reduceat(np.add.reduceat(z, edges[0], 0), edges[1], 1).astype(np.float64) for z in images]
    count, xx, xy, yy, xe, ye, ee, ab, aa, bb, at_x, at_y = sums
    G = np.stack((xx, xy, xy, yy), -1).reshape(*grid, 2, 2)
    g = np.stack((xe, ye), -1)
    values, axes = np.linalg.eigh(G)
    clear = values > _TEXTURE * np.maximum(count, 1)[..., None]
    along = np.einsum("...ji,...j->...i", axes, g) * np.where(clear, 1 / np.maximum(values, 1e-9), 0)
    shift = np.einsum("...ij,...j->...i", axes, along)
    rest = np.maximum(ee - (g * shift).sum(-1), 1e-9) / np.maximum(count - 2, 1)
    spread = np.where(clear, np.minimum(rest[..., None] / np.maximum(values, 1e-9), _APERTURE**2), _APERTURE**2)
    covariance = np.einsum("...ik,...k,...jk->...ij", axes, spread, axes)
    alike = ab / np.sqrt(aa * bb + 1e-9)
    enough = (count > _SEEN * h * w / (grid[0] * grid[1])) & clear[..., 1]
    middle = np.stack((at_x, at_y), -1) / np.maximum(xx + yy, 1e-9)[..., None]
    return _Step(shift, covariance, alike, enough & (alike > _ALIKE), middle)
