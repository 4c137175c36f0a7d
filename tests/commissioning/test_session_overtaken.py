"""A stop waits for nothing, and a start may: what was asked before a stop is void, whichever is dealt with first."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from session_helpers import Grey, Running, Steady
from siame_se3.commissioning.commands import Inbox
from siame_se3.commissioning.keyboard import Words
from siame_se3.laws.types import View
from siame_se3.servo.config import ServoConfig

LONG = ServoConfig(gain=0.01, max_iterations=100_000)
TARGET = View(torch.rand(1, 3, 8, 8))


@pytest.fixture
def ready(begun: Callable[..., Running]) -> Running:
    running = begun(Grey(), law=Steady(), config=LONG, target=TARGET)
    running.wait("ready")
    time.sleep(0.1)
    return running


def still(running: Running) -> None:
    time.sleep(0.2)
    assert running.plant.driver.moves == 0  # type: ignore[attr-defined]  # of Grey
    assert "moving" not in running.lines


@pytest.mark.parametrize("age", [0.0, -1.5], ids=["", "by a clock that is ahead"])
def test_a_start_and_a_stop_in_one_write_move_nothing(ready: Running, age: float) -> None:
    """The stop is heard in the reader's thread, the start behind it in another, which is held."""
    held = threading.Event()

    def hear(word: str, old: float) -> None:
        if word == "dance":
            held.wait(20)
        else:
            ready.session.heard(word, old)

    words = Words("commands", hear)
    words.put("dance")
    words.put("start", age)
    time.sleep(0.02)
    words.put("stop", age)
    held.set()
    ready.wait("'start' is void: 'stop' was said since")
    still(ready)


@pytest.mark.parametrize("how", ["stop", "gone"])
def test_a_start_that_waits_is_overtaken(ready: Running, how: str) -> None:
    """Between the look at how old it is and its taking: a page's STOP, or its visitor leaves."""
    given = time.monotonic()
    time.sleep(0.02)
    if how == "stop":
        ready.session.command("stop")
    else:
        ready.session.disconnected("the page's visitor who started it")
    assert not ready.session.command("start", time.monotonic() - given)
    assert "is void" in ready.wait("'start'")
    still(ready)
    assert ready.session.command("start")
    ready.wait("moving")


def test_what_was_given_after_a_stop_counts() -> None:
    now = [10.0]
    inbox = Inbox(lambda: now[0])
    assert not inbox.overtaken(math.inf)
    inbox.void("stop")
    assert not inbox.overtaken(0.0)
    now[0] += 1
    assert inbox.overtaken(1.5)
    assert not inbox.overtaken(0.5)


@pytest.mark.parametrize(
    ("age", "words"), [(4.0, "was said 4.0 s ago"), (-60.0, "was said 60.0 s from now by its sender's clock")]
)
def test_a_message_that_waited_for_a_connection_is_old(ready: Running, age: float, words: str) -> None:
    given: list[Any] = []

    def hear(word: str, old: float) -> None:
        given.append(old)
        ready.session.heard(word, old)

    Words("commands", hear).put("start", age)
    ready.wait(words)
    assert given[0] == pytest.approx(age, abs=0.5)
    still(ready)
