"""Depths and camera poses that explain the views best: photometric Gauss-Newton, from the sweep's depths and the measured poses.

Depths: of each goal pixel the inverse depth d, from the views' differences r = J(u) - I and their derivatives g = dJ/du . du/dd, summed over the
pixels around it that lie at about the same depth, whose inverse depths are fitted by a plane (planes in space are linear in d), so that slanted
faces keep their slant and edges stay where they are. Poses: each view's, from the same differences, held near the measured one.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from torch import Tensor

from siame_se3.commissioning.scan_sweep import Lines

_AROUND = 3  # radius of the windows whose depths are fitted [px]
_SAME = 0.7  # neighbours whose parallax differs by this are at another depth [px]
_OF_NOISE = 0.2  # share of the differences' variance that noise makes in squared gradients, and some more
_ALONE = 0.04  # share of a depth
_COLOUR = 0.05  # standard deviation of the difference of neighbours of one colour, of the range
_LIGHT = 13  # side of the windows in which a view's light is fitted to the goal's [px]
_FLAT = 0.01  # of the range: contrasts below it say nothing about light
_FLOOR = 0.006  # of the range: differences that light and lens make, whatever the noise
_OUTLIER = 2.5  # standard deviations, of differences that count by half
_ALIASED = 0.15  # [px] between images of one texture


@dataclass(frozen=True, eq=False)
class Seen:
    """What view k shows of the goal's pixels at their depths.

    Attributes:
        r: its difference from the goal image, the light fitted, (h, w).
        g: derivative by the inverse depth [1 / (1/m)].
        ju, jv: gradient of the view there [1/px].
        weight: from 1 to 0, for pixels that it shows, to those that are hidden from it or outside.
        gain: of the goal's light over the view's, which r, g, ju and jv have.
        rate: of the pixel by the inverse depth, squared [px^2 m^2].
        noise: standard deviation of the differences.
        agrees: as `weight`, and a strong texture may differ by more.
    """

    r: np.ndarray
    g: np.ndarray
    ju: np.ndarray
    jv: np.ndarray
    weight: np.ndarray
    gain: np.ndarray
    rate: np.ndarray
    noise: float
    agrees: np.ndarray


@dataclass(frozen=True, eq=False)
class Fit:
    """Inverse depths, as far as the views determine them.

    Attributes:
        d: inverse depth (h, w) [1/m].
        information: what the views say of each pixel with its neighbours: 1 / variance [m^2].
        single: the same of each pixel alone, less what noise would say; below 0 where it is nothing else.
        agreeing: how many views show it.
        mean: of the goal image and what the views show of it: the noise is less.
        noise: standard deviation of the differences.
    """

    d: np.ndarray
    information: np.ndarray
    single: np.ndarray
    agreeing: np.ndarray
    mean: np.ndarray
    noise: float


class Photometry:
    """The views of one goal image.

    Args:
        goal: grey image (h, w), float32.
        views: k of them.
        lines: their geometry.
    """

    def __init__(self, goal: np.ndarray, views: list[np.ndarray], lines: Lines) -> None:
        self.goal, self.lines = goal, lines
        self._layers = [np.stack((view, *_gradient(view)), -1) for view in views]
        self._starts = [lines.start(k) for k in range(len(views))]

    def moved(self, T_gk: Tensor) -> Photometry:
        """The same with other poses of the views."""
        new = object.__new__(Photometry)
        new.goal, new.lines, new._layers = self.goal, Lines.of(self.lines.camera, T_gk), self._layers
        new._starts = [new.lines.start(k) for k in range(len(self._layers))]
        return new

    def look(self, d: np.ndarray, valid: np.ndarray, pool: ThreadPoolExecutor) -> tuple[list[Seen], float]:
        """What each view shows, given d (h, w) where it is `valid`; and the noise of the differences."""
        seen = list(pool.map(lambda k: self._seen(k, d, valid), range(len(self._layers))))
        return seen, float(np.median([s.noise for s in seen]))

    def shown(self, k: int, d: np.ndarray) -> tuple[np.ndarray, ...]:
        """What view k shows of the goal's pixels at the inverse depths d: grey levels, their derivatives by the view's pixel, that pixel's by d,
        and which pixels are in it, all (h, w)."""
        b = self.lines.b[k].astype(np.float32)
        x, y, z = (start + c * d for start, c in zip(self._starts[k], b, strict=True))
        inside = z > 1e-6
        z = np.maximum(z, 1e-6)
        x /= z
        y /= z
        h, w = d.shape
        inside &= (x >= 1) & (x <= w - 2) & (y >= 1) & (y <= h - 2)
        J, ju, jv = cv2.split(cv2.remap(self._layers[k], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        return J, ju, jv, (b[0] - x * b[2]) / z, (b[1] - y * b[2]) / z, inside

    def _seen(self, k: int, d: np.ndarray, valid: np.ndarray) -> Seen:
        J, ju, jv, du, dv, inside = self.shown(k, d)
        weight = (valid & inside).astype(np.float32)
        for _ in range(2):  # the second time, the light is fitted without what is hidden
            gain, r = _relit(self.goal, J, weight)
            noise = _noise(r[weight > 0.5])
            size = cv2.blur(r * r, (3, 3)) / (_OUTLIER * noise) ** 2
            there, weight = weight > 0, np.where(weight > 0, 1 / (1 + size * size), 0).astype(np.float32)
        ju, jv = gain * ju, gain * jv
        # A texture near the pixels' limit differs between two images by what a shift of a part of a pixel makes of it.
        alike = 1 + (_ALIASED / noise) ** 2 * cv2.blur(ju * ju + jv * jv, (3, 3))
        agrees = np.where(there, 1 / (1 + (size / alike) ** 2), 0).astype(np.float32)
        return Seen(r, ju * du + jv * dv, ju, jv, weight, gain, du * du + dv * dv, noise, agrees)


def _gradient(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """dI/du, dI/dv [1/px]: central differences."""
    taps, one = np.array([-0.5, 0, 0.5], np.float32), np.ones(1, np.float32)
    return (
        cv2.sepFilter2D(image, cv2.CV_32F, taps, one, borderType=cv2.BORDER_REPLICATE),
        cv2.sepFilter2D(image, cv2.CV_32F, one, taps, borderType=cv2.BORDER_REPLICATE),
    )


def _relit(goal: np.ndarray, J: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A view with the goal's local mean and contrast: the gain, and the difference from the goal."""

    def mean(z: np.ndarray) -> np.ndarray:
        return cv2.blur(z, (_LIGHT, _LIGHT))

    total = np.maximum(mean(weight), 1e-3)
    mI, mJ = mean(weight * goal) / total, mean(weight * J) / total
    vI = np.maximum(mean(weight * goal * goal) / total - mI * mI, 0) + _FLAT**2
    vJ = np.maximum(mean(weight * J * J) / total - mJ * mJ, 0) + _FLAT**2
    gain = np.sqrt(vI / vJ)
    return gain, gain * (J - mJ) - (goal - mI)


def _noise(r: np.ndarray) -> float:
    """Standard deviation of differences, outliers left out."""
    return max(1e-3, 1.4826 * float(np.median(np.abs(r[:: max(1, len(r) // 50_000)])))) if len(r) else 1.0


def step(photometry: Photometry, d: np.ndarray, valid: np.ndarray, pool: ThreadPoolExecutor, most: float) -> Fit:
    """One Gauss-Newton step of all depths, by at most `most` [1/m], fitted by planes within the edges of d."""
    seen, noise = photometry.look(d, valid, pool)
    D, n = np.zeros_like(d), np.zeros_like(d)  # the sums of g^2 and -g r: moved by n / D
    agreeing, shown, total, nothing = (np.zeros_like(d) for _ in range(4))
    for s in seen:
        wg = s.weight * s.g
        D += wg * s.g
        n -= wg * s.r
        agreeing += s.agrees
        shown += s.weight
        total += s.weight * s.r
        nothing += s.weight * s.rate
    moved = d + np.clip(n / np.maximum(D, 1e-12), -most, most)
    same = _SAME / parallax_scale(photometry.lines, d)
    D /= max(noise, _FLOOR) ** 2
    single = D - (_OF_NOISE * noise**2 / max(noise, _FLOOR) ** 2) * nothing
    fitted, information = plane_fit(moved, D, d, same, pool)
    mean = photometry.goal + total / (1 + shown)
    return Fit(np.where(valid, fitted, d), information, single, agreeing, mean, noise)


def parallax_scale(lines: Lines, d: np.ndarray) -> float:
    """Pixels that the view with the most parallax moves by where the inverse depth changes by 1 [px m]."""
    middle = float(np.median(d))
    return float(np.linalg.norm(lines.parallax(middle), axis=-1).mean(1).max()) / middle


def own_texture(fit: Fit, colours: np.ndarray) -> np.ndarray:
    """How many of the pixels around each have its colour, in `colours` (h, w, 3), and texture enough to know a depth to `_ALONE` of it; infinite
    where the pixel itself has.

    A smooth table beside a box has none, though the box's edge is in its windows and says how far the box is.
    """
    width = 2 * max(_COLOUR, 3 * fit.noise) ** 2
    known = np.minimum(fit.single * (_ALONE * fit.d) ** 2, 1)
    total, r = np.where(known < 1, 0, np.inf).astype(np.float32), _AROUND
    padded = cv2.copyMakeBorder(colours, r, r, r, r, cv2.BORDER_REPLICATE)
    known = np.pad(known, r)
    h, w = total.shape
    for y in range(2 * r + 1):
        for x in range(2 * r + 1):
            apart = padded[y : y + h, x : x + w] - colours
            alike = cv2.exp(np.einsum("hwc,hwc->hw", apart, apart) * np.float32(-1 / width))
            total += known[y : y + h, x : x + w] * alike
    return total


def plane_fit(
    d: np.ndarray, information: np.ndarray, guide: np.ndarray, same: float, pool: ThreadPoolExecutor
) -> tuple[np.ndarray, np.ndarray]:
    """At each pixel the plane through the inverse depths d of its neighbours that are at its depth in `guide` (within about `same`), weighted by
    their information: its value, and that value's information."""
    h = len(d)
    rows = np.linspace(0, h, 1 + max(1, min(os.cpu_count() or 1, h // 32))).astype(int).tolist()
    parts = pool.map(lambda k: _plane_fit(d, information, guide, same, rows[k], rows[k + 1]), range(len(rows) - 1))
    values, known = zip(*parts, strict=True)
    return np.concatenate(values), np.concatenate(known)


def _plane_fit(
    d: np.ndarray, information: np.ndarray, guide: np.ndarray, same: float, top: int, bottom: int
) -> tuple[np.ndarray, np.ndarray]:
    """`plane_fit` of some rows."""
    r = _AROUND
    rows = slice(top, bottom + 2 * r)
    d_, g_, i_ = np.pad(d, r, "edge")[rows], np.pad(guide, r, "edge")[rows], np.pad(information, r)[rows]
    h, w = bottom - top, d.shape[1]
    here, base = g_[r : r + h, r : r + w], d_[r : r + h, r : r + w]
    sums = np.zeros((9, h, w), np.float32)
    for y in range(2 * r + 1):
        for x in range(2 * r + 1):
            there = (slice(y, y + h), slice(x, x + w))
            apart = (g_[there] - here) * np.float32(1 / same)
            apart *= apart
            weight = i_[there] / (1 + apart * apart)
            delta = weight * (d_[there] - base)
            a, b = np.float32(x - r), np.float32(y - r)
            for k, (factor, of) in enumerate(
                (
                    (1, weight),
                    (a, weight),
                    (b, weight),
                    (a * a, weight),
                    (a * b, weight),
                    (b * b, weight),
                    (1, delta),
                    (a, delta),
                    (b, delta),
                )
            ):
                if factor:
                    sums[k] += of if factor == 1 else factor * of
    return _solved(sums, base)


def _solved(sums: np.ndarray, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The planes' values in the middle, and their information, of the normal equations; slopes are held near 0 by what a pixel in the window
    weighs, so that what does not determine a slope has none."""
    s, sx, sy, sxx, sxy, syy, t, tx, ty = sums.astype(np.float64)
    ridge = 0.02 * s * _AROUND**2 + 1e-12
    sxx, syy = sxx + ridge, syy + ridge
    det = sxx * syy - sxy * sxy
    px, py = (sx * syy - sy * sxy) / det, (sy * sxx - sx * sxy) / det
    known = np.maximum(s - px * sx - py * sy, 1e-12)
    value = (t - px * tx - py * ty) / known
    return (base + value).astype(np.float32), known.astype(np.float32)
