"""A live robot on a page: what the page may do, and when."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from browser import wait_for
from page_helpers import Desk
from siame_se3.errors import RobotError
from siame_se3.geometry.camera import Camera
from siame_se3.page.robot import ARMED_FOR
from siame_se3.page.style import heading, settings_of, state_of
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.safety import Safety


@pytest.fixture
def desk(camera: Camera) -> Iterator[Desk]:
    found = Desk(camera)
    yield found
    found.close()


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


def test_a_run_does_not_begin_whose_starter_leaves_while_it_is_looked_for(desk: Desk) -> None:
    """Right after it was seen to be there: neither saw the other."""
    desk.show.terminal("arm")

    def leaves() -> str:
        desk.show.left(3)
        return ""

    desk.show.start(3, 0.05, leaves)
    time.sleep(0.2)
    assert desk.robot.moves == 0
    assert not desk.moving()


def test_who_is_not_there_any_more_starts_nothing_and_sets_no_goal(desk: Desk) -> None:
    desk.show.terminal("arm")
    target = desk.session.target
    with pytest.raises(RobotError, match="your browser had not answered"):
        desk.show.start(3, 0.0, lambda: "your browser had not answered for 9 s")
    with pytest.raises(RobotError, match="your browser had not answered"):
        desk.show.goal_here(0.0, lambda: "your browser had not answered for 9 s")
    time.sleep(0.1)
    assert desk.robot.moves == 0
    assert desk.session.target is target


def test_an_old_image_is_not_shown_as_if_it_were_live(desk: Desk) -> None:
    track = desk.show.tracks[0]
    assert "no image" not in state_of(track, track.look(), "#000000", False)
    began = time.monotonic()
    desk.robot.now = lambda: began - 3.2  # none has come since
    desk.robot.latest = lambda after, wait: None  # type: ignore[method-assign]
    track._stamp = began - 3.2
    assert "no image for 3 s" in state_of(track, track.look(), "#000000", False)


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
