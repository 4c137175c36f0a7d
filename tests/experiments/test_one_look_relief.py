from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from siame_se3.experiments.one_look_relief import PERCENT, Look, errors, misplaced, starts
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.laws.types import View
from siame_se3.scenes.poses import Workspace
from siame_se3.scenes.registry import coffee

CAMERA = default_camera(48)


class Sees:
    """A law that knows the poses, and is so far aside [m], and lost in the first run."""

    def __init__(self, aside: float, lost: bool) -> None:
        self.aside, self.lost, self.goals = aside, lost, []

    def aim(self, target: View) -> tuple[Any, None]:
        self.goals.append(target)
        return self, None

    def poses(self, images: Tensor, state: None, camera: Camera) -> Tensor:
        T_wd, T_wc = starts(coffee(), camera, len(images), 5)
        T_cd = lie.inverse(T_wc) @ T_wd
        T_cd[:, 0, 3] += self.aside
        if self.lost:
            T_cd[0] = math.nan
        return T_cd


@pytest.mark.parametrize("aside", [0.0, 0.02])
@pytest.mark.parametrize("lost", [False, True])
def test_errors_are_those_of_the_pose(aside: float, lost: bool) -> None:
    law: Any = Sees(aside, lost)
    t, r, start, image = errors(law, CAMERA, coffee(), Look(20, "none", 3, 5)).unbind(1)
    first = float(start[0]) if lost else aside
    assert t.tolist() == pytest.approx([first, aside, aside], abs=1e-7)
    assert r[1:].tolist() == pytest.approx([0, 0], abs=1e-6)
    # 2 cm at f = 64 px, and depths between 0.3 and 1 m, over 48 px
    assert bool(((image[1:] > 0.02) & (image[1:] < 0.09)).all()) if aside else float(image[1:].max()) < 1e-6
    depth = law.goals[0].depth_map
    T_wd, _ = starts(coffee(), CAMERA, 3, 5)
    nearest = depth.flatten(1).nan_to_num(9).amin(1)
    assert bool((nearest < -T_wd[:, 2, 3] - 0.03).any())  # something stands out


def test_a_pose_that_is_aside_is_misplaced_by_pixels() -> None:
    """1 cm along x at f = 64.3 px and 0.5 m is 1.29 px."""
    T = torch.eye(4, dtype=torch.float64)[None].repeat(2, 1, 1)
    there = T.clone()
    there[:, 0, 3] = 0.01
    Z = torch.full((2, 14, 14), 0.5)
    assert misplaced(CAMERA, Z, T, there).tolist() == pytest.approx([CAMERA.fx * 0.01 / 0.5 / 48] * 2, rel=1e-6)
    Z[0, :, 7:] = math.nan  # what is not known counts for nothing
    found = misplaced(CAMERA, Z, T, there)
    assert float(found[0]) == pytest.approx(float(found[1]), rel=1e-6)


def test_starts_are_clear_of_the_highest_relief() -> None:
    for T in starts(coffee(), CAMERA, 20, 1):
        assert len(T) == 20
        assert float(-T[:, 2, 3].max()) > PERCENT[-1] / 100 * Workspace.distance + 0.05
