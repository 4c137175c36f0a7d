"""Views of scenes that are not quite flat, by cameras that are not quite pinholes."""

from __future__ import annotations

from dataclasses import replace

import torch

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import homography
from siame_se3.scenes.bending import KNOTS, bends, bent, displacement
from siame_se3.scenes.conditions import NONE, Augmentation, apply, draw


def test_a_bend_is_nothing_that_a_moving_camera_does() -> None:
    """The displacements of a small motion over a plane vanish, others stay."""
    camera = Camera.from_focal(150, 101, 101)
    at = torch.linspace(0, 100, KNOTS, dtype=torch.float64)
    v, u = torch.meshgrid(at, at, indexing="ij")
    pixels = torch.stack((u, v, torch.ones_like(u)), -1).reshape(-1, 3)
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    motions = 1e-4 * torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mapped = pixels @ homography(camera, T @ lie.pose_from_vector(motions), T).mT
    moved = (mapped[..., :2] / mapped[..., 2:] - pixels[:, :2]).mT.reshape(6, 2, KNOTS, KNOTS)
    assert float(moved.abs().amax((1, 2, 3)).min()) > 1e-3
    assert float(bends(moved).abs().max()) < 1e-3 * float(moved.abs().max())
    radius2 = (pixels[:, :2] / 50 - 1).square().sum(1)
    lens = ((pixels[:, :2] - 50) * radius2[:, None]).T.reshape(1, 2, KNOTS, KNOTS)
    assert float(bends(lens).norm()) > 0.2 * float(lens.norm())
    assert torch.allclose(bends(bends(lens)), bends(lens))


def test_bent_images_show_what_is_displaced() -> None:
    x = torch.linspace(0, 1, 40).expand(1, 3, 30, 40)
    shift = torch.full((1, 2, KNOTS, KNOTS), 0.05)  # [share of the image]
    seen = bent(x, displacement(shift, 30, 40))
    assert torch.allclose(seen[..., 2:-3], x[..., 2:-3] + 2 / 39, atol=1e-5)
    knots = torch.randn(1, 2, KNOTS, KNOTS, generator=torch.Generator().manual_seed(0))
    corners = displacement(knots, 41, 81)[0, :, ::40, ::80]
    assert torch.allclose(corners, knots[0, :, ::4, ::4] * torch.tensor([81.0, 41.0])[:, None, None], atol=1e-3)


def test_bends_have_their_size_and_nothing_else_changes() -> None:
    g = torch.Generator().manual_seed(0)
    drawn = draw(400, Augmentation(bend=0.02), (1.0, 1.0), g).bend
    deviation = drawn.square().mean((1, 2, 3)).sqrt()
    assert 0.015 < float(deviation.max()) < 0.03
    assert 0.005 < float(deviation.mean()) < 0.01  # of a strength that is uniform from 0
    x = torch.rand(4, 3, 40, 52, generator=torch.Generator().manual_seed(1))
    c = draw(4, replace(NONE, bend=0.02), (1.0, 1.0), g)
    assert torch.equal(
        apply(x, c, torch.eye(3).repeat(4, 1, 1), None), bent(x, displacement(c.bend, 40, 52)).clamp(0, 1)
    )
    assert draw(4, Augmentation(), (1.0, 1.0), g).bend.shape == (4, 2, 0, 0)
