"""The fuzz command: it counts what it should, and finds nothing in the readers."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from siame_se3.experiments.fuzz import archives, mutations, readers, runner
from siame_se3.experiments.fuzz.worker import ACCEPTED, HANG, KINDS, MEMORY, OTHER, REFUSED, Limits, judged, spoilt

HELPERS = "fuzz_helpers"
PICTURES = ["photo", "calibration picture", "Image", "CompressedImage"]
QUICK = ["CameraInfo", "camera YAML", "hand-eye YAML", "poses CSV", "runs CSV", "starts CSV", "trajectory"]


@pytest.fixture(scope="module")
def helpers() -> Iterator[list[str]]:
    """The names of readers that go wrong; workers find their module too."""
    sys.path.insert(0, str(Path(__file__).parent))
    import fuzz_helpers

    yield sorted(set(fuzz_helpers.READERS) - {"cannot"})
    sys.path.remove(str(Path(__file__).parent))


@pytest.fixture(scope="module")
def tally(helpers: list[str]) -> runner.Tally:
    limits = Limits(memory=1.5e8, seconds=0.5)
    return runner.run(HELPERS, helpers, range(len(helpers)), seed=0, limits=limits)


@pytest.mark.parametrize(
    ("reader", "kind"),
    [("accepts", ACCEPTED), ("dies", OTHER), ("grows", MEMORY), ("hangs", HANG), ("raises", OTHER), ("refuses", REFUSED), ("speaks much", OTHER)],
)  # fmt: skip
def test_each_case_is_counted_as_what_it_was(tally: runner.Tally, reader: str, kind: str) -> None:
    """Also those after a worker was killed or had died."""
    assert tally.counts[reader] == {k: int(k == kind) for k in KINDS}


def test_failures_say_which_case_and_why(tally: runner.Tally) -> None:
    found = {(case.reader, case.number): case for case in tally.cases}
    assert "KeyError" in found["raises", 4].detail
    assert "the process ended with 7" in found["dies", 1].detail
    assert "2 lines" in found["speaks much", 6].detail
    assert found["grows", 2].memory > 1.5e8
    assert found["hangs", 3].seconds > 0.5


def test_the_table_has_a_line_a_reader_and_their_sum(tally: runner.Tally, tmp_path: Path) -> None:
    text = runner.write(tally, tmp_path, "a note")
    assert "a note" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert text in (tmp_path / "summary.md").read_text(encoding="utf-8")
    with (tmp_path / "summary.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["reader"] for row in rows][-1] == "all"
    assert (rows[-1]["cases"], rows[-1][OTHER], rows[-1][MEMORY], rows[-1][HANG]) == ("7", "3", "1", "1")
    with (tmp_path / "failures.csv").open(newline="", encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == 5


@pytest.mark.parametrize("reader", sorted(readers.READERS))
def test_a_case_depends_on_seed_reader_and_number_alone(reader: str, tmp_path: Path) -> None:
    """Not on when or where it was made: it can be run again."""

    def content(folder: str, number: int, seed: int) -> bytes:
        return spoilt(readers, tmp_path / folder, reader, number, seed).read_bytes()

    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        runner.prepare(runner.TABLE, [reader], tmp_path / folder)
    cases = [(number, seed) for number in range(6) for seed in range(2)]
    contents = [content("one", *case) for case in cases]
    assert contents == [content("two", *case) for case in cases]
    assert len(set(contents)) > 6


@pytest.mark.parametrize("reader", sorted(set(readers.READERS) - set(PICTURES)))
def test_valid_files_are_accepted(reader: str, tmp_path: Path) -> None:
    runner.prepare(runner.TABLE, [reader], tmp_path)
    for path in sorted((tmp_path / reader).iterdir()):
        assert judged(readers.READERS[reader].read, path) == (ACCEPTED, "")


@pytest.mark.parametrize("reader", PICTURES)
def test_some_valid_pictures_are_accepted(reader: str, tmp_path: Path) -> None:
    """Some encodings and formats are refused on purpose."""
    runner.prepare(runner.TABLE, [reader], tmp_path)
    kinds = [judged(readers.READERS[reader].read, path)[0] for path in sorted((tmp_path / reader).iterdir())]
    assert set(kinds) <= {ACCEPTED, REFUSED}
    assert kinds.count(ACCEPTED) >= 3


@pytest.mark.parametrize("name", ["splice", "text", "yaml", "json_file", "picture", "message", "npz", "tensors"])
def test_spoiling_spoils_and_never_fails(name: str, tmp_path: Path) -> None:
    samples = {
        "json_file": "options",
        "picture": "photo",
        "message": "CameraInfo",
        "npz": "trajectory",
        "tensors": "checkpoint",
    }
    valid = readers.READERS[samples.get(name, "starts CSV")].make(tmp_path)[:3]
    spoil = getattr(archives if name in ("npz", "tensors") else mutations, name)
    made = [spoil(valid, Random(k)) for k in range(30 if name in ("npz", "picture") else 100)]
    assert sum(content not in valid for content in made) > len(made) / 2


@pytest.mark.parametrize("reader", QUICK)
def test_readers_hold_for_some_cases(reader: str, tmp_path: Path) -> None:
    """A share of what the command does, in this process."""
    runner.prepare(runner.TABLE, [reader], tmp_path)
    for number in range(40):
        path = spoilt(readers, tmp_path, reader, number, seed=1)
        kind, detail = judged(readers.READERS[reader].read, path)
        assert kind in (ACCEPTED, REFUSED), f"{reader}/{number}: {detail}"


@pytest.mark.slow
def test_all_readers_hold_for_a_thousand_cases() -> None:
    """By number, not by time: on a busy machine seconds are enough for one reader's."""
    names = sorted(readers.READERS)
    tally = runner.run(runner.TABLE, names, range(1000), seed=2, limits=Limits())
    assert not tally.cases
    assert set(tally.counts) == set(names)
    for counts in tally.counts.values():
        assert counts[REFUSED] > 0


def test_no_case_begins_after_the_time() -> None:
    tally = runner.run(runner.TABLE, ["starts CSV"], range(10), seed=0, limits=Limits(), until=-math.inf)
    assert not tally.counts
    assert tally.rows()[-1]["cases"] == 0


def test_the_command(
    helpers: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "TABLE", HELPERS)
    common = ["--out", str(tmp_path), "--cases", "4", "--share", "1/2"]
    assert runner.main([*common, "--readers", "accepts", "refuses"]) == 0
    assert "| refuses | 2 | 0 | 2 | 0 | 0 | 0 |" in capsys.readouterr().out
    assert "--share 1/2" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert runner.main([*common, "--readers", "accepts", "raises"]) == 1
    assert "raises/1: other exceptions KeyError" in capsys.readouterr().out
    with pytest.raises(KeyError):
        runner.main(["--case", "raises/1"])


def test_a_fault_of_the_table_is_not_counted_but_said(helpers: list[str]) -> None:
    with pytest.raises(RuntimeError, match="cannot begin cannot/0"):
        runner.run(HELPERS, ["cannot"], [0], seed=0, limits=Limits())
