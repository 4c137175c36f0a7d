"""What a calibration's residuals say of the board: stretched, bent, or a picture of it that is there several times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from siame_se3.commissioning.boards import Seen
from siame_se3.errors import CameraError

_SAME = 0.01  # corners of copies of a picture are within this [px]
_MOST_STRETCH = 0.02  # of a board, or of pixels, which are square in cameras of today
_NOISE = 0.1  # of corners, at least [px]
_SURE = 4.0  # standard deviations
# Of residuals that repeat at a corner [px, of the image's width]; smaller ones are of how corners are found, and of any print: OpenCV's own sample
# pictures (left01.jpg to left14.jpg, 640 px) have 0.14 px.
_REPEATED = (0.2, 0.0003)
_REPEATED_SHARE = 0.4  # of what is left without them: five pictures of pure noise reach 0.3

_Jacobians = tuple[np.ndarray, np.ndarray]
_Pose = tuple[Any, Any]


def distinct(seen: Sequence[Seen]) -> list[int]:
    """Which pictures are there once copies are left out: the first of those whose corners are all the same."""
    kept: list[int] = []
    for k, s in enumerate(seen):
        if not any(_same(s, seen[other]) for other in kept):
            kept.append(k)
    return kept


def _same(a: Seen, b: Seen) -> bool:
    return (
        a.corners.shape == b.corners.shape
        and bool((np.abs(a.corners - b.corners) <= _SAME).all())
        and np.array_equal(a.points, b.points)
    )


def stretch(
    seen: Sequence[Seen],
    residuals: Sequence[np.ndarray],
    jacobians: Sequence[_Jacobians],
    poses: Sequence[_Pose],
    focal: tuple[float, float],
) -> tuple[float, float, list[np.ndarray]]:
    """By how much the board is longer downwards than across it would be, and its standard deviation, if the camera's pixels are square; and the
    residuals that are left with such a board.

    One more unknown beside the intrinsics and the boards' poses, to first order. Boards that are all upright show it as fy / fx, others as what no
    camera explains; the two are added.

    Args:
        seen: the pictures.
        residuals: of each (2n,) [px].
        jacobians: of each, by the intrinsics (2n, 8) and by the board's pose (2n, 6): turn and place.
        poses: of each: rotation vector and place.
        focal: fx, fy [px].
    """
    N, g, total = np.zeros((9, 9)), np.zeros(9), 0.0
    parts = []
    for s, r, (A, B), pose in zip(seen, residuals, jacobians, poses, strict=True):
        down = s.points[:, 1] - s.points[:, 1].mean()
        column = (_by_point(B, pose)[:, :, 1] * down[:, None]).reshape(-1, 1)
        both = np.hstack((A, column))
        eliminated = both - B @ np.linalg.lstsq(B, both, rcond=None)[0]
        parts.append(eliminated)
        N, g, total = N + eliminated.T @ eliminated, g - eliminated.T @ r, total + float(r @ r)
    scale = np.sqrt(np.diag(N))
    inverse = np.linalg.pinv(N / np.outer(scale, scale), 1e-12, True) / np.outer(scale, scale)
    change = inverse @ g
    count = sum(map(len, residuals)) - 9 - 6 * len(residuals)
    variance = max(_NOISE**2, (total - float(g @ change)) / max(1, count))
    weights = np.array([-1 / focal[0], 1 / focal[1], 0, 0, 0, 0, 0, 0, 1])
    std = float(np.sqrt(variance * weights @ inverse @ weights))
    left = [r + part @ change for r, part in zip(residuals, parts, strict=True)]
    return float(np.log(focal[1] / focal[0]) + weights @ change), std, left


def check_square(stretched: float, std: float) -> None:
    """That the board's squares are square, see `stretch`.

    Raises:
        CameraError: they are not, and surely.
    """
    if abs(stretched) > max(_MOST_STRETCH, _SURE * std):
        raise CameraError(
            f"camera calibration: the squares are not square: the print is stretched by {100 * np.expm1(abs(stretched)):.1f} % (or the pictures "
            "are); measure ten squares both ways, and print the board at 100 %"
        )


def _by_point(by_pose: np.ndarray, pose: _Pose) -> np.ndarray:
    """Derivatives of pixels by places of corners on the board (n, 2, 3), of those by its pose (2n, 6)."""
    return np.asarray(by_pose[:, 3:].reshape(-1, 2, 3) @ cv2.Rodrigues(np.asarray(pose[0], np.float64))[0])


def repeated(
    seen: Sequence[Seen], residuals: Sequence[np.ndarray], jacobians: Sequence[_Jacobians], poses: Sequence[_Pose]
) -> tuple[float, float]:
    """How large residuals are that repeat at the same corner of the board in all pictures, and what is left without them, root mean square [px].

    Each corner's place on the board is fitted to its residuals; what that explains by chance is taken off.

    Args:
        seen, residuals, jacobians, poses: as `stretch` has them.
    """
    corners: dict[tuple[float, ...], list[tuple[np.ndarray, np.ndarray]]] = {}
    for s, r, (_, B), pose in zip(seen, residuals, jacobians, poses, strict=True):
        for point, error, J_c in zip(s.points, r.reshape(-1, 2), _by_point(B, pose), strict=True):
            corners.setdefault(tuple(np.round(point, 6).tolist()), []).append((error, J_c))
    often = [found for found in corners.values() if len(found) >= 4]
    total = left = 0.0
    for found in often:
        r = np.concatenate([error for error, _ in found])
        J = np.concatenate([J_c for _, J_c in found])
        rest = r - J @ np.linalg.lstsq(J, r, rcond=None)[0]
        total, left = total + float(r @ r), left + float(rest @ rest)
    count = 2 * sum(map(len, often))
    freedom = count - 3 * len(often)
    if freedom <= 0:
        return 0.0, 0.0
    variance = left / freedom  # of a coordinate
    return float(np.sqrt(2 * max(0.0, total - left - 3 * len(often) * variance) / count)), float(np.sqrt(2 * variance))


def check_flat(size: float, left: float, width: int) -> None:
    """That residuals do not repeat at the same corners, see `repeated`, in images of that width [px].

    Raises:
        CameraError: they do.
    """
    if size > max(_REPEATED[0], _REPEATED[1] * width, _REPEATED_SHARE * left):
        raise CameraError(
            f"camera calibration: the same corners of the board are off by {size:.2g} px in all pictures, {left:.2g} px are left without that: the "
            "board is not flat, or its corners are not where they are said to be; glue the print to a flat plate"
        )
