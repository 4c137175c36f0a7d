"""What a long run leaves: the same numbers wherever they lay meanwhile, and little memory."""

from __future__ import annotations

import logging
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.laws.types import View
from siame_se3.servo import recorder
from siame_se3.servo.columns import Blocks, Column
from siame_se3.servo.recorder import Recorder
from siame_se3.servo.runs import Runs

ITERATIONS = 2600  # of 3 runs: six blocks of poses and two of twists, and a rest
NAMES = ("T_wc", "twist", "applied", "active", "stage", "step_seconds")


def drawn(n: int, count: int = ITERATIONS) -> dict[str, Tensor]:
    """What happens, all of it at once."""
    generator = torch.Generator().manual_seed(0)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return {
        "T_wc": randn(count + 1, n, 4, 4),
        "twist": randn(count, n, 6),
        "applied": randn(count, n, 6),
        "active": randn(count, n) > 0,
        "stage": (randn(count, n) > 0).long(),
        "step_seconds": randn(count).abs(),
    }


def recorded(happens: dict[str, Tensor]) -> tuple[Recorder, Runs]:
    """The same, iteration by iteration."""
    T_wc = happens["T_wc"]
    n = T_wc.shape[1]
    record, runs = Recorder(View(T_wc=T_wc[0]), View(T_wc=T_wc[0]), 0.04), Runs(n, 5)
    for k, twist in enumerate(happens["twist"]):
        runs.active = happens["active"][k]
        seconds = float(happens["step_seconds"][k])
        record.add(View(T_wc=T_wc[k + 1]), twist, happens["applied"][k], runs, happens["stage"][k], seconds)
    return record, runs


def assert_all_there(happens: dict[str, Tensor], record: Recorder, runs: Runs) -> None:
    trajectory = record.trajectory(runs, {})
    for name in NAMES:
        found = getattr(trajectory, name)
        assert found.dtype == happens[name].dtype
        assert torch.equal(found, happens[name]), name
    assert torch.equal(trajectory.iterations, happens["active"].sum(0))


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[Blocks]]:
    """Sets how many bytes of full blocks stay in memory; gives the blocks that are made from then on."""

    def set_to(in_memory: int) -> list[Blocks]:
        made: list[Blocks] = []

        def make() -> Blocks:
            made.append(Blocks(in_memory))
            return made[-1]

        monkeypatch.setattr(recorder, "Blocks", make)
        return made

    return set_to


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that is full: what is written beyond this size [bytes] of a file fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def size_of_file(blocks: Blocks) -> int:
    return 0 if blocks._file is None else os.fstat(blocks._file.fileno()).st_size


@pytest.mark.parametrize("in_memory", [0, 400_000, 1 << 30], ids=["file", "both", "memory"])
def test_what_is_kept_is_what_happened_to_the_bit(
    room: Callable[[int], list[Blocks]], in_memory: int, caplog: pytest.LogCaptureFixture
) -> None:
    made, happens = room(in_memory), drawn(3)
    record, runs = recorded(happens)
    assert_all_there(happens, record, runs)
    assert (size_of_file(made[0]) > 0) == (in_memory < 1 << 30)
    assert not caplog.records


@pytest.mark.parametrize("count", [0, 1, 415, 416, 417, 831, 832, 833])
def test_any_number_of_iterations(room: Callable[[int], list[Blocks]], count: int) -> None:
    """Around the ends of the poses' blocks, which have 416 rows of 3 runs."""
    room(0)
    happens = drawn(3, count)
    assert_all_there(happens, *recorded(happens))


def test_a_record_takes_little_memory() -> None:
    """11 kB an iteration would be 38 MB."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    blocks = Blocks()
    columns = [Column(blocks, 64, 4, 4), Column(blocks, 64, 6), Column(blocks, dtype=torch.bool)]
    row, twist = torch.randn(64, 4, 4, dtype=torch.float64), torch.randn(64, 6, dtype=torch.float64)
    before = 0
    for k in range(3600):
        for column, value in zip(columns, (row, twist, torch.tensor(True)), strict=True):
            column.put(k, value)
        if k == 200:
            before = resident()
    assert resident() - before < 4e6
    assert size_of_file(blocks) > 30e6


def test_where_there_is_no_temporary_folder_the_record_stays_in_memory(
    room: Callable[[int], list[Blocks]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    room(0)
    happens = drawn(3)
    record, runs = recorded(happens)
    assert not caplog.records  # nothing while the robot moves
    assert_all_there(happens, record, runs)
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert "TMPDIR" in warning.getMessage()
    assert "No such file or directory" in warning.getMessage()


def test_a_disk_that_gets_full_on_the_way_loses_nothing(
    room: Callable[[int], list[Blocks]], caplog: pytest.LogCaptureFixture
) -> None:
    made, happens = room(0), drawn(3)
    with files_of_at_most(500_000):  # in the middle of a block: that write is cut off
        record, runs = recorded(happens)
    assert size_of_file(made[0]) == 500_000
    assert_all_there(happens, record, runs)
    assert [entry.levelno for entry in caplog.records] == [logging.WARNING]


def test_a_file_that_cannot_be_read_back_is_said(room: Callable[[int], list[Blocks]]) -> None:
    made, happens = room(0), drawn(3)
    record, runs = recorded(happens)
    file = made[0]._file
    assert file is not None
    file.truncate(100_000)
    with pytest.raises(InputError, match=r"cannot be read back from the temporary folder \(it ends too early\)"):
        record.trajectory(runs, {})


def test_the_file_goes_with_the_record(room: Callable[[int], list[Blocks]]) -> None:
    made = room(0)
    record, _ = recorded(drawn(3))
    file = made[0]._file
    assert file is not None
    del record
    made.clear()
    assert file.closed


def test_an_iteration_that_ctrl_c_interrupts_does_not_count(
    room: Callable[[int], list[Blocks]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it is recorded; the next one takes its place, in all columns."""
    room(0)
    happens = drawn(3, 416)
    record, runs = recorded(happens)

    def interrupt(k: int, row: Tensor) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(record._applied, "put", interrupt)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                record.add(View(T_wc=torch.zeros(3, 4, 4)), torch.zeros(3, 6), torch.zeros(3, 6), runs)
    assert len(record) == 416
    assert_all_there(happens, record, runs)
    more = drawn(3, 417)
    record.add(View(T_wc=more["T_wc"][-1]), more["twist"][-1], more["applied"][-1], runs)
    trajectory = record.trajectory(runs, {})
    assert torch.equal(trajectory.T_wc[:-1], happens["T_wc"])
    assert torch.equal(trajectory.T_wc[-1], more["T_wc"][-1])
    assert torch.equal(trajectory.applied[-1], more["applied"][-1])
