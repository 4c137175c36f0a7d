"""Poses for exporters against their plain twins in `lie`, which are in double precision."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import plane_from_pixel, pose_between, pose_from_homography, rotation_vector


def turns(largest: float, n: int = 200, seed: int = 0) -> Tensor:
    """Rotation vectors by up to `largest` [rad], (n, 3)."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator, dtype=torch.float64), dim=1)
    return axis * largest * torch.linspace(0.01, 1, n, dtype=torch.float64)[:, None]


def vectors(largest: float, seed: int) -> Tensor:
    w = turns(largest, seed=seed)
    return torch.cat((torch.randn(w.shape, generator=torch.Generator().manual_seed(seed + 9), dtype=w.dtype), w), 1)


@pytest.mark.parametrize("largest", [1e-6, 1e-3, 1.0, 3.1])
def test_rotation_vector_is_lies(largest: float) -> None:
    R = lie.so3_exp(turns(largest))
    torch.testing.assert_close(rotation_vector(R), lie.so3_log(R), rtol=1e-6, atol=1e-8)


def test_rotation_vector_of_no_rotation_is_zero_and_can_be_differentiated() -> None:
    R = torch.eye(3, dtype=torch.float64).requires_grad_()
    w = rotation_vector(R)
    w.sum().backward()
    assert torch.equal(w.detach(), torch.zeros(3, dtype=torch.float64))
    assert R.grad is not None
    assert bool(R.grad.isfinite().all())


@pytest.mark.parametrize("largest", [1e-6, 1e-3, 0.7, 1.5])
def test_pose_between_is_lies(largest: float) -> None:
    a, b = vectors(largest, 0), vectors(largest, 1)
    T = lie.inverse(lie.pose_from_vector(a)) @ lie.pose_from_vector(b)
    torch.testing.assert_close(pose_between(a, b), lie.vector_from_pose(T), rtol=1e-6, atol=1e-8)


def test_pose_between_takes_the_short_way_round() -> None:
    a, b = torch.zeros(1, 6), torch.zeros(1, 6)
    a[0, 5], b[0, 5] = -math.radians(170), math.radians(170)
    assert float(pose_between(a, b)[0, 5]) == pytest.approx(-math.radians(20), abs=1e-5)


def test_pose_from_homography_is_the_cameras() -> None:
    camera = replace(Camera.from_focal(300, 224), cx=120.0, cy=100.0, fy=280.0)
    T_wc = torch.eye(4, dtype=torch.float64).repeat(50, 1, 1)
    T_wc[:, 2, 3] = -0.6
    T_wc = T_wc @ lie.pose_from_vector(0.2 * vectors(2.0, 3)[::4])
    half_width = 0.4
    image = torch.tensor([[112, 0, 111.5], [0, 112, 111.5], [0, 0, 1]], dtype=torch.float64)  # [-1, 1]^2 to pixels
    H = (
        torch.diag(torch.tensor([1 / half_width, 1 / half_width, 1.0])).double()
        @ plane_from_pixel(camera, T_wc)
        @ image
    )
    rays = torch.tensor([112 / 300, (111.5 - 120) / 300, 112 / 280, (111.5 - 100) / 280], dtype=torch.float64)
    scale = torch.linspace(0.5, 2, 50, dtype=torch.float64)[:, None, None]
    R, t = pose_from_homography(scale * H, rays, half_width)
    assert float(T_wc[:, 2, 3].max()) < 0
    torch.testing.assert_close(R, T_wc[:, :3, :3], rtol=0, atol=1e-9)
    torch.testing.assert_close(t, T_wc[:, :3, 3], rtol=0, atol=1e-9)
