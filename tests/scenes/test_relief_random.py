"""Reliefs drawn at random, for training."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from siame_se3.errors import SceneError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.scenes import relief_mesh
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.relief import Relief
from siame_se3.scenes.relief_mesh import Mesh
from siame_se3.scenes.types import check_scene

CAMERA = Camera.from_focal(300, 224).resized(64)


def views(n: int = 4, seed: int = 3, tilt: float = 0.15) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    p = torch.randn(n, 6, generator=generator, dtype=torch.float64)
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    return T @ lie.pose_from_vector(p * torch.tensor([0.05, 0.05, 0.05, tilt, tilt, 0.5]))


def above(distance: float) -> Tensor:
    T_wc = torch.eye(4, dtype=torch.float64)
    T_wc[2, 3] = -distance
    return T_wc[None]


def heights_of(scene: Relief) -> Tensor:
    """Above the table [m], over the photo's middle 0.8 m, from far above."""
    Z = scene.depth(Camera.from_focal(600, 240), above(2.0))
    return 2.0 - Z[Z.isfinite()]


@pytest.mark.parametrize("seed", range(8))
def test_varied_reliefs_are_scenes_as_high_as_asked(photo: Scene, seed: int) -> None:
    scene = Relief.varied(photo, 0.15, seed)
    if seed < 3:
        check_scene(scene, views())
    heights = heights_of(scene)
    assert float(heights.min()) >= -1e-4
    assert 0.1 < float(heights.max()) < 0.15 + 2e-3  # the highest may be narrower than a pixel


def test_varied_reliefs_vary(photo: Scene) -> None:
    """Half of them stand on a table; the ground of the others is uneven, smooth or rough; and most have solids with walls."""
    levels = [heights_of(Relief.varied(photo, 0.15, seed)) for seed in range(40)]
    table = torch.tensor([float((x.abs() < 1e-4).double().mean()) for x in levels])
    assert 10 <= int((table > 0.1).sum()) <= 30
    whole = [x for x in levels if len(x) == 240 * 240]
    steps = torch.tensor([float((x.reshape(240, 240).diff(dim=1).abs() > 0.01).double().mean()) for x in whole])
    assert float((steps > 1e-3).double().mean()) > 0.6
    assert float(steps.std()) > 1e-3


def test_varied_reliefs_depend_on_their_seed_alone(photo: Scene) -> None:
    a, b, c = (Relief.varied(photo, 0.15, seed).depth(CAMERA, views()) for seed in (1, 1, 2))
    assert torch.equal(a.nan_to_num(), b.nan_to_num())
    assert not torch.equal(a.nan_to_num(), c.nan_to_num())
    before = torch.random.get_rng_state()
    Relief.varied(photo, 0.15, 1)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("tallest", [-0.1, float("nan"), float("inf")])
def test_heights_that_are_none_are_refused(photo: Scene, tallest: float) -> None:
    with pytest.raises(SceneError, match="metres from 0"):
        Relief.varied(photo, tallest, 0)


@pytest.mark.parametrize("seed", [0, 3, 6])
def test_a_view_with_its_depth_is_the_view_and_the_depth(photo: Scene, seed: int) -> None:
    scene, T_wc = Relief.varied(photo, 0.15, seed), views(5)
    images, mask, inverse = scene.with_depth(CAMERA, T_wc)
    expected, where = scene.render(CAMERA, T_wc)
    torch.testing.assert_close(1 / inverse, scene.depth(CAMERA, T_wc).nan_to_num(torch.inf), rtol=1e-6, atol=0)
    assert torch.equal(mask, where)
    differs = (images - expected).abs().amax(1) > 1e-6  # at edges, which are not smoothed
    assert float(differs.float().mean()) < 0.15
    bend = torch.zeros_like(inverse)
    bend[:, 1:-1] = inverse.diff(n=2, dim=1).abs()
    bend[:, :, 1:-1] = bend[:, :, 1:-1].maximum(inverse.diff(n=2, dim=2).abs())
    assert not bool(differs[bend < 1e-3].any())


def test_walls_show_the_edge_or_one_colour_of_the_photo(photo: Scene) -> None:
    """Seen from the side: what goes on down the walls is seen twice; the edge is the same from top to bottom; the colour is that of the middle."""
    outline = relief_mesh.box_outline(0.0, 0.0, 0.2, 0.2, 0.0)
    corners = {}
    for walls in ("onwards", "edge", "colour"):
        mesh = relief_mesh.solid(photo, outline, 0.15, walls=walls)  # type: ignore[arg-type]  # they are
        wall = mesh.vertices[4:]
        texels = mesh.texels[4:, :2]
        top = wall[:, 2] < -0.1
        corners[walls] = texels[top].reshape(4, 2, 2), texels[~top].reshape(4, 2, 2)
        Relief(photo, Mesh.joined([relief_mesh.table(photo), mesh]))
    assert torch.equal(corners["onwards"][0], corners["edge"][0])
    assert torch.equal(*corners["edge"])
    moved = (corners["onwards"][1] - corners["onwards"][0]).norm(dim=-1)
    h, w = photo.texture.shape[1:]
    assert moved == pytest.approx(torch.full((4, 2), 0.15 * w / photo.width).numpy(), rel=0.02)
    middle = torch.tensor([w / 2 - 0.5, h / 2 - 0.5], dtype=torch.float64)
    for places in corners["colour"]:
        torch.testing.assert_close(places, middle.expand(4, 2, 2))
