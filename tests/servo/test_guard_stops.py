"""How a guarded run comes to rest: in time, whatever interrupts it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from guard_helpers import CONFIG, START, Broken, guard_of, pose, run
from siame_se3.errors import RobotError, SiameError
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.plants.faults import FaultyCamera
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.types import WrappedPlant
from siame_se3.servo import loop
from siame_se3.servo.config import ServoConfig
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


class Slow:
    """PBVS that takes so many seconds of a clock at its looks, one after the other, and no time after them."""

    needs = frozenset({"pose"})

    def __init__(self, clocked: Clocked, *seconds: float) -> None:
        self.clocked, self.seconds = clocked, list(seconds)

    def aim(self, target: View) -> tuple[Law, Any]:
        inner, state = PBVS().aim(target)

        def law(view: View, state: Any) -> tuple[Output, Any]:
            if self.clocked.looks:
                self.clocked.now += self.seconds.pop(0) if self.seconds else 0.0
            return inner(view, state)

        return law, state


class Looked(Clocked):
    """Counts its looks; law and guard go by its clock."""

    looks = 0

    def reset(self, start: Tensor | None) -> View:
        self.looks = 1
        return super().reset(start)


@pytest.mark.parametrize(
    ("seconds", "moves", "why"),
    [
        pytest.param((0.3,), True, "settled", id="the first look is slow"),
        pytest.param((0.3, 0.0, 0.0, 0.0, 0.3), True, "the law took 0.30 s", id="a later one, of a robot that moves"),
        pytest.param((0.3,) * 4, True, "settled", id="four slow looks before the first motion"),
        pytest.param((0.3,) * 5, False, "the law took 0.30 s", id="five: it is too slow"),
        pytest.param((0.9, 0.9), True, "settled", id="within two seconds"),
        pytest.param((0.9, 0.9, 0.9), False, "the law took 0.90 s", id="longer than a start counts"),
    ],
)
def test_a_robot_that_stands_waits_for_a_law_that_is_slow_at_first(
    plant: FlyingCameras, monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, ...], moves: bool, why: str
) -> None:
    """`auto` looks everywhere at its first look: 0.28 s over a scanned goal, and the run could never begin."""
    clocked = Looked(plant, 0.04)
    monkeypatch.setattr(loop, "Guard", lambda safety, plant, view: Guard(safety, plant, view, lambda: clocked.now))
    trajectory = run(clocked, Slow(clocked, *seconds), safety=Safety())
    assert why in trajectory.reason[0]
    assert bool(trajectory.twist.any()) is moves
    slow_at_first = next(k for k, s in enumerate((*seconds, 0.0)) if s == 0) if moves else len(seconds) - 1
    assert not trajectory.twist[:slow_at_first].any()


def test_a_robot_that_was_stopped_by_its_laws_fault_waits_too(plant: FlyingCameras) -> None:
    clocked = Clocked(plant, 0.04)
    late = [0.0]
    guard = Guard(Safety(), clocked, clocked.reset(START[None]), lambda: 100.0 + late[0])
    still, moving = torch.zeros(1, 6, dtype=torch.float64), torch.full((1, 6), 0.01, dtype=torch.float64)
    assert not guard.waits(moving)
    assert guard.sent(moving) is None
    late[0] = 0.3
    assert not guard.waits(moving)  # it moves: that is a halt
    assert guard.sent(moving) is not None
    assert guard.sent(still) is None
    assert [guard.waits(moving) for _ in range(5)] == [True] * 4 + [False]
    late[0] = 0.0
    assert guard.sent(moving) is None


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


class Fails(WrappedPlant):
    """Obeys until a law has settled, and fails in the ramp to zero: a report, or an error."""

    def __init__(self, plant: FlyingCameras, how: str) -> None:
        super().__init__(plant)
        self.how, self.last = how, 1.0

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        view, applied = self.plant.step(v)
        ramp = 0 < float(v.abs().max()) < 0.9 * self.last
        self.last = float(v.abs().max())
        if ramp and self.how == "error":
            raise RobotError("thread 'capture' has ended")
        return replace(view, fault="protective stop" if ramp else ""), applied


class Constant:
    """Asks for the same small velocity for ever."""

    needs = frozenset({"image"})

    def aim(self, target: View) -> tuple[Law, State]:
        def law(view: View, state: State) -> tuple[Output, State]:
            return Output.of(torch.full((len(view.image), 6), 1e-3, dtype=torch.float64)), state  # type: ignore[arg-type]

        return law, State()


@pytest.mark.parametrize(("how", "words"), [("report", "protective stop"), ("error", "thread 'capture' has ended")])
def test_what_happens_in_the_ramp_is_the_reason(plant: FlyingCameras, how: str, words: str) -> None:
    """The run had settled, so it was said to have: exit status 0."""
    config = ServoConfig(gain=1.0, max_iterations=12, settle_steps=50)
    trajectory = servo(Fails(plant, how), Constant(), plant.look(START[None]), START[None], config, safety=Safety())
    assert trajectory.reason == [words]
