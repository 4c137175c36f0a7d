"""The tables of README and docs are those of the files beside them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from siame_se3.errors import InputError
from siame_se3.experiments import published

ROOT = Path(__file__).resolve().parents[2]
PLACES = [(name, place) for name, (_, places) in published.TABLES.items() for place in places]


@pytest.mark.parametrize(("name", "place"), PLACES)
def test_table_is_that_of_its_csv(name: str, place: str) -> None:
    page = (ROOT / place).read_text(encoding="utf-8")
    made, _ = published.TABLES[name]
    assert published.filled(page, name, made(ROOT / "docs" / name)) == page


@pytest.mark.parametrize(
    ("name", "column", "other"),
    [
        ("table1.csv", "converged [%]", "12.3"),
        ("two_photos.csv", "end_align", "98.7"),
        ("relief.csv", "end_t_m", "0.987"),
    ],
)
def test_other_numbers_are_another_table(name: str, column: str, other: str, tmp_path: Path) -> None:
    made, _ = published.TABLES[name]
    with (ROOT / "docs" / name).open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    with (tmp_path / name).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, column: other} for row in rows)
    assert made(tmp_path / name) != made(ROOT / "docs" / name)


def test_another_fault_is_another_table(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "faults.jsonl").read_text(encoding="utf-8")
    other = tmp_path / "faults.jsonl"
    other.write_text(text.replace("20 of 20", "19 of 20", 1))
    assert published.faults(other) != published.faults(ROOT / "docs" / "faults.jsonl")
    other.write_text(text.replace('"stops"', '"vanishes"', 1))
    with pytest.raises(InputError, match="a row 'vanishes' is no fault"):
        published.faults(other)


def test_the_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 60
