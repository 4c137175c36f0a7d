"""Ctrl-C as the system sends it, to the program in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from siame_se3.analysis import metrics
from siame_se3.servo.trajectory import Trajectory

pytestmark = pytest.mark.slow

# as a terminal starts it: a shell in the background lets its children ignore the signal
PROGRAM = """import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from siame_se3.cli import main
main(sys.argv[1:])"""
SLOW_LAW = """import time
from siame_se3.laws.pose import PBVS

class Slow(PBVS):
    def aim(self, target):
        law, state = super().aim(target)

        def slowly(view, state):
            print("asked", flush=True)
            time.sleep(0.05)
            return law(view, state)

        return slowly, state
"""


@contextmanager
def siame(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The program; killed where a test fails."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def stopped_at(process: subprocess.Popen[str], word: str, times: int = 1) -> tuple[int, str, list[str]]:
    """Status, what it printed after so many lines with a word, and the lines of its errors."""
    assert process.stdout is not None
    for line in process.stdout:
        times -= word in line
        if not times:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err.splitlines()


def test_servo_keeps_the_runs_as_far_as_they_came(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ctrl-C in the middle of a batch of flying cameras left nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slow.py").write_text(SLOW_LAW)
    options = ("--runs", 3, "--gain", 0.5, "--max-iterations", 2000, "--out", "r.csv", "--save", "r.npz")
    with siame("servo", "--law", "slow:Slow", "--scene", photo, *options, "--report", "r.html") as process:
        status, out, err = stopped_at(process, "asked", 4)
    assert status == 130
    assert "stopped by Ctrl-C: 3 runs" in out
    trajectory = Trajectory.load("r.npz")
    made = len(trajectory.twist)
    assert made >= 3
    assert trajectory.reason == [row.reason for row in metrics.read_csv("r.csv")] == ["Ctrl-C"] * 3
    assert "stopped by Ctrl-C" in Path("r.html").read_text(encoding="utf-8")
    assert err[-1] == (
        f"siame: stopped: 0 of 3 runs had ended, 3 more are kept as they were at iteration {made}, marked 'Ctrl-C'; "
        "all in r.csv, r.npz, r.html"
    )


def test_a_bench_goes_on_at_the_row_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("bench", "table1", "--quick", "--runs", 2, "--laws", "dvs", "dct20", "--out", "b")
    with siame(*command) as process:
        status, _, err = stopped_at(process, "table1 dvs:")
    assert status == 130
    where = "of table1; 1 of 2 rows kept in b/table1; the same command goes on from what is saved"
    assert err[-1] in {f"siame: stopped at row {row} {where}" for row in ("dvs", "dct20")}
    kept = Path("b/table1/dvs.csv").read_bytes()
    with siame(*command) as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "table1 dvs: there already" in out
    assert "table1 dct20: there already" not in out
    assert Path("b/table1/dvs.csv").read_bytes() == kept
    assert Path("b/table1/dct20.csv").is_file()
