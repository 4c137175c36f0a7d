"""Why runs end: settled, a fault, no iterations or time left."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from loop_helpers import FREE, SpyPlant, Tampered, desired, run, starts
from siame_se3.geometry import lie
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.servo.trajectory import Trajectory


def one_step_to_the_goal(**config: Any) -> Trajectory:
    """10 cm without rotation, at gain 1/dt: at the goal after one step."""
    T_wc = desired(1) @ lie.pose_from_vector(torch.tensor([[0.1, 0, 0, 0, 0, 0]], dtype=torch.float64))
    return run(PBVS(), desired(1), T_wc, gain=25.0, **FREE, **config)


@pytest.mark.parametrize("settle_steps", [1, 2, 5])
def test_settled_after_some_quiet_steps(settle_steps: int) -> None:
    trajectory = one_step_to_the_goal(settle_steps=settle_steps)
    assert trajectory.reason == ["settled"]
    assert trajectory.iterations.tolist() == [settle_steps + settle_steps // 2]
    assert float(trajectory.error_norms[0][1]) < 1e-12


@pytest.mark.parametrize(("settle_v", "settle_w", "settled"), [(0.2, 0.3, True), (0.05, 0.3, False), (0.2, 0.1, False)])
def test_settled_below_both_thresholds(settle_v: float, settle_w: float, settled: bool) -> None:
    """The law at gain 1 commands 0.1 m/s and 0.2 rad/s; the gain and limits do not count."""
    constant = torch.tensor([0.1, 0, 0, 0, 0.2, 0])
    trajectory = run(
        Tampered(lambda v, runs, call: constant.expand_as(v)),
        desired(2),
        starts(2),
        max_iterations=8,
        max_v=0.01,
        settle_v=settle_v,
        settle_w=settle_w,
        settle_steps=5,
    )
    assert trajectory.reason == (["settled"] if settled else ["iterations"]) * 2
    assert trajectory.iterations.tolist() == [6 if settled else 8] * 2


def test_a_large_command_between_starts_the_count_anew() -> None:
    def change(v: Tensor, runs: Tensor, call: int) -> Tensor:
        return torch.zeros_like(v) + (0.1 if call == 4 else 0)

    trajectory = run(Tampered(change), desired(2), starts(2), settle_steps=5)
    assert trajectory.iterations.tolist() == [10, 10]


def test_a_law_that_only_trembles_has_settled() -> None:
    """Its mean counts; one that creeps as slowly as this one trembles has not."""

    def tremble(v: Tensor, runs: Tensor, call: int) -> Tensor:
        return torch.full_like(v, 0.01 * (-1) ** call)

    def creep(v: Tensor, runs: Tensor, call: int) -> Tensor:
        return torch.full_like(v, 0.01)

    assert run(Tampered(tremble), desired(2), starts(2), settle_steps=6).iterations.tolist() == [8, 8]
    assert run(Tampered(creep), desired(2), starts(2), max_iterations=30).reason == ["iterations"] * 2


def test_a_law_that_turns_around_has_not_settled() -> None:
    """A velocity that goes through zero, as that of a camera with a lag can; it comes to rest later."""

    def turn(v: Tensor, runs: Tensor, call: int) -> Tensor:
        return torch.full_like(v, 0.01 * (call - 20) if call < 40 else 0.0)

    limits = {"settle_v": 0.04, "settle_w": 0.04, "settle_steps": 8}  # 0.01 x 3^0.5 a step
    trajectory = run(Tampered(turn), desired(2), starts(2), max_iterations=100, **limits)
    assert trajectory.reason == ["settled"] * 2
    assert min(trajectory.iterations.tolist()) >= 40


@dataclass(frozen=True, eq=False)
class LostState(State):
    goal: Any
    runs: Tensor
    turn: Tensor


@dataclass(frozen=True)
class Lost:
    """PBVS that finds a fault in run 1 at some iterations."""

    at: tuple[int, ...]
    needs = frozenset({"pose"})

    def aim(self, target: View) -> tuple[Law, LostState]:
        law, goal = PBVS().aim(target)

        def lost(view: View, state: LostState) -> tuple[Output, LostState]:
            turns = zip(state.runs.tolist(), state.turn.tolist(), strict=True)
            faults = tuple("no matches" if k == 1 and turn in self.at else "" for k, turn in turns)
            v = law(view, state.goal)[0].v
            return Output.of(v, faults), LostState(state.goal, state.runs, state.turn + 1)

        runs = torch.arange(*target.batch)
        return lost, LostState(goal, runs, torch.zeros_like(runs))


def test_a_run_stands_still_while_its_law_has_a_fault_and_goes_on_after_it() -> None:
    trajectory = run(Lost((2, 3, 4)), desired(3), starts(3))
    assert trajectory.reason == ["settled"] * 3
    assert bool((trajectory.twist[2:5, 1] == 0).all())
    assert bool((trajectory.twist[[0, 1, 5, 6], 1].abs().amax(1) > 0).all())
    assert bool((trajectory.twist[:7, ::2].abs().amax(2) > 0).all())


def test_a_run_that_stays_lost_ends_with_the_laws_reason() -> None:
    trajectory = run(Lost(tuple(range(3, 100))), desired(3), starts(3), lost_steps=4)
    assert trajectory.reason == ["settled", "no matches", "settled"]
    assert int(trajectory.iterations[1]) == 6
    assert torch.equal(trajectory.T_wc[-1, 1], trajectory.T_wc[3, 1])
    assert bool((trajectory.stage[6:, 1] == -1).all())


def test_iterations_run_out() -> None:
    trajectory = run(PBVS(), desired(3), starts(3), max_iterations=7)
    assert trajectory.reason == ["iterations"] * 3
    assert trajectory.iterations.tolist() == [7] * 3
    assert len(trajectory.twist) == 7


def test_time_runs_out() -> None:
    def slow(v: Tensor, runs: Tensor, call: int) -> Tensor:
        time.sleep(0.02)
        return v

    trajectory = run(Tampered(slow), desired(3), starts(3), timeout=0.1)
    assert trajectory.reason == ["timeout"] * 3
    assert int(trajectory.iterations.max()) <= 5
    assert torch.equal(trajectory.iterations, torch.full((3,), len(trajectory.twist)))


def test_no_time_at_all() -> None:
    plant = SpyPlant()
    trajectory = run(PBVS(), desired(3, 2), starts(3, 2), plant, timeout=1e-9)
    assert plant.calls == ["reset", "stop"]
    assert trajectory.reason == ["timeout"] * 6
    assert trajectory.T_wc.shape == (1, 6, 4, 4)
    assert trajectory.twist.shape == trajectory.applied.shape == (0, 6, 6)
    assert trajectory.active.shape == (0, 6)
    assert trajectory.step_seconds.shape == (0,)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_law_that_is_not_finite_stands_still_and_others_go_on(value: float) -> None:
    def change(v: Tensor, runs: Tensor, call: int) -> Tensor:
        v = v.clone()
        if call >= 4:
            v[runs == 1, 2] = value
        return v

    T_wd, T_wc = desired(4), starts(4)
    good, faulty = run(PBVS(), T_wd, T_wc), run(Tampered(change), T_wd, T_wc)
    assert faulty.reason == ["settled", "law not finite", "settled", "settled"]
    assert int(faulty.iterations[1]) == 3
    assert torch.equal(faulty.T_wc[3:, 1], faulty.T_wc[3:4, 1].expand_as(faulty.T_wc[3:, 1]))
    assert torch.equal(faulty.T_wc[:4, 1], good.T_wc[:4, 1])
    assert not bool(faulty.active[3:, 1].any())
    for k in (0, 2, 3):
        assert torch.equal(faulty.T_wc[:, k][: len(good.T_wc)], good.T_wc[:, k])


def test_a_law_that_was_never_finite_moves_nothing() -> None:
    plant = SpyPlant()
    trajectory = run(Tampered(lambda v, runs, call: v * math.nan), desired(2), starts(2), plant)
    assert plant.calls == ["reset", "stop"]
    assert trajectory.reason == ["law not finite"] * 2
