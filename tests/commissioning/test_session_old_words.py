"""What was said long ago, or to nobody, moves nothing; and a robot that has not taken a stop is not said to stand still."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from session_helpers import Grey, Running, Steady
from siame_se3.commissioning.keyboard import Words
from siame_se3.errors import RobotError
from siame_se3.laws.types import Law, State, View
from siame_se3.plants.robots.interfaces import Frame
from siame_se3.plants.robots.live import LivePlant
from siame_se3.plants.robots.pulse import Pulse, awake
from siame_se3.servo.config import ServoConfig

LONG = ServoConfig(gain=0.01, max_iterations=100_000)
TARGET = View(torch.rand(1, 3, 8, 8))


@pytest.fixture
def begun() -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def begin(robot: Grey, **changes: Any) -> Running:
        made.append(Running(robot, law=changes.pop("law", Steady()), config=LONG, **changes))
        return made[-1]

    yield begin
    for running in made:
        if running.thread.is_alive():
            running.session.command("quit")
            running.thread.join(60)
        running.plant.close()


def moves(robot: Grey) -> None:
    until = time.monotonic() + 20
    while robot.moves < 3:
        assert time.monotonic() < until, "it does not move"
        time.sleep(0.01)


@pytest.mark.parametrize("word", ["start", "target"])
def test_what_was_typed_before_ready_is_void(begun: Callable[..., Running], word: str) -> None:
    robot = Grey()
    running = begun(robot, target=TARGET)
    running.session.keyboard(io.BytesIO(word.encode() + b"\n" + b"x" * 5000 + b" start\nstart"), alone=False)
    running.wait(f"'{word}' was said before 'ready', and is void; say it again")
    running.wait("'start' was said before 'ready'")
    running.start()
    running.wait("ready")
    time.sleep(0.2)
    assert robot.moves == 0
    assert "moving" not in running.lines
    running.session.heard("start")
    running.wait("moving")


def test_a_stop_or_quit_of_before_counts(begun: Callable[..., Running]) -> None:
    running = begun(Grey(), target=TARGET)
    running.session.heard("quit")
    running.start().thread.join(20)
    assert not running.thread.is_alive()


def test_what_is_read_after_a_suspension_is_void(begun: Callable[..., Running]) -> None:
    robot, now = Grey(), [100.0]
    running = begun(robot, target=TARGET)
    running.session._pulse = Pulse(running.session._suspended, lambda: now[0])
    running.start()
    running.wait("ready")
    with running.session._inbox.lock:  # the reader is the first that goes on, or the pulse
        now[0] += 8
        running.session.command("start")
    running.wait("'start' is void: the program was suspended; say it again")
    time.sleep(0.3)  # a beat
    assert running.session._pulse.interrupted()
    now[0] += 0.6
    assert not running.session._pulse.interrupted()
    assert robot.moves == 0
    running.session.command("start")
    running.wait("moving")
    now[0] += 8
    assert "the program was suspended for 8." in running.wait("stands still")


def test_a_start_that_cannot_begin_soon_lapses(begun: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    """A law that takes long to be made ready, images that come late, a terminal that is held."""

    class Slow(Steady):
        aimed = 0

        def aim(self, target: View) -> tuple[Law, State]:
            self.aimed += 1
            if self.aimed == 2:  # once before it is ready, and at the start
                time.sleep(0.4)
            return super().aim(target)

    monkeypatch.setattr("siame_se3.commissioning.session.BEGINS", 0.2)
    robot = Grey()
    running = begun(robot, law=Slow(), target=TARGET)
    running.start()
    running.wait("ready")
    running.tell("start", "moving")
    assert "s too late after it was asked for; ask again" in running.wait("stands still")
    assert robot.moves == 0
    running.wait("ready")
    running.tell("start", "moving")
    moves(robot)


def test_a_robot_that_has_not_taken_the_stop_does_not_stand_still(begun: Callable[..., Running]) -> None:
    robot = Grey()
    running = begun(robot, target=TARGET, answer=0.2)
    stop = robot.stop

    def fails() -> None:
        raise OSError("bus off")

    running.start()
    running.wait("ready")
    running.tell("start", "moving")
    moves(robot)
    robot.stop = fails  # type: ignore[method-assign]
    running.session.command("stop")
    line = running.wait("THE ROBOT MAY STILL MOVE")
    assert "stop failed (OSError: bus off); press the emergency stop" in line
    assert "NOT ready" in running.wait("press the emergency stop")
    robot.stop = stop  # type: ignore[method-assign]
    assert not any("stands still" in line for line in running.lines[:-1])
    time.sleep(0.2)
    assert robot.stops, "it is tried again until it is taken"


def test_a_session_ends_though_nothing_can_be_shown_any_more(begun: Callable[..., Running]) -> None:
    running = begun(Grey(), target=TARGET)
    running.start()
    running.wait("ready")

    def gone(line: str) -> None:
        raise BrokenPipeError

    running.session._print = gone

    def take(word: str, age: float) -> None:
        raise BrokenPipeError

    running.session.keyboard(io.BytesIO(b"start\n"), True, take)
    running.thread.join(20)
    assert not running.thread.is_alive()


def test_a_pulse_tells_of_a_gap() -> None:
    now, told = [0.0], threading.Event()
    pulse = Pulse(lambda seconds: told.set(), lambda: now[0])
    assert not pulse.interrupted(), "it is not entered"
    with pulse:
        time.sleep(0.25)
        assert not told.is_set()
        now[0] = 3.0
        assert told.wait(5)


def test_a_file_of_starts_starts_nothing(begun: Callable[..., Running]) -> None:
    """Longer than a pipe holds: what was read after 'ready' had been written long before."""
    robot = Grey()
    running = begun(robot, target=TARGET)
    running.session.keyboard(io.BytesIO(b"start\n" * 40_000), alone=False)
    running.start()
    running.wait("ready")
    time.sleep(0.3)
    assert robot.moves == 0
    assert "moving" not in running.lines


@pytest.mark.parametrize("way", ["keyboard", "topic"])
def test_a_word_is_as_old_as_when_it_was_given(
    begun: Callable[..., Running], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output is held (Ctrl-S), and with it whoever tells of a word that is not known; 'start' is given then, and heard much later."""
    monkeypatch.setattr("siame_se3.commissioning.session.LASTS", 0.2)
    robot, free, held = Grey(), threading.Event(), threading.Event()
    running = begun(robot, target=TARGET)
    show = running.session._print

    def say(line: str) -> None:
        if "strat" in line:
            held.set()
            free.wait(20)
        show(line)

    running.session._print = say
    running.start()
    running.wait("ready")
    if way == "keyboard":
        read, write = os.pipe()
        running.session.keyboard(os.fdopen(read, "rb"))
        os.write(write, b"strat\nstart\n")
    else:
        words = Words("commands", running.session.heard)
        words.put("strat")
        words.put("start")
    assert held.wait(20)
    time.sleep(0.4)
    free.set()
    running.wait("s ago, and is void; say it again")
    assert robot.moves == 0
    running.session.heard("start")
    running.wait("moving")
    if way == "keyboard":
        os.close(write)


def test_a_stop_is_heard_while_the_output_is_held(begun: Callable[..., Running]) -> None:
    heard: list[str] = []
    held = threading.Event()

    def hear(word: str, age: float) -> None:
        if word == "strat":
            held.wait(20)
        heard.append(word)

    words = Words("keyboard", hear)
    for word in ("strat", "start", " Stop\n"):
        words.put(word)
    assert heard == ["stop"]
    held.set()


def test_a_start_counts_once_ready_has_been_shown(begun: Callable[..., Running]) -> None:
    robot, free, showing = Grey(), threading.Event(), threading.Event()
    running = begun(robot, target=TARGET)
    show = running.session._print

    def say(line: str) -> None:
        if line.startswith("ready"):
            showing.set()
            free.wait(20)
        show(line)

    running.session._print = say
    running.start()
    assert showing.wait(20)
    words = Words("keyboard", running.session.heard)
    words.put("start")
    time.sleep(0.2)
    free.set()
    running.wait("'start' was said before 'ready', and is void")
    assert robot.moves == 0


def test_a_run_for_scripts_does_not_begin_after_a_suspension(begun: Callable[..., Running]) -> None:
    robot, now = Grey(), [100.0]
    running = begun(robot, target=TARGET)
    session = running.session
    session._pulse = Pulse(session._suspended, lambda: now[0])

    class Slow(Steady):
        def aim(self, target: View) -> tuple[Law, State]:
            now[0] += 12.0  # while it gets ready
            time.sleep(0.4)
            return super().aim(target)

    session.controller = Slow()
    with pytest.raises(RobotError, match=r"'start' is void: the program was suspended for 12\.\d s"):
        session.run_once()
    assert robot.moves == 0


def test_the_target_is_a_copy(begun: Callable[..., Running]) -> None:
    """A camera source may give the same memory again."""
    robot = Grey()
    same = torch.rand(3, 8, 8)
    robot.latest = lambda after, wait: Frame(same, time.monotonic())  # type: ignore[method-assign]
    running = begun(robot).start()
    running.take_target()
    assert running.session.target is not None
    assert running.session.target.image is not None
    before = running.session.target.image.clone()
    same.zero_()
    assert torch.equal(running.session.target.image, before)


def test_a_robot_stays_where_it_is_after_a_suspension() -> None:
    """Between the test motions of `check`, or the views of a scan: nothing takes that back."""
    robot = Grey()
    plant = LivePlant(robot, robot, None, 0.002, 0.6)
    with awake(plant):
        assert plant.reset(None).fault == ""
        time.sleep(0.05)
        pulse = next(m for m in plant._monitors if "awake" in m.__qualname__)
        assert pulse() == ""
        plant.ask_to_stop("the program was suspended for 12.0 s")  # as the pulse does
        assert plant.reset(None).fault == "the program was suspended for 12.0 s"
        plant.step(torch.full((1, 6), 0.01))
    assert robot.moves == 0
    assert pulse not in plant._monitors
    plant.close()


def test_a_keyboard_that_ends_stops_the_robot_before_anything_is_said(begun: Callable[..., Running]) -> None:
    """The output is held, or a pipe that is full."""
    robot, free, disarmed = Grey(), threading.Event(), threading.Event()
    running = begun(robot, target=TARGET)
    show = running.session._print

    def say(line: str) -> None:
        if "is gone" in line and "stands still" not in line:
            free.wait(20)
        show(line)

    running.session._print = say
    running.start()
    running.wait("ready")
    running.tell("start", "moving")
    moves(robot)
    running.session.keyboard(io.BytesIO(b""), disarm=disarmed.set)
    assert "the keyboard is gone" in running.wait("stands still")
    assert disarmed.is_set()
    assert not any("disarm" in line for line in running.lines)
    free.set()


def test_disarm_is_done_at_once_and_said_in_its_turn() -> None:
    held, heard, disarmed = threading.Event(), [], threading.Event()

    def hear(word: str, age: float) -> None:
        held.wait(20)
        heard.append(word)

    words = Words("keyboard", hear, disarmed.set)
    words.put("dance")
    words.put("Disarm\n")
    assert disarmed.is_set()
    assert heard == []
    held.set()
    until = time.monotonic() + 10
    while heard != ["dance", "disarm"]:
        assert time.monotonic() < until
        time.sleep(0.01)
