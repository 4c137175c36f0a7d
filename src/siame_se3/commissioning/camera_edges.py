"""How well a calibration determines the rectification at the corners and edges of the image, where the board may never have been."""

from __future__ import annotations

import cv2
import numpy as np

from siame_se3.errors import CameraError
from siame_se3.geometry.camera import Camera

# Of the image's width, standard deviation at the worst place: 12 pictures whose corners reach three quarters of its sides have up to 0.01 (with 0.4 px
# of noise), OpenCV's own left01.jpg to left14.jpg 0.0015, boards that stay within a third more than 0.1.
LOOSE_EDGES = 0.01
_MOST_EDGES = 0.03
_STEP = 1e-4  # of the parameters, for derivatives


def edges_std(camera: Camera, covariance: np.ndarray) -> float:
    """The largest standard deviation, over the image's corners and the middles of its edges, of where a rectified pixel comes from [px].

    The rectified pixel is held; the intrinsics and coefficients move its place in the picture as it comes: J C J^T.

    Args:
        camera: as it was calibrated, with its distortion.
        covariance: of fx, fy, cx, cy and the first four coefficients (8, 8).
    """
    right, bottom = camera.width - 1.0, camera.height - 1.0
    pixels = np.array([(x, y) for x in (0, right / 2, right) for y in (0, bottom / 2, bottom)])
    values = np.array([camera.fx, camera.fy, camera.cx, camera.cy, *camera.distortion[:4]])
    fisheye = camera.distortion_model == "equidistant"
    J = np.zeros((len(pixels), 2, 8))
    for k, step in enumerate(_STEP * np.maximum(np.abs(values), 0.1)):
        there, back = (_raw(pixels, values + sign * step * np.eye(8)[k], fisheye) for sign in (1, -1))
        J[:, :, k] = (there - back) / (2 * step)
    variances = np.linalg.eigvalsh(J @ covariance @ J.transpose(0, 2, 1))[:, -1]
    return float(np.sqrt(np.clip(variances, 0, None).max()))


def _raw(pixels: np.ndarray, values: np.ndarray, fisheye: bool) -> np.ndarray:
    """Where rectified pixels (n, 2) are in the picture as it comes (n, 2), by fx, fy, cx, cy and four coefficients [px]."""
    focal, centre, coefficients = values[:2], values[2:4], values[4:]
    K = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])
    x = (pixels - centre) / focal
    if fisheye:
        return np.asarray(cv2.fisheye.distortPoints(x[:, None], K, coefficients)).reshape(-1, 2)
    rays = np.concatenate((x, np.ones((len(x), 1))), 1)
    return np.asarray(cv2.projectPoints(rays, np.zeros(3), np.zeros(3), K, coefficients)[0]).reshape(-1, 2)


def check_edges(std: float, width: int) -> None:
    """Refuse a lens that its pictures do not determine where the board never was, see `edges_std`; images of that width [px].

    Raises:
        CameraError: with the number, and what to do.
    """
    if not std < _MOST_EDGES * width:
        raise CameraError(
            f"camera calibration: the lens is not determined at the image's corners and edges, the standard deviation there is {std:.2g} px; "
            "show the board in the corners and at the edges, nearer or to the sides"
        )
