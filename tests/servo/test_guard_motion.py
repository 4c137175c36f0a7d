"""Motions that end a run: too far, without progress, or otherwise than commanded; and limits of the tool's."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from guard_helpers import ALONG, CONFIG, START, Says, guard_of, pose, run
from siame_se3.geometry import lie
from siame_se3.laws.types import View
from siame_se3.plants.faults import FaultyCamera
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.types import WrappedPlant
from siame_se3.servo.limits import limited
from siame_se3.servo.loop import servo
from siame_se3.servo.safety import Safety


def test_limits_keep_the_direction() -> None:
    limits = Safety().limits(None)
    v = torch.tensor([[3.0, -1.0, 0.5, 0.2, 0.1, -0.4]], dtype=torch.float64)
    zero = torch.zeros(1, 6, dtype=torch.float64)
    out = limited(limits, v, zero, 0.04)
    torch.testing.assert_close(out / out.norm(), v / v.norm())
    assert torch.equal(limited(limits, zero, zero, 0.04), zero)


def test_reach_ends_with_a_smooth_stop(plant: FlyingCameras) -> None:
    trajectory = run(plant, Says(lambda k: (0.3, 0, 0, 0, 0, 0)), Safety(reach=0.05))
    assert "0.05 m from its start" in trajectory.reason[0]
    speeds = trajectory.twist[:, 0, 0]
    assert 0 < float(speeds[-2]) < float(speeds[-3])
    assert float(speeds[-1]) == 0
    assert len(trajectory.step_seconds) == len(trajectory.twist)


def test_the_box_is_in_the_frame_of_the_poses(plant: FlyingCameras) -> None:
    x, y, z = START[:3, 3].tolist()
    box = (x - 1, y - 1, z - 1, x + 0.02, y + 1, z + 1)
    trajectory = run(plant, Says(lambda k: (0.3, 0, 0, 0, 0, 0)), Safety(box=box))
    assert trajectory.reason == ["the camera left its workspace box"]
    assert float(trajectory.T_wc[-1, 0, 0, 3]) < x + 0.04


def test_no_progress_ends_a_run(plant: FlyingCameras) -> None:
    around = Says(lambda k: (0.05 * math.cos(k / 6), 0.05 * math.sin(k / 6), 0, 0, 0, 0))
    trajectory = run(plant, around, Safety(no_progress=2.0))
    assert "no progress for 2 s" in trajectory.reason[0]
    assert 2.0 <= len(trajectory.twist) * plant.dt < 2.5


@pytest.mark.slow
def test_dry_runs_and_faults_are_no_lack_of_progress(plant: FlyingCameras) -> None:
    guard = guard_of(plant, Safety(no_progress=1.0))
    v = torch.tensor([[0.1, 0, 0, 0, 0, 0]], dtype=torch.float64)
    still = torch.zeros(1, 6, dtype=torch.float64)
    for _ in range(40):  # nothing is applied, for longer than the limit
        assert guard.seen(plant.look(pose()[None]), still, still) is None
        assert guard.judged(v) is None
    lost = Says(lambda k: (0.1 * 0.93**k, 0, 0, 0, 0, 0), lambda k: "too few matches" if k == 3 else "")
    assert "no progress" not in run(plant, lost, Safety(no_progress=1.0)).reason[0]


def test_the_tools_twist_has_the_limits_too() -> None:
    T_tc = lie.pose_from_vector(torch.tensor([0.0, 0, 0.5, 0, 0, 0], dtype=torch.float64))
    v = torch.tensor([[0.0, 0, 0, 0.35, 0, 0]], dtype=torch.float64)
    out = torch.zeros(1, 6, dtype=torch.float64)
    for _ in range(20):
        out = limited(Safety().limits(T_tc), v, out, 0.04)
    assert float((lie.adjoint(T_tc) @ out[0])[:3].abs().max()) == pytest.approx(0.1)


class WithTool(WrappedPlant):
    """A tool half a metre behind the camera."""

    T_tc = lie.pose_from_vector(torch.tensor([0.0, 0, 0.5, 0, 0, 0], dtype=torch.float64))  # type: ignore[assignment]  # fixed here


@pytest.mark.parametrize("wrapped", [WithTool, lambda plant: FaultyCamera(WithTool(plant), "black", 1e9)])
def test_a_wrapped_plant_keeps_the_limits_of_its_tool(plant: FlyingCameras, wrapped: Any) -> None:
    """The tool's speed is what is limited, also where the plant is wrapped."""
    turn = Says(lambda k: (0.0, 0, 0, 0.35, 0, 0))
    trajectory = servo(wrapped(plant), turn, plant.look(pose()[None]), START, CONFIG, safety=Safety(reach=0.1))
    tool = trajectory.twist[:, 0] @ lie.adjoint(WithTool.T_tc).mT
    assert float(tool[:, :3].abs().max()) == pytest.approx(0.1, abs=1e-9)


class Drifting(WrappedPlant):
    """A camera that is carried away, whatever is commanded, from a step on; it may measure its pose."""

    def __init__(self, plant: FlyingCameras, drift: tuple[float, ...], measures: bool) -> None:
        super().__init__(plant)
        self.drift, self.measures, self.steps = torch.tensor([drift], dtype=torch.float64), measures, 0

    def _told(self, view: View) -> View:
        return view if self.measures else replace(view, T_wc=None)

    def reset(self, start: Tensor | None) -> View:
        return self._told(self.plant.reset(start))

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        self.steps += 1
        view, _ = self.plant.step(v + self.drift if self.steps > 10 else v)
        return self._told(view), v


@pytest.mark.parametrize("measures", [True, False])
@pytest.mark.parametrize("law", [Says(lambda k: (0.004, 0, 0, 0, 0, 0)), ALONG], ids=["next to still", "moving"])
def test_a_motion_that_nobody_commanded_ends_the_run(plant: FlyingCameras, measures: bool, law: Says) -> None:
    drifting = Drifting(plant, (0.0, 0.2, 0.0, 0.0, 0.0, 0.0), measures)
    trajectory = run(drifting, law, config=replace(CONFIG, settle_v=1e-9))
    words = "does not move as commanded" if measures else "moves otherwise than commanded"
    assert words in trajectory.reason[0] or "changed otherwise" in trajectory.reason[0]
    assert len(trajectory.twist) <= 10 + 0.5 / plant.dt


def test_a_robot_that_stays_behind_its_commands_ends_the_run(plant: FlyingCameras) -> None:
    class Blocked(WrappedPlant):
        def step(self, v: Tensor) -> tuple[View, Tensor]:
            return self.plant.step(torch.zeros_like(v))[0], v

    trajectory = run(Blocked(plant), Says(lambda k: (0.5, 0, 0, 0, 0, 0)))
    assert "frozen" in trajectory.reason[0] or "does not move as commanded" in trajectory.reason[0]


def test_iterations_without_a_velocity_do_not_begin_the_time_without_progress_again(plant: FlyingCameras) -> None:
    """One in ten has none, as of a law with half of its overlap: the limit was never reached."""
    around = Says(
        lambda k: (0.05 * math.cos(k / 6), 0.05 * math.sin(k / 6), 0, 0, 0, 0),
        lambda k: "too few matches" if k % 10 == 9 else "",
    )
    trajectory = run(plant, around, Safety(no_progress=2.0))
    assert "no progress for 2 s" in trajectory.reason[0]
    assert 2.0 <= len(trajectory.twist) * plant.dt < 3.0
