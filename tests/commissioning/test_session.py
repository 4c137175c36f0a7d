"""A session with a robot: what is said and done at each word, signal and fault."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from session_helpers import SAFETY, Grey, Robot, Running, Steady
from siame_se3.commissioning.session import MOST, Session
from siame_se3.errors import RobotError
from siame_se3.geometry import lie
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.plants.robots.interfaces import Frame
from siame_se3.plants.robots.live import LivePlant
from siame_se3.plants.robots.signals import Interrupted
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.trajectory import Trajectory

LONG = ServoConfig(gain=0.01, max_iterations=100_000)


lie.exp(torch.zeros(6, dtype=torch.float64))  # the first call is slow, and a driver's call has 0.1 s


class Sure(Steady):
    """That law, and how sure it is."""

    def aim(self, target: View) -> tuple[Law, State]:
        return self, State()  # type: ignore[return-value]  # it is a law too

    def __call__(self, view: View, state: State) -> tuple[Output, State]:
        confidence = torch.full(view.batch, 0.625, dtype=torch.float64)
        return replace(self.law(view, state)[0], confidence=confidence), state

    def covariance(self, view: View, state: State) -> Tensor:
        return torch.diag(torch.tensor([1e-6, 1e-8, 1e-8, 1e-8, 1e-8, 1e-8], dtype=torch.float64))[None]


def moving(robot: Robot, more: int = 3) -> None:
    """Wait until it has moved some more."""
    before, until = robot.moves, time.monotonic() + 20
    while robot.moves < before + more:
        assert time.monotonic() < until, "it does not move"
        time.sleep(0.002)


def stands_still(robot: Robot) -> None:
    moves = robot.moves
    time.sleep(0.1)
    assert robot.moves == moves, "it moves, and nobody asked for it"


def away(robot: Robot) -> None:
    robot.T_wc = robot.T_wc @ lie.pose_from_vector(
        torch.tensor([0.05, -0.03, 0.02, 0.05, 0.02, 0.2], dtype=torch.float64)
    )


@pytest.mark.slow
def test_target_then_start_brings_it_there(begun: Callable[..., Running]) -> None:
    robot = Robot()
    running = begun(robot, dt=0.02)
    running.wait("say 'target'")
    running.tell("start", "no target")
    assert robot.moves == 0, "nothing moves before it has a target and a start"
    goal = robot.T_wc
    running.wait("ready")
    running.tell(" Target\n", "this view is the target")
    assert "the target is the view of" in running.wait("ready"), "what it would go to is shown before a start counts"
    away(robot)
    stands_still(robot)
    robot.dt = 0.02  # the plant's
    running.session.command("start")
    assert "settled" in running.wait("stands still")
    t, r = lie.error_norms(lie.inverse(goal) @ robot.T_wc)
    assert float(t) < 2e-3
    assert float(r) < 4e-3
    running.wait("ready")
    assert running.runs[0].reason == ["settled"]


def test_it_says_how_sure_the_law_is(begun: Callable[..., Running]) -> None:
    running = begun(Grey(), dt=0.2, law=Sure(), config=ServoConfig(gain=0.01, max_iterations=5))
    running.take_target()
    running.tell("start", "moving")
    assert running.wait("iteration 5").endswith("; confidence 0.62")
    running.wait("stands still")
    assert running.wait("pose known") == "pose known to 3 mm and 0.03 deg (3 sigma); least along shift x"
    running.wait("ready")
    (run,) = running.runs
    assert run.confidences[:5].tolist() == [[0.625]] * 5  # and on the ramp to zero it is not asked


def test_a_law_that_does_not_know_says_nothing_of_it(begun: Callable[..., Running]) -> None:
    running = begun(Grey(), dt=0.2, law=Steady(), config=ServoConfig(gain=0.01, max_iterations=5))
    running.take_target()
    running.tell("start", "moving")
    running.wait("ready")
    assert any("iteration 5" in line for line in running.lines)
    assert not any("confidence" in line or "known" in line for line in running.lines)


def test_stop_stops_and_nothing_goes_on(begun: Callable[..., Running]) -> None:
    robot = Grey()
    running = begun(robot, law=Steady(), config=LONG)
    running.take_target()
    running.tell("start", "moving")
    moving(robot)
    running.tell("target", "say 'stop' first")
    running.tell("dance", "'dance' is not known")
    running.session.command("stop")
    assert "'stop' was said" in running.wait("stands still")
    stands_still(robot)


@pytest.mark.parametrize("end", ["stop", "fault", "run ends", "keyboard closes"])
def test_two_starts_start_one_run(begun: Callable[..., Running], end: str) -> None:
    """The second one does not make it move again after the first run, however that ends."""
    robot = Grey()
    config = ServoConfig(gain=0.01, max_iterations=20) if end == "run ends" else LONG
    running = begun(robot, law=Steady(), config=config)
    running.take_target()
    with running.session._inbox.lock:  # both before the session has taken the first
        running.session.command("start")
        running.session.command("start")
    running.wait("moving")
    moving(robot)
    if end == "stop":
        running.session.command("stop")
    elif end == "keyboard closes":
        running.session.keyboard(io.BytesIO(b""))
    elif end == "fault":
        robot.fault = "protective stop"
    running.wait("stands still")
    robot.fault = ""
    running.wait("ready, the target is")
    stands_still(robot)
    assert any("said too early, and void: start" in line for line in running.lines) == (end in ("fault", "run ends"))
    running.tell("start", "moving")  # a new one counts
    moving(robot)


def test_a_start_said_before_the_target_is_shown_is_void(begun: Callable[..., Running]) -> None:
    robot = Grey()
    running = begun(robot, law=Steady(), config=LONG)
    running.wait("ready")
    with running.session._inbox.lock:
        running.session.command("target")
        running.session.command("start")
    running.wait("this view is the target")
    running.wait("said too early, and void: start")
    running.wait("ready, the target is")
    stands_still(robot)


def test_commands_expire_and_few_may_wait() -> None:
    robot, now = Grey(), [100.0]
    running = Running(robot, law=Steady(), config=LONG, clock=lambda: now[0], target=View(torch.rand(1, 3, 8, 8)))
    running.session.command("start")
    now[0] += 2.1
    running.start()
    assert "said 2.1 s ago, and is void" in running.wait("void")
    stands_still(robot)
    running.quit()
    idle = Running(Grey(), law=Steady())  # nobody takes its commands
    for _ in range(10_000):
        idle.session.command("target")
    assert len(idle.session._inbox._asked) == MOST
    said = list(idle.said.queue)
    assert len(said) == 10_000 - MOST
    assert said[0] == f"'target' is refused: {MOST} commands wait already"
    idle.session.command("quit")
    assert [asked.word for asked in idle.session._inbox._asked] == ["quit"], "what matters has a place always"
    idle.plant.close()


def test_a_stop_voids_a_start_that_waits(begun: Callable[..., Running]) -> None:
    robot = Grey()
    running = begun(robot, law=Steady(), config=LONG)
    running.take_target()
    with running.session._inbox.lock:
        running.session.command("start")
        running.session.command("stop")
    running.tell("target", "this view is the target")
    stands_still(robot)


def test_a_stop_said_while_the_law_is_made_ready_counts(begun: Callable[..., Running]) -> None:
    robot = Grey()

    class Slow(Steady):
        stop: Callable[[], None] = staticmethod(lambda: None)

        def aim(self, target: View) -> tuple[Law, State]:
            self.stop()
            return super().aim(target)

    law = Slow()
    running = begun(robot, law=law)
    law.stop = lambda: running.session.command("stop")  # type: ignore[method-assign]
    running.take_target()
    running.session.command("start")
    assert "'stop' was said" in running.wait("stands still after 0 iterations")
    assert robot.moves == 0


def test_errors_are_said_and_the_session_goes_on(begun: Callable[..., Running]) -> None:
    robot = Grey()
    running = begun(robot)
    latest = robot.latest
    robot.latest = lambda after, wait: None  # type: ignore[method-assign]  # the camera is gone
    running.tell("target", "error: camera: no image")
    robot.latest = latest  # type: ignore[method-assign]
    running.wait("ready")
    running.tell("target", "this view is the target")


def test_dry_runs_show_twists_and_move_nothing(begun: Callable[..., Running]) -> None:
    robot = Grey()
    config = ServoConfig(max_iterations=60, settle_v=1e-9, settle_w=1e-9)
    running = begun(robot, dry=True, dt=0.02, law=Steady(), config=config)
    running.take_target()
    running.tell("start", "dry run")
    assert "(not sent)" in running.wait("iteration")
    running.wait("stands still")
    assert robot.moves == robot.stops == 0


def test_what_is_shown_has_no_control_characters(begun: Callable[..., Running]) -> None:
    running = begun(Grey())
    said = running.tell("\x1b[2J\x1b]0;owned\x07\nsiame: stands still" + 10**6 * "x", "is not known")
    assert said.isprintable()
    assert len(said) < 120


@pytest.mark.parametrize("last", [b"", b"quit\n"])
def test_the_keyboard_may_send_anything(begun: Callable[..., Running], last: bytes) -> None:
    robot = Grey()
    running = begun(robot, law=Steady(), config=LONG)
    running.wait("ready")
    running.session.keyboard(io.BytesIO(b"st\xf6p\n\n" + 9000 * b"x" + b"\n" + last), alone=not last)
    assert "is not known" in running.wait("st\ufffdp")
    assert "is not known" in running.wait("'xxx")
    running.thread.join(10)
    assert not running.thread.is_alive(), "nobody is left who could command"


def test_a_keyboard_that_fails_is_a_fault(begun: Callable[..., Running]) -> None:
    class Broken(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            raise OSError("gone")

    robot = Grey()
    running = begun(robot, law=Steady(), config=LONG)
    running.take_target()
    running.tell("start", "moving")
    moving(robot)
    running.session.keyboard(Broken())
    assert "the keyboard is gone" in running.wait("stands still")
    stands_still(robot)
    running.wait("ready")
    running.session.command("start")
    assert "thread 'keyboard' failed (OSError: gone)" in running.wait("stands still after 0 iterations")


@pytest.mark.slow
def test_the_program_ends_while_the_keyboard_is_read() -> None:
    """Python aborts at its end where a thread reads sys.stdin itself."""
    code = """
from siame_se3.commissioning.session import Session
class Plant:
    def ask_to_stop(self, reason): print(reason)
    def watch(self, fault): self.fault = fault
plant = Plant()
session = Session(plant, None, None, None, say=print)
session.keyboard()
"""
    reading = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert reading.wait(120) == 0
    assert reading.stdin is not None
    assert reading.stdout is not None
    reading.stdin.close()
    reading.stdout.close()


class Alone:
    """A session in the main thread, where signals arrive."""

    def __init__(self, robot: Robot, at: dict[int, list[int]], config: ServoConfig = LONG) -> None:
        """at: signals to send at numbers of moves."""
        self.said: list[str] = []
        self.runs: list[Trajectory] = []
        self.plant = LivePlant(robot, robot, None, 0.01, 0.6)
        self.session = Session(
            *(self.plant, Steady(), config, SAFETY, View(torch.rand(1, 3, 8, 8)), self.said.append, self.runs.append)
        )
        latest = robot.latest

        def looked(after: float, wait: float) -> Frame | None:
            for number in at.pop(robot.moves, []):
                signal.raise_signal(number)
            return latest(after, wait)

        robot.latest = looked  # type: ignore[method-assign]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGQUIT"])
def test_signals_end_the_session_after_the_stop(name: str) -> None:
    robot = Grey()
    number = getattr(signal, name)
    before = signal.getsignal(number)
    alone = Alone(robot, {5: [number, number]})  # the second one skips nothing
    alone.session.command("start")
    with pytest.raises(Interrupted, match=name):
        alone.session.run()
    assert robot.moves == 5
    assert robot.stops >= 2
    assert alone.runs[0].reason[0] in ("Ctrl-C", name)
    assert signal.getsignal(number) == before
    alone.plant.close()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTSTP"])
def test_ctrl_c_ends_a_run_and_voids_what_was_asked(name: str) -> None:
    robot = Grey()
    alone = Alone(robot, {5: [getattr(signal, name)], 12: [signal.SIGTERM]})
    alone.session.command("start")
    alone.session.command("start")
    done: list[int] = []

    def again(trajectory: Trajectory) -> None:
        done.append(robot.moves)

    alone.session._done = again
    said = alone.said.append

    def say(line: str) -> None:
        said(line)
        if line.startswith("ready") and len(done) == 1:
            done.append(robot.moves)
            alone.session.command("start")  # asked for after it stood still

    alone.session._print = say
    with pytest.raises(Interrupted):
        alone.session.run()
    assert done == [5, 5, 12], "it moved by itself, or did not obey a new start"
    assert any("void: start" in line for line in alone.said)
    alone.plant.close()


def test_one_run_for_scripts() -> None:
    robot = Grey()
    alone = Alone(robot, {}, ServoConfig(gain=0.01, max_iterations=4))
    assert alone.session.run_once().reason == ["iterations"]
    assert int(alone.runs[0].iterations) == 4
    alone = Alone(Grey(), {3: [signal.SIGINT]})
    with pytest.raises(Interrupted):
        alone.session.run_once()
    assert len(alone.runs) == 1, "it is kept"
    alone.session.command("stop")
    with pytest.raises(RobotError, match="'stop' was said"):
        alone.session.run_once()
