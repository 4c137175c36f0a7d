"""Trajectory -> a report: numbers, paths that can be turned, curves, pictures, a line a run, settings, the command."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from siame_se3.analysis import html, metrics
from siame_se3.analysis.frames import farthest
from siame_se3.analysis.html import Html
from siame_se3.analysis.html_data import drawn_data
from siame_se3.analysis.metrics import Row
from siame_se3.geometry.camera import Camera
from siame_se3.servo.trajectory import Trajectory

_MOST_ROWS = 2000  # of the table
Picture = tuple[str, np.ndarray]


def run_page(
    trajectory: Trajectory,
    pictures: Sequence[Picture] = (),
    scene: Any = None,
    camera: Camera | None = None,
    shown: int | None = None,
    title: str = "",
    table: Sequence[Row] | None = None,
) -> str:
    """The report of a batch of runs, or of one.

    Args:
        trajectory: of the runs; poses may be unknown (NaN), as of a robot without a pose: then paths are those of the applied twists.
        pictures: of the run shown, with what they show: (h, w, 3) uint8.
        scene: what the cameras saw; a print is drawn below the paths.
        camera: its intrinsics, for the cameras drawn.
        shown: number of the run shown first; None for the converged one with the largest start error.
        title: of the page.
        table: `metrics.rows` of the trajectory, where they are known already.
    """
    known = bool(trajectory.T_wc.isfinite().all() & trajectory.T_wd.isfinite().all())
    if table is None:
        table = metrics.rows(trajectory) if known else []
    if shown is None:
        shown = farthest(table)
    drawn, data = drawing(trajectory, table, scene, camera, shown)
    law = trajectory.settings.get("law", "a law")
    name = getattr(scene, "name", None)
    heading = title or f"{law}" + (f" on {name}" if name else "")
    parts = [_numbers(trajectory, table), drawn]
    if pictures:
        parts.insert(1, html.section(f"Run {shown}", html.strip(pictures)))
    return html.page(heading, _lead(trajectory), [*parts, *_rest(trajectory, table, data)], data)


def drawing(
    trajectory: Trajectory, table: Sequence[Row], scene: Any, camera: Camera | None, shown: int, alike: bool = True
) -> tuple[Html, dict[str, Any]]:
    """Where paths and curves are drawn, and the data of a page that the script draws them from.

    Args:
        trajectory, table, scene, camera, shown: as of `run_page`.
        alike: the runs are of one kind, so that their median says something.
    """
    known = bool(trajectory.T_wc.isfinite().all() & trajectory.T_wd.isfinite().all())
    data = drawn_data(trajectory, table, scene, camera, shown, known)
    if not alike:
        data["bands"] = {}
    space = html.section("Paths", html.paths_canvas(_keys(known, data)))
    hint = "over time; dotted: the hand-off" if _handed(data) else "over time"
    charts = [html.chart_canvas(k, chart["title"]) for k, chart in enumerate(data["charts"])]
    curves = html.section(
        _curves_title(len(trajectory.reason) if known and alike else 1), html.paragraph(hint, "note"), *charts
    )
    return html.side_by_side(space, curves), data


def _rest(trajectory: Trajectory, table: Sequence[Row], data: dict[str, Any]) -> list[Html]:
    """The table of the runs, settings and command."""
    parts = []
    if table:
        rows, detailed = table[:_MOST_ROWS], {run["run"] for run in data["runs"]}
        note = f"Of the first {len(rows)} runs. " if len(rows) < len(table) else ""
        note += "A click on a run shows it above." if len(detailed) > 1 else ""
        if 1 < len(detailed) < len(table):
            note += f" {len(detailed)} of them have curves, those that failed first."
        lines = html.table([_line(row) for row in rows], [row.run for row in rows], [not row.converged for row in rows])
        parts.append(html.section("Runs", html.paragraph(note, "note"), lines))
    kept = {k: v for k, v in trajectory.settings.items() if k != "command"} | {"dt": trajectory.dt}
    if line := trajectory.settings.get("command"):
        parts.append(html.section("Command", html.command(line)))
    return [*parts, html.section("Settings", html.settings(kept))]


def _line(row: Row) -> dict[str, str]:
    found = {
        "run": str(row.run),
        "start [cm]": f"{100 * row.start_t_m:.2f}",
        "start [deg]": f"{row.start_r_deg:.2f}",
        "end [mm]": f"{1000 * row.end_t_m:.4g}",
        "end [deg]": f"{row.end_r_deg:.4g}",
        "path error [cm]": f"{100 * row.path_t_m:.3g}",
        "iterations": str(row.iterations),
        "converged": "yes" if row.converged else "no",
        "end by": row.reason,
    }
    if row.switch >= 0:
        found["handed over at"] = str(row.switch)
    return {**found, "handed over at": found.get("handed over at", "-")}


def _numbers(trajectory: Trajectory, table: Sequence[Row]) -> Html:
    n, milliseconds = (
        len(trajectory.reason),
        1e3 * statistics.median(trajectory.step_seconds.tolist()) if len(trajectory.step_seconds) else math.nan,
    )
    values = {"runs" if n != 1 else "run": str(n)}
    if table:
        s = metrics.summary(table)
        middle = "median " if n > 1 else ""
        values["converged"] = f"{s.converged_percent:.1f} %" if n > 1 else "yes" if table[0].converged else "no"
        values[f"{middle}end error"] = f"{1000 * s.median_end_t_m:.3g} mm"
        values[f"{middle}end angle"] = f"{s.median_end_r_deg:.3g} deg"
    else:
        values["end"] = trajectory.reason[0] if n == 1 else "see the runs"
    values["iterations, median" if n > 1 else "iterations"] = (
        f"{float(trajectory.iterations.double().quantile(0.5)):g}" if n else "-"
    )
    values["law, a run and step"] = f"{milliseconds:.3g} ms" if math.isfinite(milliseconds) else "-"
    return html.tiles(values)


def _lead(trajectory: Trajectory) -> str:
    settings = trajectory.settings
    words = []
    if (gain := settings.get("servo", {}).get("gain")) is not None:
        words.append(f"gain {gain:g}/s")
    words.append(f"{1000 * trajectory.dt:.0f} ms a step")
    if settings.get("seconds") is not None:
        words.append(f"{settings['seconds']} s")
    words += [str(settings[name]) for name in ("hardware", "date") if settings.get(name)]
    words += ["stopped by Ctrl-C"] * bool(settings.get("stopped"))
    return ", ".join(words)


def _curves_title(alike: int) -> Html:
    several = ", median and 90 % of all" if alike > 1 else ""
    return Html(f'Run <span class="which"></span>{several}')


def _handed(data: dict[str, Any]) -> bool:
    return any(run["handoff"] >= 0 for run in data["runs"])


def _keys(known: bool, data: dict[str, Any]) -> dict[str, str]:
    if not known:
        return {"run shown": "orange"}
    marks = [run["good"] for run in data["runs"]] + [other["good"] for other in data["others"]]
    keys = {"run shown": "orange", "desired": "green"}
    keys |= {"converged": "blue"} if any(marks) else {}
    return keys | ({"not converged": "red"} if not all(marks) else {})
