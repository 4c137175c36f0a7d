"""Table I: all laws from the same starts. And Fig. 2 from the same runs: convergence against the overlap of start and desired view."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from siame_se3.analysis import plots, report
from siame_se3.analysis.metrics import Row
from siame_se3.experiments import pages
from siame_se3.experiments.laws import LAWS
from siame_se3.experiments.runner import Cell, Setup, csv_of, facts_of, results
from siame_se3.geometry.camera import default_camera
from siame_se3.scenes.overlap import overlap
from siame_se3.scenes.poses import Workspace, draw_starts

NAME = "table1"
ROWS = tuple(name for name in LAWS if not name.endswith(("-wide", "-robust")))
QUICK = ("dvs", "dct20", "dvs-light", "pbvs-sift", "pbvs-orb", "siame-se(3)", "handoff")  # with --quick
OTHERS: tuple[str, ...] = ()  # rows on demand
BATCHES = 10  # of Fig. 2, at most


def cells(runs: int, seed: int, laws: Sequence[str]) -> list[Cell]:
    """A row each."""
    return [Cell(law, "", "table1", runs, seed) for law in laws]


def line(cell: Cell, rows: Sequence[Row]) -> dict[str, str]:
    """Our row beside the paper's."""
    law, good = LAWS[cell.law], [r for r in rows if r.converged]
    p = law.paper
    ours = {
        "law": law.title,
        "t, converged [cm]": report.spread([100 * r.end_t_m for r in good], 3),
        "r, converged [deg]": report.spread([r.end_r_deg for r in good], 3),
        "t, all [cm]": report.spread([100 * r.end_t_m for r in rows]),
        "r, all [deg]": report.spread([r.end_r_deg for r in rows]),
        **{name: f"{report.share(rows, c):.1f}" for name, c in report.CRITERIA.items()},
        "path t [cm]": report.spread([100 * r.path_t_m for r in good]),
        "path r [deg]": report.spread([r.path_r_deg for r in good]),
        "iterations": f"{statistics.median(r.iterations for r in rows):g}",
        "step [ms]": report.number(rows[0].step_ms),
    }
    theirs = {
        "paper: t [cm]": p.t if p else "-",
        "paper: r [deg]": p.r if p else "-",
        "paper: converged [%]": f"{p.converged:g}" if p else "-",
        "paper: path": f"{p.path_t:g} cm, {p.path_r:g} deg" if p else "-",
    }
    return ours | theirs


def overlaps(setup: Setup, runs: int, seed: int) -> list[float]:
    """Of each start: the share of the current view that the desired one shows too."""
    camera = default_camera()
    T_wd, T_wc = draw_starts("table1", runs, setup.scene, camera, Workspace(), seed)
    return [float(x) for x in overlap(camera, T_wd, T_wc, setup.scene)]


def batches(order: Sequence[int]) -> list[list[int]]:
    """Runs in order, in 5 to 10 batches of one size where there are such, else in 10 whose sizes differ by one."""
    n = len(order)
    count = max((k for k in range(BATCHES // 2, BATCHES + 1) if n % k == 0), default=min(BATCHES, n))
    return [list(order[k * n // count : (k + 1) * n // count]) for k in range(count)]


def in_batches(parts: Sequence[Sequence[int]]) -> str:
    """'in 10 batches of 100 runs', 'in 10 batches of 2 or 3 runs'."""
    sizes = sorted({len(part) for part in parts})
    return f"in {report.counted(len(parts), 'batch', 'batches')} of {' or '.join(map(str, sizes))} run{'s' * (sizes != [1])}"


def page(setup: Setup, wanted: list[Cell], command: str) -> str:
    """Write table1.csv, fig2.csv, both figures and the report page; the table as text."""
    found = results(setup, NAME, wanted)
    folder = csv_of(setup, NAME, wanted[0]).parent
    table = [line(cell, rows) for cell, rows in found.items()]
    if not table:
        return report.markdown(table)
    first = next(iter(found))
    thresholds = [0.1 * 10 ** (k / 12) for k in range(37)]  # 0.1 mm to 10 cm
    curves = {
        LAWS[cell.law].title: [report.share(rows, (mm / 1000, mm / 10)) for mm in thresholds]
        for cell, rows in found.items()
    }
    note = f"{first.runs} Table I starts on '{setup.scene.name}', seed {first.seed}"
    plots.save(plots.success(thresholds, curves, note), folder / "success.png")
    by_overlap = overlaps(setup, first.runs, first.seed)
    order = sorted(range(first.runs), key=by_overlap.__getitem__)
    parts = batches(order)
    middles = [sum(by_overlap[i] for i in part) / len(part) for part in parts]
    rates = {
        LAWS[cell.law].title: [100 * sum(rows[i].converged for i in part) / len(part) for part in parts]
        for cell, rows in found.items()
    }
    report.write_table(
        [
            {"law": title, **{f"{m:.3f}": f"{x:.1f}" for m, x in zip(middles, rate, strict=True)}}
            for title, rate in rates.items()
        ],
        folder / "fig2.csv",
    )
    plots.save(
        plots.overlap(middles, rates, f"{note}, {in_batches(parts)}"),
        folder / "fig2.png",
    )
    notes = [
        "Converged: translation error under 10 % of its start or under 1 cm, and rotation error under 10 % of its start or under 1 deg. "
        "Path errors: mean distance from PBVS's path, converged runs. Errors are means ± standard deviations.",
        "![success against threshold](success.png)",
        "Runs that end within a threshold, 1 deg for each cm.",
        "## Fig. 2: convergence against overlap",
        "![convergence against overlap](fig2.png)",
        f"The same runs, {in_batches(parts)} by the overlap of start and desired view.",
        "Why rows differ from the paper's on the bundled print, and what was tried: docs/benchmarks.md, by `python -m siame_se3.experiments.baselines`.",
        "Seconds a row: "
        + ", ".join(f"{LAWS[c.law].title} {facts_of(setup, NAME, c)['seconds']}" for c in found)
        + ".",
    ]
    return pages.write_page(setup, NAME, "Table I and Fig. 2", list(found), table, notes, command)
