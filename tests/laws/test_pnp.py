from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pnp import pose_in_space, pose_of_all, pose_of_weighted

CAMERA = Camera.from_focal(300, 224)


def pair(n: int, noise: float = 0.0, seed: int = 0) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """T_cd, points in the desired camera's frame (not on a plane), and the current pixels."""
    g = torch.Generator().manual_seed(seed)
    T_cd = lie.pose_from_vector(torch.tensor([0.05, -0.04, 0.06, 0.1, -0.2, 1.2], dtype=torch.float64))
    pixels = 20 + 180 * torch.rand(n, 2, generator=g, dtype=torch.float64)
    points = CAMERA.rays(pixels) * (0.5 + 0.3 * torch.rand(n, 1, generator=g, dtype=torch.float64))
    seen = CAMERA.project(points @ T_cd[:3, :3].mT + T_cd[:3, 3])
    return T_cd, points.numpy(), (seen + noise * torch.randn(seen.shape, generator=g)).numpy()


def apart(T: np.ndarray | Tensor, true: Tensor) -> tuple[float, float]:
    t, r = lie.error_norms(lie.inverse(true) @ torch.as_tensor(T))
    return float(t), float(r)


def test_a_pose_is_found_among_many_wrong_matches() -> None:
    T_cd, points, pixels = pair(60, noise=0.3)
    pixels[:35] = 224 * np.random.default_rng(0).random((35, 2))
    found = pose_in_space(CAMERA, points, pixels)
    assert found is not None
    T, agree = found
    assert apart(T, T_cd) < (3e-3, 1e-2)
    assert agree[35:].mean() > 0.9
    assert agree[:35].mean() < 0.1


@pytest.mark.parametrize("n", [0, 3, 12])
def test_no_pose_of_too_few_or_of_what_does_not_agree(n: int) -> None:
    _, points, _ = pair(n) if n else (None, np.zeros((0, 3)), None)
    pixels = 224 * np.random.default_rng(1).random((n, 2))
    found = pose_in_space(CAMERA, points, pixels)
    assert found is None or found[1].sum() < 6


def test_of_points_that_are_all_right() -> None:
    T_cd, points, pixels = pair(30)
    T = pose_of_all(CAMERA, points, pixels)
    assert T is not None
    assert max(apart(T, T_cd)) < 1e-6


def test_weighted_points_leave_out_the_wrong_ones_and_those_without_weight() -> None:
    T_cd, points, pixels = pair(80, noise=0.2)
    pixels[:20] += 30
    weight = torch.ones(1, 80, dtype=torch.float64)
    weight[0, 20:40] = 0
    pixels[20:40] = 0
    rays = CAMERA.rays(torch.from_numpy(pixels))[None, :, :2]
    start = T_cd @ lie.pose_from_vector(torch.tensor([0.05, 0.05, -0.05, 0.2, -0.2, 0.3], dtype=torch.float64))
    T = pose_of_weighted(torch.from_numpy(points)[None], rays, weight, start[None])[0]
    assert apart(T, T_cd) < (2e-3, 5e-3)


def test_weighted_pose_is_differentiable() -> None:
    T_cd, points, pixels = pair(40)
    rays = CAMERA.rays(torch.from_numpy(pixels))[None, :, :2].requires_grad_()
    weight = torch.ones(1, 40, dtype=torch.float64)
    T = pose_of_weighted(torch.from_numpy(points)[None], rays, weight, T_cd[None].clone(), rounds=3)
    T[0, :3, 3].sum().backward()
    assert rays.grad is not None
    assert rays.grad.isfinite().all()
    assert float(rays.grad.abs().max()) > 0
