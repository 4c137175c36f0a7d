from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from siame_se3.errors import InputError
from siame_se3.page.calls import LatestCalls


@pytest.fixture
def failures() -> list[str]:
    return []


@pytest.fixture
def calls(failures: list[str]) -> Iterator[LatestCalls]:
    found = LatestCalls("test", failures.append)
    yield found
    found.close()


def held(calls: LatestCalls) -> threading.Event:
    """Make the thread wait in a call, until the event is set."""
    inside, go = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        go.wait(10)

    calls.post("wait", wait)
    assert inside.wait(10)
    return go


def test_of_calls_that_wait_only_the_last_of_each_name_is_made(calls: LatestCalls) -> None:
    made: list[str] = []
    go = held(calls)
    for k in range(10_000):
        calls.post("a", lambda k=k: made.append(f"a{k}"))
        assert len(calls) == 1
    calls.post("b", lambda: made.append("b"))
    calls.post("a", lambda: made.append("last a"))
    go.set()
    assert calls.wait(10)
    assert made == ["b", "last a"]


def test_waiting_calls_can_be_taken_back(calls: LatestCalls) -> None:
    made: list[str] = []
    go = held(calls)
    for name in "abc":
        calls.post(name, lambda name=name: made.append(name))
    calls.drop("a")
    assert len(calls) == 2
    calls.drop()
    go.set()
    assert calls.wait(10)
    assert made == []


def test_a_call_that_fails_is_said_to_who_asked_and_the_next_is_made(calls: LatestCalls, failures: list[str]) -> None:
    def fail() -> None:
        raise InputError("no")

    mine: list[str] = []
    made: list[str] = []
    calls.post("a", fail)
    assert calls.wait(10)
    calls.post("a", fail, mine.append)
    calls.post("b", lambda: made.append("b"))
    assert calls.wait(10)
    assert (failures, mine, made) == (["no"], ["no"], ["b"])
    assert calls.fault == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_of_the_program_is_a_fault(failures: list[str]) -> None:
    calls = LatestCalls("test", failures.append)
    calls.post("a", lambda: 1 / 0)
    calls._worker._thread.join(10)
    assert "ZeroDivisionError" in calls.fault
    assert failures == []
