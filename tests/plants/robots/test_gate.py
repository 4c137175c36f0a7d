"""The last step before a robot: what is sent, and that it stops, whatever blocks."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gate_helpers import EYE, ZERO, Driver, V, pose, shifted, wait_for
from siame_se3.errors import InputError, RobotError
from siame_se3.plants.robots.checks import HardLimits, pose_fault
from siame_se3.plants.robots.gate import Gate


def test_sound_twists_are_sent_in_the_drivers_frame(gates: Callable[..., Gate]) -> None:
    from siame_se3.geometry.twist import FRAMES, twist_in

    T_tc, T_bt = pose(0.03, -0.02, 0.08, 0.1, -0.2, 0.7), pose(0.4, -0.3, 0.5, 1.2, 0.4, -2.0)
    for frame in FRAMES:
        driver = Driver(frame, T_bt)
        assert gates(driver, T_tc).move(V)
        torch.testing.assert_close(driver.named("move")[0][2], twist_in(frame, V, T_tc, T_bt))


@pytest.mark.parametrize(
    ("frame", "T_bt", "v", "words"),
    [
        ("camera", None, V * math.nan, "not finite"),
        ("camera", None, V + math.inf, "not finite"),
        ("camera", None, V * 1e3, "over the hard limit of 1 m/s"),
        ("camera", None, V * 12, "over the hard limit of 3.14 rad/s"),
        ("camera", None, torch.full((6,), 1e308, dtype=torch.float64), "over the hard limit"),
        ("spatial", shifted(50.0), V, "over the hard limit of 1 m/s .frame spatial."),
        ("spatial", None, V, "the robot's pose is not known"),
        ("base", None, V, "the robot's pose is not known"),
    ],
)
def test_what_must_not_be_sent_is_an_error_and_zero_is_sent(
    gates: Callable[..., Gate], frame: str, T_bt: Tensor | None, v: Tensor, words: str
) -> None:
    driver = Driver(frame, T_bt)
    gate = gates(driver)
    with pytest.raises(RobotError, match=words):
        gate.move(v)
    wait_for(lambda: driver.named("stop"))
    assert not driver.named("move")
    assert words.split(".")[0] in gate.fault
    assert not gate.move(ZERO), "nothing is sent before the next reset"
    assert not driver.named("move")


def test_a_fast_tool_is_too_fast_too(gates: Callable[..., Gate]) -> None:
    """The camera turns slowly, at the end of a long tool."""
    driver = Driver()
    gate = gates(driver, shifted(4.0))
    with pytest.raises(RobotError, match=r"a twist of 1.2 m/s.*\(the tool\)"):
        gate.move(torch.tensor([0, 0, 0, 0, 0, 0.3], dtype=torch.float64))
    assert not driver.named("move")


@pytest.mark.parametrize("frame", ["camera", "spatial"])
@pytest.mark.parametrize(
    ("T_bt", "words"),
    [
        (shifted(math.nan), "the robot's pose is not finite"),
        (shifted(1000.0), "the robot's pose is 1000 m away"),
        (torch.zeros(4, 4, dtype=torch.float64), "the robot's pose has no rotation in it"),
        (EYE * torch.tensor([1.0, 1, -1, 1], dtype=torch.float64), "the robot's pose has no rotation in it"),
    ],
)
def test_a_pose_that_is_none_stops_the_robot(gates: Callable[..., Gate], frame: str, T_bt: Tensor, words: str) -> None:
    driver = Driver(frame, EYE)
    gate = gates(driver)
    assert gate.move(V)
    driver.T_bt = T_bt
    try:
        assert not gate.move(V)
    except RobotError as error:
        assert words in str(error)
    wait_for(lambda: driver.calls[-1][0] == "stop")
    state = gate.state()
    assert words in state.fault
    assert torch.equal(state.T_bt, EYE), "the last valid one"  # type: ignore[arg-type]  # is there


@pytest.mark.parametrize(
    "T_tc",
    [
        shifted(math.nan),
        shifted(1e6),
        pose(0.0, 0.0, 0.0, 1e300, 0.0, 0.0),
        torch.ones(4, 4, dtype=torch.float64),
    ],
)
def test_a_hand_eye_transform_that_is_none_is_refused(T_tc: Tensor) -> None:
    with pytest.raises(InputError, match="hand-eye transform") as refused:
        Gate(Driver(), T_tc)
    assert refused.value.settings == ("hand_eye",)


def test_poses_of_float32_and_from_text_are_poses() -> None:
    T = pose(0.4, -0.3, 0.5, 1.2, 0.4, -2.0)
    assert pose_fault(T.float()) == ""
    assert pose_fault((T * 1e4).round() / 1e4) == ""


def test_hard_limits() -> None:
    limits = HardLimits(0.5, 1.0)
    assert limits.fault_of(V) == ""
    torch.testing.assert_close(limits.clamped(V), V)
    fast = torch.tensor([3.0, 4.0, 0, 0, 0, 2.0], dtype=torch.float64)
    torch.testing.assert_close(limits.clamped(fast), fast / 10)
    for bad in (0.0, -1.0, math.nan, math.inf, 11.0):
        with pytest.raises(InputError, match="hard limit of speed"):
            HardLimits(speed=bad)
