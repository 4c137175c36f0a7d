from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from siame_se3.cli import threads
from siame_se3.cli.threads import Cores, keep_to_quota, only_free, threads_said


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


def control_group(folder: Path, version: int, quota: object, period: int = 100_000) -> Path:
    """As Linux has it in a container."""
    if version == 2:
        (folder / "cpu.max").write_text(f"{quota} {period}\n")
    else:
        (folder / "cpu").mkdir()
        (folder / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (folder / "cpu" / "cpu.cfs_period_us").write_text(f"{period}\n")
    return folder


@pytest.fixture
def eight(two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(threads, "_by_quota", {})
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(
    ("version", "quota", "count"),
    [
        (2, 200_000, 2),
        (2, 150_000, 2),
        (2, 20_000, 1),
        (2, 1_600_000, 8),
        (2, "max", 8),
        (1, 300_000, 3),
        (1, -1, 8),
    ],
)
def test_a_container_s_quota_bounds_the_cores(tmp_path: Path, version: int, quota: object, count: int) -> None:
    """docker run --cpus 2 on a machine of many cores."""
    cores = Cores(tmp_path / "missing", control_group(tmp_path, version, quota))
    assert (cores.count, cores.free()) == (count, count)
    keep_to_quota(tmp_path)
    said = None if count == 8 else str(count)
    assert os.environ.get("OMP_NUM_THREADS") == os.environ.get("OPENCV_FOR_THREADS_NUM") == said
    assert threads_said() is None, "the user has said nothing"


@pytest.mark.usefixtures("eight")
def test_a_quota_leaves_what_the_user_says(tmp_path: Path) -> None:
    os.environ["OMP_NUM_THREADS"] = "5"
    keep_to_quota(control_group(tmp_path, 2, 200_000))
    assert os.environ["OMP_NUM_THREADS"] == threads_said() == "5"
    assert os.environ["OPENCV_FOR_THREADS_NUM"] == "2"


@pytest.mark.usefixtures("eight")
def test_other_work_beside_a_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The threads of a quota are not the user's word: a training takes fewer where other work keeps the machine busy."""
    given: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    keep_to_quota(control_group(tmp_path, 2, 200_000))
    only_free(Cores(tmp_path / "missing", tmp_path))
    assert (given, capsys.readouterr().err) == ([], "")
    only_free(Busy())
    assert given == [1]


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
