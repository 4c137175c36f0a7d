"""What failed runs have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from siame_se3.analysis import metrics
from siame_se3.analysis.failures import correlation, failures
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.trajectory import Trajectory

Runs = tuple[Trajectory, View, FlyingCameras]


@pytest.fixture(scope="module")
def runs() -> Runs:
    """Ten runs of PBVS over stripes that repeat themselves each 8 cm along x."""
    x = torch.linspace(0, 20 * torch.pi, 240)
    stripes = (0.5 + 0.5 * x.sin()).expand(3, 180, 240) * torch.linspace(0.2, 1, 180)[:, None]
    plant = FlyingCameras(Scene(stripes.contiguous(), 0.8, 0.6, "stripes"), Camera.from_focal(32, 32))
    T_wd = torch.eye(4, dtype=torch.float64).expand(10, 4, 4).clone()
    T_wd[:, 2, 3] = -0.3
    T_wc = T_wd.clone()
    T_wc[:, 0, 3] = torch.linspace(0.04, 0.06, 10)
    T_wc[:, 1, 3] = 0.08
    desired = plant.look(T_wd)
    return servo(plant, PBVS(), desired, T_wc, ServoConfig(gain=8.0, max_iterations=60)), desired, plant


def ended(runs: Runs, T: Tensor, reason: str = "settled") -> list[Any]:
    """What is said where the first runs end at poses T instead."""
    trajectory, desired, plant = runs
    T_wc = trajectory.T_wc.clone()
    T_wc[-1, : len(T)] = T
    reasons = [reason] * len(T) + trajectory.reason[len(T) :]
    changed = replace(trajectory, T_wc=T_wc, reason=reasons)
    return failures(changed, metrics.rows(changed), desired, plant.look(T_wc[-1]))


def moved(runs: Runs, count: int, x: float) -> Tensor:
    T = runs[0].T_wd[:count].clone()
    T[:, 0, 3] += x
    return T


def test_nothing_is_said_where_all_converge(runs: Runs) -> None:
    assert ended(runs, moved(runs, 0, 0)) == []


def test_a_scene_that_repeats_itself(runs: Runs) -> None:
    """5 of 10 and no hint."""
    (found,) = ended(runs, moved(runs, 5, 0.08))
    assert (found.kind, found.runs) == ("repeats", 5)
    assert found.text.startswith("5 runs of 10 stopped where the image looks like the goal image")


@pytest.mark.parametrize(("sigma", "kind"), [(0.03, "undetermined"), (0.02, "repeats")])
def test_an_end_that_the_law_holds_for_possible_is_not_another_place(runs: Runs, sigma: float, kind: str) -> None:
    """17 mm beside the goal, of a pose known to 55 mm: it was said that the scene repeats itself."""
    trajectory, desired, plant = runs
    T_wc = trajectory.T_wc.clone()
    T_wc[-1, :4] = moved(runs, 4, 0.08)
    changed = replace(trajectory, T_wc=T_wc)
    table = [replace(row, pose_sigma_t_m=sigma, pose_sigma_r_deg=0.1) for row in metrics.rows(changed)]
    (found,) = failures(changed, table, desired, plant.look(T_wc[-1]))
    assert (found.kind, found.runs) == (kind, 4)


def test_a_run_on_its_way_is_unfinished_however_little_is_known_of_its_pose(runs: Runs) -> None:
    trajectory, desired, plant = runs
    slow = servo(plant, PBVS(), desired, trajectory.T_wc[0], ServoConfig(gain=1.0, max_iterations=20))
    table = [replace(row, pose_sigma_t_m=1.0, pose_sigma_r_deg=90.0) for row in metrics.rows(slow)]
    (found,) = failures(slow, table, desired, plant.look(slow.T_wc[-1]))
    assert found.kind == "unfinished"


def test_an_angle_that_the_law_did_not_hold_for_possible_counts_too(runs: Runs) -> None:
    trajectory, desired, plant = runs
    changed = replace(trajectory, T_wc=trajectory.T_wc.clone())
    changed.T_wc[-1, :4] = moved(runs, 4, 0.08)
    table = [replace(row, end_r_deg=2.0, pose_sigma_t_m=0.03, pose_sigma_r_deg=0.5) for row in metrics.rows(changed)]
    (found,) = failures(changed, table, desired, plant.look(changed.T_wc[-1]))
    assert found.kind == "repeats"


def test_runs_that_end_elsewhere_left_or_had_a_fault(runs: Runs) -> None:
    (found,) = ended(runs, moved(runs, 3, 0.04))
    assert (found.kind, found.text) == ("elsewhere", "3 runs of 10 ended away from the goal")
    (found,) = ended(runs, moved(runs, 1, 0.2))
    assert (found.kind, found.text) == ("left", "1 run of 10 ended farther away than they began")
    (found,) = ended(runs, moved(runs, 2, 0.04), "no point matches")
    assert (found.kind, found.text) == ("fault", "2 runs of 10 ended with a fault: no point matches")


def test_runs_that_were_on_their_way(runs: Runs) -> None:
    trajectory, desired, plant = runs
    slow = servo(plant, PBVS(), desired, trajectory.T_wc[0], ServoConfig(gain=1.0, max_iterations=20))
    (found,) = failures(slow, metrics.rows(slow), desired, plant.look(slow.T_wc[-1]))
    assert (found.kind, found.runs) == ("unfinished", 10)


def test_the_correlation_of_images() -> None:
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert correlation(image, 0.5 * image + 0.1) == pytest.approx(1)
    assert correlation(image, 1 - image) == pytest.approx(-1)
    assert correlation(image, torch.full_like(image, 0.5)) == pytest.approx(0, abs=1e-6)
