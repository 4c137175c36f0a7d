"""Faults between processes: a trial begins where the arm moves."""

from __future__ import annotations

import queue
import random
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from siame_se3.errors import RobotError
from siame_se3.experiments import faults_served
from siame_se3.experiments.fault_trials import Outcome, Speeds
from siame_se3.experiments.faults_served import Host, Trials


class FakeHost:
    """A session whose arm moves at one of its starts."""

    def __init__(self, speeds: Speeds, moves_at: int) -> None:
        self.said: list[str] = []
        self._speeds, self._moves_at = speeds, moves_at

    def say(self, *words: str) -> None:
        self.said += words
        if self.said.count("start") == self._moves_at:
            self._speeds.log.append((0.0, 0.2))

    def wait_for(self, beginning: str) -> str:
        return beginning


def trials(kind: str) -> Trials:
    speeds = Speeds()
    nothing = cast(Any, None)
    goal = torch.eye(4, dtype=torch.float64)
    return Trials(kind, random.Random(0), nothing, nothing, speeds, goal, Path(), [], Outcome(), queue.Queue())


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults_served, "_WATCHED", 0.05)


def test_a_start_is_said_again_where_the_run_ended_before_the_arm_moved() -> None:
    """A busy machine ended a run so, and the trial waited for ever."""
    some = trials("killed")
    host = FakeHost(some.speeds, 2)
    some._set_off(cast(Host, host))
    assert host.said == ["start", "stop", "start"]


def test_two_starts_are_queued_where_that_is_the_trial() -> None:
    some = trials("queued")
    host = FakeHost(some.speeds, 2)
    some._set_off(cast(Host, host))
    assert host.said == ["start", "start"]


def test_an_arm_that_does_not_move_is_said() -> None:
    some = trials("cut")
    with pytest.raises(RobotError, match="did not move after 3 starts"):
        some._set_off(cast(Host, FakeHost(some.speeds, 9)))
