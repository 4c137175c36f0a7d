"""The tables, the figure and the page of `siame bench relief`."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence

from siame_se3.analysis.relief import against_relief
from siame_se3.analysis.report import markdown, number, small, spread, write_report
from siame_se3.analysis.style import save
from siame_se3.experiments.relief import DEPTH_TITLES, DEPTHS
from siame_se3.experiments.relief_runs import COLUMNS, PERCENT, SWEEP_COLUMNS, Settings, gathered
from siame_se3.files import hardware

_Row = dict[str, str]

PUBLISHED = (
    "Published under this protocol: CNS (ICRA 2024), trained, on scenes of YCB objects: end error 1.4 mm, 11.5 ms a step of its controller; on a UR5e below "
    "0.3 deg and 1 mm from 0.275 m. Its 16 objects and its 150 starts are not ours: these are drawn as `siame_se3.experiments.relief` says."
)


def _within(rows: Sequence[_Row], t: float, r: float) -> str:
    return number(100 * sum(float(x["end_t_m"]) <= t and float(x["end_r_deg"]) <= r for x in rows) / len(rows), 1)


def _median(rows: Sequence[_Row], column: str, scale: float = 1.0, digits: int = 2) -> str:
    values = [scale * float(row[column]) for row in rows if not math.isnan(float(row[column]))]
    return small(statistics.median(values), digits) if values else "-"


def objects_table(rows: Sequence[_Row]) -> list[dict[str, str]]:
    """A line a law and depth, of scenes of objects."""
    lines = []
    for law, depth in dict.fromkeys((row["law"], row["depth"]) for row in rows):
        mine = [row for row in rows if (row["law"], row["depth"]) == (law, depth)]
        good = [row for row in mine if row["converged"] == "1"]
        lines.append(
            {
                "law": law,
                "goal's depth": DEPTH_TITLES[depth],
                "scenes": str(len(mine)),
                "CNS's criterion [%]": number(100 * len(good) / len(mine), 1),
                "2 mm, 0.2 deg [%]": _within(mine, 2e-3, 0.2),
                "1 mm, 0.1 deg [%]": _within(mine, 1e-3, 0.1),
                "end [mm], success": spread([1e3 * float(row["end_t_m"]) for row in good]),
                "end [deg], success": spread([float(row["end_r_deg"]) for row in good]),
                "median [mm]": _median(mine, "end_t_m", 1e3, 3),
                "iterations": _median(good, "iterations", 1, 0),
                "step [ms]": _median(mine, "ms", 1, 1),
            }
        )
    return lines


def sweep_table(rows: Sequence[_Row]) -> list[dict[str, str]]:
    """A line a law and depth; at each height converged, median end error, and what one step leaves of the way."""
    lines = []
    for law, depth in dict.fromkeys((row["law"], row["depth"]) for row in rows):
        line = {"law": law, "goal's depth": DEPTH_TITLES[depth]}
        for percent in PERCENT:
            mine = _of(rows, law, depth, percent)
            share = number(100 * sum(row["converged"] == "1" for row in mine) / len(mine), 0) if mine else "-"
            left = _median(mine, "one_step", 100, 0)
            line[f"{percent} %"] = f"{share} %, {_median(mine, 'end_t_m', 1e3)} mm, {left} %"
        lines.append(line)
    return lines


def _of(rows: Sequence[_Row], law: str, depth: str, percent: int) -> list[_Row]:
    return [row for row in rows if (row["law"], row["depth"], row["relief_percent"]) == (law, depth, str(percent))]


def sweep_curves(rows: Sequence[_Row]) -> dict[tuple[str, str], list[tuple[float, float, float, float]]]:
    """Of each law and depth: (relief [%], converged [%], median end error [mm], what one step leaves of the way, median [%])."""
    curves = {}
    for law, depth in dict.fromkeys((row["law"], row["depth"]) for row in rows):
        curves[law, depth] = [
            (
                float(percent),
                100 * statistics.fmean(row["converged"] == "1" for row in mine),
                1e3 * statistics.median(float(row["end_t_m"]) for row in mine),
                100 * statistics.median(_steps(mine) or [math.nan]),
            )
            for percent in PERCENT
            if (mine := _of(rows, law, depth, percent))
        ]
    return curves


def _steps(rows: Sequence[_Row]) -> list[float]:
    """What one step leaves of the way, of the runs whose law gave one."""
    return [x for row in rows if not math.isnan(x := float(row["one_step"]))]


def starts_note(rows: Sequence[_Row]) -> str:
    """How far the starts are from their goals."""
    each = {row["scene"]: row for row in rows}.values()
    t, r, d = (
        [scale * float(row[name]) for row in each]
        for name, scale in (("start_t_m", 100), ("start_r_deg", 1), ("goal_distance_m", 100))
    )
    return f"{len(t)} scenes; starts {spread(t, 1)} cm and {spread(r, 0)} deg from their goals, goals {spread(d, 0)} cm from the objects"


def page(settings: Settings, command: str) -> str:
    """Write relief/relief.csv, sweep.csv, sweep.png and report.md; the tables as text."""
    objects, sweep = (
        gathered(settings, kind, columns) for kind, columns in (("objects", COLUMNS), ("sweep", SWEEP_COLUMNS))
    )
    folder, pieces = settings.out / "relief", []
    what = "boxes, cylinders and balls" if settings.objects is None else settings.objects.name
    if objects:
        note = f"Objects on a table ({what}), by the protocol of CNS: {starts_note(objects)}; images of {settings.width} px."
        pieces += [note, markdown(objects_table(objects)), PUBLISHED]
    if sweep:
        count = len({(row["scene"], row["run"]) for row in sweep})
        note = f"Boxes, cylinders, steps and hills under '{settings.photo.name}', {count} Table I starts at each height (share of the goal's distance)"
        save(against_relief(sweep_curves(sweep), DEPTH_TITLES, note), folder / "sweep.png")
        pieces += [
            f"{note}; converged, median end error of all, and what one step at gain 1 leaves of the way (median):",
            markdown(sweep_table(sweep)),
            "![converged runs and end errors against the height of the relief](sweep.png)",
        ]
    text = "\n\n".join(pieces) or "(nothing has been run)"
    origin = (
        f"`{command}`; {hardware()}; seed {settings.seed}; {time.strftime('%Y-%m-%d')}. Depths: {', '.join(DEPTHS)}."
    )
    write_report(folder / "report.md", "Scenes with depth", [origin, text])
    return text
