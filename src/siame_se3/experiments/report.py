"""Tables and pages, from the cells' CSVs."""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from siame_se3.analysis.metrics import Row
from siame_se3.experiments.cells import Cell, Setup, csv_of, facts_of
from siame_se3.files import hardware

CRITERIA = {
    "converged [%]": None,  # that of metrics.converged
    "strict: 1 mm, 0.1 deg [%]": (1e-3, 0.1),
    "loose: 5 cm, 5 deg [%]": (0.05, 5.0),
}


def share(rows: Sequence[Row], criterion: tuple[float, float] | None) -> float:
    """Runs that end within a criterion (m, deg), or that `metrics` calls converged [%]."""
    if not rows:
        return float("nan")
    if criterion is None:
        return 100 * sum(r.converged for r in rows) / len(rows)
    t, r = criterion
    return 100 * sum(x.end_t_m <= t and x.end_r_deg <= r for x in rows) / len(rows)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """mean ± standard deviation; a dash for none."""
    if not values:
        return "-"
    return f"{statistics.fmean(values):.{digits}f} ± {statistics.pstdev(values):.{digits}f}"


def number(value: float, digits: int = 2) -> str:
    """A number, or a dash."""
    return f"{value:.{digits}f}" if value == value else "-"


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of rows with equal keys."""
    if not rows:
        return "(nothing has been run)"
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(str(row[n]) for n in names) + " |" for row in rows)])


def write_table(rows: Sequence[dict[str, str]], path: Path) -> None:
    """The same table as a CSV."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def origin(setup: Setup, experiment: str, cells: Sequence[Cell], command: str) -> str:
    """The lines under a page's title: command, hardware, seed, date, wall time."""
    seconds = sum(float(str(facts_of(setup, experiment, cell)["seconds"])) for cell in cells)
    seeds = ", ".join(sorted({str(cell.seed) for cell in cells}))
    runs = ", ".join(sorted({str(cell.runs) for cell in cells}))
    return (
        f"`{command}`; {hardware()}; scene {setup.scene.name}, {runs} runs a row, seed {seeds}; {seconds:.0f} s of runs, networks not "
        f"counted ({setup.minutes:g} min of training each where they were missing); {time.strftime('%Y-%m-%d')}."
    )


def write_page(
    setup: Setup,
    experiment: str,
    title: str,
    cells: Sequence[Cell],
    table: Sequence[dict[str, str]],
    notes: Sequence[str],
    command: str,
) -> str:
    """Write EXPERIMENT.csv and report.md (title, origin, table, notes) beside the cells; the table as text."""
    text = markdown(table)
    if table:
        folder = csv_of(setup, experiment, cells[0]).parent
        write_table(table, folder / f"{experiment}.csv")
        pieces = [f"# {title}", origin(setup, experiment, cells, command), text, *notes]
        (folder / "report.md").write_text("\n\n".join(pieces) + "\n", encoding="utf-8")
    return text
