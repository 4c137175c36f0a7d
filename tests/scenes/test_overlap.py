from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from poses_helpers import AWAY
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.scenes.overlap import overlap, visible
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.scenes.views import training_views

POSTER = Scene(torch.rand(3, 60, 80, generator=torch.Generator().manual_seed(0)), 0.8, 0.6)
CAMERA = Camera.from_focal(300, 234)


def shifted(x: float = 0, y: float = 0, z: float = -0.6) -> Tensor:
    return lie.pose_from_vector(torch.tensor([x, y, z, 0, 0, 0], dtype=torch.float64))


def test_visible_counts_the_print() -> None:
    """A camera of 224 px, f = 240 px, 0.6 m away covers 0.56 m."""
    camera = Camera.from_focal(240, 224)
    half = Scene(POSTER.texture, 0.28, 1.0)
    views = torch.stack(
        (shifted(), shifted(0.14), shifted(0.42), shifted() @ AWAY, shifted(z=0.6), shifted(z=0.6) @ AWAY)
    )
    assert visible(half, camera, views).tolist() == [0.5, 0.5, 0, 0, 0, 0]
    assert float(visible(Scene(POSTER.texture, 1.0, 1.0), camera, shifted())) == 1
    assert float(visible(Scene(POSTER.texture, 0.28, 0.28), camera, shifted())) == 0.25


def test_overlap_of_frontal_views() -> None:
    camera = Camera.from_focal(240, 224)
    views = torch.stack(
        (
            shifted(),
            shifted(0.28),
            shifted(0.28, -0.28),
            shifted(0.57),
            shifted(z=-1.2),
            shifted(z=-0.3),
            shifted() @ AWAY,
        )
    )
    assert overlap(camera, shifted().expand_as(views), views).tolist() == [1, 0.5, 0.25, 0, 1, 0.25, 0]


def test_overlap_with_a_scene_counts_the_print_alone() -> None:
    camera = Camera.from_focal(240, 224)
    half = Scene(POSTER.texture, 0.28, 1.0)
    views = torch.stack((shifted(), shifted(0.14), shifted(0.28), shifted(0.42)))
    assert overlap(camera, shifted().expand_as(views), views, half).tolist() == [0.5, 0.5, 0.25, 0]


@pytest.mark.parametrize("shape", [(), (1,), (3, 2)], ids=str)
def test_overlap_with_itself_is_all(shape: tuple[int, ...]) -> None:
    T = training_views(math.prod(shape), POSTER, CAMERA, Workspace(), torch.Generator().manual_seed(0)).reshape(
        *shape, 4, 4
    )
    assert torch.equal(overlap(CAMERA, T, T), torch.ones(shape, dtype=torch.float64))
    assert torch.equal(overlap(CAMERA, T, T, POSTER), visible(POSTER, CAMERA, T))
