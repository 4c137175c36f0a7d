"""Two cameras that see one plane, or nearly: where a point of one picture is in the other, and what changes that.

A point of the reference at x (at z = 1) has the inverse depth

    1/Z(x) = 1 + a (x - x_m) + b (y - y_m),      with the distance at the picture's middle x_m as the unit of length,

and is in the current picture along R (x, 1) + t / Z(x), T_cd = (R, t). Pixels are those of pinholes whose focal lengths are off by a factor, and
whose rays are bent by a radial distortion, x (1 + k x^2): the `rest`, (a, b, log factors of both cameras, distortions of both).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

SLOPE = 0.5  # standard deviation of a and b, which nobody has said: 27 deg
_SAME = 0.005  # by which one camera's numbers differ between sizes of its pictures, as shares of their sides


@dataclass(frozen=True)
class Lens:
    """A pinhole, and how well it is known.

    Attributes:
        fx, fy, cx, cy: [px]. width, height: [px].
        focal_sd: standard deviation of the focal length, as a share of it.
        bend_sd: standard deviation of the radial distortion that is not known, k in r (1 + k r^2).
        zoom: digital zoom of its pictures.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    focal_sd: float
    bend_sd: float
    zoom: float = 1.0

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
        mine, others = (
            np.array([z.fx / z.width, z.fy / z.height, z.cx / z.width, z.cy / z.height]) for z in (self, other)
        )
        alike = self.focal_sd == other.focal_sd and self.zoom == other.zoom
        return alike and bool(np.abs(mine - others).max() < _SAME)

    def rays(self, pixels: np.ndarray, log_focal: float = 0.0, bend: float = 0.0) -> np.ndarray:
        """(x, y) at z = 1 of pixels (n, 2)."""
        x = (pixels - (self.cx, self.cy)) / (np.array([self.fx, self.fy]) * np.exp(log_focal))
        return x / (1 + bend * np.square(x).sum(1, keepdims=True))

    def pixels(self, rays: np.ndarray, log_focal: float = 0.0, bend: float = 0.0) -> np.ndarray:
        """Of (x, y) at z = 1."""
        x = rays * (1 + bend * np.square(rays).sum(1, keepdims=True))
        found: np.ndarray = x * (np.array([self.fx, self.fy]) * np.exp(log_focal)) + (self.cx, self.cy)
        return found


@dataclass(frozen=True)
class TwoViews:
    """The reference's camera and the current one.

    Attributes:
        goal, now: the cameras.
        shared: they are one camera: what is not known of it is the same in both.
        slope: standard deviation of a and b.
    """

    goal: Lens
    now: Lens
    shared: bool
    slope: float = SLOPE

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
        """Where they are (n, 2), and its derivatives by t, omega and the free numbers of the rest (n, 2, 6 + k)."""
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
        at = at + np.array([c.cx, c.cy])
        if self.shared:  # one number moves both
            J[:, :, [8, 10]] += J[:, :, [9, 11]]
        return at, J[:, :, [*range(6), *(6 + k for k in self.own)]]

    def near(self, rest: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """1/Z of blocks at reference pixels (n, 2), in distances of the middle."""
        found: np.ndarray = 1 + (self.goal.rays(pixels, rest[2], rest[4]) - self.middle) @ rest[:2]
        return found

    @property
    def own(self) -> list[int]:
        """Which numbers of the rest are free: those of a shared camera are the reference's."""
        return [0, 1, 2, 4] if self.shared else [0, 1, 2, 3, 4, 5]

    @property
    def prior(self) -> np.ndarray:
        """Standard deviations of the free numbers of the rest."""
        g, n = self.goal, self.now
        return np.array([self.slope, self.slope, g.focal_sd, n.focal_sd, g.bend_sd, n.bend_sd])[self.own]

    def moved(
        self, R: np.ndarray, t: np.ndarray, rest: np.ndarray, step: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """R exp(omega), t + v, and the rest, by a step (v, omega, free numbers of the rest)."""
        added = np.zeros(6)
        added[self.own] = step[6:]
        if self.shared:
            added[[3, 5]] = added[[2, 4]]
        return R @ cv2.Rodrigues(step[3:6])[0], t + step[:3], rest + added


def _crossing(x: np.ndarray) -> np.ndarray:
    """Matrices (n, 3, 3) that take the cross product with x (n, 3) from the left."""
    C = np.zeros((len(x), 3, 3))
    C[:, 0, 1], C[:, 0, 2], C[:, 1, 2] = -x[:, 2], x[:, 1], -x[:, 0]
    return C - C.transpose(0, 2, 1)
