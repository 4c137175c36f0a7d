"""The last step before a robot: it stops, whatever is late, blocks or fails."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gate_helpers import EYE, ZERO, Driver, V, wait_for
from siame_se3.errors import InputError, RobotError
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.plants.robots.gate import Gate
from siame_se3.plants.robots.interfaces import WATCHDOG, Frame, RobotState
from siame_se3.plants.robots.live import LivePlant
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.safety import Safety


def test_a_late_loop_is_stopped_by_the_watchdog(gates: Callable[..., Gate]) -> None:
    driver = Driver()
    gate = gates(driver, late=0.2)
    gate.move(V)
    wait_for(lambda: driver.named("stop"))
    assert driver.named("stop")[0][1] - driver.named("move")[0][1] < 2 * WATCHDOG
    assert gate.fault == ""
    assert gate.move(V), "a loop that was a little late goes on"
    wait_for(lambda: gate.fault)
    assert "the loop is late: no twist for 0.2" in gate.fault
    assert not gate.move(V), "after a long absence nothing goes on by itself"
    gate.release()
    assert gate.move(V)


def test_a_loop_is_not_late_where_nothing_moves(gates: Callable[..., Gate]) -> None:
    driver = Driver()
    gate = gates(driver, late=0.1)
    gate.move(V)
    gate.move(ZERO)
    time.sleep(0.25)
    assert gate.fault == ""
    gate.move(V)
    gate.stop()
    time.sleep(0.2)
    assert gate.fault == ""


def test_stop_waits_for_nothing_but_the_driver(gates: Callable[..., Gate]) -> None:
    """From any thread, and while the loop's thread is in a driver call that does not return."""
    driver = Driver()
    gate = gates(driver)
    driver.blocks = {"move"}
    loop = threading.Thread(target=lambda: gate.move(V))
    loop.start()
    driver.asked.wait(5)
    began = time.monotonic()
    gate.stop()
    assert driver.named("stop")[0][1] - began < WATCHDOG
    loop.join()
    assert "robot: move: the call has not returned for 0.1 s" in gate.fault
    assert not gate.move(V)
    driver.freed.set()  # now the twist goes out: it has to be stopped again
    wait_for(lambda: driver.named("move"))
    wait_for(lambda: driver.calls[-1][0] == "stop")
    with pytest.raises(RobotError, match="has not returned in time; see to the robot"):
        gate.release()


def test_a_call_that_blocks_is_left_behind_by_its_loop(gates: Callable[..., Gate]) -> None:
    driver = Driver()
    gate = gates(driver)
    driver.blocks = {"move"}
    began = time.monotonic()
    assert not gate.move(V)
    assert time.monotonic() - began < 3 * WATCHDOG
    wait_for(lambda: driver.named("stop"))
    assert "the driver is given up" in gate.state().fault


@pytest.mark.parametrize(("answer", "fault"), [(WATCHDOG, "has not returned for 0.1 s"), (10.0, "")])
def test_how_long_a_call_may_take_can_be_said(gates: Callable[..., Gate], answer: float, fault: str) -> None:
    """For simulation on a busy machine; a robot's calls have `WATCHDOG`."""
    driver = Driver()
    gate = gates(driver, answer=answer)
    driver.blocks = {"state"}
    late = threading.Timer(2 * WATCHDOG, driver.freed.set)
    late.start()
    found = gate.state().fault
    late.join()
    assert fault in found
    assert bool(found) == bool(fault)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf, True, "1", None, 10**400])
def test_times_that_are_none_are_refused(seconds: Any) -> None:
    with pytest.raises(InputError, match="time of a driver's call"):
        Gate(Driver(), EYE, answer=seconds)
    with pytest.raises(InputError, match="time without a twist"):
        Gate(Driver(), EYE, late=seconds)


def test_a_state_that_blocks_or_fails_is_a_fault(gates: Callable[..., Gate]) -> None:
    driver = Driver()
    gate = gates(driver)
    gate.move(V)
    driver.fails = {"state": ValueError("expected 6 numbers, got 0")}
    assert gate.state().fault == "robot: its state cannot be read (ValueError: expected 6 numbers, got 0)"
    wait_for(lambda: driver.named("stop"))
    driver.fails = {}
    gate.release()
    driver.blocks = {"state"}
    assert not gate.move(V)
    assert "robot: state: the call has not returned" in gate.fault


def test_a_stop_that_fails_is_said_and_tried_again(gates: Callable[..., Gate]) -> None:
    driver = Driver()
    gate = gates(driver)
    gate.move(V)
    driver.fails = {"stop": OSError("cable")}
    with pytest.raises(RobotError, match=r"stop failed \(OSError: cable\); press the emergency stop"):
        gate.stop()
    assert not driver.named("stop")
    driver.fails = {}
    wait_for(lambda: driver.named("stop"))


def test_a_twist_that_waited_too_long_is_not_sent(gates: Callable[..., Gate]) -> None:
    now = [100.0]
    driver = Driver()
    gate = gates(driver, clock=lambda: now[0], late=10.0)
    state = driver.state

    def slowly() -> RobotState:
        now[0] += 0.15
        return state()

    driver.state = slowly  # type: ignore[method-assign]
    assert not gate.move(V)
    assert not driver.named("move")


def test_a_lost_driver_is_stopped_and_the_error_goes_on(gates: Callable[..., Gate]) -> None:
    driver = Driver()
    gate = gates(driver)
    driver.fails = {"move": OSError("no route to host")}
    with pytest.raises(OSError, match="no route"):
        gate.move(V)
    wait_for(lambda: driver.named("stop"))
    assert not gate.move(V)


def test_a_dry_gate_checks_and_calls_nothing() -> None:
    driver = Driver()
    gate = Gate(driver, EYE, dry=True)
    gate.release()
    assert not gate.move(V)
    with pytest.raises(RobotError, match="not finite"):
        gate.move(V * math.nan)
    gate.stop()
    time.sleep(0.05)
    assert not driver.calls
    gate.close()


def test_close_is_said_where_it_does_not_return() -> None:
    driver = Driver()
    driver.blocks = {"close"}
    gate = Gate(driver, EYE)
    with pytest.MonkeyPatch.context() as hurry:
        hurry.setattr("siame_se3.plants.robots.gate._CLOSING", 0.05)
        with pytest.raises(RobotError, match=r"robot: close: the call has not returned for 0\.05 s"):
            gate.close()
    driver.freed.set()
    gate.close()  # a second time does nothing


class Camera48:
    """New noise at each look, at once."""

    camera = sensor = Camera.from_focal(60, 48)

    def latest(self, after: float, wait: float) -> Frame | None:
        return Frame(torch.rand(3, 48, 48), time.monotonic())

    def prepared(self, pixels: Any) -> Tensor:
        raise NotImplementedError

    def close(self) -> None:
        pass


class Busy:
    """A law that moves along x, and computes for long at its fifth call."""

    needs = frozenset({"image"})

    def __init__(self, stopped: Callable[[], None]) -> None:
        self.stopped, self.calls = stopped, 0

    def aim(self, target: View) -> tuple[Law, State]:
        return self.law, State()

    def law(self, view: View, state: State) -> tuple[Output, State]:
        self.calls += 1
        if self.calls == 5:
            self.stopped()
        return Output.of(torch.tensor([[0.02, 0, 0, 0, 0, 0]], dtype=torch.float64)), state


def test_stop_comes_at_once_while_the_law_computes() -> None:
    driver, delay = Driver(), []
    plant = LivePlant(Camera48(), driver, None, 0.02, 0.6)

    def computes() -> None:
        began = time.monotonic()
        threading.Thread(target=plant.ask_to_stop, args=("'stop' was said",)).start()
        wait_for(lambda: len(driver.named("stop")) > 1)  # one is of the reset
        delay.append(time.monotonic() - began)

    safety = Safety(max_age=60.0, frozen=60.0, jump=2.0)
    target = View(torch.rand(1, 3, 48, 48), None, None, Camera48.camera)
    config = ServoConfig(gain=1.0, max_iterations=50)
    run = servo(plant, Busy(computes), target, None, config, safety=safety)
    assert delay[0] < WATCHDOG
    assert run.reason[0] == "'stop' was said"
    moves = len(driver.named("move"))
    time.sleep(0.1)
    assert len(driver.named("move")) == moves
    plant.close()


def test_a_law_that_is_busy_for_long_halts_the_run() -> None:
    driver = Driver()
    plant = LivePlant(Camera48(), driver, None, 0.02, 0.6, late=0.15)
    safety = Safety(max_age=60.0, frozen=60.0, jump=2.0)
    target = View(torch.rand(1, 3, 48, 48), None, None, Camera48.camera)
    law = Busy(lambda: time.sleep(0.25))
    run = servo(plant, law, target, None, ServoConfig(gain=1.0, max_iterations=50), safety=safety)
    assert "the loop is late" in run.reason[0]
    last = driver.named("move")[-1][1]
    stops = [at for _, at, _ in driver.named("stop") if at > last]
    assert stops[0] - last < 2 * WATCHDOG, "it stood still long before the law was ready"
    plant.close()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, MemoryError, OSError])
def test_a_stop_that_fails_once_is_tried_again_whatever_it_raises(
    gates: Callable[..., Gate], kind: type[BaseException]
) -> None:
    driver = Driver()
    gate = gates(driver)
    assert gate.move(V)
    driver.fails["stop"] = kind()
    with pytest.raises(RobotError, match="press the emergency stop"):
        gate.stop()
    driver.fails.clear()
    wait_for(lambda: driver.named("stop"))
    gate.stop()
    assert "stop failed" in gate.fault


def test_a_halt_that_comes_meanwhile_is_not_released(gates: Callable[..., Gate]) -> None:
    gate = gates(Driver())
    gate.stop()
    before = gate.halts
    gate.halt()
    assert not gate.release(before)
    assert not gate.move(V)
    assert gate.release(gate.halts)
    assert gate.move(V)


def test_a_second_fault_halts_too(gates: Callable[..., Gate]) -> None:
    gate = gates(Driver())
    gate.fail("one")
    gate._halted = False  # as a release that is under way has it
    assert not gate.move(V), "it has a fault"
    gate.fail("two")
    assert gate._halted
    assert gate.fault == "one"


def test_a_call_that_comes_back_after_the_end_stops_the_robot(gates: Callable[..., Gate]) -> None:
    driver = Driver()
    gate = gates(driver)
    driver.blocks.add("move")
    assert not gate.move(V), "it is given up"
    gate.close()
    stops = len(driver.named("stop"))
    driver.freed.set()
    wait_for(lambda: driver.named("move") and len(driver.named("stop")) > stops)
    assert driver.calls[-1][0] == "stop"


@pytest.mark.parametrize(
    "state", [None, ("pose", ""), RobotState([[1.0]]), RobotState(EYE.numpy()), RobotState(EYE + 0j)]
)  # type: ignore[arg-type]
def test_a_state_that_is_none_is_a_fault(gates: Callable[..., Gate], state: Any) -> None:
    driver = Driver()
    gate = gates(driver)
    gate.move(V)
    driver.state = lambda: state  # type: ignore[method-assign]
    assert "is no RobotState" in gate.state().fault or "the robot's pose is no tensor of real numbers" in gate.fault
    wait_for(lambda: driver.named("stop"))


def test_a_call_that_ctrl_c_left_behind_moves_no_later_run(gates: Callable[..., Gate]) -> None:
    """Ctrl-C while the driver does not return; the twist takes effect in the next run: it did, and nothing stopped it."""
    driver = Driver()
    gate = gates(driver, answer=0.3)
    lane, real = gate._moves, gate._moves.call

    def interrupted(function: Callable[[], Any], timeout: float) -> Any:
        threading.Thread(target=real, args=(function, 30.0), daemon=True).start()
        assert driver.asked.wait(5)
        raise KeyboardInterrupt

    driver.blocks = {"move"}
    lane.call = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        gate.move(V)
    gate.stop()
    assert lane.unfinished
    with pytest.raises(RobotError, match="robot: move: a call has not returned in time"):
        gate.release()
    stops = len(driver.named("stop"))
    driver.freed.set()
    wait_for(lambda: driver.named("move"))
    wait_for(lambda: len(driver.named("stop")) > stops)  # after it came


def test_a_stop_that_comes_back_late_is_tried_again(gates: Callable[..., Gate]) -> None:
    driver = Driver()
    gate = gates(driver)
    gate.move(V)
    driver.blocks, driver.fails = {"stop"}, {"stop": OSError("timeout")}
    with pytest.raises(RobotError, match="press the emergency stop"):
        gate.stop()
    assert not driver.named("stop")
    driver.blocks, driver.fails = set(), {}
    driver.freed.set()  # the late call ends
    wait_for(lambda: driver.named("stop"))
    with pytest.raises(RobotError, match="robot: stop: a call has not returned in time"):
        gate.release()


@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt(), GeneratorExit(), ValueError("six numbers")])
def test_whatever_a_driver_raises_is_named_and_ends_no_program(
    gates: Callable[..., Gate], error: BaseException
) -> None:
    driver = Driver()
    gate = gates(driver)
    gate.move(V)
    driver.fails = {"move": error}
    with pytest.raises(RobotError, match=f"robot: move.*{type(error).__name__}.*its driver is at fault"):
        gate.move(V)
    wait_for(lambda: driver.named("stop"))
    assert not gate.move(V)


def test_a_driver_may_change_what_it_is_given(gates: Callable[..., Gate]) -> None:
    driver, mine = Driver(), V.clone()
    gate = gates(driver)
    driver.move = lambda twist: twist.neg_()  # type: ignore[method-assign,assign,return-value]
    assert gate.move(mine)
    assert torch.equal(mine, V)


@pytest.mark.parametrize("twist", [V[None], V[:5], torch.zeros(7), [0.0] * 6, None, V + 0j])
def test_twists_that_are_none_are_refused(gates: Callable[..., Gate], twist: Any) -> None:
    driver = Driver()
    gate = gates(driver)
    gate.move(V)
    with pytest.raises(RobotError, match="not six real numbers"):
        gate.move(twist)
    wait_for(lambda: driver.named("stop"))
    assert len(driver.named("move")) == 1
