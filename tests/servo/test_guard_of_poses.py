"""What the guard makes of a robot's measured pose, of an image's whole age, and of what comes during a smooth stop."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from guard_helpers import CAMERA, PHOTO, pose, run
from siame_se3.errors import InputError
from siame_se3.geometry import lie
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.types import WrappedPlant
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.guard import Guard
from siame_se3.servo.safety import Safety

ANY_IMAGE = Safety(frozen=60.0, jump=2.0, drift=0.0, no_progress=0.0)  # of the poses alone


class Steady:
    """A law that moves along x, or turns about z."""

    needs = frozenset({"image"})

    def __init__(self, speed: float, turn: float = 0.0) -> None:
        self._v = torch.tensor([[speed, 0, 0, 0, 0, turn]], dtype=torch.float64)

    def aim(self, target: View) -> tuple[Law, State]:
        return lambda view, state: (Output.of(self._v), state), State()


class Tells(WrappedPlant):
    """A robot that tells its pose as `said(T, start, iteration)` has it."""

    def __init__(self, plant: FlyingCameras, said: Any) -> None:
        super().__init__(plant)
        self._said, self._k, self.true = said, 0, torch.eye(4, dtype=torch.float64)

    def _told(self, view: View) -> View:
        assert view.T_wc is not None
        if self._k == 0:
            self._start = view.T_wc
        self.true = view.T_wc
        return replace(view, T_wc=None, T_bc=self._said(view.T_wc, self._start, self._k))

    def reset(self, start: Tensor | None) -> View:
        self._k = 0
        return self._told(self.plant.reset(start))

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        self._k += 1
        view, applied = self.plant.step(v)
        return self._told(view), applied


@pytest.fixture
def flying() -> FlyingCameras:
    return FlyingCameras(Scene.from_photo(PHOTO), CAMERA)


def went(plant: Tells) -> float:
    return float((plant.true - plant._start)[0, :3, 3].norm())


@pytest.mark.parametrize(("speed", "turn"), [(0.07, 0.0), (0.04, 0.0), (0.0, 0.2)])
def test_a_pose_that_stays_while_the_robot_moves_is_a_fault(flying: FlyingCameras, speed: float, turn: float) -> None:
    """Slower than where the difference from what was commanded tells, it went on to the iteration limit, beyond reach and box."""
    plant = Tells(flying, lambda T, start, k: start)
    trajectory = run(plant, Steady(speed, turn), ANY_IMAGE)
    assert "does not move as commanded: its measured pose stays" in trajectory.reason[0]
    assert len(trajectory.twist) * plant.dt < 0.8


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_reach_counts_what_is_commanded_too(flying: FlyingCameras, share: float) -> None:
    """A pose that tells too little of the motion, too slow to be seen at once."""

    def said(T: Tensor, start: Tensor, k: int) -> Tensor:
        return start @ lie.pose_from_vector(share * lie.vector_from_pose(lie.inverse(start) @ T))

    plant = Tells(flying, said)
    trajectory = run(plant, Steady(0.01), replace(ANY_IMAGE, reach=0.04))
    assert "0.04 m from its start" in trajectory.reason[0]
    assert went(plant) < 0.05


@pytest.mark.parametrize("late", [0, 2, 4])
def test_a_pose_that_comes_late_is_none(flying: FlyingCameras, late: int) -> None:
    """Up to 160 ms."""
    told: list[Tensor] = []

    def said(T: Tensor, start: Tensor, k: int) -> Tensor:
        told.append(T)
        return told[max(0, len(told) - 1 - late)]

    trajectory = run(Tells(flying, said), Steady(0.1), replace(ANY_IMAGE, reach=0.3))
    assert "0.3 m from its start" in trajectory.reason[0]


def test_an_images_whole_age_counts(flying: FlyingCameras) -> None:
    """170 ms in the camera and 170 ms in the law: each is within the limit."""
    now = [10.0]
    view = replace(flying.look(pose()[None]), time=10.0, age=0.17)
    guard = Guard(Safety(), flying, view, lambda: now[0])
    command = torch.tensor([[0.05, 0, 0, 0, 0, 0]], dtype=torch.float64)
    assert guard.seen(view) is None
    now[0] += 0.02
    assert guard.sent(command) is None
    now[0] += 0.15
    halt = guard.sent(command)
    assert halt is not None
    assert halt.reason == "stale image: 340 ms old when the law has answered, which took 170, limit 200 ms"


@pytest.mark.parametrize("side", [480, 1080])
def test_a_law_that_is_late_over_a_large_image_names_its_size(flying: FlyingCameras, side: int) -> None:
    """The rest of the line names a time only, and not what would help."""
    now = [10.0]
    view = replace(flying.look(pose()[None]), image=torch.rand(1, 3, side, side), time=10.0, age=0.0)
    command = torch.tensor([[0.05, 0, 0, 0, 0, 0]], dtype=torch.float64)
    for before, took in ((0.0, 0.3), (0.15, 0.1)):
        guard = Guard(Safety(), flying, view, lambda: now[0])
        assert guard.seen(replace(view, time=now[0], age=before)) is None
        now[0] += took
        halt = guard.sent(command)
        assert halt is not None
        size = f"; images of {side} x {side} px take long: give a smaller --image-size, or let the camera give fewer pixels"
        assert halt.reason.endswith(size) == (side > 480)


def test_an_image_of_another_kind_of_numbers_is_a_fault(flying: FlyingCameras) -> None:
    class Turns(WrappedPlant):
        def step(self, v: Tensor) -> tuple[View, Tensor]:
            view, applied = self.plant.step(v)
            assert view.image is not None
            return replace(view, image=view.image.half()), applied

    trajectory = run(Turns(flying), Steady(0.05), ANY_IMAGE)
    assert "the image is of another kind of numbers than at the start (torch.float16)" in trajectory.reason[0]


def test_a_smooth_stop_is_short_and_looks(flying: FlyingCameras) -> None:
    with pytest.raises(InputError, match=r"ramp is 5; give a finite number at least 0 and at most 0\.5"):
        Safety(ramp=5)

    class Dies(WrappedPlant):
        steps = 0

        def step(self, v: Tensor) -> tuple[View, Tensor]:
            view, applied = self.plant.step(v)
            self.steps += 1
            return (replace(view, age=1.0) if self.steps > 15 else view), applied

    plant = Dies(flying)
    safety = replace(ANY_IMAGE, reach=0.05, ramp=0.5)
    trajectory = run(plant, Steady(0.1), safety, ServoConfig(gain=2.0, max_iterations=400))
    assert "0.05 m from its start" in trajectory.reason[0]
    assert plant.steps == 16, "not twelve steps more"
    assert math.isclose(float(trajectory.twist[-1, 0, 0]), float(trajectory.twist[:, 0, 0].max()), rel_tol=0.5)
