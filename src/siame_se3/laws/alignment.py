"""A guess of where the goal is, aligned to the image, and verified.

The goal's pose is refined by second-order minimisation of the difference of local contrasts (Benhimane and Malis 2004, "Real-time
image-based tracking of planes using efficient second-order minimization"), with pixels weighed down by a biweight where something else is in
the way, from coarse to fine copies of the images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import cv2
import numpy as np

from siame_se3.laws.templates import (
    VERIFYING,
    Pyramid,
    Template,
    box,
    homography_design,
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


@runtime_checkable
class Surface(Protocol):
    """What the goal image shows: `templates.Plane`, or `relief.Relief`.

    Attributes:
        distance: the unit of translation [m].
    """

    @property
    def distance(self) -> float: ...

    def known(self, level: int) -> np.ndarray | None:
        """Which pixels of a level have a depth (h, w); None for all."""

    def seen(
        self, template: Template, current: Pyramid, T_cd: np.ndarray, level: int
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """The image as the goal camera would see it, and where it is known; None for too little."""

    def design(
        self, template: Template, level: int, T_cd: np.ndarray, gx: np.ndarray, gy: np.ndarray, inner: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """J (p, k) of the inner pixels by k numbers, from the gradients in units of half the image's width (p,), and these numbers by
        xi = (v / distance, omega), T_cd exp(xi) (k, 6)."""


def refined(
    template: Template, current: Pyramid, surface: Surface, T_cd: np.ndarray, levels: tuple[int, ...], rounds: int = 4
) -> np.ndarray:
    """The pose of the desired camera in the current one's frame, aligned to the image: six numbers, which a small overlap determines better than
    the eight of a homography.

    Args:
        template: the goal image.
        current: the image now.
        surface: that the goal image shows.
        T_cd: to begin with [m].
        levels: of the template, 0 the finest.
        rounds: on each level.
    """
    for level in levels:
        for _ in range(rounds):
            view = surface.seen(template, current, T_cd, level)
            equations = None if view is None else _equations(template, surface, level, T_cd, *view)
            if equations is None:
                return T_cd
            p = _solved(*equations)
            if p is None:
                return T_cd
            # translation is in units of the distance
            T_cd = T_cd @ moved(p[:3] * surface.distance, p[3:])
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
            compared = None if view is None else _compared(template, level, *view)
            if compared is None:
                return H
            gx, gy, e, trust, inner = compared
            J, N = homography_design(gx, gy, inner)
            p = _solved(*_normal(J, e, trust))
            if p is None:
                return H
            to_units = N @ own
            H = H @ np.linalg.inv(to_units) @ (np.eye(3) + np.append(p, 0.0).reshape(3, 3)) @ to_units
            if float(np.abs(p).max()) < 1e-4:
                break
    return H


def least_determined(template: Template, surface: Surface) -> float:
    """Standard deviation to be expected of the motion that the goal image determines least, as a share of the distance or in radians: that of an
    alignment with the usual residual between two photos. Straight edges between plain surfaces look the same along themselves: nothing says then
    how far the camera is that way, though all that is seen agrees. Infinite where too little is seen."""
    view = surface.seen(template, template.pyramid, np.eye(4), 0)
    compared = None if view is None else _compared(template, 0, *view)
    if compared is None:
        return math.inf
    gx, gy, e, trust, inner = compared
    J, P = surface.design(template, 0, np.eye(4), gx, gy, inner)
    A, _ = _normal(J, e, trust)
    information = float(np.linalg.eigvalsh(P.T @ A @ P)[0])
    return _RESIDUAL * math.sqrt(_ALIKE / max(information, 1e-12))


def verified(template: Template, current: Pyramid, H: np.ndarray, level: int = 0) -> Found:
    """How well a homography H explains the image: see `explained`."""
    return Found(H, *explained(template, seen(template, current, H, level), level))


def explained(
    template: Template,
    view: tuple[np.ndarray, np.ndarray] | None,
    level: int = 0,
    known_goal: np.ndarray | None = None,
) -> tuple[float, float]:
    """How well an image, as the goal camera would see it (`Surface.seen`), agrees with the goal's: the mean of the correlations of small windows, of
    those that have a texture in either image. A wrong pose may bring large shapes together, hardly what is in them; and something in the way costs
    only its own windows. It counts by the square root of the share of the goal's texture that the image shows: chance agrees easily on a
    little, and what repeats itself agrees where what does not is out of view.

    Args:
        view: the image and where it is known.
        known_goal: which pixels of the goal have a depth (h, w); None for all.

    Returns:
        The score, and the share of the texture.
    """
    if view is None:
        return -1.0, 0.0
    image, known = view
    mine, own = template.detail[level]
    if known_goal is not None:
        own = own * known_goal
    contrast, weight = local_contrast(image, known, VERIFYING)
    side = window(image, VERIFYING)
    ab, aa, bb = (box(known * x * y, side) for x, y in ((mine, contrast), (mine, mine), (contrast, contrast)))
    local = ab / np.sqrt(aa * bb + 1e-6)
    either = known * np.maximum(own, weight)
    share = float((own * known).sum() / max(1e-6, float(own.sum())))
    score = float((either * local).sum() / max(1e-6, float(either.sum())))
    return score * math.sqrt(share), share


def _equations(
    template: Template, surface: Surface, level: int, T_cd: np.ndarray, image: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Normal equations A xi = b of the motion (v / distance, omega) by which both local contrasts agree better. None where too little is known."""
    compared = _compared(template, level, image, known)
    if compared is None:
        return None
    gx, gy, e, trust, inner = compared
    J, P = surface.design(template, level, T_cd, gx, gy, inner)
    A, b = _normal(J, e, trust)
    return P.T @ A @ P, P.T @ b


def _compared(
    template: Template, level: int, image: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Of both local contrasts the mean gradient along x and y, in units of half the image's width, and the difference, of each inner pixel (p,); how far
    each is trusted; and which pixels these are (h, w). None where too little is known."""
    mine = template.contrast[level]
    contrast, weight = local_contrast(image, known)
    mean = 0.5 * (mine + contrast)
    gx, gy = cv2.Sobel(mean, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(mean, cv2.CV_32F, 0, 1, scale=0.125)
    inner = cv2.erode(known, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    e = (mine - contrast)[inner]
    if len(e) < 64:
        return None
    texture = np.sqrt(template.weight[level] * weight)[inner]
    size = 1.5 * float(np.median(np.abs(e))) + 1e-3
    trust = np.maximum(1 - np.square(e / (4 * size)), 0.0) ** 2 * texture
    half = mine.shape[1] / 2
    return gx[inner] * half, gy[inner] * half, e, trust, inner


def _normal(J: np.ndarray, e: np.ndarray, trust: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """J^T W J and J^T W e."""
    JW = J * trust[:, None]
    return (JW.T @ J).astype(np.float64), (JW.T @ e).astype(np.float64)


def _solved(A: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """A damped step, of `_MOST` at most."""
    A = A + 1e-3 * np.trace(A) / len(A) * np.eye(len(A))
    try:
        p = np.linalg.solve(A, b)
    except np.linalg.LinAlgError:
        return None
    length = float(np.abs(p).max())
    return p * min(1.0, _MOST / max(length, 1e-12)) if np.isfinite(length) else None
