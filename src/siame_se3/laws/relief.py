"""A goal that is not flat, as the law `auto` knows it: what another image looks like from the goal's camera through the depth of each of its pixels, and
how a motion displaces them. `templates.Plane` is the same for a plane, by its homography."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from siame_se3.geometry.camera import Camera
from siame_se3.laws.pnp import rays_of
from siame_se3.laws.templates import LEAST_KNOWN, Pyramid, Template

_BEHIND = 0.04  # of the distance, by which a point is behind another on the finest level, to be hidden by it; as much more as pixels are larger
_FARTHEST = 20.0  # times as far from it, or as near, as the goal's camera: farther is no place to look from


@dataclass(frozen=True, eq=False)
class _Level:
    """Pixels of one level of the goal image: their points in its camera's frame (p, 3) [m], and which have a depth to be relied on (h, w)."""

    points: np.ndarray
    known: np.ndarray


@dataclass(frozen=True, eq=False)
class Relief:
    """The points that the goal image's pixels show.

    Attributes:
        camera: that took it.
        distance: the median depth [m].
        levels: of the template's pyramid.
    """

    camera: Camera
    distance: float
    levels: tuple[_Level, ...]

    @staticmethod
    def of(camera: Camera, template: Template, inverse: np.ndarray, trust: np.ndarray) -> Relief:
        """Of 1/Z [1/m] of each pixel (h, w), and how far it can be relied on (h, w), 0 for not at all."""
        h, w = inverse.shape
        levels = []
        for image, to_level in zip(template.pyramid.images, template.pyramid.to_level, strict=True):
            y, x = np.mgrid[: image.shape[0], : image.shape[1]]
            u, v = (x.ravel() - to_level[0, 2]) / to_level[0, 0], (y.ravel() - to_level[1, 2]) / to_level[1, 1]
            # the nearest pixel's: a mean across an edge would be of neither side
            column, row = np.clip(np.rint(u).astype(int), 0, w - 1), np.clip(np.rint(v).astype(int), 0, h - 1)
            points = rays_of(camera, np.stack((u, v), 1)) / inverse[row, column][:, None]
            known = (trust[row, column] > 0).reshape(image.shape)
            levels.append(_Level(points.astype(np.float32), known.astype(np.float32)))
        return Relief(camera, float(1 / np.median(inverse[trust > 0])) if (trust > 0).any() else 1.0, tuple(levels))

    def known(self, level: int) -> np.ndarray:
        """Which pixels of a level have a depth (h, w)."""
        return self.levels[level].known

    def seen(
        self, template: Template, current: Pyramid, T_cd: np.ndarray, level: int
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """The image as the goal camera would see it, and where it is known: where the goal has a depth, and the point is in view and behind no other one;
        None for too little.

        Args:
            T_cd: desired camera in the current one's frame [m].
        """
        own = self.levels[level]
        h, w = own.known.shape
        X = own.points @ T_cd[:3, :3].T.astype(np.float32) + T_cd[:3, 3].astype(np.float32)
        Z = X[:, 2]
        front = (1e-3 * self.distance < Z) & (own.known.ravel() > 0)
        least = LEAST_KNOWN * float(own.known.mean())  # of what the goal knows, as of what counts of a plane's
        if not front.any() or float(front.mean()) < least:
            return None
        safe = np.where(front, Z, 1.0)
        u = self.camera.fx * X[:, 0] / safe + self.camera.cx
        v = self.camera.fy * X[:, 1] / safe + self.camera.cy
        # pixels of the full image to a pixel here: the copy whose pixels are of that size is read
        closer = float(np.median(own.points[front, 2] / Z[front]))
        if (
            not 1 / _FARTHEST < closer < _FARTHEST
        ):  # no view of it; hidden parts of a point cloud so small would need gigabytes
            return None
        size = closer / template.pyramid.to_level[level][0, 0]
        sizes = np.array([1 / S[0, 0] for S in current.to_level])
        k = int(np.argmin(np.abs(np.log(sizes) - np.log(max(size, 1e-6)))))
        S, image = current.to_level[k], current.images[k]
        x = (u * S[0, 0] + S[0, 2]).astype(np.float32)
        y = (v * S[1, 1] + S[1, 2]).astype(np.float32)
        inside = front & (x >= 0) & (x <= image.shape[1] - 1) & (y >= 0) & (y <= image.shape[0] - 1)
        hidden = _hidden(u / size, v / size, Z, inside, _BEHIND * 2**level)
        known = (inside & ~hidden).astype(np.float32).reshape(h, w)
        if float(known.mean()) < least:
            return None
        x, y = x.reshape(h, w), y.reshape(h, w)
        return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), known

    def design(
        self, template: Template, level: int, T_cd: np.ndarray, gx: np.ndarray, gy: np.ndarray, inner: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the image at each inner pixel changes by with xi = (v / distance, omega), T_cd exp(xi), from its gradients in units of half the
        image's width (p,): J (p, 6), and the identity."""
        half, S = template.pyramid.images[level].shape[1] / 2, template.pyramid.to_level[level]
        X = self.levels[level].points[inner.ravel()]
        x, y, q = X[:, 0] / X[:, 2], X[:, 1] / X[:, 2], self.distance / X[:, 2]
        # a point X moves to X + v + omega x X
        a, b = gx * (self.camera.fx * S[0, 0] / half), gy * (self.camera.fy * S[1, 1] / half)
        along = a * x + b * y
        J = np.stack((a * q, b * q, -along * q, -along * y - b, along * x + a, b * x - a * y), 1)
        return J.astype(np.float32), np.eye(6)


def _hidden(u: np.ndarray, v: np.ndarray, Z: np.ndarray, among: np.ndarray, behind: float) -> np.ndarray:
    """Which points are behind others, by that share of their distance; `among` those, at pixels (u, v) about one apart."""
    hidden = np.zeros(len(Z), bool)
    column, row = np.rint(u[among]).astype(int), np.rint(v[among]).astype(int)
    if not len(column):
        return hidden
    column, row = column - column.min() + 1, row - row.min() + 1
    nearest = np.full((row.max() + 2, column.max() + 2), np.inf, np.float32)
    np.minimum.at(nearest, (row, column), Z[among])
    nearest = cv2.erode(
        nearest, np.ones((3, 3), np.uint8)
    )  # the least around: points are up to a pixel and a half apart
    hidden[among] = Z[among] > (1 + behind) * nearest[row, column]
    return hidden
