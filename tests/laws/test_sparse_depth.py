"""Maps of depths as drivers and scans leave them: single pixels put into a finer image, or a small block."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from poses_helpers import above
from siame_se3.errors import LawError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.auto import Auto
from siame_se3.laws.goal_depth import GoalDepth
from siame_se3.laws.goals import Goal
from siame_se3.laws.guesses import grey_of
from siame_se3.laws.light import LightDVS
from siame_se3.laws.photometric import DVS
from siame_se3.laws.types import Controller, View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene

LENS = Camera.from_focal(300, 224).resized(112)
LAWS: dict[str, Controller] = {"auto": Auto(), "dvs": DVS(border=5), "dvs-light": LightDVS(border=5)}


def registered(ratio: float) -> Tensor:
    """Where a depth camera's pixels are in a colour image so many times as fine, one of them each (112, 112)."""
    at = torch.zeros(112, dtype=torch.bool)
    at[(torch.arange(int(112 / ratio)) * ratio).long()] = True
    return at[:, None] & at[None]


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("ratio", [1.5, 2.0])
def test_laws_take_what_is_known_between_as_well(name: str, ratio: float) -> None:
    """On a plane they say what they say with all depths."""
    scene = Scene.from_photo(Path(__file__).parents[1] / "data" / "visp" / "coffee.png", 0.8)
    plant, T_wd = FlyingCameras(scene, LENS), above(1)
    T_dc = lie.pose_from_vector(torch.tensor([0.008, -0.006, 0.01, 0.01, 0.01, -0.02], dtype=torch.float64))
    depth, said = scene.depth(LENS, T_wd), []
    for known in (torch.ones(112, 112, dtype=torch.bool), registered(ratio)):
        law, state = LAWS[name].aim(replace(plant.look(T_wd), T_wc=None, depth=torch.where(known, depth, 0.0)))
        output = law(plant.look(T_wd @ T_dc), state)[0]
        assert output.faults == ("",)
        said.append(output.v[0])
    assert float((said[1] - said[0]).norm()) < 0.02 * float(said[0].norm())


def test_a_block_that_is_known_may_go_out_of_view_as_far_as_a_whole_map() -> None:
    """The least that has to be in view is a share of what is known."""
    scene = Scene.from_photo(Path(__file__).parents[1] / "data" / "visp" / "coffee.png", 0.8)
    T_wd = above(1)
    known = torch.zeros(112, 112, dtype=torch.bool)
    known[10:34, 30:64] = True  # 6.5 %
    depth = torch.where(known, scene.depth(LENS, T_wd), 0.0)
    view = replace(FlyingCameras(scene, LENS).look(T_wd), T_wc=None, depth=depth)
    assert view.image is not None
    grey = grey_of(view.image)[0]
    goal = Goal.of(LENS, grey, T_wd[0].numpy(), GoalDepth.of(view, "test"))
    T_cd = np.eye(4)
    T_cd[1, 3] = -0.1  # a half of the block is above the image now
    seen = goal.surface.seen(goal.template, goal.template.pyramid, T_cd, 0)
    assert seen is not None
    assert 0.2 < seen[1].mean() / goal.surface.known(0).mean() < 0.8


def test_depths_between_single_pixels_are_those_around_and_an_edge_stays_one() -> None:
    Z = torch.full((1, 112, 112), 0.6)
    Z[:, :, 56:] = 0.5
    Z = torch.where(registered(2.0), Z, 0.0)
    found = GoalDepth.of(View(torch.rand(1, 3, 112, 112), None, Z, LENS), "test")
    assert found is not None
    assert found.known[:, 2:110, 2:50].min() == found.trust[:, 2:110, 2:50].min() == 1
    torch.testing.assert_close(1 / found.inverse[0, 2:110, 2:50], torch.full((108, 48), 0.6))
    assert found.trust[:, :, 55:57].max() == 0


def test_a_map_of_noise_is_refused_by_its_kind() -> None:
    generator = torch.Generator().manual_seed(0)
    Z = 0.3 + torch.rand(1, 112, 112, generator=generator)
    with pytest.raises(LawError, match=r"nearly none of the goal image's depths has neighbours .* within 5 %"):
        Auto().aim(View(torch.rand(1, 3, 112, 112), None, Z, LENS))
