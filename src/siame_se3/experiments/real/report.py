"""The two tables of `siame bench real`, and the page with the worst cases."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

from siame_se3.analysis.report import markdown, number, small, write_report
from siame_se3.experiments.real import kept, one_step, two_photos, worst
from siame_se3.experiments.real.pictures import LEAST_WITH_DEPTH, NEAR, NEAR_WITH_DEPTH, Folder
from siame_se3.experiments.real.rows import Settings
from siame_se3.files import hardware

_Row = dict[str, str]
_SIGMAS = (("end_t_m", "pose_sigma_t_m"), ("end_r_deg", "pose_sigma_r_deg"))


def _share(rows: Sequence[_Row], which: Any) -> str:
    return number(100 * sum(map(which, rows)) / len(rows), 0) if rows else "-"


def _median(rows: Sequence[_Row], column: str, scale: float = 1.0) -> str:
    values = [scale * float(row[column]) for row in rows if row[column] != ""]
    return small(statistics.median(values)) if values else "-"


def one_step_table(rows: Sequence[_Row], laws: Sequence[str]) -> list[dict[str, str]]:
    """A line a law, of pictures of a plane; 'worse' is a step that ends farther from being aligned than standing still."""
    found = []
    for law in laws:
        mine = [row for row in rows if row["law"] == law]
        if not mine:
            continue
        found.append(
            {
                "law": law,
                "pairs": str(len(mine)),
                "within 2 % of the image": _share(mine, lambda row: _answered(row) and float(row["error_align"]) <= 2),
                "within 6 %": _share(mine, lambda row: _answered(row) and float(row["error_align"]) <= 6),
                "within a tenth of the way": _share(mine, lambda row: _answered(row) and _align_share(row) <= 0.1),
                "within a fifth": _share(mine, lambda row: _answered(row) and _align_share(row) <= 0.2),
                "worse than standing still": _share(mine, lambda row: _answered(row) and _align_share(row) > 1),
                "says it does not know": _share(mine, lambda row: not _answered(row)),
                "median [ms]": _median(mine, "ms"),
            }
        )
    return found


def depth_table(rows: Sequence[_Row], laws: Sequence[str]) -> list[dict[str, str]]:
    """A line a law and what it was given of the goal's depth. The error of a step is where it leads to: how far that is from the goal, of how far
    the start was, and in the image."""
    found = []
    for law, depth in ((law, depth) for law in laws for depth in one_step.DEPTHS):
        mine = [row for row in rows if (row["law"], row["depth"]) == (law, depth)]
        if not mine:
            continue
        found.append(
            {
                "law": law,
                "goal's depth": depth,
                "pairs": str(len(mine)),
                "within 10 %": _share(mine, lambda row: _answered(row) and float(row["error_share"]) <= 0.1),
                "within 20 %": _share(mine, lambda row: _answered(row) and float(row["error_share"]) <= 0.2),
                "worse than standing still": _share(mine, lambda row: _answered(row) and float(row["error_share"]) > 1),
                "within 20 % in the image": _share(mine, lambda row: _answered(row) and _align_share(row) <= 0.2),
                "worse in the image": _share(mine, lambda row: _answered(row) and _align_share(row) > 1),
                "says it does not know": _share(mine, lambda row: not _answered(row)),
                "median error [mm]": _median(mine, "error_t_m", 1e3),
                "median [ms]": _median(mine, "ms"),
            }
        )
    return found


def _answered(row: _Row) -> bool:
    return row["answered"] == "1"


def _align_share(row: _Row) -> float:
    return float(row["error_align"]) / max(1e-9, float(row["start_align"]))


def two_photos_table(rows: Sequence[_Row], laws: Sequence[str]) -> list[dict[str, str]]:
    """A line a law, of pairs of different photos; beside them the share on one photo, and of how many runs the law gave a standard deviation."""
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
        known = [row for row in other if row["pose_sigma_t_m"]]
        found.append(
            {
                "law": law,
                "runs": str(len(other)),
                "aligned within 1 %": _share(other, lambda row: row["converged"] == "1"),
                "worst pair": number(100 * min(shares), 0) if shares else "-",
                "median alignment [%]": _median(other, "end_align"),
                "median pose error of the aligned [mm]": _median(ends, "end_t_m", 1e3),
                "pose within 3 sigma": _share(known, _within) + (f" (of {len(known)})" if known else ""),
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


def page(settings: Settings, folders: Sequence[Folder], command: str) -> str:
    """Write real/report.md, and the figures of these folders' worst cases; the tables as text."""
    steps, runs = one_step.table(settings).rows, two_photos.table(settings).rows
    laws = list(dict.fromkeys(row["law"] for row in (*runs, *steps)))
    deep = {row["folder"] for row in steps if row["depth"] == "map"}
    with_depth = [row for row in steps if row["folder"] in deep]
    least, (t, r) = LEAST_WITH_DEPTH, NEAR_WITH_DEPTH
    pieces = [
        f"One step on raw pictures of a plane, ordered pairs within {100 * NEAR[0]:g} cm and {NEAR[1]:g} deg; shares in %, errors as alignment in % of "
        "the image's width:",
        markdown(one_step_table([row for row in steps if row["folder"] not in deep], laws)),
    ]
    if with_depth:
        pieces += [
            f"One step on raw pictures with depth, ordered pairs {100 * least:g} to {100 * t:g} cm and up to {r:g} deg apart; shares in %, errors as shares "
            "of the start's distance and alignment. Laws are given the goal's depth as a map, or as a plane at its median:",
            markdown(depth_table(with_depth, laws)),
        ]
    pieces += [
        "Two photos of one place, the goal from one and the world from another:",
        markdown(two_photos_table(runs, laws)),
    ]
    origin = (
        f"`{command}`; {hardware()}; {time.strftime('%Y-%m-%d')}; {settings.runs} starts a pair, seed {settings.seed}."
    )
    ends = [*_worst_runs(runs), *worst.write(settings, folders)]
    write_report(settings.out / "real" / "report.md", "Real photos", [origin, *pieces, *ends])
    return "\n\n".join(pieces)


def _worst_runs(runs: Sequence[_Row]) -> list[str]:
    """The runs of two photos that did not end aligned, or where all did, those that ended farthest from it."""
    names = ("folder", "law", "goal", "world", "run", "start_t_m", "end_align", "refused", "reason")
    other = [row for row in runs if row["goal"] != row["world"]]
    lost = [row for row in other if row["converged"] == "0"]
    order = sorted(lost or other, key=lambda row: -float(row["end_align"]))[:12]
    all_aligned = f", all aligned within {two_photos.ALIGNED:g} %" if order and not lost else ""
    return [f"The worst runs{all_aligned}:", markdown([{name: row[name] for name in names} for row in order])]


def run(settings: Settings, folders: Sequence[Folder], command: str) -> str:
    """Both tables of all folders, of this share of their goals; what is there already is not run again. The page's text, of all that is there.

    Raises:
        InputError: results of other folders of these names are there, or such as were made with other options.
    """
    kept.check(settings, folders)
    before = 0  # goals
    for folder in folders:
        for note in folder.notes:
            settings.say(f"{folder.name}: {note}")
        mine = folder.share(*settings.shard, before)
        before += len(folder.goals)
        one_step.run(mine, settings)
        two_photos.run(mine, settings)
    return page(settings, folders, command)
