"""The report page of an experiment's cells, and the line that says where a table comes from."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence

from siame_se3.analysis.report import markdown, write_report, write_table
from siame_se3.experiments.runner import Cell, Setup, budgets, csv_of, facts_of
from siame_se3.files import hardware


def header() -> str:
    """Hardware, command and date: printed above each table of a script."""
    return f"{hardware()}; python {shlex.join(sys.argv)}; {time.strftime('%Y-%m-%d')}"


def training_note(budgets: Sequence[float]) -> str:
    """What the networks of an experiment were trained for, by their budgets [min], rising; '' where there are none."""
    if not budgets:
        return ""
    least, most = f"{budgets[0]:g}", f"{budgets[-1]:g}"
    return f"({least if least == most else f'{least} to {most}'} min of training each)"


def origin(setup: Setup, experiment: str, cells: Sequence[Cell], command: str) -> str:
    """The lines under a page's title: command, hardware, seed, date, wall time."""
    seconds = sum(float(str(facts_of(setup, experiment, cell)["seconds"])) for cell in cells)
    seeds = ", ".join(sorted({str(cell.seed) for cell in cells}))
    runs = ", ".join(sorted({str(cell.runs) for cell in cells}))
    note = f"networks not counted {training_note(budgets(setup, experiment, cells))}".strip()
    for name in dict.fromkeys(cell.needs for cell in cells):
        if setup.taken(name) != name:
            note += f", {name} is the bundled {setup.taken(name)}"
    return (
        f"`{command}`; {hardware()}; scene {setup.scene.name}, {runs} runs a row, seed {seeds}; {seconds:.0f} s of runs, {note}; "
        f"{time.strftime('%Y-%m-%d')}."
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
        write_report(folder / "report.md", title, [origin(setup, experiment, cells, command), text, *notes])
    return text
