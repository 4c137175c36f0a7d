"""One disturbance at a time, from Table I's starts: of the images, and of what the law assumes of camera and scene."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from siame_se3.analysis import plots, report
from siame_se3.analysis.metrics import Row
from siame_se3.experiments import pages
from siame_se3.experiments.laws import LAWS
from siame_se3.experiments.runner import Cell, Setup, csv_of, results
from siame_se3.plants.mismatch import Mismatch
from siame_se3.scenes.conditions import NONE, Augmentation

NAME = "perturb"
ROWS = ("dvs", "dvs-light", "pbvs-sift", "siame-se(3)", "handoff", "siame-se(3)-robust", "handoff-robust")
QUICK = ("dvs", "siame-se(3)", "handoff")  # with --quick
OTHERS: tuple[str, ...] = tuple(name for name in LAWS if name not in ROWS)  # rows on demand
CONDITIONS: dict[str, tuple[Augmentation | None, Mismatch | None]] = {
    "none": (None, None),
    "lamps": (replace(NONE, lamps=4, lamp_gain=0.2, lamp_width=0.5, lamp_width_spread=0.2), None),
    "gain, bias": (replace(NONE, gain=0.2, bias=0.1, colour=0.05), None),
    "jitter 60/40 %": (replace(NONE, brightness=0.6, contrast=0.6, saturation=0.4), None),
    "patches 2-33 %": (replace(NONE, occlusion=0.33, occlusion_rate=0.5, least=0.02 / 0.33, each_frame=True), None),
    "noise 0.05": (replace(NONE, noise=0.05, least=1.0), None),
    "noise 0.1": (replace(NONE, noise=0.1, least=1.0), None),
    "blur 2 px": (replace(NONE, blur=2.0, least=1.0), None),
    "blur 3 px": (replace(NONE, blur=3.0, least=1.0), None),
    "motion blur": (None, Mismatch(exposure=0.02)),
    "focal -5 %": (None, Mismatch(focal=0.95)),
    "focal +5 %": (None, Mismatch(focal=1.05)),
    "depth -20 %": (None, Mismatch(size=0.8)),
    "depth +20 %": (None, Mismatch(size=1.2)),
    "tilt 10 deg": (None, Mismatch(tilt_deg=10.0)),
    "object 3 cm": (None, Mismatch(card=0.03)),
    "all light, 15 %": (Augmentation(occlusion_rate=1.0), None),
}
QUICK_CONDITIONS = ("none", "lamps", "noise 0.05", "all light, 15 %")  # with --quick
ENOUGH = 95.0  # [%]


def cells(runs: int, seed: int, laws: Sequence[str], conditions: Sequence[str] = tuple(CONDITIONS)) -> list[Cell]:
    """All laws under each."""
    return [Cell(law, name, "table1", runs, seed, *CONDITIONS[name]) for law in laws for name in conditions]


def _middle(rows: Sequence[Row]) -> float:
    """Median end error [mm]."""
    return statistics.median(1e3 * r.end_t_m for r in rows)


def _end(rows: Sequence[Row]) -> str:
    """The same in words, without its unit."""
    return f"{middle:.2f}" if (middle := _middle(rows)) >= 0.005 else "< 0.01"


def advice(found: dict[Cell, list[Row]]) -> list[dict[str, str]]:
    """Of each condition: the law that converges most (the most precise of those within half a percent), and what others reach enough."""
    lines = []
    for name in CONDITIONS:
        of = {cell.law: rows for cell, rows in found.items() if cell.condition == name}
        if not of:
            continue
        rates = {law: report.share(rows, None) for law, rows in of.items()}
        most = max(rates.values())
        best = min((law for law in of if rates[law] >= most - 0.5), key=lambda law: _middle(of[law]))
        others = [LAWS[law].title for law in of if law != best and rates[law] >= ENOUGH]
        lines.append(
            {
                "disturbance": name,
                "take": LAWS[best].title,
                "converged [%]": f"{rates[best]:.1f}",
                "median end": f"{_end(of[best])} mm",
                f"others with {ENOUGH:g} % or more": ", ".join(others) or "none",
            }
        )
    return lines


def _draw(found: dict[Cell, list[Row]], names: Sequence[str], path: Path) -> None:
    """The same table as a heat map."""
    laws = list(dict.fromkeys(cell.law for cell in found))
    by_name = {(cell.condition, cell.law): rows for cell, rows in found.items()}
    shares = [[report.share(by_name.get((name, law), []), None) for law in laws] for name in names]
    ends = [[f"{_end(rows)} mm" if (rows := by_name.get((name, law))) else "" for law in laws] for name in names]
    first = next(iter(found))
    note = f"converged [%] and median end error of {first.runs} Table I starts, seed {first.seed}"
    plots.save(plots.heat_map(names, [LAWS[law].title for law in laws], shares, ends, note), path)


def page(setup: Setup, wanted: list[Cell], command: str) -> str:
    """Write perturb.csv, the figure and the report page; the table as text."""
    found = results(setup, NAME, wanted)
    by_law: dict[str, dict[str, str]] = {}
    for cell, rows in found.items():
        by_law.setdefault(cell.law, {})[cell.condition] = f"{report.share(rows, None):.1f} ({_end(rows)})"
    table = [
        {
            "disturbance, converged [%] (median end [mm])": name,
            **{LAWS[law].title: entries.get(name, "-") for law, entries in by_law.items()},
        }
        for name in CONDITIONS
        if any(name in entries for entries in by_law.values())
    ]
    if not table:
        return report.markdown(table)
    first, names = next(iter(found)), [name for name in CONDITIONS if any(cell.condition == name for cell in found)]
    _draw(found, names, csv_of(setup, NAME, first).parent / "perturb.png")
    notes = [
        "![converged runs by disturbance and law](perturb.png)",
        "The median end error is over all runs. The desired view has none of the disturbances of the image; what is wrong about camera or "
        "scene is so for both views. Lamps: up to four Gaussian spots. Jitter: brightness and contrast by up to 60 %, saturation by up to 40 %, drawn "
        "once a run. Patches: in half of the frames, a new one in each. Noise and blur: standard deviations, of the range and in px of the law's "
        "image (112 px for photometric laws and networks, 224 px for matched points). Motion blur: the shutter is open for 20 of the 40 ms of a frame. Depth: the "
        "scene is that much nearer and smaller, or farther and larger, than assumed; end errors in assumed units. Object: a part of 20 x 15 cm of the print stands out by 3 cm. "
        "All light: lamps, gain, bias, white balance, noise up to 0.02, and one patch of up to 15 % that stays.",
        "## Which law when",
        report.markdown(advice(found)),
    ]
    return pages.write_page(setup, NAME, "Disturbances", list(found), table, notes, command)
