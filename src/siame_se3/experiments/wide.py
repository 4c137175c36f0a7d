"""Far starts: 46 +- 17 cm and 74 +- 28 deg, no overlap filter (the distribution of the public poster results)."""

from __future__ import annotations

from collections.abc import Sequence

from siame_se3.experiments import pages, table1
from siame_se3.experiments.laws import LAWS
from siame_se3.experiments.runner import Cell, Setup, results

NAME = "wide"
ROWS = tuple(name for name in LAWS if not name.endswith("-robust"))
QUICK = table1.QUICK
OTHERS: tuple[str, ...] = ()  # rows on demand


def cells(runs: int, seed: int, laws: Sequence[str]) -> list[Cell]:
    """A row each."""
    return [Cell(law, "", "wide", runs, seed) for law in laws]


def page(setup: Setup, wanted: list[Cell], command: str) -> str:
    """Write wide.csv and the report page; the table as text."""
    found = results(setup, NAME, wanted)
    table = [{k: v for k, v in table1.line(c, rows).items() if not k.startswith("paper")} for c, rows in found.items()]
    note = (
        "Public figures on a poster of the same size, converged being both errors below 10 % of their start: SIFT-IBVS 89.6 %, 1.2 mm and "
        "0.09 deg; ORB-IBVS 98.6 %, 3.3 mm and 0.25 deg; a metric-learning network trained on the scene 100 %; ViT-VS, untrained, 100 %, 18.6 mm and 1.5 deg."
    )
    return pages.write_page(setup, NAME, "Wide starts", list(found), table, [note], command)
