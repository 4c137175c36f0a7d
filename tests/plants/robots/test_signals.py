"""Signals that stop a robot."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable

import pytest

from siame_se3.errors import RobotError
from siame_se3.plants.robots.signals import Interrupted, StopSignals

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP")


def by_handler(stopped: list[str]) -> Callable[[str], None]:
    """Keeps what the handler says, in the main thread; the thread of signals says the same beside it."""
    main = threading.current_thread()
    return lambda reason: stopped.append(reason) if threading.current_thread() is main else None


@pytest.mark.parametrize("name", NAMES)
def test_each_stops_before_it_interrupts(name: str) -> None:
    number = getattr(signal, name)
    before, stopped = signal.getsignal(number), []
    with pytest.raises(Interrupted), StopSignals(by_handler(stopped)) as signals:
        signal.raise_signal(number)
    words = {"SIGINT": "Ctrl-C", "SIGTSTP": "Ctrl-Z"}
    assert stopped == [words.get(name, name)]
    assert signals.ending == (name not in words)
    assert signal.getsignal(number) == before


def test_a_second_signal_skips_nothing() -> None:
    now, stopped, reached = [0.0], [], []

    def interrupted() -> None:
        with StopSignals(by_handler(stopped), clock=lambda: now[0]):
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGTERM)
                reached.append("the stop")
                now[0] += 3  # it hangs: then another one does interrupt
                with pytest.raises(Interrupted, match="Ctrl-C"):
                    signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        interrupted()
    assert reached == ["the stop"]
    assert stopped == ["Ctrl-C", "Ctrl-C", "SIGTERM", "Ctrl-C"]


def test_the_robot_is_stopped_while_the_main_thread_computes() -> None:
    """Python's own handlers wait until a call of C code has come back."""
    stoppers: list[str] = []

    def compute() -> None:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        hashlib.pbkdf2_hmac("sha256", b"word", b"salt", 2_000_000)  # some 0.5 s of C code

    with pytest.raises(Interrupted), StopSignals(lambda reason: stoppers.append(threading.current_thread().name)):
        compute()
    assert stoppers[0] == "signals"


def test_one_that_ends_the_program_is_not_forgotten_for_one_that_does_not() -> None:
    def ended() -> None:
        with StopSignals() as signals:
            with pytest.raises(Interrupted):
                signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            assert signals.received == "SIGTERM"
            signals.forget()  # nor for having been dealt with
            assert signals.ending

    with pytest.raises(Interrupted, match="SIGTERM"):
        ended()


def test_what_was_dealt_with_interrupts_no_more() -> None:
    with StopSignals() as signals:
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
        signals.forget()
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
        signals.forget()


def test_an_error_that_a_signal_caused_ends_as_the_signal() -> None:
    def halted() -> None:
        with StopSignals():
            with pytest.raises(Interrupted):
                signal.raise_signal(signal.SIGTERM)
            raise RobotError("stopped while moving x")

    with pytest.raises(Interrupted) as ended:
        halted()
    assert isinstance(ended.value.__cause__, RobotError)


def test_other_threads_leave_the_handlers_alone() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def run() -> None:
        with StopSignals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_second_signal_skips_nothing_of_what_an_outer_context_closes() -> None:
    """The session's context is over, the command's closes the robot."""
    reached: list[str] = []

    def outer() -> None:
        with StopSignals():
            try:
                with StopSignals():
                    signal.raise_signal(signal.SIGHUP)
            finally:
                signal.raise_signal(signal.SIGHUP)
                reached.append("the robot is closed")

    with pytest.raises(Interrupted):
        outer()
    assert reached == ["the robot is closed"]
