"""The goal image prepared for a comparison with others: halved copies, their local contrast, and what another image looks like from the goal's
camera through the goal's plane.

Local contrast, (I - mean) / (standard deviation + floor) of windows, is the same under another exposure, white balance, lamp or smooth shadow. All
images here are grey, float32, in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 112  # of the finest copy [px]
LEVELS = 3
ALIGNING, VERIFYING = 7, 14  # windows to the image's side
_FLOOR = 0.02  # of the range: contrast below this is the sensor's noise
_TEXTURE = 0.05  # of the range: standard deviation of a window that counts half
LEAST_KNOWN = 0.04  # share of the goal image that another one must show


@dataclass(frozen=True, eq=False)
class Pyramid:
    """An image in halved copies, finest first, and what takes its pixels to each one's.

    Attributes:
        images: of each level (h, w).
        to_level: of each level the homography (3, 3) from the image's own pixels.
    """

    images: tuple[np.ndarray, ...]
    to_level: tuple[np.ndarray, ...]

    @staticmethod
    def of(grey: np.ndarray, side: int = SIDE, levels: int = LEVELS) -> Pyramid:
        """Of a grey image (h, w): the finest copy's shorter side has `side` pixels at most."""
        h, w = grey.shape
        scale = min(1.0, side / min(h, w))
        images: list[np.ndarray] = []
        homographies: list[np.ndarray] = []
        for k in range(levels):
            size = max(8, round(w * scale / 2**k)), max(8, round(h * scale / 2**k))
            source = grey if not images else images[-1]
            images.append(np.ascontiguousarray(cv2.resize(source, size, interpolation=cv2.INTER_AREA)))
            x, y = size[0] / w, size[1] / h
            homographies.append(np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1.0]]))
        return Pyramid(tuple(images), tuple(homographies))


@dataclass(frozen=True, eq=False)
class Template:
    """The goal image, prepared: of each level of its pyramid the local contrast, its gradients, and the pixels' coordinates.

    Attributes:
        pyramid: of the image.
        contrast: of each level (h, w).
        weight: of each level (h, w): how much texture there is, 1 for much.
        detail: of each level both, for smaller windows.
        counts: of each level, 1 where the image counts, 0 where it is left out (h, w); empty where all of it does.
    """

    pyramid: Pyramid
    contrast: tuple[np.ndarray, ...]
    weight: tuple[np.ndarray, ...]
    detail: tuple[tuple[np.ndarray, np.ndarray], ...]
    counts: tuple[np.ndarray, ...] = ()

    @staticmethod
    def of(grey: np.ndarray, counts: np.ndarray | None = None, side: int = SIDE, levels: int = LEVELS) -> Template:
        """Of a grey image (h, w); `counts` is 1 where it counts, 0 where it is left out (h, w). `side` and `levels` as `Pyramid.of`."""
        pyramid = Pyramid.of(grey, side, levels)
        kept: tuple[np.ndarray, ...] = ()
        if counts is not None and not counts.all():
            kept = tuple((z > 0.99).astype(np.float32) for z in Pyramid.of(counts, side, levels).images)
        pairs = list(zip(pyramid.images, kept or (None,) * len(pyramid.images), strict=True))
        made = [_counting(image, mask, ALIGNING) for image, mask in pairs]
        detail = tuple(_counting(image, mask, VERIFYING) for image, mask in pairs)
        return Template(pyramid, tuple(c for c, _ in made), tuple(w for _, w in made), detail, kept)


def _counting(image: np.ndarray, mask: np.ndarray | None, windows: int) -> tuple[np.ndarray, np.ndarray]:
    """Local contrast and the texture's weight, 0 where the mask is."""
    contrast, weight = local_contrast(image, mask, windows)
    return contrast, weight if mask is None else weight * mask


@dataclass(frozen=True, eq=False)
class Plane:
    """The goal's plane n . X = d, in the desired camera's frame.

    Attributes:
        K: the camera's matrix (3, 3).
        normal, distance: of the plane [m].
    """

    K: np.ndarray
    normal: np.ndarray
    distance: float

    def homography(self, T_cd: np.ndarray) -> np.ndarray:
        """Goal pixels to current ones: K (R + t n^T / d) K^-1."""
        H: np.ndarray = (
            self.K @ (T_cd[:3, :3] + np.outer(T_cd[:3, 3], self.normal) / self.distance) @ np.linalg.inv(self.K)
        )
        return H

    def known(self, level: int) -> None:
        """Every pixel of a level has a depth."""

    def seen(
        self, template: Template, current: Pyramid, T_cd: np.ndarray, level: int
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """The image as the goal camera would see it, and where it is known; None for too little."""
        return seen(template, current, self.homography(T_cd), level)

    def design(
        self, template: Template, level: int, T_cd: np.ndarray, gx: np.ndarray, gy: np.ndarray, inner: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the image at each inner pixel changes by with the eight numbers of a homography, from its gradients in units of half the image's width
        (p,): J (p, 8); and these by xi = (v / distance, omega), T_cd exp(xi) (8, 6)."""
        J, N = homography_design(gx, gy, inner)
        return J, self.derivative(T_cd, self.homography(T_cd), N @ template.pyramid.to_level[level])

    def derivative(self, T_cd: np.ndarray, H: np.ndarray, to_units: np.ndarray) -> np.ndarray:
        """Of the eight numbers of D, H D = H(T_cd exp(xi)) in units, by xi = (v / d, omega) (8, 6)."""
        R, back = T_cd[:3, :3], np.linalg.inv(self.K) @ np.linalg.inv(to_units)
        front = to_units @ np.linalg.inv(H) @ self.K @ R
        columns = []
        for k in range(6):
            axis = np.eye(3)[k % 3]
            G = front @ (np.outer(axis, self.normal) if k < 3 else np.cross(np.eye(3), axis)) @ back
            columns.append([G[0, 0] - G[2, 2], G[0, 1], G[0, 2], G[1, 0], G[1, 1] - G[2, 2], G[1, 2], G[2, 0], G[2, 1]])
        return np.array(columns).T


def homography_design(gx: np.ndarray, gy: np.ndarray, inner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the image at each inner pixel (h, w) changes by with the eight numbers of a homography, from its gradients in units of half the image's width
    (p,): J (p, 8); and the matrix from pixels to these units, from the image's middle (3, 3)."""
    h, w = inner.shape
    half = w / 2
    v, u = np.nonzero(inner)
    x, y = ((u - w / 2 + 0.5) / half).astype(np.float32), ((v - h / 2 + 0.5) / half).astype(np.float32)
    along = gx * x + gy * y
    J = np.stack((gx * x, gx * y, gx, gy * x, gy * y, gy, -along * x, -along * y), 1)
    return J, np.array([[1 / half, 0, (0.5 - w / 2) / half], [0, 1 / half, (0.5 - h / 2) / half], [0, 0, 1]])


def moved(v: np.ndarray, omega: np.ndarray) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(omega)[0], v
    return T


def local_contrast(
    image: np.ndarray, known: np.ndarray | None = None, windows: int = ALIGNING
) -> tuple[np.ndarray, np.ndarray]:
    """Of a grey image (h, w) within a mask: local contrast, 0 outside, and the texture's weight, s^2 / (s^2 + t^2) with the standard deviation s."""
    side = window(image, windows)
    if known is None:
        mean, square = box(image, side), box(image * image, side)
    else:
        share = box(known, side) + 1e-6
        inside = image * known
        mean, square = box(inside, side) / share, box(inside * image, side) / share
    deviation = np.sqrt(np.maximum(square - mean * mean, 0.0))
    contrast = (image - mean) / (deviation + _FLOOR)
    variance = deviation * deviation
    return (contrast if known is None else contrast * known), variance / (variance + _TEXTURE**2)


def window(image: np.ndarray, windows: int) -> int:
    """Of a window, odd [px]."""
    return 2 * (min(image.shape) // (2 * windows)) + 1


def box(image: np.ndarray, side: int) -> np.ndarray:
    return cv2.boxFilter(image, cv2.CV_32F, (side, side), borderType=cv2.BORDER_REFLECT)


def facing(H: np.ndarray) -> np.ndarray:
    """A homography of a plane from its front to its front, with the sign by which what is in front of the current camera has a third coordinate
    above 0: so has its determinant, the ratio of the cameras' distances to the plane. One from matches has any sign: OpenCV makes its last
    number 1, also where the goal's first pixel is behind the camera."""
    with np.errstate(invalid="ignore"):  # of numbers that are not finite, neither is: said where they are used
        return H if np.linalg.det(H) > 0 else -H


def seen(template: Template, current: Pyramid, H: np.ndarray, level: int) -> tuple[np.ndarray, np.ndarray] | None:
    """The image as H says that the goal camera would see it, and where it is known; None for too little. H gives what is in front of the current
    camera a third coordinate above 0, as `Plane.homography` does, and `facing`."""
    mine = template.pyramid.images[level]
    h, w = mine.shape
    at = template.pyramid.to_level[level]
    G = H @ np.linalg.inv(at)
    centre = _mapped(G, np.array([[w / 2, h / 2], [w / 2 + 1, h / 2], [w / 2, h / 2 + 1]]))
    if centre is None:
        return None
    # pixels of the full image to a pixel here, at the middle: the copy whose pixels are of that size is read
    area = abs(float(np.linalg.det(np.stack((centre[1] - centre[0], centre[2] - centre[0])))))
    sizes = [1 / S[0, 0] for S in current.to_level]
    k = int(np.argmin(np.abs(np.log(np.array(sizes)) - 0.5 * np.log(max(area, 1e-6)))))
    M = current.to_level[k] @ G
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    image = cv2.warpPerspective(current.images[k], M, (w, h), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    inside = np.full(current.images[k].shape, 1.0, np.float32)
    known = cv2.warpPerspective(inside, M, (w, h), flags=flags)
    # in front of the camera only
    third = M[2, 0] * np.arange(w)[None] + M[2, 1] * np.arange(h)[:, None] + M[2, 2]
    known = ((known > 0.99) & (third > 0)).astype(np.float32)
    least = LEAST_KNOWN
    if template.counts:
        known, least = known * template.counts[level], least * float(template.counts[level].mean())
    if float(known.mean()) < least:
        return None
    return image, known


def _mapped(H: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    mapped = np.c_[points, np.ones(len(points))] @ H.T
    if not np.isfinite(mapped).all() or float(np.abs(mapped[:, 2]).min()) < 1e-9:
        return None
    return mapped[:, :2] / mapped[:, 2:]
