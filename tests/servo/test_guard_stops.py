"""How a guarded run comes to rest: in time, whatever interrupts it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from guard_helpers import CONFIG, START, Broken, guard_of, pose, run
from siame_se3.errors import SiameError
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import View
from siame_se3.plants.faults import FaultyCamera
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.types import WrappedPlant
from siame_se3.servo.guard import Guard
from siame_se3.servo.loop import servo
from siame_se3.servo.safety import Safety


class Clocked(WrappedPlant):
    """A plant whose views tell the time of a clock that each step puts on by more than dt."""

    def __init__(self, plant: FlyingCameras, seconds: float) -> None:
        super().__init__(plant)
        self.seconds, self.now = seconds, 100.0

    def reset(self, start: Tensor | None) -> View:
        return replace(self.plant.reset(start), time=self.now)

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        view, applied = self.plant.step(v)
        self.now += self.seconds
        return replace(view, time=self.now), applied


def test_faults_are_timed_by_the_plants_clock(plant: FlyingCameras) -> None:
    """Steps of 100 ms: frozen for 0.25 s is three of them, not seven."""
    slow = Clocked(FaultyCamera(plant, "freezes", 10 * plant.dt), 0.1)
    trajectory = run(slow, config=CONFIG, safety=Safety(max_age=1e6))
    assert "frozen image" in trajectory.reason[0]
    assert len(trajectory.twist) <= 10 + 3


def test_a_command_from_an_image_that_is_stale_by_now_is_not_sent(plant: FlyingCameras) -> None:
    clocked = Clocked(plant, 0.04)
    view = clocked.reset(START[None])
    command = torch.tensor([[0.05, 0, 0, 0, 0, 0]], dtype=torch.float64)
    at_once, late = (Guard(Safety(), clocked, view, lambda t=t: 100.0 + t).sent(command) for t in (0.1, 2.0))
    assert at_once is None
    assert late is not None
    assert "the law took 2.00 s" in late.reason


@pytest.mark.parametrize("value", [math.nan, math.inf, 10.0])
def test_the_last_look_is_at_what_is_sent(plant: FlyingCameras, value: float) -> None:
    command = torch.tensor([[0.05, 0, value, 0, 0, 0]], dtype=torch.float64)
    assert guard_of(plant).sent(torch.zeros(1, 6, dtype=torch.float64)) is None
    halt = guard_of(plant).sent(command)
    assert halt is not None
    assert halt.at_once


@pytest.mark.parametrize(
    "errors",
    [
        (KeyboardInterrupt(), KeyboardInterrupt()),
        (KeyboardInterrupt(), OSError("gone")),
        (KeyboardInterrupt(), SiameError("gone")),
    ],
    ids=lambda errors: ", ".join(type(e).__name__ for e in errors),
)
def test_a_second_interrupt_in_the_ramp_does_not_skip_the_stop(plant: FlyingCameras, errors: Any) -> None:
    broken = Broken(plant, 5, *errors)
    trajectory = run(broken)
    assert trajectory.reason == ["Ctrl-C"]
    assert broken.stops == 1


def test_an_error_of_the_program_in_the_ramp_does_not_skip_the_stop(plant: FlyingCameras) -> None:
    broken = Broken(plant, 5, KeyboardInterrupt(), RuntimeError("bug"))
    with pytest.raises(RuntimeError, match="bug"):
        run(broken)
    assert broken.stops == 1


def test_an_interrupt_in_the_stop_itself_is_tried_again(plant: FlyingCameras) -> None:
    class Interrupted(Broken):
        def stop(self) -> None:
            super().stop()
            if self.stops < 3:
                raise KeyboardInterrupt

    interrupted = Interrupted(plant, 5, KeyboardInterrupt())
    assert run(interrupted).reason == ["Ctrl-C"]
    assert interrupted.stops == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), RuntimeError("bug")], ids=repr)
def test_without_a_guard_too(plant: FlyingCameras, error: BaseException) -> None:
    broken = Broken(plant, 5, error)
    with pytest.raises(type(error)):
        servo(broken, PBVS(), plant.look(pose()[None]), START, CONFIG)
    assert broken.stops == 1
