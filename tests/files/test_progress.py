"""Progress: a bar on a terminal, few plain lines elsewhere, nothing of what is over at once."""

from __future__ import annotations

import io
import sys
import time

import pytest

from siame_se3.files import Counter, doing, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_takes_its_time_is_said_before_it_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with doing("loading network coffee"):
        until = time.monotonic() + 2
        said = ""
        while not said and time.monotonic() < until:
            said += capsys.readouterr().err
    assert said == "loading network coffee ...\n"


def test_what_is_over_at_once_is_not_spoken_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 1e3)
    with pytest.raises(ZeroDivisionError), doing("dividing"):
        raise ZeroDivisionError
    assert capsys.readouterr().err == ""


def test_plain_lines_come_at_doubling_times_and_then_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with Counter(100, "settled", "runs", clock=lambda: now[0]) as counter:
        for second in range(101):
            now[0] = float(second)
            counter.to(second, iteration=2 * second)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "settled 2 of 100 runs, iteration 4, 2 s"
    assert [line.split()[1] for line in lines] == ["2", "4", "8", "16", "32", "62", "92"]


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    now = [0.0]
    with Counter(2, "settled", "runs", quiet=True, clock=lambda: now[0]) as counter:
        now[0] = 60.0
        counter.to(2)
    assert terminal.getvalue() == ""


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with Counter(4, "settled", "runs") as counter:
        counter.to(4, iteration=9)
    shown = terminal.getvalue()
    assert "settled runs: 100%" in shown
    assert "iteration=9" in shown
