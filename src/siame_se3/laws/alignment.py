"""A guess of where the goal is, aligned to the image, and verified.

The pose of the goal's plane is refined by second-order minimisation of the difference of local contrasts (Benhimane and Malis 2004, "Real-time
image-based tracking of planes using efficient second-order minimization"), with pixels weighed down by a biweight where something else is in
the way, from coarse to fine copies of the images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from siame_se3.laws.templates import (
    VERIFYING,
    Plane,
    Pyramid,
    Template,
    box,
    local_contrast,
    moved,
    seen,
    window,
)

_RESIDUAL, _ALIKE = 0.3, 25.0  # of local contrasts of two photos; pixels whose residuals are alike
_MOST = 0.25  # of a step: a quarter of the distance, or of a radian


@dataclass(frozen=True, eq=False)
class Found:
    """A homography and how well it explains the image.

    Attributes:
        H: goal pixels to current pixels (3, 3).
        score: see `verified`; less where a small part of the goal is seen, -1 where it is too little.
        known: share of the goal image's texture that is seen.
    """

    H: np.ndarray
    score: float
    known: float


def refined(
    template: Template, current: Pyramid, plane: Plane, T_cd: np.ndarray, levels: tuple[int, ...], rounds: int = 4
) -> np.ndarray:
    """The pose of the desired camera in the current one's frame, aligned to the image: six numbers, which a small overlap determines better than
    the eight of a homography.

    Args:
        template: the goal image.
        current: the image now.
        plane: of the goal.
        T_cd: to begin with [m].
        levels: of the template, 0 the finest.
        rounds: on each level.
    """
    for level in levels:
        own = template.pyramid.to_level[level]
        for _ in range(rounds):
            H = plane.homography(T_cd)
            view = seen(template, current, H, level)
            equations = None if view is None else _equations(template, level, *view)
            if equations is None:
                return T_cd
            A, b, N = equations
            to_units = N @ own
            P = plane.derivative(T_cd, H, to_units)
            p = _solved(P.T @ A @ P, P.T @ b)
            if p is None:
                return T_cd
            # translation is in units of the plane's distance
            T_cd = T_cd @ moved(p[:3] * plane.distance, p[3:])
            if float(np.abs(p).max()) < 1e-4:
                break
    return T_cd


def aligned(
    template: Template, current: Pyramid, H: np.ndarray, levels: tuple[int, ...], rounds: int = 4
) -> np.ndarray:
    """As `refined`, of a plane that is not known: eight numbers, the homography from goal to current pixels."""
    for level in levels:
        own = template.pyramid.to_level[level]
        for _ in range(rounds):
            view = seen(template, current, H, level)
            equations = None if view is None else _equations(template, level, *view)
            if equations is None:
                return H
            A, b, N = equations
            p = _solved(A, b)
            if p is None:
                return H
            to_units = N @ own
            H = H @ np.linalg.inv(to_units) @ (np.eye(3) + np.append(p, 0.0).reshape(3, 3)) @ to_units
            if float(np.abs(p).max()) < 1e-4:
                break
    return H


def least_determined(template: Template, plane: Plane) -> float:
    """Standard deviation to be expected of the motion that the goal image determines least, as a share of the distance or in radians: that of an
    alignment with the usual residual between two photos. Straight edges between plain surfaces look the same along themselves: nothing says then
    how far the camera is that way, though all that is seen agrees."""
    view = seen(template, template.pyramid, np.eye(3), 0)
    equations = None if view is None else _equations(template, 0, *view)
    if equations is None:
        return math.inf
    A, _, N = equations
    P = plane.derivative(np.eye(4), np.eye(3), N @ template.pyramid.to_level[0])
    information = float(np.linalg.eigvalsh(P.T @ A @ P)[0])
    return _RESIDUAL * math.sqrt(_ALIKE / max(information, 1e-12))


def verified(template: Template, current: Pyramid, H: np.ndarray, level: int = 0) -> Found:
    """How well H explains the image: the mean of the correlations of small windows, of those that have a texture in either image. A wrong H
    may bring large shapes together, hardly what is in them; and something in the way costs only its own windows. It counts by the square root
    of the share of the goal's texture that the image shows: chance agrees easily on a little, and what repeats itself agrees where what
    does not is out of view."""
    view = seen(template, current, H, level)
    if view is None:
        return Found(H, -1.0, 0.0)
    image, known = view
    mine, own = template.detail[level]
    contrast, weight = local_contrast(image, known, VERIFYING)
    side = window(image, VERIFYING)
    ab, aa, bb = (box(known * x * y, side) for x, y in ((mine, contrast), (mine, mine), (contrast, contrast)))
    local = ab / np.sqrt(aa * bb + 1e-6)
    either = known * np.maximum(own, weight)
    share = float((own * known).sum() / max(1e-6, float(own.sum())))
    score = float((either * local).sum() / max(1e-6, float(either.sum())))
    return Found(H, score * math.sqrt(share), share)


def _equations(
    template: Template, level: int, image: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Normal equations A p = b of the eight numbers by which goal pixels, on this level and by N in units of half the image, have to be moved so
    that both local contrasts agree better; and N. None where too little is known."""
    mine = template.contrast[level]
    h, w = mine.shape
    contrast, weight = local_contrast(image, known)
    mean = 0.5 * (mine + contrast)
    gx, gy = cv2.Sobel(mean, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(mean, cv2.CV_32F, 0, 1, scale=0.125)
    inner = cv2.erode(known, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    e = (mine - contrast)[inner]
    if len(e) < 64:
        return None
    v, u = np.nonzero(inner)
    half = w / 2
    x, y = ((u - w / 2 + 0.5) / half).astype(np.float32), ((v - h / 2 + 0.5) / half).astype(np.float32)
    gx, gy = gx[inner] * half, gy[inner] * half
    along = gx * x + gy * y
    J = np.stack((gx * x, gx * y, gx, gy * x, gy * y, gy, -along * x, -along * y), 1)
    texture = np.sqrt(template.weight[level] * weight)[inner]
    size = 1.5 * float(np.median(np.abs(e))) + 1e-3
    trust = np.maximum(1 - np.square(e / (4 * size)), 0.0) ** 2 * texture
    JW = J * trust[:, None]
    A = (JW.T @ J).astype(np.float64)
    N = np.array([[1 / half, 0, (0.5 - w / 2) / half], [0, 1 / half, (0.5 - h / 2) / half], [0, 0, 1]])
    return A, (JW.T @ e).astype(np.float64), N


def _solved(A: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """A damped step, of `_MOST` at most."""
    A = A + 1e-3 * np.trace(A) / len(A) * np.eye(len(A))
    try:
        p = np.linalg.solve(A, b)
    except np.linalg.LinAlgError:
        return None
    length = float(np.abs(p).max())
    return p * min(1.0, _MOST / max(length, 1e-12)) if np.isfinite(length) else None
