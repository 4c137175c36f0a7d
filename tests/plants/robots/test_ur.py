"""The UR driver against a double with ur_rtde's interface: hardware has not been met."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from siame_se3.errors import RobotError, SiameError
from siame_se3.geometry import lie
from siame_se3.plants.robots.interfaces import WATCHDOG
from siame_se3.plants.robots.ur import UrDriver


class Robot:
    """Both of ur_rtde's interfaces; `lost` makes every call fail as a broken connection does."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.protective = self.emergency = self.lost = False
        self.connected = self.running = True
        self.refused: set[str] = set()  # calls that return False, as ur_rtde's do when the connection fails
        self.slow: dict[str, float] = {}  # calls that take so long, as they do while it reconnects [s]
        self.q = [0.0, -1.5, 1.5, -1.5, -1.5, 0.0]
        self.tcp = [0.3, -0.2, 0.4, 0.1, 3.0, -0.2]

    def _said(self, *call: Any) -> bool:
        if self.lost:
            raise RuntimeError("RTDEReceiveInterface: not connected")
        self.calls.append((*call, time.monotonic()))
        time.sleep(self.slow.get(call[0], 0.0))
        return call[0] not in self.refused

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [call for call in self.calls if call[0] == name]

    def setWatchdog(self, min_frequency: float = 10.0) -> bool:
        return self._said("setWatchdog", min_frequency)

    def kickWatchdog(self) -> bool:
        return self._said("kickWatchdog")

    def speedL(self, xd: list[float], acceleration: float = 0.25, time: float = 0.0) -> bool:
        return self._said("speedL", xd, acceleration, time)

    def speedStop(self, a: float = 10.0) -> bool:
        return self._said("speedStop", a)

    def stopScript(self) -> None:
        self._said("stopScript")

    def disconnect(self) -> None:
        self.connected = False

    def isConnected(self) -> bool:
        return self.connected and not self.lost

    def isProgramRunning(self) -> bool:
        return self.running

    def isProtectiveStopped(self) -> bool:
        return self.protective

    def isEmergencyStopped(self) -> bool:
        return self.emergency

    def getActualQ(self) -> list[float]:
        return self.q

    def getActualTCPPose(self) -> list[float]:
        if self.lost:
            raise RuntimeError("not connected")
        return self.tcp


@pytest.fixture
def robot() -> Robot:
    return Robot()


@pytest.fixture
def driver(robot: Robot) -> Iterator[UrDriver]:
    made = UrDriver("10.0.0.2", control=robot, receive=robot)
    yield made
    robot.lost = False
    made.close()


V = torch.tensor([0.01, 0.02, -0.03, 0.1, 0.0, -0.2], dtype=torch.float64)


def wait_for(what: Any, seconds: float = 5.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "did not come"
        time.sleep(0.002)


def test_twists_are_sent_at_the_controllers_rate_until_they_are_old(robot: Robot, driver: UrDriver) -> None:
    assert robot.named("setWatchdog")[0][1] == pytest.approx(1 / WATCHDOG)
    assert robot.named("speedL") == []
    driver.move(V)
    sent_at = time.monotonic()
    wait_for(lambda: robot.named("speedStop"))
    sent = robot.named("speedL")
    assert len(sent) > 1
    assert all(call[1] == V.tolist() and call[2:4] == (2.0, 0.0) for call in sent)
    assert robot.named("speedStop")[0][-1] - sent_at >= WATCHDOG
    count = len(sent)
    time.sleep(0.05)
    assert len(robot.named("speedL")) == count, "nothing goes on by itself"
    assert len(robot.named("kickWatchdog")) > count, "the robot's own watchdog is fed while this process lives"


def test_stop_is_at_once(robot: Robot, driver: UrDriver) -> None:
    driver.move(V)
    wait_for(lambda: robot.named("speedL"))
    driver.stop()
    count = len(robot.named("speedL"))
    assert robot.calls[-1][0] in ("speedStop", "kickWatchdog")
    time.sleep(0.05)
    assert len(robot.named("speedL")) == count


def test_a_twist_of_zero_brakes_as_a_stop_does(robot: Robot, driver: UrDriver) -> None:
    """By speedL it would brake no faster than it follows."""
    zero = torch.zeros(6, dtype=torch.float64)
    driver.move(zero)
    time.sleep(0.03)
    assert robot.named("speedL") == robot.named("speedStop") == [], "it stands already"
    driver.move(V)
    wait_for(lambda: robot.named("speedL"))
    driver.move(zero)
    wait_for(lambda: robot.named("speedStop"))
    count = len(robot.named("speedL"))
    for _ in range(3):
        driver.move(zero)
        time.sleep(0.01)
    assert len(robot.named("speedL")) == count
    assert len(robot.named("speedStop")) == 1
    assert all(any(call[1]) for call in robot.named("speedL"))
    assert driver.state().fault == ""
    driver.move(V)
    wait_for(lambda: len(robot.named("speedL")) > count)


def test_the_robot_follows_as_quickly_as_commands_change(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    """speedL's one number holds for rotations too, and was a quarter of their limit; --safety.max-change did not reach it."""
    from siame_se3.cli.robot import Robot as Options
    from siame_se3.servo.safety import Safety

    monkeypatch.setattr("siame_se3.plants.robots.ur._connect", lambda host, rate, dry: (robot, robot))
    for safety in (Safety(), Safety(max_change=(0.5, 0.5, 3.5, 1.0, 1.0, 1.0))):
        made = Options(robot="ur", host="10.0.0.2")._driver(None, False, safety)
        made.move(V)
        count = len(robot.named("speedL"))
        wait_for(lambda count=count: len(robot.named("speedL")) > count)
        assert robot.named("speedL")[-1][2] == max(safety.max_change)
        made.close()
        robot.connected = True
    made = UrDriver("10.0.0.2", control=robot, receive=robot)
    made.move(V)
    wait_for(lambda: robot.named("speedL")[-1][2] == max(Safety().max_change))
    made.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protective": True}, "protective stop"),
        ({"emergency": True}, "emergency stop"),
        ({"connected": False}, "lost connection"),
        ({"lost": True}, "lost connection"),
        ({"running": False}, "program has ended"),
        ({"q": [0, 0, 6.27, 0, 0, 0]}, "joint 2 is within 2 deg of its limit"),
        ({"refused": {"speedL"}}, "lost connection"),
        ({"slow": {"speedL": 0.15}}, "lost connection"),
        ({"refused": {"kickWatchdog"}}, "lost connection"),
    ],
)
def test_faults_end_the_motion_and_it_does_not_go_on(
    robot: Robot, driver: UrDriver, change: dict[str, Any], words: str
) -> None:
    driver.move(V)
    wait_for(lambda: robot.named("speedL"))
    sound = {name: getattr(robot, name) for name in change}
    vars(robot).update(change)
    wait_for(lambda: driver.state().fault)
    assert words in driver.state().fault
    with pytest.raises(SiameError, match=words):
        driver.move(V)
    vars(robot).update(sound)
    count = len(robot.named("speedL"))
    time.sleep(0.05)
    assert words in driver.state().fault, "it stays until a new start of the program"
    assert len(robot.named("speedL")) == count


def test_a_stop_that_fails_is_tried_again_and_the_watchdog_is_not_fed(robot: Robot, driver: UrDriver) -> None:
    driver.move(V)
    wait_for(lambda: robot.named("speedL"))
    robot.refused = {"speedStop"}
    with pytest.raises(RobotError, match=r"not taken a stop|lost connection"):
        driver.stop()
    count = len(robot.named("kickWatchdog"))
    wait_for(lambda: len(robot.named("speedStop")) > 3)
    assert len(robot.named("kickWatchdog")) == count, "else the robot would keep its last twist"
    assert driver.state().fault
    robot.refused = set()


def test_dry_runs_only_read(robot: Robot) -> None:
    driver = UrDriver("10.0.0.2", receive=robot, dry=True)
    assert driver.state().T_bt is not None
    driver.stop()
    with pytest.raises(SiameError, match="dry run"):
        driver.move(V)
    driver.close()
    assert robot.calls == []


def test_pose_and_frame_are_the_tools_in_the_bases(robot: Robot, driver: UrDriver) -> None:
    assert driver.frame == "base"
    T_bt = driver.state().T_bt
    torch.testing.assert_close(T_bt, lie.pose_from_vector(torch.tensor(robot.tcp, dtype=torch.float64)))


def test_close_stops_and_ends_the_script(robot: Robot) -> None:
    driver = UrDriver("10.0.0.2", control=robot, receive=robot)
    driver.move(V)
    driver.close()
    assert [call[0] for call in robot.calls[-2:]] == ["speedStop", "stopScript"]


def test_what_cannot_be_is_refused(robot: Robot, driver: UrDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SiameError, match="not finite"):
        driver.move(V * torch.nan)
    robot.protective = True
    with pytest.raises(SiameError, match="see to that on the pendant"):
        UrDriver("10.0.0.2", control=robot, receive=robot)
    monkeypatch.setitem(sys.modules, "rtde_control", None)
    with pytest.raises(SiameError, match=r"siame-se3\[ur\]"):
        UrDriver("10.0.0.2")


@pytest.mark.parametrize("q", [[], [0.0] * 5, [0.0, float("nan"), 0.0, 0.0, 0.0, 0.0]])
def test_one_wrong_answer_of_the_robot_is_a_fault(robot: Robot, driver: UrDriver, q: list[float]) -> None:
    """It used to end the sending thread without a word, with the robot's last twist."""
    driver.move(V)
    wait_for(lambda: robot.named("speedL"))
    robot.q = q
    wait_for(lambda: driver.state().fault)
    robot.q = [0.0] * 6
    assert f"it sent {len(q)} joint angles" in driver.state().fault
    wait_for(lambda: robot.named("speedStop"))
    with pytest.raises(RobotError, match="joint angles"):
        driver.move(V)


@pytest.mark.parametrize("tcp", [[], [0.0] * 7, [float("nan")] * 6])
def test_a_pose_that_is_none_is_a_fault(robot: Robot, driver: UrDriver, tcp: list[float]) -> None:
    robot.tcp = tcp
    state = driver.state()
    assert state.T_bt is None
    assert f"it sent {len(tcp)} numbers as the tool's pose" in state.fault


def test_a_sender_that_fails_is_named_and_brakes(robot: Robot, driver: UrDriver) -> None:
    driver.move(V)
    wait_for(lambda: robot.named("speedL"))
    robot.isProtectiveStopped = lambda: 1 // 0  # type: ignore[method-assign, return-value]
    wait_for(lambda: driver.state().fault)
    assert "ZeroDivisionError" in driver.state().fault
    wait_for(lambda: robot.named("speedStop"))
    kicks = len(robot.named("kickWatchdog"))
    time.sleep(0.05)
    assert len(robot.named("kickWatchdog")) == kicks, "the robot's own watchdog is fed by nobody"
    with pytest.raises(RobotError, match="ZeroDivisionError"):
        driver.move(V)


def test_a_report_that_does_not_come_is_a_fault(robot: Robot, driver: UrDriver) -> None:
    free = threading.Event()
    driver.move(V)
    wait_for(lambda: robot.named("speedL"))
    robot.isProtectiveStopped = lambda: free.wait(5) and False  # type: ignore[method-assign]
    wait_for(lambda: driver.state().fault, 2.0)
    assert "a call has not returned for 0.1 s" in driver.state().fault
    free.set()
    wait_for(lambda: robot.named("speedStop"))


def test_a_call_that_does_not_return_holds_up_nobody(robot: Robot, driver: UrDriver) -> None:
    """As ur_rtde's do while it reconnects."""
    free = threading.Event()
    robot.speedL = lambda *args: free.wait(5)  # type: ignore[method-assign]
    driver.move(V)
    time.sleep(WATCHDOG + 0.05)
    began = time.monotonic()
    assert "a call has not returned for 0.1 s" in driver.state().fault
    with pytest.raises(RobotError, match="has not returned"):
        driver.move(V)
    with pytest.raises(RobotError, match="has not returned"):
        driver.stop()
    assert time.monotonic() - began < 2 * WATCHDOG
    kicks = len(robot.named("kickWatchdog"))
    free.set()
    wait_for(lambda: robot.named("speedStop"))
    assert len(robot.named("kickWatchdog")) == kicks


def test_closing_leaves_a_call_behind_that_does_not_return(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = UrDriver("10.0.0.2", control=robot, receive=robot)
    free = threading.Event()
    robot.speedL = lambda *args: free.wait(5)  # type: ignore[method-assign]
    driver.move(V)
    time.sleep(0.05)
    assert driver._sender is not None
    join = driver._sender.join
    monkeypatch.setattr(driver._sender, "join", lambda seconds: join(0.05))
    with pytest.raises(RobotError, match="check that the robot stands still"):
        driver.close()
    assert not robot.connected
    free.set()
    driver.close()  # a second time does nothing


def test_twists_too_fast_are_refused(robot: Robot, driver: UrDriver) -> None:
    driver.move(V)
    wait_for(lambda: robot.named("speedL"))
    with pytest.raises(RobotError, match="over the hard limit of 1 m/s"):
        driver.move(V * 1000)
    assert robot.named("speedStop")
    assert all(max(map(abs, call[1])) < 1 for call in robot.named("speedL"))


@pytest.mark.parametrize("fails", ["refused", "raises"])
def test_a_robot_without_its_own_watchdog_is_not_driven(robot: Robot, fails: str) -> None:
    """It is what stops the arm when this program dies."""
    if fails == "refused":
        robot.refused.add("setWatchdog")
    else:

        def lost(min_frequency: float) -> bool:
            raise RuntimeError("not connected")

        robot.setWatchdog = lost  # type: ignore[method-assign]
    with pytest.raises(RobotError, match="the robot's own watchdog is not set"):
        UrDriver("10.0.0.2", control=robot, receive=robot)
    assert robot.named("stopScript")
    assert not robot.connected


def test_a_stopped_robot_is_let_go(robot: Robot) -> None:
    robot.protective = True
    with pytest.raises(RobotError, match="protective stop; see to that on the pendant"):
        UrDriver("10.0.0.2", control=robot, receive=robot)
    assert not robot.connected
