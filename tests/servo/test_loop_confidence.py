"""How sure a law is, and of what: kept for each run until its end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from loop_helpers import SpyPlant, desired, run, starts, unequal_starts
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo


@dataclass(frozen=True, eq=False)
class SureState(State):
    goal: Any
    runs: Tensor
    calls: Tensor


class Sure:
    """PBVS that says how sure it is: 0.1 for each call and 1 for each run; and of the pose, as many square metres as the run's number says."""

    needs = frozenset({"pose"})

    def __init__(self, speaks_from: int = 0) -> None:
        self.speaks_from = speaks_from

    def aim(self, target: View) -> tuple[Law, SureState]:
        n = target.batch[0]
        self.law, goal = PBVS().aim(target)
        return self, SureState(goal, torch.arange(n), torch.zeros(n, dtype=torch.long))  # type: ignore[return-value]  # it is a law too

    def __call__(self, view: View, state: SureState) -> tuple[Output, SureState]:
        output = self.law(view, state.goal)[0]
        confidence = None if int(state.calls[0]) < self.speaks_from else state.runs + 0.1 * state.calls.double()
        return replace(output, confidence=confidence), replace(state, calls=state.calls + 1)

    def covariance(self, view: View, state: SureState) -> Tensor:
        assert view.T_wc is not None
        known = torch.diag_embed(state.runs.double()[:, None].expand(-1, 6).clone())
        known[:, 0, 1] = view.T_wc[:, 0, 3]  # where it was asked
        return known


def test_confidences_are_kept_for_as_long_as_a_run_goes() -> None:
    T_wd, T_wc = desired(6), unequal_starts(6)
    got = run(Sure(), T_wd, T_wc)
    assert got.confidence is not None
    assert got.confidence.dtype == torch.float32
    assert got.confidence.shape == got.active.shape
    assert len(set(got.iterations.tolist())) > 2
    for k, count in enumerate(got.iterations.tolist()):
        expected = k + 0.1 * torch.arange(count)
        torch.testing.assert_close(got.confidence[:count, k], expected)
        assert bool(got.confidence[count:, k].isnan().all())


def test_a_law_that_is_silent_at_first_and_one_that_always_is() -> None:
    T_wd, T_wc = desired(3), unequal_starts(3)
    late = run(Sure(2), T_wd, T_wc).confidence
    assert late is not None
    assert bool(late[:2].isnan().all())
    assert late[2].tolist() == pytest.approx([0.2, 1.2, 2.2])
    silent = run(PBVS(), T_wd, T_wc)
    assert silent.confidence is None
    assert silent.covariance is None
    assert silent.confidences.shape == silent.active.shape
    assert bool(silent.confidences.isnan().all())
    assert silent.covariances.shape == (3, 6, 6)
    assert bool(silent.covariances.isnan().all())


def test_the_pose_of_each_run_is_known_at_its_own_end() -> None:
    """Also of runs that ended early, and were not asked for since."""
    T_wd, T_wc = desired(12), unequal_starts(12)
    got = run(Sure(), T_wd, T_wc)
    assert len(set(got.iterations.tolist())) > 6
    assert got.covariance is not None
    assert got.covariance.diagonal(dim1=1, dim2=2)[:, 5].tolist() == list(range(12))
    torch.testing.assert_close(got.covariance[:, 0, 1], got.T_wc[-1, :, 0, 3], rtol=0, atol=0)


def test_what_is_known_of_a_run_is_what_it_was_at_its_end() -> None:
    """A law is asked for the runs that have ended, too, until a tenth of all has: what it knows of them goes on changing."""
    T_wd, T_wc = desired(12), starts(12)
    T_wc[0] = T_wd[0]  # one of twelve ends at once
    together = run(Counting(), T_wd, T_wc)
    alone = run(Counting(), T_wd[:1], T_wc[:1])
    assert int(together.iterations[0]) < int(together.iterations[1])
    assert together.covariance is not None
    assert alone.covariance is not None
    torch.testing.assert_close(together.covariance[0], alone.covariance[0], rtol=0, atol=0)


@dataclass(frozen=True)
class Counting:
    """PBVS whose standard deviation grows with each question."""

    needs = frozenset({"pose"})

    def aim(self, target: View) -> tuple[Law, CountingState]:
        law, state = PBVS().aim(target)
        return _CountingLaw(law), CountingState(state, torch.zeros(target.batch, dtype=torch.long))


@dataclass(frozen=True, eq=False)
class CountingState(State):
    inner: Any
    asked: Tensor


@dataclass(frozen=True)
class _CountingLaw:
    inner: Law

    def __call__(self, view: View, state: CountingState) -> tuple[Output, CountingState]:
        output, inner = self.inner(view, state.inner)
        return output, CountingState(inner, state.asked + 1)

    def covariance(self, view: View, state: CountingState) -> Tensor:
        return state.asked[:, None, None] * torch.eye(6, dtype=torch.float64)


def test_who_listens_hears_each_answer() -> None:
    heard: list[Output] = []
    T_wd, T_wc = desired(1), starts(1)
    got = servo(SpyPlant(), Sure(), View(T_wc=T_wd), T_wc, ServoConfig(max_iterations=5), heard=heard.append)
    assert len(heard) == len(got.twist) == 5
    assert [float(output.confidence[0]) for output in heard if output.confidence is not None] == pytest.approx(
        [0.0, 0.1, 0.2, 0.3, 0.4]
    )
