"""What is typed, or lies in a pipe: what counts of it, and whether anybody types at all."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import threading
import time

import pytest

from siame_se3.plants.robots.typed import in_a_terminal, lines_of, own_file, typed_ahead, wait_for_enter


def texts(stream: io.BytesIO) -> list[str]:
    return [line.text for line in lines_of(stream)]


def test_what_lies_in_a_terminal_or_a_pipe_is_taken_away() -> None:
    parent, child = pty.openpty()
    os.write(parent, b"start\n")
    time.sleep(0.1)
    typed_ahead(child)
    os.write(parent, b"stop\n")
    with own_file(child) as terminal:
        assert texts(io.BytesIO(terminal.readline())) == ["stop"], "what is typed later is read"
    os.close(parent)
    os.close(child)
    read, write = os.pipe()
    os.write(write, b" Start\n\nquit\n")
    typed_ahead(read)
    os.close(write)
    assert os.read(read, 10) == b""
    os.close(read)


def test_the_rest_of_a_line_that_is_too_long_is_no_command() -> None:
    long = b"x" * 4096 + b"start\n"
    assert texts(io.BytesIO(long + b"stop\n")) == ["x" * 4096, "stop"]
    longer = b"x" * 200_000 + b"\nstart\n" + b" " * 100_000 + b"stop\n" + b"quit"
    assert texts(io.BytesIO(longer)) == ["x" * 4096, "start", "quit"]


def test_what_came_together_is_known_though_the_program_was_held_up() -> None:
    """It stood for a second in the midst of a file of starts, and took the next seven for typed ones."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as stream:
        lines = lines_of(stream)
        os.write(write, b"start\nstart\n")
        two = [next(lines), next(lines)]
        assert [line.many for line in two] == [False, False]
        assert two[0].at == two[1].at
        os.write(write, b"start\n" * 9 + b"sta")
        held = next(lines)
        os.write(write, b"rt\n")  # behind them, before the next look
        time.sleep(0.1)
        rest = [next(lines) for _ in range(9)]
        assert all(line.many for line in (held, *rest))
        assert time.monotonic() - held.at > 0.1
        assert held.at == rest[0].at < rest[-1].at
        threading.Timer(0.2, os.write, (write, b"start\n")).start()
        assert next(lines).many is False, "typed later"
        os.close(write)
        assert not list(lines)


def test_no_line_of_a_file_that_is_no_systems_file_is_taken_for_a_typed_one() -> None:
    assert all(line.many for line in lines_of(io.BytesIO(b"start\n" * 30_001)))


@pytest.mark.parametrize(
    ("written", "later", "answered"), [(b"\n", b"", False), (b"\n\n", b"y\n", True), (b"", b"\n", True)]
)
def test_an_enter_in_a_pipe_from_before_the_question_is_no_answer(
    written: bytes, later: bytes, answered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()
    os.write(write, written)
    if not later:
        os.close(write)
    else:
        threading.Timer(0.2, lambda: (os.write(write, later + b"rest"), os.close(write))).start()
    with os.fdopen(read, "r") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        began = time.monotonic()
        with contextlib.nullcontext() if answered else pytest.raises(EOFError):
            wait_for_enter("the robot will move; Enter to go on ")
            assert time.monotonic() - began > 0.1
            assert os.read(read, 10) == b"rest", "what comes after it is not taken"


def test_only_a_terminal_in_whose_foreground_it_is_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    parent, child = pty.openpty()
    with os.fdopen(child) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        monkeypatch.setattr("os.tcgetpgrp", lambda fd: os.getpgrp())
        assert in_a_terminal()
        monkeypatch.setattr("os.tcgetpgrp", lambda fd: os.getpgrp() + 1)
        assert not in_a_terminal(), "the system would suspend it"
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert not in_a_terminal()
    os.close(parent)
