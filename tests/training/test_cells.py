"""What each cell of a view shows: its point of the scene, and where another view sees that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from siame_se3.geometry.camera import Camera
from siame_se3.scenes.conditions import NONE
from siame_se3.scenes.planar import Scene
from siame_se3.training.batches import Batch
from siame_se3.training.cells import cell_matches, cell_points
from training_helpers import poses_of, source_of


def test_cell_matches_are_where_both_see_the_same_point(scene: Scene, camera: Camera) -> None:
    """By rays and the plane, not by homographies."""
    batch = source_of([scene], camera, spread=(1.0, 1.0)).batch(0, 0)
    matches, known = cell_matches(batch, 4, 2)
    assert matches.shape == (56, 2, 4, 2)
    assert known.shape == (56, 4, 2)
    poses = poses_of(batch, camera).numpy()
    inside = 0
    for n, (current, desired) in enumerate(zip(batch.current.tolist(), batch.desired.tolist(), strict=True)):
        T, D = poses[current], poses[desired]
        for row in range(4):
            for column in range(2):
                u, v = (column + 0.5) * 16 - 0.5, (row + 0.5) * 8 - 0.5
                ray = T[:3, :3] @ np.array([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1])
                seen = D[:3, :3].T @ (T[:3, 3] - ray * T[2, 3] / ray[2] - D[:3, 3])
                x = 2 * (camera.fx * seen[0] / seen[2] + camera.cx + 0.5) / 32 - 1
                y = 2 * (camera.fy * seen[1] / seen[2] + camera.cy + 0.5) / 32 - 1
                near = ray[2] > 0 and seen[2] > 0 and abs(x) < 1.5 and abs(y) < 1.5
                assert float(known[n, row, column]) == float(near)
                if near:
                    np.testing.assert_allclose(matches[n, :, row, column], [x, y], rtol=0, atol=1e-4)
                    inside += 1
    assert 150 < inside < 448


def test_cell_points_are_where_the_rays_meet_the_plane(scene: Scene, camera: Camera) -> None:
    batch = source_of([scene], camera, spread=(1.5, 1.5)).batch(0, 0)
    points, known = cell_points(batch, 4, 2)
    assert points.shape == (8, 2, 4, 2)
    assert known.shape == (8, 4, 2)
    compared = 0
    for n, T in enumerate(poses_of(batch, camera).numpy()):
        for row in range(4):
            for column in range(2):
                u, v = (column + 0.5) * 16 - 0.5, (row + 0.5) * 8 - 0.5
                ray = T[:3, :3] @ np.array([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1])
                X, Y, Z = T[:3, 3] - ray * T[2, 3] / ray[2]
                assert abs(Z) < 1e-12
                near = ray[2] > 0 and abs(X) < 0.8 and abs(Y) < 0.8
                assert float(known[n, row, column]) == float(near)
                if near:
                    np.testing.assert_allclose(points[n, :, row, column], [X / 0.4, Y / 0.4], rtol=0, atol=1e-5)
                    compared += 1
    assert 32 < compared <= 64
    assert float(points.abs().max()) <= 2


def colours_at(images: Tensor, uv: Tensor) -> Tensor:
    """(n, 3, k) of images (n, 3, h, w), at points (n, 2, k) in [-1, 1]^2 from edge to edge."""
    return F.grid_sample(images, uv.mT[:, None], padding_mode="border", align_corners=False)[:, :, 0]


def bent_batch(scene: Scene, camera: Camera, bend: float) -> Batch:
    return source_of([scene], camera, augmentation=replace(NONE, bend=bend), curriculum=0.0).batch(0, 0)


MIDDLES = (torch.arange(8) + 0.5) / 4 - 1  # of 8 cells along a side


def test_cells_of_bent_views_say_what_they_show(scene: Scene, camera: Camera) -> None:
    """The scene's colour at the point that a cell says is the colour in its middle."""
    batch = bent_batch(scene, camera, 0.08)
    v, u = torch.meshgrid(MIDDLES, MIDDLES, indexing="ij")
    seen = colours_at(batch.images, torch.stack((u, v)).flatten(1).expand(8, -1, -1))

    def apart(said: Batch) -> Tensor:
        points, _ = cell_points(said, 8, 8)
        points = points.flatten(2)
        inside = (points.abs() < torch.tensor([0.9, 0.65])[:, None]).all(1)  # half widths of a print of 0.8 x 0.6 m
        on_print = points / torch.tensor([1.0, 0.75])[:, None]
        there = colours_at(scene.texture.expand(8, -1, -1, -1), on_print)
        assert int(inside.sum()) > 200
        return (there - seen).abs().mean(1)[inside].mean()

    unbent = replace(batch, bend=torch.zeros(8, 2, 0, 0))
    assert float(apart(batch)) < 0.4 * float(apart(unbent))


def test_matches_of_bent_views_show_the_same(scene: Scene, camera: Camera) -> None:
    batch = bent_batch(scene, camera, 0.08)
    v, u = torch.meshgrid(MIDDLES, MIDDLES, indexing="ij")
    seen = colours_at(batch.images[batch.current], torch.stack((u, v)).flatten(1).expand(56, -1, -1))

    def apart(said: Batch) -> Tensor:
        points, known = cell_matches(said, 8, 8)
        points = points.flatten(2)
        inside = (points.abs() < 0.9).all(1) & (known.flatten(1) > 0)
        assert int(inside.sum()) > 500
        return (colours_at(batch.images[batch.desired], points) - seen).abs().mean(1)[inside].mean()

    unbent = replace(batch, bend=torch.zeros(8, 2, 0, 0))
    assert float(apart(batch)) < 0.5 * float(apart(unbent))
