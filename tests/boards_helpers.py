"""Pictures of a board, rendered with known intrinsics and poses; and poses of a hand-eye session, with noise."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
import torch
from torch import Tensor

from siame_se3.commissioning.boards import Board
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera

T_TC = lie.pose_from_vector(torch.tensor([0.05, -0.03, 0.1, 0.1, -0.2, 0.8], dtype=torch.float64))
T_BO = lie.pose_from_vector(torch.tensor([0.5, 0.1, 0.0, math.pi, 0.0, 0.0], dtype=torch.float64))


@functools.lru_cache(maxsize=2)
def rays(camera: Camera) -> np.ndarray:
    """Of each pixel, (x, y, 1) of its undistorted ray: (h w, 3)."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width].astype(np.float64)
    points = np.stack((u.ravel(), v.ravel()), 1)[:, None]
    d = np.asarray(camera.distortion or (0.0,) * 5)
    if camera.distortion_model == "equidistant":
        found = np.asarray(cv2.fisheye.undistortPoints(points, camera.K.numpy(), d)).reshape(-1, 2)
    else:
        criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 50, 1e-9)
        found = np.asarray(cv2.undistortPoints(points, camera.K.numpy(), d, None, None, None, criteria)).reshape(-1, 2)  # type: ignore[call-overload]
    return np.concatenate((found, np.ones((len(found), 1))), 1)


def shot(board: Board, camera: Camera, T_co: Tensor) -> np.ndarray:
    """The board as the camera sees it: each pixel's ray, undistorted, meets the board's plane."""
    pixels = 40
    T_oc = lie.inverse(T_co).numpy()
    directions = rays(camera) @ T_oc[:3, :3].T
    scale = -T_oc[2, 3] / directions[:, 2]
    # a margin of a square, and a checkerboard's first inner corner a square inside
    inside = 2 if board.kind == "checkerboard" else 1
    x, y = (((T_oc[k, 3] + directions[:, k] * scale) / board.square + inside) * pixels - 0.5 for k in range(2))
    x, y = (z.astype(np.float32).reshape(camera.height, camera.width) for z in (x, y))
    return cv2.GaussianBlur(cv2.remap(board.picture(pixels), x, y, cv2.INTER_AREA, borderValue=255), (0, 0), 0.7)


def views(board: Board, n: int, seed: int, near: float = 0.45, tilt: float = 0.6, roll: float = 0.6) -> list[Tensor]:
    """Poses of the board in the camera's frame, its middle about the view's."""
    rng = np.random.default_rng(seed)
    half = torch.tensor([board.columns - 1, board.rows - 1, 0.0], dtype=torch.float64) * board.square / 2
    found = []
    for _ in range(n):
        turn = torch.tensor(rng.uniform((-tilt, -tilt, -roll), (tilt, tilt, roll)))
        t = torch.tensor([rng.uniform(-0.05, 0.05), rng.uniform(-0.04, 0.04), rng.uniform(near, near + 0.3)])
        T = lie.pose(lie.so3_exp(turn), t)
        T[:3, 3] -= T[:3, :3] @ half
        found.append(T)
    return found


def project(camera: Camera, T_co: Tensor, points: np.ndarray) -> np.ndarray:
    """Pixels (n, 2) of points on the board (n, 3) [m], in the picture as it comes."""
    p = lie.vector_from_pose(T_co).numpy()
    by = cv2.fisheye.projectPoints if camera.distortion_model == "equidistant" else cv2.projectPoints
    d = np.array(camera.distortion or (0.0,) * 5)
    return np.asarray(by(points[:, None].astype(float), p[3:], p[:3], camera.K.numpy(), d)[0]).reshape(-1, 2)


def all_over(board: Board, camera: Camera, n: int, seed: int, near: float = 0.3, share: float = 1.0) -> list[Tensor]:
    """Poses of the board in the camera's frame, anywhere in the middle `share` of the picture, whole with a margin of a square."""
    rng = np.random.default_rng(seed)
    inside = 2.0 if board.kind == "checkerboard" else 1.0
    outline = [(x * (board.columns + inside), y * (board.rows + inside), 0.0) for x in (0, 0.5, 1) for y in (0, 0.5, 1)]
    points = (np.array(outline) - (inside, inside, 0.0)) * board.square
    middle = torch.from_numpy(points.mean(0))
    picture = np.array([camera.width, camera.height])
    sides = picture / (camera.fx, camera.fy)
    found: list[Tensor] = []
    while len(found) < n:
        R = lie.so3_exp(torch.tensor(rng.uniform((-0.6,) * 3, (0.6,) * 3)))
        z = rng.uniform(near, 2 * near)
        T = lie.pose(R, torch.tensor([*(rng.uniform(-sides, sides) * 0.6 * z), z]) - R @ middle)
        if (T[2, :3] @ torch.from_numpy(points).mT + T[2, 3]).min() > 0.05 and (
            np.abs(project(camera, T, points) - picture / 2) < share * picture / 2
        ).all():
            found.append(T)
    return found


def tool_poses(T_co: list[Tensor] | Tensor) -> Tensor:
    """Where the tool is for the camera to see the board so."""
    return torch.stack([T_BO @ lie.inverse(T) @ lie.inverse(T_TC) for T in T_co])


def noisy(T: Tensor, t: float, r: float, seed: int) -> Tensor:
    """Poses with errors of standard deviations t [m] and r [rad] in each axis."""
    generator = torch.Generator().manual_seed(seed)
    errors = torch.randn(len(T), 6, generator=generator, dtype=torch.float64)
    return T @ lie.exp(errors * torch.tensor([t] * 3 + [r] * 3, dtype=torch.float64))
