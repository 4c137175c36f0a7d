"""The soak's readings: what its row says, and what ends too early for one."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from siame_se3.errors import SiameError
from siame_se3.experiments import soak
from siame_se3.servo.trajectory import Trajectory


def ended(iterations: int, reason: str) -> Trajectory:
    """One run that stood still all the time."""
    zeros = torch.zeros(iterations, 1, 6, dtype=torch.float64)
    return Trajectory(
        T_wc=torch.eye(4, dtype=torch.float64).expand(iterations + 1, 1, 4, 4),
        T_wd=torch.eye(4, dtype=torch.float64)[None],
        twist=zeros,
        applied=zeros,
        active=torch.ones(iterations, 1, dtype=torch.bool),
        stage=torch.zeros(iterations, 1, dtype=torch.long),
        iterations=torch.tensor([iterations]),
        reason=[reason],
        step_seconds=zeros[:, 0, 0],
        dt=0.04,
    )


def test_a_row_compares_the_first_tenth_with_the_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """11 readings: building takes 5 ms an iteration, then 2 ms, in the end 3 ms; the machine is by a quarter slower then."""
    now, each = [0.0], [5.0, *[2.0] * 9, 3.0]
    monkeypatch.setattr(soak.time, "process_time", lambda: now[0])
    calls = [0]

    def call() -> None:
        now[0] += 0.010 if calls[0] < 10 * soak._CALLS else 0.0125
        calls[0] += 1

    readings = soak.Readings(20_000, call)
    for k in range(1, 11 * soak._EVERY + 1):
        now[0] += each[(k - 1) // soak._EVERY] / 1e3
        readings(k, 1)
    readings.memory = [100e6, 200e6, *[200e6] * 8, 201e6]
    row = readings.row("live", ended(5500, "no image"))
    assert row["iterations"] == "5500 of 20000"
    assert row["ended"] == "no image"
    assert row["an iteration, first / last tenth"] == "2.00 / 3.00 ms"
    assert row["a fixed call then"] == "10.00 / 12.50 ms"
    assert row["drift of their ratio"] == "+20.0 %"
    assert (row["memory"], row["growth"]) == ("200.0 to 201.0 MB", "+0.50 %")
    assert "  2000 of 20000: 2.00 ms" in capsys.readouterr().out


def test_a_run_that_ends_at_once_has_no_row() -> None:
    with pytest.raises(SiameError, match=r"live: ended after 7 iterations \(no image\); nothing to compare"):
        soak.Readings(100, lambda: None).row("live", ended(7, "no image"))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mujoco") is None, reason="needs MuJoCo")
def test_the_live_soak_keeps_the_limits_of_a_robot(monkeypatch: pytest.MonkeyPatch) -> None:
    """A robot that does not do as commanded ends it, as it would end a real run."""
    monkeypatch.setattr(soak, "_EVERY", 10)
    assert soak.run("live", 40)["ended"] == "iterations"
    monkeypatch.setattr(soak.ServedHere, "move", lambda self, v: setattr(self, "_twist", -2 * v[None]))
    with pytest.raises(SiameError, match="the robot does not move as commanded"):
        soak.run("live", 40)
