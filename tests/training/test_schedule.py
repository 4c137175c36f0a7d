"""How many steps a training has left."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from siame_se3.errors import InputError
from siame_se3.training.schedule import Pace, Schedule

SECONDS = [{"seconds": math.nan}, {"seconds": -1.0}]


def test_without_another_plan_the_position_is_the_step() -> None:
    schedule = Schedule(30, 30)
    assert [schedule.position(k) for k in range(31)] == list(range(31))
    assert schedule.share(15) == 0.5


@pytest.mark.parametrize("steps", [14, 25, 300])
def test_another_plan_goes_on_from_where_it_is_made_and_ends_at_the_end(steps: int) -> None:
    schedule = Schedule(30, 30).planned(12, steps)
    positions = [schedule.position(k) for k in range(12, steps + 1)]
    assert positions[0] == 12
    assert positions[-1] == 30  # to the bit: marks are at positions
    paces = [b - a for a, b in pairwise(positions)]
    assert paces == pytest.approx([18 / (steps - 12)] * len(paces))
    again = schedule.planned(13, steps + 5)
    assert again.position(13) == pytest.approx(schedule.position(13))
    assert again.position(steps + 5) == 30
    assert schedule.planned(13, steps) is schedule


def test_a_plan_has_a_step_left() -> None:
    assert Schedule(30, 30).planned(12, 3).steps == 13


@pytest.mark.parametrize("steps", [None, 20, 90])
def test_one_cycle_rises_and_falls_to_nothing(steps: int | None) -> None:
    schedule = Schedule(40, 40) if steps is None else Schedule(40, 40).planned(15, steps)
    first = 0 if steps is None else 15
    rates = [schedule.one_cycle(k, 0.1) for k in range(first, schedule.steps)]
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert sorted(rates[4 if first == 0 else 0 :], reverse=True) == rates[4 if first == 0 else 0 :]
    before = Schedule(40, 40).one_cycle(14, 0.1)
    assert steps is None or rates[0] == pytest.approx(before, abs=0.3)


def test_the_pace_of_the_last_steps_decides() -> None:
    pace, schedule = Pace(), Schedule(100, 100, seconds=100.0)
    for step in range(1, 11):
        pace.took(1.0)
        assert pace.fits(step, step * 1.0, schedule) == 100
    for _ in range(11, 41):
        pace.took(0.25)
    assert pace.fits(40, 17.5, schedule) == 40 + (100 - 17.5) / 0.25
    assert math.isclose(pace.median, 0.25)
    due = [step for step in range(100) if pace.due(step, schedule)]
    assert max(b - a for a, b in pairwise(due)) <= 5  # a twentieth of the way
    assert due[-1] == 90  # the end is left alone


def test_a_step_in_which_the_program_was_suspended_took_no_longer_than_others() -> None:
    pace = Pace()
    assert [pace.took(0.2) for _ in range(4)] == [0.0] * 4
    assert pace.took(3600.2) == pytest.approx(3600.0)
    assert pace.median == pytest.approx(0.2)
    assert pace.took(3.9) == 0.0  # a busy machine's
    assert Pace().took(60.0) == 0.0  # the first ones: steps of a minute may be what they are


@pytest.mark.parametrize(
    ("schedule", "step"),
    [(Schedule(100, 100), 40), (Schedule(100, 100, seconds=1000.0), 96)],
    ids=["steps were given", "near the end"],
)
def test_the_plan_stays(schedule: Schedule, step: int) -> None:
    pace = Pace()
    for _ in range(30):
        pace.took(0.1)
        assert not pace.due(step, schedule)


@pytest.mark.parametrize(
    "wrong", [{"length": 0}, {"steps": 1.5}, {"since": -1}, {"since": 100}, {"at": math.nan}, {"at": 101.0}, *SECONDS]
)
def test_a_schedule_that_is_none_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Schedule(**{"length": 100, "steps": 100} | wrong)  # type: ignore[arg-type]
