"""Threads that fail loudly, and calls that may block."""

from __future__ import annotations

import threading
import time

import pytest

from siame_se3.plants.robots.threads import BlockedError, CallLane, Worker


def ended(worker: Worker) -> None:
    until = time.monotonic() + 5
    while worker.alive:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_a_thread_that_fails_is_named_with_its_error() -> None:
    failed: list[BaseException] = []

    def target() -> None:
        raise ValueError("zip() argument 2 is shorter")

    worker = Worker("UR sender", target, failed=failed.append)
    ended(worker)
    assert worker.fault == (
        "thread 'UR sender' failed (ValueError: zip() argument 2 is shorter); start the program again"
    )
    assert isinstance(failed[0], ValueError)
    worker.expect_end()
    assert worker.fault, "an error is one at any time"


def test_an_end_is_a_fault_of_a_thread_that_was_not_to_end() -> None:
    go = threading.Event()
    endless, other = Worker("executor", lambda: go.wait() and None), Worker("file", lambda: None, endless=False)
    assert endless.fault == ""
    go.set()
    ended(endless)
    assert endless.fault == "thread 'executor' has ended; start the program again"
    ended(other)
    assert other.fault == ""
    endless.expect_end()
    assert endless.fault == ""


def test_calls_give_results_and_errors() -> None:
    lane = CallLane("robot: move")
    assert lane.call(lambda: threading.current_thread().name, 5.0) == "robot: move"
    with pytest.raises(ZeroDivisionError):
        lane.call(lambda: 1 // 0, 5.0)
    assert lane.call(lambda: 2, 5.0) == 2, "an error does not end the lane"
    lane.close()


def test_a_call_that_blocks_is_left_behind() -> None:
    lane, free = CallLane("robot: move"), threading.Event()
    with pytest.raises(BlockedError, match=r"robot: move: the call has not returned for 0\.02 s"):
        lane.call(free.wait, 0.02)
    free.set()
    with pytest.raises(BlockedError, match="an earlier call has not returned"):
        lane.call(lambda: 1, 5.0)
