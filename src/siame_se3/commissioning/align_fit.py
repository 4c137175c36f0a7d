"""Where the current camera is beside the reference's, from where blocks of the reference picture are in the current one, and how sure that is.

The geometry is that of `align_views`. Beside the pose (t, R: six numbers) all that is not known is fitted with what is known of it beforehand: the plane's
slopes, the focal lengths, a radial distortion. So a guessed field of view, or a plane seen from aside, is in the covariance too. Blocks that
disagree (what moves, what stands out) are weighed down by a biweight.

What no motion explains in the rest is taken for noise of the blocks, displacements of single blocks, smooth fields of displacement (lenses), and
relief (displacements along the epipolar lines, of single blocks and smooth), each of a variance that is estimated by restricted maximum likelihood, one
standard error upwards, as in `laws.certainty`; the pose and its covariance are those of generalised least squares with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siame_se3.commissioning.align_views import TwoViews

_STEPS, _CLOSE = 12, 1e-7
_SMOOTH = (0.2, 0.5)  # length of smooth fields, in widths of the image
_RELIEFS, _MOST_RELIEF = (
    [2, 5],
    0.2,
)  # which of `_kinds` are relief, and its standard deviation at most, as a share of Z
_ROUNDS = 20
_FEWEST = 8  # blocks
_FREE = 20  # degrees of freedom in what a pose leaves unexplained: neighbouring blocks are displaced alike
_NEAREST = 0.7  # share of the blocks by which poses are compared
USED = 0.1  # weight of a block that agrees, at least
_FAR = 0.3  # of a step [distances of the middle, rad]
_LIMITS = -np.array([2, 2, 0.7, 0.7, 0.3, 0.3]), np.array([2, 2, 0.7, 0.7, 0.3, 0.3])  # of the rest


@dataclass(frozen=True, eq=False)
class Solution:
    """Of a fit.

    Attributes:
        R, t: of T_cd; t in distances of the reference's middle.
        rest: slopes a and b, log focal factors of both cameras, distortions of both (6,).
        cost: negative logarithm of its likelihood, up to a constant, with `_FREE` degrees of freedom in what it leaves unexplained.
        weight: of each block, 0 for one that disagrees.
        covariance: of (t, omega), omega in R exp(omega) (6, 6); zeros until `certain`.
    """

    R: np.ndarray
    t: np.ndarray
    rest: np.ndarray
    cost: float
    weight: np.ndarray
    covariance: np.ndarray

    @property
    def T_cd(self) -> np.ndarray:
        """Pose of the reference's camera in the current one's frame."""
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = self.R, self.t
        return T


def fitted(
    views: TwoViews,
    pixels: np.ndarray,
    seen: np.ndarray,
    covariance: np.ndarray,
    begin: tuple[np.ndarray, np.ndarray, np.ndarray],
    steps: int = _STEPS,
) -> Solution:
    """The pose that blocks at reference pixels (n, 2), seen at current pixels (n, 2), agree on.

    Args:
        views: the cameras.
        pixels, seen: of the blocks.
        covariance: of where they are seen (n, 2, 2) [px^2].
        begin: R, t and the rest to begin with.
        steps: of Gauss and Newton, at most.
    """
    R, t, rest = begin
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    own, prior = views.own, views.prior
    weight, cost = np.ones(len(pixels)), np.inf
    for _ in range(steps):
        at, J = views.jacobian(R, t, rest, pixels)
        q = (whiten @ (seen - at)[..., None])[..., 0]
        square = np.square(q).sum(1) / 2
        scale = max(1.0, 1.5 * float(np.sqrt(np.median(square))))
        weight = np.maximum(1 - square / (4 * scale) ** 2, 0.0) ** 2
        WJ = (whiten @ J) * (weight[:, None, None] / scale**2)
        A = np.einsum("nik,nil->kl", WJ, whiten @ J) + np.diag(np.r_[np.zeros(6), 1 / prior**2])
        g = np.einsum("nik,ni->k", WJ, q) - np.r_[np.zeros(6), rest[own] / prior**2]
        step = np.linalg.solve(A + 1e-9 * np.diag(np.diag(A)), g)
        size = float(np.abs(step[:6]).max())
        R, t, rest = views.moved(R, t, rest, step * min(1.0, _FAR / max(size, 1e-12)))
        rest = np.clip(rest, *_LIMITS)
        nearest = np.sort(square)[: max(4, int(_NEAREST * len(square)))]
        cost = float(0.5 * _FREE * np.log(nearest.mean() + 1e-3) + 0.5 * np.square(rest[own] / prior).sum())
        if size < _CLOSE:
            break
    return Solution(R, t, rest, cost, weight, np.zeros((6, 6)))


def certain(
    views: TwoViews, pixels: np.ndarray, seen: np.ndarray, covariance: np.ndarray, found: Solution
) -> Solution | None:
    """The same by generalised least squares, with the covariance; None where too few blocks agree."""
    use = found.weight > USED
    if use.sum() < _FEWEST:
        return None
    pixels, seen, covariance = pixels[use], seen[use], covariance[use]
    at, J = views.jacobian(found.R, found.t, found.rest, pixels)
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    # rows: those of the blocks, whitened, and what is known of the rest beforehand
    n, prior = 2 * len(pixels), views.prior
    design = np.r_[(whiten @ J).reshape(n, -1), np.c_[np.zeros((len(prior), 6)), np.diag(1 / prior)]]
    q = np.r_[(whiten @ (seen - at)[..., None]).ravel(), -found.rest[views.own] / prior]
    fixed = np.diag(np.r_[np.full(n, 1e-9), np.ones(len(prior))])
    relief = (whiten @ J[:, :, :3]) @ found.t / views.near(found.rest, pixels)[:, None]
    kinds = np.pad(_kinds(pixels / views.goal.width, whiten, relief), ((0, 0), (0, len(prior)), (0, len(prior))))
    variances, upper = _variances(q, design, fixed, kinds)
    if not np.isfinite(upper).all():
        return None
    X = np.linalg.solve(fixed + np.tensordot(variances, kinds, 1), design)
    step = np.linalg.solve(design.T @ X, X.T @ q)
    C = np.linalg.inv(design.T @ np.linalg.solve(fixed + np.tensordot(upper, kinds, 1), design))
    return Solution(*views.moved(found.R, found.t, found.rest, step), found.cost, found.weight, C[:6, :6])


def _kinds(places: np.ndarray, whiten: np.ndarray, relief: np.ndarray) -> np.ndarray:
    """Covariances of whitened rows, for variances of 1 of what displaces blocks (k, 2 n, 2 n): noise, single blocks [px^2], relief of single blocks [of 1/Z],
    smooth fields [px^2], smooth relief.

    Args:
        places: of the blocks (n, 2), in widths of the reference.
        whiten: of each (n, 2, 2).
        relief: whitened displacement by 1/Z (n, 2).
    """
    n = len(places)
    apart = np.square(places[:, None] - places).sum(2)
    smooth = [np.exp(-apart / (2 * length**2)) for length in _SMOOTH]
    blocks = np.zeros((n, 2, n, 2))
    blocks[np.arange(n), :, np.arange(n), :] = whiten
    W = blocks.reshape(2 * n, 2 * n)
    along = relief.reshape(-1, 1) * relief.reshape(-1)
    pairs = np.ones((2, 2))
    kinds = [np.eye(2 * n), W @ W.T, np.kron(np.eye(n), pairs) * along]
    kinds += [W @ np.kron(field, np.eye(2)) @ W.T for field in smooth]
    return np.array([*kinds, np.kron(smooth[0], pairs) * along])


def _variances(
    q: np.ndarray, design: np.ndarray, fixed: np.ndarray, kinds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of each kind how much there is in q, from what the design does not explain; and one standard error upwards."""
    free = np.linalg.qr(design, mode="complete")[0][:, design.shape[1] :]
    y, base, parts = free.T @ q, free.T @ fixed @ free, free.T @ kinds @ free
    traces = np.trace(parts, axis1=1, axis2=2)
    energy = max(float(y @ y), 1e-12)
    found = energy / (len(kinds) * np.maximum(traces, 1e-12))
    limit = np.full(len(kinds), np.inf)
    limit[_RELIEFS] = _MOST_RELIEF**2
    found = np.minimum(found, limit)
    inverse = np.eye(len(y))
    for _ in range(_ROUNDS):
        S = base + np.tensordot(found, parts, 1)
        S[np.diag_indices_from(S)] *= 1 + 1e-9
        inverse = np.linalg.inv(S)
        a = inverse @ y
        found = found * np.sqrt(np.maximum((parts @ a) @ a, 0) / np.maximum((parts * inverse).sum((1, 2)), 1e-300))
        found = np.minimum(found, limit)
    alike = inverse @ parts
    information = (alike * alike.transpose(0, 2, 1)).sum((1, 2)) / 2
    return found, np.minimum(found + 1 / np.sqrt(np.maximum(information, 1e-300)), np.maximum(limit, found))
