"""The two tables of `siame bench real`, and the page with the worst cases."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

from siame_se3.analysis.report import markdown, number, write_report
from siame_se3.experiments.real import one_step, two_photos
from siame_se3.experiments.real.pictures import Folder
from siame_se3.experiments.real.rows import Settings
from siame_se3.files import hardware

_Row = dict[str, str]
_SIGMAS = (("end_t_m", "pose_sigma_t_m"), ("end_r_deg", "pose_sigma_r_deg"))


def _share(rows: Sequence[_Row], which: Any) -> str:
    return number(100 * sum(map(which, rows)) / len(rows), 0) if rows else "-"


def _median(rows: Sequence[_Row], column: str, scale: float = 1.0) -> str:
    values = [scale * float(row[column]) for row in rows if row[column] != ""]
    return number(statistics.median(values), 2) if values else "-"


def one_step_table(rows: Sequence[_Row], laws: Sequence[str]) -> list[dict[str, str]]:
    """A line a law; 'worse' is a step that ends farther from being aligned than standing still."""
    found = []
    for law in laws:
        mine = [row for row in rows if row["law"] == law]
        if not mine:
            continue

        def share(row: _Row) -> float:
            return float(row["error_align"]) / max(1e-9, float(row["start_align"]))

        def answered(row: _Row) -> bool:
            return row["answered"] == "1"

        found.append(
            {
                "law": law,
                "pairs": str(len(mine)),
                "within 2 % of the image": _share(mine, lambda row: answered(row) and float(row["error_align"]) <= 2),
                "within 6 %": _share(mine, lambda row: answered(row) and float(row["error_align"]) <= 6),
                "within a tenth of the way": _share(mine, lambda row: answered(row) and share(row) <= 0.1),
                "within a fifth": _share(mine, lambda row: answered(row) and share(row) <= 0.2),
                "worse than standing still": _share(mine, lambda row: answered(row) and share(row) > 1),
                "says it does not know": _share(mine, lambda row: not answered(row)),
                "median [ms]": _median(mine, "ms"),
            }
        )
    return found


def two_photos_table(rows: Sequence[_Row], laws: Sequence[str]) -> list[dict[str, str]]:
    """A line a law, of pairs of different photos; beside them the share on one photo."""
    found = []
    for law in laws:
        mine = [row for row in rows if row["law"] == law]
        same = [row for row in mine if row["goal"] == row["world"]]
        other = [row for row in mine if row["goal"] != row["world"]]
        if not mine:
            continue
        pairs = sorted({(row["folder"], row["goal"], row["world"]) for row in other})
        shares = [
            statistics.fmean(int(r["converged"]) for r in other if (r["folder"], r["goal"], r["world"]) == pair)
            for pair in pairs
        ]
        ends = [row for row in other if row["converged"] == "1"]
        found.append(
            {
                "law": law,
                "runs": str(len(other)),
                "aligned within 1 %": _share(other, lambda row: row["converged"] == "1"),
                "worst pair": number(100 * min(shares), 0) if shares else "-",
                "median alignment [%]": _median(other, "end_align"),
                "median pose error of the aligned [mm]": _median(ends, "end_t_m", 1e3),
                "pose within 3 sigma": _share([row for row in other if row["pose_sigma_t_m"]], _within),
                "median sigma [mm]": _median(ends, "pose_sigma_t_m", 1e3),
                "stood still": _share(other, lambda row: row["refused"] == "1"),
                "farther than at the start": _share(other, _farther),
                "one photo on both sides": _share(same, lambda row: row["converged"] == "1"),
            }
        )
    return found


def _farther(row: _Row) -> bool:
    return row["refused"] == "0" and float(row["end_t_m"]) > float(row["start_t_m"]) and row["converged"] == "0"


def _within(row: _Row) -> bool:
    """Whether distance and angle of the end pose are both within three of the standard deviations that the law gave."""
    t, r = (float(row[end]) / max(1e-12, float(row[own])) for end, own in _SIGMAS)
    return t <= 3 and r <= 3


def page(settings: Settings, command: str) -> str:
    """Write real/report.md; both tables as text."""
    steps, runs = one_step.table(settings).rows, two_photos.table(settings).rows
    laws = list(dict.fromkeys(row["law"] for row in (*runs, *steps)))
    worst = sorted((row for row in runs if row["converged"] == "0"), key=lambda row: -float(row["end_align"]))[:12]
    cases = [
        {
            name: row[name]
            for name in ("folder", "law", "goal", "world", "run", "start_t_m", "end_align", "refused", "reason")
        }
        for row in worst
    ]
    text = "\n\n".join(
        (
            "One step on raw pictures, ordered pairs within 35 cm and 45 deg; shares in %, errors as alignment in % of the image's width:",
            markdown(one_step_table(steps, laws)),
            "Two photos of one place, the goal from one and the world from another:",
            markdown(two_photos_table(runs, laws)),
        )
    )
    origin = (
        f"`{command}`; {hardware()}; {time.strftime('%Y-%m-%d')}; {settings.runs} starts a pair, seed {settings.seed}."
    )
    write_report(settings.out / "real" / "report.md", "Real photos", [origin, text, "The worst runs:", markdown(cases)])
    return text


def run(settings: Settings, folders: Sequence[Folder], command: str) -> str:
    """Both tables of all folders; what is there already is not run again. The page's text."""
    for folder in folders:
        one_step.run(folder, settings)
        two_photos.run(folder, settings)
    return page(settings, command)
