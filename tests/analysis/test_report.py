from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from siame_se3.analysis import report
from siame_se3.analysis.metrics import Row


def row(end_t: float, end_r: float, converged: int) -> Row:
    return Row(0, 0.1, 10.0, end_t, end_r, 0.0, 0.0, 5, converged, 1.0)


def test_shares_by_each_criterion() -> None:
    rows = [row(0.0005, 0.05, 1), row(0.0005, 0.2, 1), row(0.04, 3.0, 0), row(0.2, 1.0, 0)]
    assert [report.share(rows, c) for c in report.CRITERIA.values()] == [50.0, 25.0, 75.0]
    assert math.isnan(report.share([], None))
    assert report.spread([1.0, 3.0]) == "2.00 ± 1.00"
    assert report.spread([]) == "-"
    assert report.spread([1.0]) == "1.00"
    assert (report.spread([1e-5, 2e-5]), report.spread([1e-5], 3), report.spread([0.0, 0.0])) == (
        "< 0.01",
        "< 0.001",
        "< 0.01",
    )
    assert report.spread([-1.0, 1.0]) == "0.00 ± 1.00"
    assert (report.counted(1, "run"), report.counted(2, "run")) == ("1 run", "2 runs")
    assert (report.number(1.234), report.number(math.nan)) == ("1.23", "-")
    lengths = [report.small(value) for value in (0.0, 0.0049, -0.0049, 0.0051, 1.234, math.nan)]
    assert lengths == ["< 0.01", "< 0.01", "< 0.01", "0.01", "1.23", "-"]
    assert report.small(0.0004, 3) == "< 0.001"


def test_tables_as_text_and_as_csv(tmp_path: Path) -> None:
    table = [{"law": "dvs", "t [cm]": "1, about"}, {"law": "pbvs", "t [cm]": "-"}]
    assert report.markdown(table) == "| law | t [cm] |\n|---|---|\n| dvs | 1, about |\n| pbvs | - |"
    assert report.markdown([]) == "(nothing has been run)"
    report.write_table(table, tmp_path / "new" / "table.csv")
    with (tmp_path / "new" / "table.csv").open(newline="", encoding="utf-8") as stream:
        assert list(csv.DictReader(stream)) == table
    report.write_report(tmp_path / "report.md", "Title", ["a", "b"])
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == "# Title\n\na\n\nb\n"


def test_a_table_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    report.write_table([{"law": "dvs"}], path)
    before = path.read_bytes()

    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    with pytest.raises(RuntimeError):
        report.write_table([{"law": "dvs"}, {"law": Unprintable()}], path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]
