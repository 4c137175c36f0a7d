"""What the README says is what was measured."""

from __future__ import annotations

import csv
from pathlib import Path

from siame_se3.experiments import readme_table

ROOT = Path(__file__).resolve().parents[2]


def test_table_is_that_of_its_csv() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme_table.filled(readme, readme_table.table(ROOT / "docs" / "table1.csv")) == readme


def test_other_numbers_are_another_table(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "table1.csv").read_text(encoding="utf-8")
    with (ROOT / "docs" / "table1.csv").open(encoding="utf-8") as stream:
        rate = next(csv.DictReader(stream))["converged [%]"]
    (tmp_path / "other.csv").write_text(text.replace(rate, "12.3"), encoding="utf-8")
    other = readme_table.table(tmp_path / "other.csv")
    assert "12.3" in other
    assert other != readme_table.table(ROOT / "docs" / "table1.csv")
