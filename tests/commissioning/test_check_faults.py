"""Test motions of a robot that reports a fault between them, or that is let go on long after."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from session_helpers import SAFETY, Grey
from siame_se3.commissioning import check
from siame_se3.errors import RobotError
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.robots.live import LivePlant
from siame_se3.plants.robots.pulse import Pulse
from siame_se3.plants.types import WrappedPlant, sound
from siame_se3.scenes.planar import Scene

SHORT = check.Motions(seconds=0.05, wait=0.02)


class Reports(WrappedPlant):
    """A robot that reports a fault once, with its k-th view."""

    provides = frozenset({"image"})

    def __init__(self, plant: FlyingCameras, at: int) -> None:
        super().__init__(plant)
        self.left, self.moved = at, False

    def seen(self, view: View) -> View:
        self.left -= 1
        return replace(view, T_wc=None, fault="a callback has failed" if self.left == 0 else "")

    def reset(self, start: Tensor | None) -> View:
        T = torch.eye(4, dtype=torch.float64)[None]
        T[:, 2, 3] = -0.6
        return self.seen(self.plant.reset(T))

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        self.moved |= bool(v.any())
        view, applied = self.plant.step(v)
        return self.seen(view), applied


def test_a_fault_before_a_motion_is_not_forgotten(photo: Scene, camera: Camera) -> None:
    """`reset` takes it, which the run's own would not see again."""
    plant = Reports(FlyingCameras(photo, camera), 1)
    with pytest.raises(RobotError, match="a callback has failed"):
        check.move(plant, SHORT, SAFETY)
    assert not plant.moved


def test_a_sound_view_goes_on() -> None:
    view = View(torch.zeros(1, 3, 4, 4))
    assert sound(view) is view


def test_a_motion_that_is_announced_into_a_held_output_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour later somebody lets the output go on."""
    monkeypatch.setattr("siame_se3.plants.robots.pulse.BEGINS", 0.05)
    robot = Grey()
    plant = LivePlant(robot, robot, None, 0.002, 0.6)
    with pytest.raises(RobotError, match=r"it would have begun to move .* too late"):
        check.move(plant, SHORT, SAFETY, lambda line: time.sleep(0.3))
    assert robot.moves == 0
    plant.close()


def test_a_program_that_was_suspended_is_at_fault_before_its_next_beat() -> None:
    now = [100.0]
    pulse = Pulse(lambda seconds: None, lambda: now[0])
    assert pulse.fault == ""
    pulse._last = 100.0
    now[0] += 1.0
    assert pulse.fault == ""
    now[0] += 1.0
    assert pulse.fault == "the program was suspended for 2.0 s"
