from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from siame_se3.cli import threads
from siame_se3.cli.threads import Cores, only_free


def stat(path: Path, busy: float) -> Path:
    """As Linux has it: of each core of this process, seconds that it was busy."""
    ticks = round(busy * os.sysconf("SC_CLK_TCK"))
    lines = [f"cpu{k} {ticks} 0 0 999 0 0 0 0 0 0" for k in sorted(os.sched_getaffinity(0))]
    path.write_text("\n".join(["cpu  1 2 3 4 5 6 7 8 9 10", *lines, "intr 5"]))
    return path


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(threads, "_LEAST", 0.05)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("RANK", raising=False)


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(("share", "free"), [(0.0, 2), (0.1, 2), (0.5, 1), (1.0, 1)])
def test_cores_that_others_leave(tmp_path: Path, share: float, free: int) -> None:
    """`share` of each of two cores is used by others."""
    began = time.monotonic()
    cores = Cores(stat(tmp_path / "stat", 100.0))
    time.sleep(0.2)
    stat(tmp_path / "stat", 100.0 + share * (time.monotonic() - began))
    assert cores.free() == free


@pytest.mark.usefixtures("two")
def test_where_nothing_is_known_all_are_free(tmp_path: Path) -> None:
    assert Cores(tmp_path / "missing").free() == 2


class Busy(Cores):
    def free(self) -> int:
        return 1


@pytest.mark.usefixtures("two")
def test_threads_are_as_many_as_free_cores_unless_the_user_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    only_free(Busy())
    assert given == [1]
    assert "training with 1 of 2 threads" in capsys.readouterr().err
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    only_free(Busy())
    assert given == [1]


def test_without_affinity_all_cores_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, where it said that other work keeps the processor busy."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(threads, "_LEAST", 0.05)
    cores = Cores(tmp_path / "missing")
    assert (cores.count, cores.free()) == (8, 8)
