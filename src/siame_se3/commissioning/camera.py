"""Intrinsics and distortion of a camera from pictures of a board, with how well they are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from siame_se3.commissioning.boards import Seen
from siame_se3.commissioning.camera_board import check_flat, check_square, distinct, repeated, stretch
from siame_se3.commissioning.camera_edges import LOOSE_EDGES, check_edges, edges_std
from siame_se3.errors import CameraError
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.camera_info import CameraInfo

_FEWEST = 5  # pictures
_CORNER_NOISE = 0.1  # systematic errors of corners make up for a small residual that is by chance [px]
_MOST_FOCAL_STD = 0.02  # of the focal length, that its standard deviation may be
_MOST_CENTRE_STD = 0.03  # of the image's width, that the principal point's standard deviation may be
_MOST_RMS = 0.004  # of the image's width, that the reprojection error may be
_STRANGE = (
    5.0,
    2.0,
)  # a picture that moves the intrinsics by more standard deviations, with an error of more times the median, is of another camera
_ODD = 3.0, 2.0  # the same, for a word


@dataclass(frozen=True)
class CameraFit:
    """A calibrated camera, and what it rests on.

    Attributes:
        camera: intrinsics and distortion.
        rms: root mean square reprojection error of all corners [px].
        errors: that of each picture [px].
        std: standard deviations of fx, fy, cx, cy [px].
        influence: how far fx, fy, cx, cy move without each picture (n, 4) [px].
        odd: pictures that the others contradict, though not by enough to be refused.
        edges_std: of the place in the picture from which a rectified pixel is taken, the largest standard deviation at the corners and edges [px].
    """

    camera: Camera
    rms: float
    errors: tuple[float, ...]
    std: tuple[float, float, float, float]
    influence: np.ndarray
    odd: tuple[int, ...] = ()
    edges_std: float = 0.0

    @property
    def loose(self) -> bool:
        """Whether the pictures hardly determine the rectification at the corners and edges."""
        return self.edges_std > LOOSE_EDGES * self.camera.width


def calibrate_camera(seen: Sequence[Seen], model: str = "plumb_bob") -> CameraFit:
    """Intrinsics and distortion (Zhang 2000, as OpenCV does it).

    Args:
        seen: the board in five pictures or more.
        model: plumb_bob (five coefficients) or equidistant (fisheye lenses, four).

    Raises:
        CameraError: fewer than five pictures, views that do not determine the camera, pictures that contradict each other, or a board that is
            stretched or not flat.
    """
    if model not in ("plumb_bob", "equidistant"):
        raise CameraError(f"camera calibration: lens {model}; use plumb_bob or equidistant", "lens")
    different = distinct(seen)
    if len(different) < _FEWEST:
        copies = f" that differ, {len(seen) - len(different)} more are copies" if len(different) < len(seen) else ""
        raise CameraError(
            f"camera calibration: the board is seen in {len(different)} pictures{copies}; {_FEWEST} are needed, 15 are good",
            "pictures",
        )
    h, w = seen[0].size
    try:
        K, d, poses = (_fisheye if model == "equidistant" else _ordinary)(seen, (w, h))
    except cv2.error as error:
        raise CameraError(
            f"camera calibration: OpenCV cannot ({str(error).splitlines()[0]}); tilt the board more from picture to picture"
        ) from None
    residuals, jacobians = zip(
        *(_linearised(s, *pose, K, d, model) for s, pose in zip(seen, poses, strict=True)), strict=True
    )
    errors = tuple(float(np.sqrt((r**2).sum() / (len(r) / 2))) for r in residuals)
    rms = float(np.sqrt(sum((r**2).sum() for r in residuals) / sum(len(r) / 2 for r in residuals)))
    covariance, influence = _uncertainty(residuals, jacobians, different)
    std = [float(x) for x in np.sqrt(np.diag(covariance)[:4])]
    fx, fy, cx, cy = (float(K[k]) for k in ((0, 0), (1, 1), (0, 2), (1, 2)))
    _accept(seen, errors, rms, std, (fx, fy))
    stretched, stretched_std, left = stretch(seen, residuals, jacobians, poses, (fx, fy))
    check_flat(*repeated(seen, left, jacobians, poses), w)
    check_square(stretched, stretched_std)
    if strange := _contradicted(errors, std, influence, _STRANGE):
        named = ", ".join(
            f"{seen[i].path.name} (without it fx moves by {influence[i][0]:+.1f} px)" for i in strange[:4]
        )
        raise CameraError(
            f"camera calibration: the pictures contradict each other: {named}; is it blurred, zoomed, or of another camera? take it out"
        )
    odd = _contradicted(errors, std, influence, _ODD)
    k = (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)
    try:
        camera = Camera.from_info(CameraInfo(w, h, k, tuple(float(x) for x in np.ravel(d)), model))
    except CameraError as error:
        raise CameraError(f"camera calibration: {error}") from None
    edges = edges_std(camera, covariance)
    check_edges(edges, w)
    return CameraFit(camera, rms, errors, (std[0], std[1], std[2], std[3]), influence, odd, edges)


def _ordinary(seen: Sequence[Seen], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, list[tuple[Any, Any]]]:
    points, corners = [s.points for s in seen], [s.corners for s in seen]
    # two radial coefficients, as ROS's calibration: a third fits noise where no corner was seen
    _, K, d, rs, ts = cv2.calibrateCamera(points, corners, size, None, None, flags=cv2.CALIB_FIX_K3)  # type: ignore[call-overload]  # OpenCV's stubs
    return K, d, list(zip(rs, ts, strict=True))


def _fisheye(seen: Sequence[Seen], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, list[tuple[Any, Any]]]:
    points = [s.points.reshape(1, -1, 3).astype(np.float64) for s in seen]
    corners = [s.corners.reshape(1, -1, 2).astype(np.float64) for s in seen]
    names = ("CALIB_RECOMPUTE_EXTRINSIC", "CALIB_FIX_SKEW")  # of cv2.fisheye before OpenCV 5
    flags = sum(getattr(cv2.fisheye, name, getattr(cv2, name, 0)) for name in names)
    _, K, d, rs, ts = cv2.fisheye.calibrate(points, corners, size, np.zeros((3, 3)), np.zeros((4, 1)), flags=flags)
    return K, d, list(zip(rs, ts, strict=True))


def _linearised(
    s: Seen, r: Any, t: Any, K: Any, d: Any, model: str
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Of a picture: residuals (2n,) [px], and their derivatives by the intrinsics (2n, 8) and by the board's pose (2n, 6)."""
    points = s.points.reshape(-1, 1, 3).astype(np.float64)
    if model == "equidistant":
        back, J = cv2.fisheye.projectPoints(points, r, t, K, d)
        intrinsic, extrinsic = J[:, :8], J[:, 8:14]
    else:
        back, J = cv2.projectPoints(points, r, t, K, d)
        intrinsic, extrinsic = J[:, 6:14], J[:, :6]  # k3 is fixed
    return (back.reshape(-1, 2) - s.corners).ravel(), (intrinsic, extrinsic)


def _uncertainty(
    residuals: Sequence[np.ndarray], jacobians: Sequence[tuple[np.ndarray, np.ndarray]], different: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of fx, fy, cx, cy and the coefficients (8, 8), which `different` pictures alone count for, and how fx, fy, cx, cy move without each
    picture (n, 4), from the normal equations.

    The poses of the board are eliminated picture by picture (Schur complement): picture i adds N_i to the information on the intrinsics and
    g_i to the gradient. At the solution the g_i add up to zero, so without picture i the intrinsics move by (N - N_i)^-1 g_i.
    """
    parts = []
    for r, (A, B) in zip(residuals, jacobians, strict=True):
        eliminated = A - B @ np.linalg.lstsq(B, A, rcond=None)[0]
        parts.append((eliminated.T @ eliminated, eliminated.T @ r))
    N = sum(n for n, _ in parts)
    some = [residuals[k] for k in different]
    freedom = max(1, sum(map(len, some)) - 8 - 6 * len(some))
    variance = max(sum(float(r @ r) for r in some) / freedom, _CORNER_NOISE**2)
    scale = np.sqrt(np.diag(N))  # focal lengths and coefficients differ by many powers of ten
    once = sum(parts[k][0] for k in different) / np.outer(scale, scale)
    covariance = variance * np.linalg.pinv(once, 1e-14, True) / np.outer(scale, scale)
    influence = [np.linalg.lstsq((N - n) / np.outer(scale, scale), g / scale, rcond=None)[0] / scale for n, g in parts]
    return covariance, np.array(influence)[:, :4]


def _contradicted(
    errors: Sequence[float], std: Sequence[float], influence: np.ndarray, limits: tuple[float, float]
) -> tuple[int, ...]:
    """Pictures that move the intrinsics by more than limits[0] of their standard deviations, and whose error is above limits[1] times the median, the
    worst first."""
    moved = np.abs(influence / np.maximum(np.asarray(std), 1e-12)).max(1)
    far = (moved > limits[0]) & (np.asarray(errors) > limits[1] * float(np.median(errors)))
    return tuple(int(k) for k in np.argsort(-moved) if far[k])


def _accept(
    seen: Sequence[Seen],
    errors: Sequence[float],
    rms: float,
    std: Sequence[float],
    focal: Sequence[float],
) -> None:
    """Refuse a camera that its pictures do not determine, or that they contradict.

    Raises:
        CameraError: with the numbers, and what to do.
    """
    share = max(s / f if f > 0 else np.inf for s, f in zip(std, focal, strict=False))
    w = seen[0].size[1]
    if rms > _MOST_RMS * w:
        worst = sorted(range(len(seen)), key=lambda i: -errors[i])[:3]
        named = ", ".join(f"{seen[i].path.name} ({errors[i]:.1f} px)" for i in worst)
        raise CameraError(
            f"camera calibration: the pictures contradict each other, {rms:.1f} px are unexplained; the worst are {named}: "
            "take them out, and check the board's columns, rows and the lens"
        )
    if not share < _MOST_FOCAL_STD:
        raise CameraError(
            f"camera calibration: the focal length is not determined, {focal[0]:.0f} px with a standard deviation of {std[0]:.0f} px; "
            "the board has to be seen tilted, by 20 to 40 deg to several sides, not square on"
        )
    if not max(std[2:]) < _MOST_CENTRE_STD * w:
        raise CameraError(
            f"camera calibration: the principal point is not determined, its standard deviation is {max(std[2:]):.0f} px; "
            "tilt the board to several sides, and show it in all corners"
        )
