"""Poses from points and where an image shows them (PnP): of points on a plane, and of points in space. OpenCV does the work where many may be wrong."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import point_interaction_matrix
from siame_se3.laws.types import View

_PIXELS = 2.0  # that a point of a pose may be off
_LINE = 0.02  # spread of pixels across their longest direction, below which they are on a line
_LEAST = 4  # points of a pose in space


def poses_over_plane(target: View, n: int, Z: float) -> np.ndarray:
    """Poses (n, 4, 4) of the desired cameras in the frame of a plane z = 0 [m]: the scene's where the target knows them, else square on to the plane
    at the known depth, or at Z."""
    if target.T_wc is not None:
        known: np.ndarray = target.T_wc.double().cpu().numpy()
        return known
    depth = torch.full((n,), Z) if target.distance is None else target.distance.cpu()
    T_wd = np.tile(np.eye(4), (n, 1, 1))
    T_wd[:, 2, 3] = -depth.double().numpy()
    return T_wd


def rays_of(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    x, y = (pixels[:, 0] - camera.cx) / camera.fx, (pixels[:, 1] - camera.cy) / camera.fy
    return np.stack((x, y, np.ones_like(x)), 1)


def on_plane(camera: Camera, T_wd: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Where the rays of the pixels meet the plane z = 0, in the desired camera's frame [m]."""
    rays = rays_of(camera, pixels)
    along = rays @ T_wd[2, :3]
    depth = np.where(np.abs(along) > 1e-9, -T_wd[2, 3] / np.where(np.abs(along) > 1e-9, along, 1.0), -1.0)
    return rays * depth[:, None]


def pose_of_points(camera: Camera, points: np.ndarray, pixels: np.ndarray) -> np.ndarray | str:
    """T_cd from points in the desired camera's frame [m], on one plane, and the current pixels: IPPE, then least squares."""
    rays = np.ascontiguousarray(rays_of(camera, pixels)[:, :2])
    identity = np.eye(3)
    # IPPE wants the plane as z = 0: a frame in it.
    middle = points.mean(0)
    axes = np.linalg.svd(points - middle, full_matrices=False)[2]
    axes[2] = np.cross(axes[0], axes[1])
    flat = np.ascontiguousarray((points - middle) @ axes.T)
    flat[:, 2] = 0
    count, turns, moves, _ = cv2.solvePnPGeneric(flat, rays, identity, None, flags=cv2.SOLVEPNP_IPPE)
    best: tuple[float, np.ndarray] | None = None
    for k in range(count):
        turn, move = cv2.solvePnPRefineLM(flat, rays, identity, None, turns[k], moves[k])
        R, t = cv2.Rodrigues(turn)[0], move[:, 0]
        X = flat @ R.T + t
        if not np.isfinite(X).all() or X[:, 2].min() <= 0:
            continue
        residual = float(np.square(X[:, :2] / X[:, 2:] - rays).sum())
        if best is None or residual < best[0]:
            T = np.eye(4)
            T[:3, :3] = R @ axes
            T[:3, 3] = t - T[:3, :3] @ middle
            best = residual, T
    return "the matches give no pose" if best is None else best[1]


def pose_in_space(
    camera: Camera, points: np.ndarray, pixels: np.ndarray, tolerance: float = _PIXELS
) -> tuple[np.ndarray, np.ndarray] | None:
    """T_cd from points in the desired camera's frame [m], anywhere, and the current pixels, of which many may be wrong: RANSAC over P3P (Ke and
    Roumeliotis 2017), then least squares of those that agree.

    Args:
        tolerance: that a pixel may be off [px].

    Returns:
        T_cd (4, 4) [m] and which points agree; None where too few do.
    """
    if len(points) < _LEAST:
        return None
    K = camera.K.numpy()
    X, x = np.ascontiguousarray(points, np.float64), np.ascontiguousarray(pixels, np.float64)
    found, turn, move, agree = cv2.solvePnPRansac(
        *(X, x, K, None),
        iterationsCount=1000,
        reprojectionError=tolerance,
        confidence=0.999,
        flags=cv2.SOLVEPNP_AP3P,
    )
    if not found or agree is None or len(agree) < _LEAST:
        return None
    for _ in range(2):
        chosen = np.zeros(len(X), bool)
        chosen[np.asarray(agree).ravel()] = True
        turn, move = cv2.solvePnPRefineLM(X[chosen], x[chosen], K, None, turn, move)
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = cv2.Rodrigues(turn)[0], np.ravel(move)
        there = X @ T[:3, :3].T + T[:3, 3]
        with np.errstate(all="ignore"):
            seen = there @ K.T
            off = np.linalg.norm(seen[:, :2] / seen[:, 2:] - x, axis=1)
        agree = ((off < tolerance) & (there[:, 2] > 0)).nonzero()[0]
        if len(agree) < _LEAST:
            return None
    chosen = np.zeros(len(X), bool)
    chosen[agree] = True
    return T, chosen


def pose_of_all(camera: Camera, points: np.ndarray, pixels: np.ndarray) -> np.ndarray | None:
    """T_cd from points in the desired camera's frame [m], anywhere, and the current pixels, all about right: SQPnP (Terzakis and Lourakis 2020), then
    least squares. None where they give no pose."""
    K = camera.K.numpy()
    X, x = np.ascontiguousarray(points, np.float64), np.ascontiguousarray(pixels, np.float64)
    spread = np.linalg.svd(x - x.mean(0), compute_uv=False)
    if spread[1] < _LINE * spread[0]:  # on a line, they give none
        return None
    try:
        found, turn, move = cv2.solvePnP(X, x, K, None, flags=cv2.SOLVEPNP_SQPNP)
        if not found:
            return None
        turn, move = cv2.solvePnPRefineLM(X, x, K, None, turn, move)
    except cv2.error:  # an assertion of OpenCV's, of points that determine nothing
        return None
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(turn)[0], np.ravel(move)
    return T if np.isfinite(T).all() and ((X @ T[2, :3] + T[2, 3]) > 0).all() else None


def pose_of_weighted(
    points: Float[Tensor, "n k 3"],
    rays: Float[Tensor, "n k 2"],
    weight: Float[Tensor, "n k"],
    T_cd: Float[Tensor, "n 4 4"],
    rounds: int = 12,
) -> Float[Tensor, "n 4 4"]:
    """Poses that points in the desired cameras' frames [m] and where the current images show them (at f = 1) agree on, by Gauss-Newton, with those that
    do not agree weighed down (Geman and McClure), on a scale of the median residual. Differentiable.

    Args:
        weight: 1 / squared scale of error of each, at f = 1; 0 for none.
        T_cd: to begin with [m].
    """
    for _ in range(rounds):
        X = points @ T_cd[:, :3, :3].mT + T_cd[:, None, :3, 3]
        front = X[..., 2] > 1e-3
        x, y, Z = X[..., 0], X[..., 1], torch.where(front, X[..., 2], 1.0)
        off = torch.stack((x / Z, y / Z), -1) - rays
        scaled = off.square().sum(-1) * weight
        valid = (weight > 0) & front
        middle = torch.where(valid, scaled, torch.nan).nanmedian(1, keepdim=True).values.nan_to_num(1.0)
        w = weight * valid / (scaled / (4 * middle + 1e-12) + 1).square()
        J = -point_interaction_matrix(x / Z, y / Z, Z)  # X moves by v + omega x X
        A = torch.einsum("nk,nkai,nkaj->nij", w, J, J)
        b = torch.einsum("nk,nkai,nka->ni", w, J, off)
        A = A + torch.diag_embed(1e-6 * A.diagonal(dim1=1, dim2=2) + 1e-9)
        step = -torch.linalg.solve(A, b)
        T_cd = lie.exp(step * (0.5 / step.norm(dim=1, keepdim=True).clamp(min=0.5))) @ T_cd
    return T_cd
