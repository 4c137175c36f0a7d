"""Where the current camera is beside the reference's, from where blocks of the reference picture are in the current one, and how sure that is.

Both cameras see a plane, or nearly: a block of the reference at x (at z = 1) has the inverse depth

    1/Z(x) = 1 + a (x - x_m) + b (y - y_m),      with the distance at the picture's middle x_m as the unit of length,

and is in the current picture along R (x, 1) + t / Z(x), T_cd = (R, t). Beside the pose (t, R: six numbers) all that is not known is fitted with
what is known of it beforehand: the plane's slopes a and b, the focal lengths, and a radial distortion. So a guessed field of view, or a
plane seen from aside, is in the covariance too. Blocks that disagree (what moves, what stands out) are weighed down by a biweight.

What no motion explains in the rest is taken for noise of the blocks, displacements of single blocks, smooth fields of displacement (lenses), and
relief (displacements along the epipolar lines, of single blocks and smooth), each of a variance that is estimated by restricted maximum likelihood, one
standard error upwards, as in `laws.certainty`; the pose and its covariance are those of generalised least squares with them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

SLOPE = 0.5  # standard deviation of a and b: 27 deg
_STEPS, _CLOSE = 12, 1e-7
_SMOOTH = (0.2, 0.5)  # length of smooth fields, in widths of the image
_MOST_RELIEF = 0.2  # standard deviation of Z, as a share of it
_ROUNDS = 20
_SAME = 0.005  # by which one camera's numbers differ between sizes of its pictures, as shares of their sides
_FEWEST = 8  # blocks
_FREE = 20  # degrees of freedom in what a pose leaves unexplained: neighbouring blocks are displaced alike
_NEAREST = 0.7  # share of the blocks by which poses are compared


@dataclass(frozen=True)
class Lens:
    """A pinhole, and how well it is known.

    Attributes:
        fx, fy, cx, cy: [px]. width, height: [px].
        focal_sd: standard deviation of the focal length, as a share of it.
        bend_sd: standard deviation of the radial distortion that is not known, k in r (1 + k r^2).
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    focal_sd: float
    bend_sd: float

    @property
    def K(self) -> np.ndarray:
        """Calibration matrix [px]."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    def resized(self, width: int, height: int) -> Lens:
        """The same view with another number of pixels."""
        x, y = width / self.width, height / self.height
        cx, cy = (self.cx + 0.5) * x - 0.5, (self.cy + 0.5) * y - 0.5
        return replace(self, fx=self.fx * x, fy=self.fy * y, cx=cx, cy=cy, width=width, height=height)

    def like(self, other: Lens) -> bool:
        """Whether both are one camera, as far as is known: the same view, whatever their pixels."""
        mine, others = (np.array([z.fx / z.width, z.fy / z.height, z.cx / z.width, z.cy / z.height]) for z in (self, other))
        return bool(np.abs(mine - others).max() < _SAME) and self.focal_sd == other.focal_sd

    def rays(self, pixels: np.ndarray, log_focal: float = 0.0, bend: float = 0.0) -> np.ndarray:
        """(x, y) at z = 1 of pixels (n, 2)."""
        x = (pixels - (self.cx, self.cy)) / (np.array([self.fx, self.fy]) * np.exp(log_focal))
        return x / (1 + bend * np.square(x).sum(1, keepdims=True))

    def pixels(self, rays: np.ndarray, log_focal: float = 0.0, bend: float = 0.0) -> np.ndarray:
        """Of (x, y) at z = 1."""
        x = rays * (1 + bend * np.square(rays).sum(1, keepdims=True))
        found: np.ndarray = x * (np.array([self.fx, self.fy]) * np.exp(log_focal)) + (self.cx, self.cy)
        return found


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


@dataclass(frozen=True)
class TwoViews:
    """The reference's camera and the current one.

    Attributes:
        goal, now: the cameras.
        shared: they are one camera: what is not known of it is the same in both.
    """

    goal: Lens
    now: Lens
    shared: bool

    @property
    def middle(self) -> np.ndarray:
        """(x, y) at z = 1 of the reference's middle."""
        return self.goal.rays(np.array([[(self.goal.width - 1) / 2, (self.goal.height - 1) / 2]]))[0]

    def homography(self, R: np.ndarray, t: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """Reference pixels to current ones, without distortion; what is in front of the current camera has a third coordinate above 0."""
        a, b = rest[:2]
        x, y = self.middle
        H: np.ndarray = self.now.K @ (R + np.outer(t, (a, b, 1 - a * x - b * y))) @ np.linalg.inv(self.goal.K)
        return H

    def predicted(self, R: np.ndarray, t: np.ndarray, rest: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Where blocks at reference pixels (n, 2) are in the current picture."""
        x = self.goal.rays(pixels, rest[2], rest[4])
        near = 1 + (x - self.middle) @ rest[:2]
        X = np.c_[x, np.ones(len(x))] @ R.T + near[:, None] * t
        return self.now.pixels(X[:, :2] / np.maximum(X[:, 2:], 1e-6), rest[3], rest[5])

    def jacobian(
        self, R: np.ndarray, t: np.ndarray, rest: np.ndarray, pixels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where they are (n, 2), and its derivatives by t, omega and the rest (n, 2, 12)."""
        n = len(pixels)
        g, c = self.goal, self.now
        w = (pixels - (g.cx, g.cy)) / (np.array([g.fx, g.fy]) * np.exp(rest[2]))
        square, bend = np.square(w).sum(1, keepdims=True), 1 + rest[4] * np.square(w).sum(1, keepdims=True)
        x = w / bend
        x_by_w = np.eye(2) / bend[:, None] - 2 * rest[4] * w[:, :, None] * w[:, None] / bend[:, None] ** 2
        from_middle = x - self.middle
        near = 1 + from_middle @ rest[:2]
        rays = np.c_[x, np.ones(n)]
        X = rays @ R.T + near[:, None] * t
        X_by = np.empty((n, 3, 10))  # t, omega, a, b, log focal and bend of the reference's camera
        X_by[:, :, :3] = near[:, None, None] * np.eye(3)
        X_by[:, :, 3:6] = -R @ _crossing(rays)
        X_by[:, :, 6:8] = t[:, None] * from_middle[:, None]
        X_by_x = R[:, :2] + np.outer(t, rest[:2])
        X_by[:, :, 8] = -((x_by_w @ w[..., None])[..., 0] @ X_by_x.T)
        X_by[:, :, 9] = -((x * square / bend) @ X_by_x.T)
        depth = np.maximum(X[:, 2:], 1e-6)
        y = X[:, :2] / depth
        y_by = (X_by[:, :2] - y[:, :, None] * X_by[:, 2:]) / depth[:, :, None]
        focal = np.array([c.fx, c.fy]) * np.exp(rest[3])
        square = np.square(y).sum(1, keepdims=True)
        at = focal * y * (1 + rest[5] * square)
        at_by_y = (1 + rest[5] * square)[:, None] * np.eye(2) + 2 * rest[5] * y[:, :, None] * y[:, None]
        J = np.empty((n, 2, 12))
        by = focal[:, None] * (at_by_y @ y_by)
        J[:, :, :9], J[:, :, 10] = by[:, :, :9], by[:, :, 9]
        J[:, :, 9], J[:, :, 11] = at, focal * y * square
        at = at + (c.cx, c.cy)
        if self.shared:  # one number moves both
            for first, second in ((8, 9), (10, 11)):
                J[:, :, first] += J[:, :, second]
                J[:, :, second] = 0
        return at, J

    @property
    def prior(self) -> np.ndarray:
        """Standard deviations of the rest (6,)."""
        g, n = self.goal, self.now
        return np.array([SLOPE, SLOPE, g.focal_sd, n.focal_sd, g.bend_sd, n.bend_sd])


def _crossing(x: np.ndarray) -> np.ndarray:
    """Matrices (n, 3, 3) that take the cross product with x (n, 3) from the left."""
    C = np.zeros((len(x), 3, 3))
    C[:, 0, 1], C[:, 0, 2], C[:, 1, 2] = -x[:, 2], x[:, 1], -x[:, 0]
    return C - C.transpose(0, 2, 1)


def _moved(R: np.ndarray, t: np.ndarray, rest: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return R @ cv2.Rodrigues(step[3:6])[0], t + step[:3], rest + step[6:]


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
    prior = 1 / views.prior
    weight = np.ones(len(pixels))
    cost = np.inf
    for _ in range(steps):
        at, J = views.jacobian(R, t, rest, pixels)
        e = seen - at
        q = (whiten @ e[..., None])[..., 0]
        distance = np.sqrt(np.square(q).sum(1) / 2)
        scale = max(1.0, 1.5 * float(np.median(distance)))
        weight = np.maximum(1 - np.square(distance / (4 * scale)), 0.0) ** 2
        WJ = (whiten @ J).reshape(-1, 12) * np.repeat(np.sqrt(weight), 2)[:, None] / scale
        Wq = (q * np.sqrt(weight)[:, None]).ravel() / scale
        A = WJ.T @ WJ
        A[np.arange(6, 12), np.arange(6, 12)] += prior**2
        if views.shared:
            A[[9, 11], [9, 11]] += 1
        g = WJ.T @ Wq
        g[6:] -= prior**2 * rest
        if views.shared:
            g[[9, 11]] = 0
        step = np.linalg.solve(A + 1e-9 * np.diag(np.diag(A)), g)
        if views.shared:
            step[[9, 11]] = step[[8, 10]]
        size = np.abs(step[:6]).max()
        R, t, rest = _moved(R, t, rest, step * min(1.0, 0.3 / max(size, 1e-12)))
        rest = np.r_[np.clip(rest[:2], -2, 2), np.clip(rest[2:4], -0.7, 0.7), np.clip(rest[4:], -0.3, 0.3)]
        nearest = np.sort(np.square(distance))[: max(4, int(_NEAREST * len(distance)))]
        cost = float(0.5 * _FREE * np.log(nearest.mean() + 1e-3) + 0.5 * np.square(rest * prior).sum())
        if size < _CLOSE:
            break
    return Solution(R, t, rest, cost, weight, np.zeros((6, 6)))


def certain(
    views: TwoViews, pixels: np.ndarray, seen: np.ndarray, covariance: np.ndarray, found: Solution
) -> Solution | None:
    """The same by generalised least squares, with the covariance; None where too few blocks agree."""
    use = found.weight > 0.1
    if use.sum() < _FEWEST:
        return None
    pixels, seen, covariance = pixels[use], seen[use], covariance[use]
    at, J = views.jacobian(found.R, found.t, found.rest, pixels)
    n = 2 * len(pixels)
    free = [k for k in range(12) if not (views.shared and k in (9, 11))]
    prior = views.prior[[k - 6 for k in free if k >= 6]]
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    m = n + len(prior)
    design = np.zeros((m, len(free)))
    design[:n] = (whiten @ J).reshape(n, 12)[:, free]
    design[np.arange(n, m), np.arange(6, len(free))] = 1 / prior
    q = np.zeros(m)
    q[:n] = (whiten @ (seen - at)[..., None]).ravel()
    q[n:] = -found.rest[[k - 6 for k in free if k >= 6]] / prior
    kinds = _kinds(views, pixels, whiten, found)
    kinds = np.pad(kinds, ((0, 0), (0, m - n), (0, m - n)))
    fixed = np.diag(np.r_[np.zeros(n), np.ones(m - n)])
    variances, upper = _variances(q, design, fixed, kinds)
    if not np.isfinite(upper).all():
        return None
    S = fixed + np.tensordot(variances, kinds, 1)
    S[np.arange(n), np.arange(n)] += 1e-9
    X = np.linalg.solve(S, design)
    step = np.linalg.solve(design.T @ X, X.T @ q)
    S = fixed + np.tensordot(upper, kinds, 1)
    S[np.arange(n), np.arange(n)] += 1e-9
    C = np.linalg.inv(design.T @ np.linalg.solve(S, design))
    whole = np.zeros(12)
    whole[free] = step
    if views.shared:
        whole[[9, 11]] = whole[[8, 10]]
    R, t, rest = _moved(found.R, found.t, found.rest, whole)
    return Solution(R, t, rest, found.cost, found.weight, C[:6, :6])


def _kinds(views: TwoViews, pixels: np.ndarray, whiten: np.ndarray, found: Solution) -> np.ndarray:
    """Of whitened rows, the covariances of what displaces blocks, for a variance of 1 [px^2, or of 1/Z]: (k, n, n)."""
    n = len(pixels)
    apart = np.square(pixels[:, None] - pixels).sum(2) / views.goal.width**2
    h = 1e-6
    x = views.goal.rays(pixels)
    X = np.c_[x, np.ones(n)] @ found.R.T + (1 + (x - views.middle) @ found.rest[:2])[:, None] * found.t
    moved = X + h * found.t
    relief = (views.now.pixels(moved[:, :2] / moved[:, 2:]) - views.now.pixels(X[:, :2] / X[:, 2:])) / h
    relief = (whiten @ relief[..., None])[..., 0]
    W = np.zeros((n, 2, n, 2))
    W[np.arange(n), :, np.arange(n), :] = whiten
    W = W.reshape(2 * n, 2 * n)
    kinds = [np.eye(2 * n), W @ W.T]
    along = relief[:, :, None, None] * relief[None, None]
    kinds.append((np.eye(n)[:, None, :, None] * along).reshape(2 * n, 2 * n))
    for length in _SMOOTH:
        smooth = np.exp(-apart / (2 * length**2))
        kinds.append(W @ np.kron(smooth, np.eye(2)) @ W.T)
    kinds.append((np.exp(-apart / (2 * _SMOOTH[0] ** 2))[:, None, :, None] * along).reshape(2 * n, 2 * n))
    return np.array(kinds)


def _variances(q: np.ndarray, design: np.ndarray, fixed: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each kind how much there is in q, from what the design does not explain; and one standard error upwards."""
    free = np.linalg.qr(design, mode="complete")[0][:, design.shape[1] :]
    y, base, parts = free.T @ q, free.T @ fixed @ free, free.T @ kinds @ free
    traces = np.trace(parts, axis1=1, axis2=2)
    energy = max(float(y @ y), 1e-12)
    found = energy / (len(kinds) * np.maximum(traces, 1e-12))
    limit = np.full(len(kinds), np.inf)
    limit[[2, 5]] = _MOST_RELIEF**2
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
