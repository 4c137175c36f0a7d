"""Numbers and tables as reports print them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from siame_se3.analysis.metrics import Row
from siame_se3.files import write_csv_rows, write_text

CRITERIA = {
    "converged [%]": None,  # that of metrics.converged
    "strict: 1 mm, 0.1 deg [%]": (1e-3, 0.1),
    "loose: 5 cm, 5 deg [%]": (0.05, 5.0),
}


def share(rows: Sequence[Row], criterion: tuple[float, float] | None) -> float:
    """Runs that end within a criterion (m, deg), or that `metrics` calls converged [%]; NaN of none."""
    if not rows:
        return math.nan
    if criterion is None:
        return 100 * sum(r.converged for r in rows) / len(rows)
    t, r = criterion
    return 100 * sum(x.end_t_m <= t and x.end_r_deg <= r for x in rows) / len(rows)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """mean ± standard deviation, of one value that value; a dash for none; '< 0.01' where both would print as zero."""
    if not values:
        return "-"
    mean, deviation = statistics.fmean(values), statistics.pstdev(values)
    if max(abs(mean), deviation) < 0.5 * 10**-digits:
        return f"< {10**-digits:.{digits}f}"
    return f"{mean:.{digits}f}" + (f" ± {deviation:.{digits}f}" if len(values) > 1 else "")


def counted(count: int, unit: str, units: str = "") -> str:
    """'1 run', '2 runs'; `units` is the plural where it does not only add an s."""
    return f"{count} {unit if count == 1 else units or unit + 's'}"


def number(value: float, digits: int = 2) -> str:
    """A number, or a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def small(value: float, digits: int = 2) -> str:
    """A length or an angle: '< 0.01' where it would print as zero, a dash for NaN."""
    if abs(value) < 0.5 * 10**-digits:
        return f"< {10**-digits:.{digits}f}"
    return number(value, digits)


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of rows with equal keys."""
    if not rows:
        return "(nothing has been run)"
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(str(row[n]) for n in names) + " |" for row in rows)])


def write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The same table as a CSV, written whole or not at all."""
    if rows:
        write_csv_rows(path, list(rows[0]), [list(row.values()) for row in rows])


def write_report(path: Path, title: str, pieces: Sequence[str]) -> None:
    """A page of Markdown: a title, and pieces with a blank line between them."""
    text = "\n\n".join([f"# {title}", *pieces]) + "\n"
    write_text(path, text)
