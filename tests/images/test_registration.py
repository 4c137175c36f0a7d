"""Depth maps in other rasters, against planes and boxes whose depth a formula gives."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.registration import network_depth, registered, resized, square_depth

DEPTH = Camera(146.0, 146.0, 80.0, 60.0, 160, 120)
COLOUR = Camera(131.0, 132.0, 79.0, 61.0, 160, 120)
T_CI = lie.pose_from_vector(torch.tensor([-0.025, 0.002, 0.003, 0.008, -0.006, 0.003], dtype=torch.float64))
TILTED = np.array([0.3, -0.2, 1.0])  # a plane's normal: normal . X = 1 m, in the depth camera's frame


def of_plane(camera: Camera, normal: np.ndarray = TILTED, T_ci: Tensor | None = None, at: float = 1.0) -> np.ndarray:
    """Depth (h, w) of the plane normal . X_i = at, by the ray of each pixel, seen by a pinhole at T_ci."""
    T = np.eye(4) if T_ci is None else T_ci.numpy()
    n = T[:3, :3] @ normal
    depth: np.ndarray = (at + n @ T[:3, 3]) / (camera.rays(camera.pixel_grid()).numpy() @ n)
    return depth


def test_one_camera_in_one_raster_is_the_map_itself() -> None:
    depth = of_plane(DEPTH).astype(np.float32)
    depth[3, 4] = np.nan
    for T in (None, torch.eye(4)):
        np.testing.assert_array_equal(registered(depth, DEPTH, DEPTH, T), depth)


def test_a_plane_seen_by_another_camera() -> None:
    found = registered(of_plane(DEPTH), DEPTH, COLOUR, T_CI)
    true = of_plane(COLOUR, T_ci=T_CI)
    known = np.isfinite(found)
    assert known[15:-15, 18:-18].all()  # the depth camera sees less
    np.testing.assert_allclose(found[known], true[known], rtol=4e-3)  # half a depth pixel of the slope
    assert np.abs(found[known] / true[known] - 1).mean() < 1e-3
    wrong = registered(of_plane(DEPTH), DEPTH, COLOUR)  # without the transform
    assert np.nanmean(np.abs(wrong / true - 1)) > 2e-3


@pytest.mark.parametrize("factor", [3, 2.5, 0.5])
def test_rasters_of_another_size_have_no_gaps(factor: float) -> None:
    camera = COLOUR.resized(round(160 * factor), round(120 * factor))
    found = registered(of_plane(DEPTH), DEPTH, camera, T_CI)
    edge = round(20 * factor)
    assert np.isfinite(found[edge:-edge, edge:-edge]).all()
    known = np.isfinite(found)
    np.testing.assert_allclose(found[known], of_plane(camera, T_ci=T_CI)[known], rtol=4e-3)


def test_the_nearer_surface_hides_the_farther_one() -> None:
    """A box of 0.5 m in front of a wall of 1 m; seen from the right, a strip of the wall beside it was never seen."""
    depth = np.full(DEPTH.size, 1.0, np.float32)
    depth[40:80, 60:100] = 0.5
    aside = torch.eye(4, dtype=torch.float64)
    aside[0, 3] = -0.1  # the depth camera is on the left
    found = registered(depth, DEPTH, DEPTH, aside)
    # box: by 0.1 * 146 / 0.5 = 29.2 px, wall: by 14.6 px to the left
    np.testing.assert_allclose(found[45:75, 33:69], 0.5)
    assert np.isnan(found[45:75, 73:84]).all(), "what the box hid from the depth camera is not known"
    np.testing.assert_allclose(found[45:75, 90:140], 1.0)
    assert set(np.unique(found[np.isfinite(found)]).tolist()) == {0.5, 1.0}


def test_single_holes_are_filled_where_both_sides_agree() -> None:
    depth = of_plane(DEPTH).astype(np.float32)
    depth[50, 50] = depth[60, 60:64] = np.nan
    moved = torch.eye(4, dtype=torch.float64)
    moved[2, 3] = 1e-6
    found = registered(depth, DEPTH, DEPTH, moved)
    assert found[50, 50] == pytest.approx(of_plane(DEPTH)[50, 50], rel=2e-3)
    wide = depth.copy()
    wide[49:52, 49:52] = np.nan
    assert np.isnan(registered(wide, DEPTH, DEPTH, moved)[50, 50])
    edge = np.where(np.arange(160) < 80, 0.5, 1.0)[None].repeat(120, 0).astype(np.float32)
    edge[:, 80] = np.nan
    assert np.isnan(registered(edge, DEPTH, DEPTH, moved)[5:-5, 80]).all()


def test_a_lens_is_straightened() -> None:
    """The depth that a distorted raster has at a pixel is that of the pixel's ray."""
    lens = replace(COLOUR, distortion=(-0.15, 0.05, 0.001, -0.002, 0.0))
    grid = lens.pixel_grid().reshape(-1, 1, 2).numpy()
    rays = cv2.undistortPoints(grid, lens.K.numpy(), np.asarray(lens.distortion)).reshape(*lens.size, 2)
    distorted = 1 / (np.dstack((rays, np.ones(lens.size))) @ TILTED)
    found = registered(distorted, lens, lens)
    true = of_plane(COLOUR)
    known = np.isfinite(found)
    assert known[10:-10, 10:-10].all()
    np.testing.assert_allclose(found[known], true[known], rtol=4e-3)
    assert np.abs(distorted / true - 1).max() > 8e-3
    square = square_depth(distorted, lens)
    np.testing.assert_array_equal(square, found[:, 20:140])


def test_nothing_known_and_nothing_in_view() -> None:
    nothing = np.full(DEPTH.size, np.nan)
    assert np.isnan(registered(nothing, DEPTH, COLOUR, T_CI)).all()
    behind = torch.eye(4, dtype=torch.float64)
    behind[2, 3] = -5.0
    assert np.isnan(registered(of_plane(DEPTH), DEPTH, COLOUR, behind)).all()


def test_another_size_than_its_cameras_is_refused() -> None:
    with pytest.raises(InputError, match="depth map of 160 x 120 px; its camera has 320 x 240"):
        registered(of_plane(DEPTH), DEPTH.resized(320, 240), COLOUR)


@pytest.mark.parametrize("size", [(60, 80), (97, 131), (300, 401)])
def test_resized_maps_of_a_plane_are_exact(size: tuple[int, int]) -> None:
    depth = torch.from_numpy(of_plane(DEPTH))
    found = resized(depth, *size)
    true = of_plane(DEPTH.resized(size[1], size[0]))
    inner = (slice(3, -3), slice(3, -3))  # beyond the outer pixels' centres there is nothing between
    np.testing.assert_allclose(found[inner].numpy(), true[inner], rtol=1e-9)


def test_resized_maps_mix_no_surfaces() -> None:
    depth = torch.full((2, 120, 160), 2.0)
    depth[1, :, 77:] = 0.5
    depth[0, 10:20, 10:20] = torch.nan
    for size in ((56, 56), (224, 300)):
        found = resized(depth, *size)
        assert set(found[found.isfinite()].round(decimals=5).unique().tolist()) == {0.5, 2.0}
        assert found[0].isnan().float().mean() == pytest.approx(100 / 160 / 120, rel=0.3)
        assert not found[1].isnan().any()


def test_the_map_of_a_networks_image() -> None:
    depth = torch.from_numpy(of_plane(DEPTH))[None, None].expand(2, 3, 120, 160)
    found = network_depth(depth, 40)
    assert found.shape == (6, 40, 40)
    true = torch.from_numpy(of_plane(DEPTH.square(40)))
    torch.testing.assert_close(found[5, 1:-1, 1:-1], true[1:-1, 1:-1], rtol=1e-9, atol=0)
    assert torch.equal(network_depth(depth, 120)[0], depth[0, 0, :, 20:140])
