from __future__ import annotations

import math

import pytest
import torch

from poses_helpers import AWAY, around, frontal
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import depth, homography, pixel_from_plane, plane_from_pixel, points_on_plane

CAMERA = Camera.from_focal(240, 224)
SMALL = Camera(70.0, 75.0, 30.0, 25.0, 64, 48)
SHAPES = [(), (1,), (3, 2)]


def test_homographies_cancel() -> None:
    a, b, c = around(3, 10)
    product, direct = homography(CAMERA, a, b) @ homography(CAMERA, b, c), homography(CAMERA, a, c)
    torch.testing.assert_close(
        product / product[..., 2:, 2:], direct / direct[..., 2:, 2:], rtol=0, atol=1e-10 * float(direct.abs().max())
    )


def test_homography_moves_pixels_as_the_plane_does() -> None:
    a, b = around(2, 10)
    uv = torch.tensor([[0.0, 0.0], [100.5, 30.25], [223.0, 223.0]], dtype=torch.float64)
    rays = SMALL.rays(uv) @ b[:, :3, :3].mT
    t = b[:, None, :3, 3]
    on_plane = t - rays * t[..., 2:] / rays[..., 2:]
    seen = SMALL.project((on_plane - a[:, None, :3, 3]) @ a[:, :3, :3])
    mapped = torch.cat((uv, torch.ones(3, 1)), 1).double() @ homography(SMALL, a, b).mT
    torch.testing.assert_close(mapped[..., :2] / mapped[..., 2:], seen, rtol=1e-10, atol=1e-10)


def test_plane_from_pixel_undoes_pixel_from_plane() -> None:
    T = around(10)
    for product in (
        plane_from_pixel(SMALL, T) @ pixel_from_plane(SMALL, T),
        pixel_from_plane(SMALL, T) @ plane_from_pixel(SMALL, T),
    ):
        eye = torch.eye(3, dtype=T.dtype).expand_as(product)
        torch.testing.assert_close(product / product[:, 2:, 2:], eye, rtol=0, atol=1e-11)


def test_third_rows_are_depth_and_facing() -> None:
    T = around(10)
    xyz, xy1 = torch.tensor([[0.05, -0.1, 0], [0.05, -0.1, 1]], dtype=torch.float64)
    z = ((xyz - T[:, :3, 3])[:, None] @ T[:, :3, :3])[:, 0, 2]
    torch.testing.assert_close(pixel_from_plane(CAMERA, T)[:, 2] @ xy1, z, rtol=0, atol=1e-14)
    middle = torch.tensor([111.5, 111.5, 1], dtype=torch.float64)
    torch.testing.assert_close(plane_from_pixel(CAMERA, T)[:, 2] @ middle, T[:, 2, 2], rtol=0, atol=1e-14)
    assert (plane_from_pixel(CAMERA, T @ AWAY)[:, 2] @ middle < 0).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_depth_reaches_the_plane(shape: tuple[int, ...]) -> None:
    T = around(*shape)
    Z = depth(SMALL, T)
    assert Z.shape == (*shape, 48, 64)
    points = SMALL.rays(SMALL.pixel_grid()) * Z[..., None]
    in_world = points @ T[..., None, :3, :3].mT + T[..., None, None, :3, 3]
    assert float(in_world[..., 2].abs().max()) < 1e-12


def test_depth_where_there_is_no_plane() -> None:
    assert torch.equal(depth(SMALL, frontal(0.6) @ AWAY), torch.full((48, 64), math.inf, dtype=torch.float64))
    # looking along the plane, with the image's lower half towards it
    along = frontal(0.6) @ lie.pose_from_vector(torch.tensor([0, 0, 0, math.pi / 2, 0, 0], dtype=torch.float64))
    Z = depth(Camera.from_focal(10, 4), along)
    assert torch.isfinite(Z).sum(0).tolist() == [2] * 4


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_points_on_the_plane_are_seen_at_their_pixels(shape: tuple[int, ...]) -> None:
    """Projected through the pose and the intrinsics, without a homography."""
    T, pixels = around(*shape), torch.tensor([[0.0, 0.0], [31.5, 20.25], [63.0, 47.0]], dtype=torch.float64)
    xy, seen = points_on_plane(SMALL, T, pixels)
    assert xy.shape == (*shape, 3, 2)
    assert seen.all()
    in_world = torch.cat((xy, torch.zeros_like(xy[..., :1])), -1)
    in_camera = (in_world - T[..., None, :3, 3]) @ T[..., :3, :3]
    assert float(in_camera[..., 2].min()) > 0
    torch.testing.assert_close(SMALL.project(in_camera), pixels.expand(*shape, 3, 2), rtol=0, atol=1e-10)


def test_points_on_the_plane_are_seen_from_the_front_alone() -> None:
    # looking along the plane, with the image's lower half towards it
    along = frontal(0.6) @ lie.pose_from_vector(torch.tensor([0, 0, 0, math.pi / 2, 0, 0], dtype=torch.float64))
    T = torch.stack((frontal(0.6), frontal(0.6) @ AWAY, frontal(-0.6), frontal(-0.6) @ AWAY, along))
    pixels = torch.tensor([[111.5, 20.0], [111.5, 200.0]], dtype=torch.float64)
    xy, seen = points_on_plane(CAMERA, T, pixels)
    assert seen.tolist() == [[True, True], [False, False], [False, False], [False, False], [False, True]]
    assert xy.isfinite().all()
