"""Fig. 3: one network for 2, 5, 10, 50 and 100 scenes, in colour and in grey, on the scenes it knows; DVS on the same; and, beyond the
paper, on scenes that no training has seen, and with photometric servoing to end with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from siame_se3.analysis import plots, report
from siame_se3.analysis.metrics import Row
from siame_se3.experiments import pages, photos
from siame_se3.experiments.pages import training_note
from siame_se3.experiments.photos import UNSEEN
from siame_se3.experiments.runner import Cell, Setup, budgets, csv_of, results, scene_runs

NAME = "fig3"
COUNTS = (2, 5, 10, 50, 100)
ROWS = ("colour", "grey", "handoff", "dvs")
QUICK = ("any-scene", "dvs")  # with --quick
OTHERS = ("any-scene",)  # rows on demand: the bundled network for any scene, trained on none of these
_ALIKE = ("dvs", "any-scene")  # rows that do not depend on the number of scenes


def cells(
    runs: int, seed: int, rows: Sequence[str], counts: Sequence[int] = COUNTS, unseen: int = UNSEEN
) -> list[Cell]:
    """Of each number of scenes: both networks, the hand-off from that in colour, and DVS on those, and on the unseen ones (once where the number does
    not matter)."""
    wanted = []
    for count in counts:
        for row in rows:
            law, network = {
                "dvs": ("dvs", ""),
                "handoff": ("handoff", f"many-{count}-colour"),
                "any-scene": ("siame-se(3)", "any-scene"),
            }.get(row, ("siame-se(3)", f"many-{count}-{row}"))
            for split, scenes in (("train", count), ("unseen", unseen)):
                if scenes and (row not in _ALIKE or split == "train" or count == counts[0]):
                    name = f"{row} unseen" if row in _ALIKE and split == "unseen" else f"{row} {count} {split}"
                    wanted.append(Cell(law, name, "table1", runs, seed, split=split, scenes=scenes, network=network))
    return wanted


def _reading(rows: Sequence[Row]) -> str:
    """converged [%], end error of the converged [cm/deg], as the paper prints them."""
    good = [r for r in rows if r.converged]
    if not good:
        return f"{report.share(rows, None):.1f}"
    t, r = (sum(x) / len(good) for x in zip(*((100 * g.end_t_m, g.end_r_deg) for g in good), strict=True))
    return f"{report.share(rows, None):.1f} ({_digits(t)}/{_digits(r)})"


def _digits(value: float) -> str:
    """With four digits where two would be zero, as of the hand-off."""
    if value >= 0.01:
        return f"{value:.2f}"
    return f"{value:.4f}" if value >= 5e-5 else "< 0.0001"


def page(setup: Setup, wanted: list[Cell], command: str) -> str:
    """Write fig3.csv, the figure and the report page; the table as text."""
    found = results(setup, NAME, wanted)
    by_name = {cell.condition: rows for cell, rows in found.items()}
    counts = sorted({int(name.split()[1]) for name in by_name if name.split()[1].isdecimal()})
    if not counts:
        return report.markdown([])
    others = [row for row in OTHERS if any(name.startswith(row) for name in by_name)]
    kinds = [(row, split) for row in (*ROWS, *others) for split in ("train", "unseen")]

    def rows_of(row: str, count: int, split: str) -> list[Row]:
        return by_name.get(f"{row} unseen" if row in _ALIKE and split == "unseen" else f"{row} {count} {split}", [])

    titles = {
        ("colour", "train"): "colour",
        ("grey", "train"): "grey",
        ("handoff", "train"): "colour, hand-off",
        ("dvs", "train"): "DVS, the same scenes",
        ("colour", "unseen"): "colour, unseen scenes",
        ("grey", "unseen"): "grey, unseen scenes",
        ("handoff", "unseen"): "hand-off, unseen scenes",
        ("dvs", "unseen"): "DVS, unseen scenes",
        ("any-scene", "train"): "any-scene (trained on none of them)",
        ("any-scene", "unseen"): "any-scene, unseen scenes",
    }
    table = [
        {
            "scenes": str(count),
            **{titles[kind]: _reading(rows) if (rows := rows_of(kind[0], count, kind[1])) else "-" for kind in kinds},
        }
        for count in counts
    ]
    ran = [name for name in table[0] if any(line[name] != "-" for line in table)]
    table = [{name: line[name] for name in ran} for line in table]
    curves = {
        titles[kind]: [report.share(rows_of(kind[0], count, kind[1]), None) for count in counts] for kind in kinds
    }
    curves = {title: shares for title, shares in curves.items() if any(x == x for x in shares)}
    first = next(iter(found))
    trained = training_note(budgets(setup, NAME, found))[1:-1]
    note = f"{first.runs} Table I starts a point, shared out to the scenes, seed {first.seed}"
    note += f"; {trained}" * bool(trained)
    plots.save(plots.scenes(counts, curves, note), csv_of(setup, NAME, wanted[0]).parent / "fig3.png")
    notes = [
        "Converged [%], and in brackets the mean end error of the converged [cm/deg]. Runs are shared out to the scenes. "
        + f"The networks: {trained}. " * bool(trained)
        + "The unseen scenes are in no training.",
        "![convergence against the number of scenes](fig3.png)",
    ]
    if singly := _by_scene(setup, found, counts[-1], titles):
        notes += [f"## The unseen scenes one by one, networks for {counts[-1]}", report.markdown(singly)]
    return pages.write_page(setup, NAME, "Fig. 3: several scenes", list(found), table, notes, command)


def _by_scene(
    setup: Setup, found: Mapping[Cell, Sequence[Row]], count: int, titles: Mapping[tuple[str, str], str]
) -> list[dict[str, str]]:
    """A line an unseen scene: converged runs of all, of each row of the networks for `count` scenes."""
    unseen = [
        cell for cell in found if cell.split == "unseen" and cell.condition in (f"{row} {count} unseen" for row in ROWS)
    ]
    if not unseen:
        return []
    shares = {
        titles[cell.condition.split()[0], "unseen"]: [
            f"{sum(found[cell][i].converged for i in part)} of {len(part)}"
            for part in scene_runs(cell.runs, cell.scenes)
        ]
        for cell in unseen
    }
    scenes = photos.names("unseen", setup.photos)[: unseen[0].scenes]
    return [{"scene": name, **{title: share[k] for title, share in shares.items()}} for k, name in enumerate(scenes)]
