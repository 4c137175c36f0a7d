"""Batches of several scenes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from siame_se3.errors import SiameError
from siame_se3.geometry.camera import Camera
from siame_se3.scenes.conditions import NONE
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.render import render
from siame_se3.training.ahead import planned
from siame_se3.training.batches import BatchSource
from siame_se3.training.data import DataConfig
from siame_se3.training.schedule import Schedule
from training_helpers import STRONG, WORKSPACE, assert_same


def mixed(camera: Camera, among: list[Scene], **changes: Any) -> BatchSource:
    options = {"views": 24, "scenes": 3, "near": 0.25, "spread": (1.0, 1.0), "augmentation": STRONG} | changes
    return BatchSource(among, camera, WORKSPACE, DataConfig(**options), 3)


def alike(scenes: list[Scene]) -> list[Scene]:
    """Of one size, with different pictures."""
    texture = scenes[0].texture
    return [
        Scene(texture.flip(k % 3).contiguous(), 0.8, 0.6, f"{k}", fill) for k, fill in enumerate((0.0, "mean", "edge"))
    ]  # type: ignore[arg-type]  # fills


def test_views_of_a_group_of_scenes_are_of_their_own_scene(scenes: list[Scene], camera: Camera) -> None:
    some = alike(scenes)
    source = mixed(camera, some, augmentation=NONE, curriculum=0.0)
    plan = source.plan(2, 0)
    batch = source.images(plan)
    assert len(plan.scenes) == 3
    for k, number in enumerate(plan.scenes):
        own = slice(8 * k, 8 * k + 8)
        expected, _ = render(some[number], camera, plan.T_wc[own])
        assert torch.equal(batch.images[own], expected)
    assert torch.equal(batch.current // 8, batch.desired // 8)
    assert len(batch.current) == 3 * 8 * 7
    assert int((batch.weight > 1).sum()) == 3 * 2 * 2


def test_pairs_of_a_group_of_scenes_are_so_many_of_each(scenes: list[Scene], camera: Camera) -> None:
    batch = mixed(camera, alike(scenes), most_pairs=10).batch(1, 0)
    assert torch.bincount(batch.current // 8).tolist() == [10, 10, 10]
    assert torch.equal(batch.current // 8, batch.desired // 8)


@pytest.mark.parametrize("changes", [{"scenes": 5}, {"scenes": 0}, {"scenes": 16}, {"pairs": "paper", "near": 0.0}])
def test_groups_of_scenes_that_cannot_be_are_refused(
    scenes: list[Scene], camera: Camera, changes: dict[str, Any]
) -> None:
    with pytest.raises(SiameError, match=r"data: .*scenes"):
        mixed(camera, alike(scenes), **changes)


def test_scenes_of_one_group_have_one_size(scenes: list[Scene], camera: Camera) -> None:
    other = Scene(scenes[0].texture, 0.7, 0.6)
    with pytest.raises(SiameError, match="of one size"):
        mixed(camera, [*alike(scenes), other])


@pytest.mark.slow
def test_batches_planned_ahead_are_those_of_the_step(scenes: list[Scene], camera: Camera) -> None:
    source = mixed(camera, alike(scenes))
    plans = planned(source, range(2), 3, Schedule(5, 5), 1)
    for step in (3, 4):
        for group in (0, 1):
            assert_same(source.images(next(plans)), source.batch(step, group, step / 5))
    with pytest.raises(StopIteration):
        next(plans)
