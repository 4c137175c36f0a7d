"""A live robot on a page: what the page may do, and when."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch

from browser import wait_for
from page_helpers import Endless, Still
from siame_se3.commissioning.session import Session
from siame_se3.errors import RobotError
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import View
from siame_se3.page.robot import ARMED_FOR, LiveRobot
from siame_se3.page.style import heading, settings_of
from siame_se3.plants.robots.live import LivePlant
from siame_se3.plants.robots.threads import Worker
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.safety import Safety

SAFETY = Safety(max_age=60.0, frozen=60.0, jump=2.0, reach=0.0, no_progress=0.0)


class Desk:
    """A robot, its session, its page's show, and a clock of the arming."""

    def __init__(self, camera: Camera, dry: bool = False) -> None:
        self.robot = Still(camera)
        self.robot.now = time.monotonic
        self.plant = LivePlant(self.robot, self.robot, None, 0.01, dry=dry, late=60.0, answer=20.0)
        target = View(torch.full((1, 3, *camera.size), 0.5), None, None, camera)
        self.lines: list[str] = []
        config = ServoConfig(max_iterations=100_000)
        self.session = Session(self.plant, Endless(), config, SAFETY, target, self.lines.append)
        self.now = 0.0
        self.show = LiveRobot(self.session, "test", lambda: self.now)
        self.worker = Worker("session", self.session.run, endless=False)
        assert self.session.wait_until_idle(20)

    def moving(self) -> bool:
        return not self.session.wait_until_idle(0)


@pytest.fixture
def desk(camera: Camera) -> Iterator[Desk]:
    found = Desk(camera)
    yield found
    found.session.command("quit")
    assert found.worker.join(20)
    found.plant.close()


def test_a_page_starts_nothing_that_the_terminal_has_not_armed(desk: Desk) -> None:
    assert "type 'arm' in the terminal" in desk.show.barred()
    for word in (desk.show.start, desk.show.goal_here):
        with pytest.raises(RobotError, match="type 'arm' in the terminal"):
            word()
    time.sleep(0.05)
    assert not desk.moving()
    assert desk.robot.moves == 0


def test_armed_it_starts_and_stops(desk: Desk) -> None:
    desk.show.terminal("arm\n")
    assert desk.show.barred() == ""
    desk.show.start()
    wait_for(lambda: desk.robot.moves > 2, 20)
    desk.show.stop()
    assert desk.session.wait_until_idle(20)
    moves = desk.robot.moves
    time.sleep(0.05)
    assert desk.robot.moves == moves


def test_stop_needs_no_arming(desk: Desk) -> None:
    desk.show.terminal("start")
    wait_for(lambda: desk.robot.moves > 2, 20)
    desk.show.stop()
    assert desk.session.wait_until_idle(20)


@pytest.mark.parametrize("end", ["disarm", "time"])
def test_arming_ends(desk: Desk, end: str) -> None:
    desk.show.terminal("arm")
    if end == "time":
        desk.now += ARMED_FOR
    else:
        desk.show.terminal("disarm")
    with pytest.raises(RobotError, match="arm"):
        desk.show.start()


def test_a_terminal_that_is_gone_disarms(desk: Desk) -> None:
    """Its keyboard ends: nobody beside the robot can stop it there any more."""
    import io

    desk.show.terminal("arm")
    desk.session.keyboard(io.BytesIO(b""), False, desk.show.terminal, desk.show.disarm)
    wait_for(lambda: desk.show.barred() != "", 20)


def test_words_for_the_session_pass(desk: Desk) -> None:
    desk.show.terminal("dance")
    assert any("'dance' is not known" in line for line in desk.lines)


def test_a_run_ends_when_its_starter_closes_the_page(desk: Desk) -> None:
    desk.show.terminal("arm")
    desk.show.start(3)
    wait_for(lambda: desk.robot.moves > 2, 20)
    desk.show.left(4)
    time.sleep(0.05)
    assert desk.moving(), "somebody else's tab stopped it"
    desk.show.left(3)
    assert desk.session.wait_until_idle(20)


def test_a_run_does_not_begin_whose_starter_has_left(desk: Desk) -> None:
    """It was asked for, and has not begun."""
    desk.show.terminal("arm")
    with desk.session._inbox.lock:
        desk.show.start(3)
        desk.show.left(3)
    time.sleep(0.2)
    assert desk.robot.moves == 0
    assert not desk.moving()


def test_a_run_of_the_terminal_goes_on_when_tabs_are_closed(desk: Desk) -> None:
    desk.show.terminal("arm")
    desk.show.start(3)
    wait_for(lambda: desk.robot.moves > 2, 20)
    desk.show.stop()
    assert desk.session.wait_until_idle(20)
    desk.show.terminal("start")
    wait_for(desk.moving, 20)
    desk.show.left(3)
    time.sleep(0.05)
    assert desk.moving()


def test_a_dry_run_is_marked_and_sends_nothing(camera: Camera) -> None:
    desk = Desk(camera, dry=True)
    assert "DRY RUN" in desk.show.title
    assert 'class="dry"' in heading(desk.show.title)
    desk.show.terminal("arm")
    desk.show.start()
    wait_for(lambda: bool(desk.plant.asked.any()), 20)
    now = desk.show.tracks[0].look()
    assert now.sample.twist[0] > 0
    desk.session.command("quit")
    assert desk.worker.join(20)
    desk.plant.close()
    assert desk.robot.moves == 0


def test_what_a_robot_does_not_know_is_not_shown(desk: Desk) -> None:
    now = desk.show.tracks[0].look()
    assert now.T is None
    assert now.T_d is None
    assert now.image is not None
    assert now.sample.difference == pytest.approx(0, abs=1e-6)


def test_gain_and_limits_are_those_of_the_terminal() -> None:
    text = settings_of(ServoConfig(gain=2.5), Safety(max_twist=(0.1, 0.1, 0.2, 0.3, 0.3, 0.3), reach=0.8))
    assert "gain 2.5 /s; at most 0.2 m/s and 17.2 deg/s about each axis, within 0.8 m of the start" in text


def test_closing_the_page_stops_the_robot_and_leaves_the_session(desk: Desk) -> None:
    desk.show.terminal("start")
    wait_for(lambda: desk.robot.moves > 2, 20)
    desk.show.close()
    assert desk.session.wait_until_idle(20)
    assert desk.worker.alive


def test_who_is_refused_is_not_who_started_it(desk: Desk) -> None:
    """Somebody else presses Start while it moves, and leaves, or the one who started it does."""
    desk.show.terminal("arm")
    desk.show.start(3)
    wait_for(lambda: desk.robot.moves > 2, 20)
    desk.show.start(4)  # refused: it moves
    desk.show.left(4)
    time.sleep(0.05)
    assert desk.moving()
    desk.show.disarm()
    with pytest.raises(RobotError, match="type 'arm'"):
        desk.show.start(4)
    desk.show.left(3)
    assert desk.session.wait_until_idle(20)


def test_a_press_that_waited_too_long_starts_nothing(desk: Desk) -> None:
    desk.show.terminal("arm")
    desk.show.start(3, 5.0)
    assert any("'start' was said 5.0 s ago, and is void" in line for line in desk.lines)
    desk.show.disarm()
    desk.show.terminal("arm", 5.0)
    assert desk.show.barred()
    time.sleep(0.1)
    assert desk.robot.moves == 0


def test_a_robot_whose_page_does_not_work_any_more_does_not_go_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from siame_se3.page.app import Page
    from siame_se3.page.config import PageConfig

    page = Page(desk.show, PageConfig(port=0), 0.6)
    desk.show.terminal("start")
    wait_for(lambda: desk.robot.moves > 2, 20)

    def fails() -> None:
        raise ValueError("no such client")

    monkeypatch.setattr(desk.show.tracks[0], "look", fails)
    assert desk.session.wait_until_idle(20)
    assert any("thread 'page: look' failed (ValueError" in line for line in desk.lines)
    page.close()
