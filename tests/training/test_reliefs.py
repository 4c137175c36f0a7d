"""Training over reliefs: what is drawn, and what cells are to say, against the renderer's own depths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.networks.losses import LossConfig
from siame_se3.networks.part_configs import AttentionConfig
from siame_se3.scenes.conditions import NONE
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.scenes.relief import Relief
from siame_se3.training import state
from siame_se3.training.ahead import planned
from siame_se3.training.batches import Batch, BatchSource, Plan
from siame_se3.training.cells import cell_matches, cell_points
from siame_se3.training.data import DataConfig
from siame_se3.training.recipe import TrainConfig, for_photos
from siame_se3.training.reliefs import draw_reliefs
from siame_se3.training.schedule import Schedule
from siame_se3.training.trainer import Trainer
from training_helpers import advanced, assert_bit_equal, network_of, print_of_colours, state_of, trainer_of

CAMERA = Camera.from_focal(300, 224).resized(112)
CELLS = 7  # along a side


def source_of(among: list[Scene], camera: Camera = CAMERA, **changes: Any) -> BatchSource:
    options = {"views": 8, "near": 0.25, "augmentation": NONE, "curriculum": 0.0, "relief": 0.3, "relief_rate": 1.0}
    return BatchSource(among, camera, Workspace(), DataConfig(**(options | changes)), 3)


def alike(scene: Scene) -> list[Scene]:
    return [Scene(scene.texture.flip(k).contiguous(), 0.8, 0.6, f"{k}") for k in range(3)]


# -- what is drawn ----------------------------------------------------------------------------------------------------


def test_flat_trainings_are_what_they_were() -> None:
    """Numbers of the version before reliefs."""
    data = replace(for_photos().data, views=8)
    source = BatchSource([print_of_colours()], default_camera(112), Workspace(), data, 7)
    plan = source.plan(3, 0)
    sums = [float(x.double().sum()) for x in (plan.T_wc, plan.target, plan.conditions.patch)]
    assert sums == pytest.approx([26.954744170109038, -0.867906319530448, 15.025094321928918], rel=1e-9)
    batch = source.images(plan)
    assert float(batch.images.double().mean()) == pytest.approx(0.3760987901253438, abs=1e-6)
    assert batch.surface is None


def test_a_relief_leaves_poses_pairs_and_targets_as_they_were(scene: Scene) -> None:
    over, flat = (source_of(alike(scene), views=12, scenes=3, relief=relief).plan(5, 0) for relief in (0.3, 0.0))
    for name in ("T_wc", "current", "desired", "target", "weight"):
        assert torch.equal(getattr(over, name), getattr(flat, name)), name
    assert len(over.reliefs) == 3
    assert flat.reliefs == ()


@pytest.mark.slow
def test_a_batch_over_relief_is_a_function_of_seed_and_step(scene: Scene) -> None:
    source = source_of(alike(scene), views=12, scenes=3, relief_rate=0.6)
    plans = planned(source, range(1), 3, Schedule(5, 5), 1)
    for step in (3, 4):
        ahead, now = source.images(next(plans)), source.batch(step, 0, step / 5)
        assert torch.equal(ahead.images, now.images)
        for a, b in zip(cell_matches(ahead, 4, 4), cell_matches(now, 4, 4), strict=True):
            assert torch.equal(a, b)
    assert source.plan(3, 0).reliefs != source.plan(4, 0).reliefs


def test_reliefs_are_as_many_and_as_high_as_asked_and_below_the_cameras() -> None:
    generator = torch.Generator().manual_seed(1)
    T_wc = torch.eye(4, dtype=torch.float64).repeat(2000, 3, 1, 1)
    T_wc[:, :, 2, 3] = -0.6
    T_wc[:1000, 1, 2, 3] = -0.2
    heights = torch.tensor([height for height, _ in draw_reliefs(T_wc, 0.3, 0.5, 0.6, generator)])
    assert float(heights[:1000].max()) <= 0.2 - 0.2 * 0.6 + 1e-9
    free = heights[1000:]
    assert float((free > 0).double().mean()) == pytest.approx(0.5, abs=0.05)
    assert float(free.max()) == pytest.approx(0.18, rel=0.02)
    assert float(free[free > 0].mean()) == pytest.approx(0.09, rel=0.1)


def test_views_see_the_relief_of_their_scene_and_flat_ones_none(scene: Scene) -> None:
    source = source_of(alike(scene), views=12, scenes=3, relief_rate=0.6)
    plan = next(p for p in (source.plan(step, 0) for step in range(30)) if 0 < sum(h > 0 for h, _ in p.reliefs) < 3)
    batch = source.images(plan)
    assert batch.surface is not None
    for k, (tallest, seed) in enumerate(plan.reliefs):
        own, photo = slice(4 * k, 4 * k + 4), source.scenes[plan.scenes[k]]
        seen: Any = Relief.varied(photo, tallest, seed) if tallest > 0 else photo
        assert batch.surface.raised[own].tolist() == [tallest > 0] * 4
        expected = seen.render(CAMERA, plan.T_wc[own])[0]
        assert float((batch.images[own] - expected).abs().mean()) < 0.01  # edges are not smoothed
        assert float((batch.images[own] - photo.render(CAMERA, plan.T_wc[own])[0]).abs().mean()) < 1e-5 or tallest > 0


def test_the_curriculum_ramps_the_height(scene: Scene) -> None:
    source = source_of([scene], curriculum=0.5)
    heights = [source.plan(2, 0, progress).reliefs[0][0] for progress in (0.0, 0.25, 0.5, 1.0)]
    assert heights[0] == 0
    assert heights[1] == pytest.approx(heights[2] / 2)
    assert 0 < heights[2] == heights[3]


@pytest.mark.parametrize("changes", [{"relief": -0.1}, {"relief": 0.6}, {"relief": float("nan")}, {"relief_rate": 1.5}])
def test_reliefs_that_cannot_be_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(SiameError, match="relief"):
        DataConfig(**changes)  # type: ignore[arg-type]


# -- what cells are to say --------------------------------------------------------------------------------------------


def true_matches(source: BatchSource, plan: Plan) -> tuple[Tensor, Tensor, Tensor]:
    """Of all pairs and cells: where in [-1, 1]^2 of the desired image what the cell sees is, its depth there, and what the renderer has there: the
    first by an image that has the cells' middles for pixels, the last by one that is eight times as fine."""
    scene = Relief.varied(source.scenes[0], *plan.reliefs[0])
    cells = CAMERA.resized(CELLS)
    Z = scene.depth(cells, plan.T_wc).double()
    X = cells.rays(cells.pixel_grid()) * Z[..., None]
    T_wc = plan.T_wc[:, None, None]
    X_w = (T_wc[..., :3, :3] @ X[..., None])[..., 0] + T_wc[..., :3, 3]
    T_wd = plan.T_wc[plan.desired][:, None, None]
    X_d = (T_wd[..., :3, :3].mT @ (X_w[plan.current] - T_wd[..., :3, 3])[..., None])[..., 0]
    at = 2 * (CAMERA.project(X_d) + 0.5) / 112 - 1
    fine = scene.depth(CAMERA.resized(8 * 112), plan.T_wc)[plan.desired]
    there = F.grid_sample(fine[:, None], at.float(), "nearest", "border", align_corners=False)[:, 0]
    return at.permute(0, 3, 1, 2), X_d[..., 2], there


@pytest.mark.parametrize("step", range(4))
def test_cells_match_where_the_renderer_has_their_points(scene: Scene, step: int) -> None:
    source = source_of([scene], views=6)
    plan = source.plan(step, 0)
    points, known = cell_matches(source.images(plan), CELLS, CELLS)
    at, Z, there = true_matches(source, plan)
    inside = (at.abs() < 0.98).all(1) & (Z > 0)
    hidden = there < 0.96 * Z
    seen = inside & (there > 0.99 * Z)
    assert int(seen.sum()) > 300
    assert float(known[inside & hidden].mean()) < 0.05 or int((inside & hidden).sum()) < 20
    assert float(known[seen].mean()) > 0.97
    off = (points - at).norm(dim=1)[seen & (known > 0)]
    assert float(off.median()) < 1e-4
    assert float((off < 2e-3).double().mean()) > 0.97  # others are on an edge, within a pixel


def test_no_homography_says_so(scene: Scene) -> None:
    """The tolerances above tell reliefs from planes, and some cells are hidden."""
    source = source_of([scene], views=16, near=0.0)
    plans = [source.plan(step, 0) for step in range(4)]
    apart, hidden = [], []
    for plan in plans:
        batch = source.images(plan)
        (points, known), (flat, inside) = (cell_matches(b, CELLS, CELLS) for b in (batch, replace(batch, surface=None)))
        both = (known > 0) & (inside > 0)
        apart.append((points - flat).norm(dim=1)[both])
        hidden.append((inside - known)[inside > 0])
    assert float((torch.cat(apart) > 0.02).double().mean()) > 0.2
    assert 0.01 < float(torch.cat(hidden).mean()) < 0.3


def test_a_relief_without_height_has_the_planes_matches(scene: Scene) -> None:
    source = source_of([scene])
    plan = replace(source.plan(1, 0), reliefs=((1e-9, 5),))
    batch = source.images(plan)
    assert batch.surface is not None
    assert bool(batch.surface.raised.all())
    (points, known), (flat, inside) = (cell_matches(b, CELLS, CELLS) for b in (batch, replace(batch, surface=None)))
    assert float((known != inside).float().mean()) < 0.01
    both = (known > 0) & (inside > 0)
    assert float((points - flat).norm(dim=1)[both].max()) < 1e-4


def test_matches_over_bent_reliefs_show_the_same(scene: Scene) -> None:
    source = source_of([scene], augmentation=replace(NONE, bend=0.05))
    batch = source.images(replace(source.plan(1, 0), reliefs=((0.15, 1),)))
    middles = (torch.arange(CELLS) + 0.5) / CELLS * 2 - 1
    v, u = torch.meshgrid(middles, middles, indexing="ij")

    def colours(images: Tensor, at: Tensor) -> Tensor:
        return F.grid_sample(images, at.flatten(2).mT[:, None], padding_mode="border", align_corners=False)[:, :, 0]

    def apart(said: Batch) -> float:
        points, known = cell_matches(said, CELLS, CELLS)
        inside = ((points.abs() < 0.95).all(1) & (known > 0)).flatten(1)
        seen = colours(batch.images[batch.current], torch.stack((u, v)).expand(len(points), -1, -1, -1))
        return float((colours(batch.images[batch.desired], points) - seen).abs().mean(1)[inside].mean())

    true = apart(batch)
    assert true < 0.3 * apart(replace(batch, surface=None))
    assert true < 0.3 * apart(replace(batch, bend=torch.zeros(8, 2, 0, 0)))


def test_points_of_the_plane_are_the_poses_over_a_relief_too(scene: Scene) -> None:
    over, flat = (source_of([scene], relief=relief).batch(1, 0) for relief in (0.3, 0.0))
    assert not torch.equal(over.images, flat.images)
    assert torch.equal(over.target, flat.target)
    for a, b in zip(cell_points(over, 4, 4), cell_points(flat, 4, 4), strict=True):
        assert torch.equal(a, b)


# -- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["spatial", "descriptors"])
def test_resumed_training_over_reliefs_is_bit_equal(tmp_path: Path, pooling: str) -> None:
    def trainer() -> Trainer:
        return trainer_of(6, {"relief": 0.3, "relief_rate": 0.7}, pooling=pooling)

    whole = state_of(advanced(trainer(), 6), tmp_path)
    state.save(advanced(trainer(), 2), tmp_path / "model.state")
    resumed = trainer()
    state.load(resumed, tmp_path / "model.state")
    assert_bit_equal(state_of(advanced(resumed, 4), tmp_path), whole)
    flat = state_of(advanced(trainer_of(6, pooling=pooling), 6), tmp_path)
    assert any(not torch.equal(whole[key], flat[key]) for key in whole)


def test_a_state_from_before_reliefs_is_one_of_flat_scenes(tmp_path: Path) -> None:
    trainer = advanced(trainer_of(), 1)
    mine = state.identity(trainer)
    for name in ("relief", "relief_rate"):
        del mine["data"][name]
    assert state._of_now(mine)["data"] == state.identity(trainer)["data"] | {
        "augmentation": state._of_now(mine)["data"]["augmentation"],
        "spread": list(state.identity(trainer)["data"]["spread"]),
    }


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_the_planes_loss_leaves_reliefs_out(rate: float) -> None:
    """What a network of matched cells learns over reliefs is where the cells are: no homography of theirs."""
    attention = AttentionConfig(width=16, heads=2, own=1, rounds=1)
    base = network_of()
    network = replace(
        base,
        pooling="context",
        fusion="plane",
        head=(),
        output_scale=(0.6, 0.6, 0.6, 1.0, 1.0, 1.0),
        attention=attention,
    )
    some = [replace(print_of_colours(), fill=fill) for fill in (0.0, "mean")]  # type: ignore[arg-type]  # fills
    options = {"views": 8, "scenes": 2, "most_pairs": 4, "relief": 0.3, "relief_rate": rate}
    source = source_of(some, default_camera(32), **options)

    def trainer(plane: float) -> Trainer:
        loss = LossConfig(where=1.0, match=1.0, plane=plane, velocity=0.0)
        return Trainer(network, loss, source, TrainConfig(steps=3, precision="f32"))

    steps = [k for k in range(20) if len({h > 0 for h, _ in source.plan(k, 0).reliefs}) == (1 if rate == 1 else 2)]
    losses = []
    for plane in (1.0, 0.0):
        one = trainer(plane)
        one.step = steps[0]
        losses.append(float(one._gradients()[0][0]))
    assert all(abs(x) < 1e3 for x in losses)
    assert (losses[0] == losses[1]) == (rate == 1.0)
