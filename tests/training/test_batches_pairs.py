"""Which pairs of views a batch has, how far apart they are, and what they weigh."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import pbvs_velocity
from siame_se3.scenes.overlap import overlap
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import reference_pose
from siame_se3.training.batches import BatchSource
from siame_se3.training.data import DataConfig
from training_helpers import STRONG, WORKSPACE, poses_of, source_of


@pytest.mark.parametrize("near", [0.0, 0.25])
def test_each_ordered_pair_is_there_once(scene: Scene, camera: Camera, near: float) -> None:
    batch = source_of([scene], camera, near=near).batch(0, 0)
    pairs = list(zip(batch.current.tolist(), batch.desired.tolist(), strict=True))
    assert len(pairs) == 8 * 7
    assert set(pairs) == {(i, j) for i in range(8) for j in range(8) if i != j}
    assert batch.target.shape == (56, 6)


def test_papers_pairs_are_a_view_and_its_own_start(scene: Scene, camera: Camera) -> None:
    source = source_of([scene], camera, pairs="paper", views=64)
    batch = source.batch(0, 0)
    assert batch.desired.tolist() == list(range(32))
    assert batch.current.tolist() == list(range(32, 64))
    T = poses_of(batch, camera)
    T_wd, T_wc = T[batch.desired], T[batch.current]
    assert float(overlap(camera, T_wd, T_wc, scene).min()) >= WORKSPACE.min_overlap
    assert float(T_wc[:, 2, 3].max()) <= -WORKSPACE.min_height
    offset = (T_wd[:, :3, 3] - torch.tensor([0, 0, -WORKSPACE.distance])).abs()
    assert float(offset[:, :2].max()) <= WORKSPACE.desired_sideways
    assert float(offset[:, 2].max()) <= WORKSPACE.desired_height


def test_papers_overlap_filter_bites(scene: Scene, camera: Camera) -> None:
    strict = BatchSource(
        [scene], camera, replace(WORKSPACE, min_overlap=0.7), DataConfig(64, pairs="paper", spread=(1.0, 1.0)), 3
    )
    shares = []
    for source in (strict, source_of([scene], camera, pairs="paper", views=64)):
        batch = source.batch(0, 0)
        T = poses_of(batch, camera)
        shares.append(float(overlap(camera, T[batch.desired], T[batch.current], scene).min()))
    assert shares[0] >= 0.7 > shares[1]


def test_spread_scales_the_distances(scene: Scene, camera: Camera) -> None:
    def lengths(low: float, high: float) -> Tensor:
        batch = source_of([scene], camera, pairs="paper", views=256, spread=(low, high)).batch(0, 0)
        return batch.target[:, :3].norm(dim=1)

    # A normal of 0.1 m an axis has a mean norm of 0.16 m; 128 draws know it to 4 %.
    assert float(lengths(0.1, 0.1).mean()) == pytest.approx(0.1 * 0.16, rel=0.12)
    mixed = lengths(0.0, 0.2)
    assert float(mixed.mean()) == pytest.approx(0.1 * 0.16, rel=0.2)
    assert float((mixed / mixed.mean()).std()) > 0.6 > float((lengths(0.1, 0.1) / lengths(0.1, 0.1).mean()).std())


@pytest.mark.parametrize(("near", "count"), [(0.25, 4), (0.5, 8), (0.0, 0)])
def test_near_share_are_neighbours_of_others(scene: Scene, camera: Camera, near: float, count: int) -> None:
    options = {"near": near, "near_smallest": 0.001, "near_largest": 0.01}
    batch = source_of([scene], camera, views=16, **options).batch(0, 0)
    T = poses_of(batch, camera)
    distance, angle = lie.error_norms(lie.inverse(T[:, None]) @ T[None])
    other = ~torch.eye(16, dtype=torch.bool)
    close = (distance < 5 * 0.01 * WORKSPACE.offset_t) & (angle < 5 * 0.01 * WORKSPACE.offset_roll) & other
    assert len(T) == 16
    neighbours = {(k, 16 - count + k) for k in range(count)}
    assert {(i, j) for i, j in close.nonzero().tolist() if i < j} == neighbours


def test_pairs_of_neighbours_have_a_weight_of_their_own(scene: Scene, camera: Camera) -> None:
    batch = source_of([scene], camera, views=16, near=0.25, near_weight=7.0).batch(0, 0)
    neighbours = {(k, 12 + k) for k in range(4)} | {(12 + k, k) for k in range(4)}
    for i, j, weight in zip(batch.current.tolist(), batch.desired.tolist(), batch.weight.tolist(), strict=True):
        assert weight == (7 if (i, j) in neighbours else 1)


@pytest.mark.parametrize("changes", [{"near": 0.0}, {"pairs": "paper", "near": 0.5}], ids=str)
def test_other_pairs_weigh_one(scene: Scene, camera: Camera, changes: dict[str, Any]) -> None:
    batch = source_of([scene], camera, near_weight=7.0, **changes).batch(0, 0)
    assert torch.equal(batch.weight, torch.ones(len(batch.target)))


@pytest.mark.parametrize(("alike", "same"), [(1.0, 32), (0.0, 0), (0.5, 16)])
def test_neighbours_share_the_light_and_the_patch(scene: Scene, camera: Camera, alike: float, same: int) -> None:
    """Neighbours a micrometre away: their images differ by their conditions alone."""
    options = {"near": 0.5, "near_smallest": 1e-5, "near_largest": 1e-5, "near_alike": alike}
    images = source_of([scene], camera, views=64, augmentation=replace(STRONG, noise=0.0), **options).batch(0, 0).images
    differences = (images[:32] - images[32:]).abs().mean((1, 2, 3))
    assert int((differences < 1e-3).sum()) == pytest.approx(same, abs=0 if alike in (0, 1) else 6)


def test_orbiting_neighbours_look_at_the_same_point(scene: Scene, camera: Camera) -> None:
    def shift_of_the_middle(orbit: float) -> float:
        options = {"near": 0.5, "near_smallest": 0.1, "near_largest": 0.1, "near_orbit": orbit}
        H = source_of([scene], camera, views=128, **options).batch(0, 0).homography
        middle = torch.tensor([camera.cx, camera.cy, 1.0], dtype=torch.float64)
        u, v, w = (torch.linalg.inv(H[64:]) @ H[:64] @ middle).unbind(1)
        return float(torch.stack((u / w - camera.cx, v / w - camera.cy)).norm(dim=0).mean())

    assert shift_of_the_middle(1.0) < 0.3 * shift_of_the_middle(0.0)


@pytest.mark.parametrize("most", [10, 30])
def test_some_pairs_are_those_of_neighbours_and_others(scene: Scene, camera: Camera, most: int) -> None:
    batch = source_of([scene], camera, near=0.25, most_pairs=most, near_weight=5.0).batch(0, 0)
    pairs = set(zip(batch.current.tolist(), batch.desired.tolist(), strict=True))
    assert len(batch.current) == len(batch.target) == len(batch.weight) == len(pairs) == most
    neighbours = {(0, 6), (6, 0), (1, 7), (7, 1)}
    assert neighbours <= pairs
    of = {
        pair: float(w)
        for pair, w in zip(zip(batch.current.tolist(), batch.desired.tolist(), strict=True), batch.weight, strict=True)
    }
    assert {pair for pair, w in of.items() if w == 5.0} == neighbours


def test_far_views_are_current_ones_only(scenes: list[Scene], camera: Camera) -> None:
    source = source_of(scenes, camera, views=20, near=0.2, starts="wide")
    batch = source.batch(0, 0)
    T = poses_of(batch, camera)
    home, far, near = range(8), range(8, 16), range(16, 20)
    assert set(batch.desired.tolist()) == {*home, *near}
    assert set(batch.current.tolist()) == set(range(20))
    assert len(batch.current) == 19 * 20 - 8 * 19
    distance = (T[:, :3, 3] - reference_pose(0.6)[:3, 3]).norm(dim=1)
    assert float(distance[list(far)].mean()) > 2 * float(distance[list(home)].mean())
    # the heavier weight is that of a view and its neighbour
    heavy = batch.weight > 1
    pairs = {tuple(sorted(p)) for p in zip(batch.current[heavy].tolist(), batch.desired[heavy].tolist(), strict=True)}
    assert pairs == {(k, 16 + k) for k in range(4)}
    torch.testing.assert_close(
        batch.target.double(),
        pbvs_velocity(lie.inverse(T[batch.desired]) @ T[batch.current]),
        rtol=0,
        atol=1e-4,
    )


@pytest.mark.parametrize("changes", [{"pairs": "paper"}, {"near": 0.4}], ids=str)
def test_far_views_need_all_pairs_and_few_neighbours(changes: dict[str, Any]) -> None:
    with pytest.raises(SiameError, match="starts 'wide'"):
        DataConfig(starts="wide", **changes)
