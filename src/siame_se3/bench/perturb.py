"""One disturbance at a time, from Table I's starts, each drawn anew for every run and kept while it moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from siame_se3.augment import NONE, Augmentation
from siame_se3.bench import report
from siame_se3.bench.cells import Cell, Setup, results
from siame_se3.bench.laws import LAWS

NAME = "perturb"
CONDITIONS: dict[str, Augmentation | None] = {
    "none": None,
    "lamps": replace(NONE, lamps=4, lamp_gain=0.2, lamp_width=0.5, lamp_width_spread=0.2),
    "gain-bias": replace(NONE, gain=0.2, bias=0.1, colour=0.05),
    "noise-0.05": replace(NONE, noise=0.05),
    "noise-0.1": replace(NONE, noise=0.1),
    "blur-2px": replace(NONE, blur=2.0),
    "blur-3px": replace(NONE, blur=3.0),
    "patch-33%": replace(NONE, occlusion=0.33, occlusion_rate=1.0),
    "all-15%": Augmentation(occlusion_rate=1.0),
}


def cells(runs: int, seed: int, laws: Sequence[str]) -> list[Cell]:
    """All laws under each."""
    return [Cell(law, name, "table1", runs, seed, what) for law in laws for name, what in CONDITIONS.items()]


def page(setup: Setup, wanted: list[Cell], command: str) -> str:
    """Write perturb.csv and the report page; the table as text."""
    found = results(setup, NAME, wanted)
    by_law: dict[str, dict[str, str]] = {}
    for cell, rows in found.items():
        medians = sorted(1e3 * r.end_t_m for r in rows)
        by_law.setdefault(cell.law, {})[cell.condition] = (
            f"{report.share(rows, None):.1f} % ({medians[len(rows) // 2]:.2f} mm)"
        )
    table = [
        {"law": LAWS[law].title, **{name: entries.get(name, "-") for name in CONDITIONS}}
        for law, entries in by_law.items()
    ]
    note = (
        "Converged runs, and the median end error over all. Lamps: up to four Gaussian spots; noise and blur: each run draws its own up to the "
        "number (standard deviation, of the range and in px); patch: one rectangle of up to a third of the image; all: lamps, gain, bias, white "
        "balance, noise up to 0.02 and a patch of up to 15 %. The desired view is undisturbed."
    )
    return report.write_page(setup, NAME, "Disturbances", list(found), table, [note], command)
