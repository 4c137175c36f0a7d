"""The pages of `siame bench paper`: curves.csv, table.csv, paper.png, report.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from siame_se3.analysis import plots, report
from siame_se3.analysis.ladder import Curve
from siame_se3.experiments.ladder import BACKBONES, HUB, STEPS, VGGS, Row
from siame_se3.files import write_csv_rows

COLUMNS = (
    *("row", "backbone", "images", "train_seconds", "hours", "device"),
    *("converged", "median_end_t_mm", "median_end_r_deg", "precision"),
)


@dataclass(frozen=True)
class Mark:
    """A network in closed loop after some of its images.

    Attributes:
        step, images: of the training so far.
        train_seconds: of the training, marks left out [s].
        device, date: where and when.
        weights: numbers of the network.
        converged: share of the runs [%].
        median_end_t_mm, median_end_r_deg: end error over all runs, median.
        mean_end_t_mm, mean_end_r_deg: over the converged, mean; None where none is.
        evaluation_seconds: that the mark took [s].
        precision: that the network was trained in (see `TrainConfig`); '' where it was not recorded.
    """

    step: int
    images: int
    train_seconds: float
    device: str
    date: str
    weights: int
    converged: float
    median_end_t_mm: float
    median_end_r_deg: float
    mean_end_t_mm: float | None
    mean_end_r_deg: float | None
    evaluation_seconds: float
    precision: str = ""

    @property
    def hours(self) -> float:
        """Of training."""
        return self.train_seconds / 3600


def in_words(m: Mark) -> str:
    """One line of progress."""
    return (
        f"{m.images} images, {m.train_seconds:.0f} s: {m.converged:.1f} % converged, median end "
        f"{m.median_end_t_mm:.2f} mm {m.median_end_r_deg:.3f} deg (measured in {m.evaluation_seconds:.0f} s)"
    )


def write_curves(folder: Path, found: Mapping[Row, Sequence[Mark]]) -> None:
    """curves.csv: a line a mark."""
    lines = [_values(row, mark) for row in ordered(found) for mark in found[row]]
    write_csv_rows(folder / "curves.csv", COLUMNS, lines)


def write(folder: Path, found: Mapping[Row, Sequence[Mark]], note: str, command: str) -> str:
    """All pages of the rows that have marks; the table as text."""
    table = [_line(row, found[row][-1]) for row in ordered(found)]
    text = report.markdown(table)
    if not table:
        return text
    write_curves(folder, found)
    report.write_table(table, folder / "table.csv")
    draw(folder / "paper.png", found, note)
    where = "; ".join(sorted({f"{m.device}, {m.date}" for marks in found.values() for m in marks}))
    picture = "![convergence and end error against images and hours](paper.png)"
    pieces = [f"`{command}`; {note}; {where}.", text, picture]
    report.write_report(folder / "report.md", "From the paper's training to ours", pieces)
    return text


def draw(path: Path, found: Mapping[Row, Sequence[Mark]], note: str) -> None:
    """The figure of all rows."""
    curves = [
        Curve(
            *(row.rung, row.backbone.name),
            *([m.images for m in found[row]], [m.hours for m in found[row]]),
            *([m.converged for m in found[row]], [m.median_end_t_mm for m in found[row]]),
        )
        for row in ordered(found)
    ]
    plots.save(plots.ladder(curves, note), path)


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Backbone by backbone, each from the paper's to ours."""
    return sorted(rows, key=_place)


def _place(row: Row) -> tuple[int, int]:
    return [*BACKBONES, *HUB, *VGGS].index(row.backbone), list(STEPS).index(row.rung)


def _values(row: Row, m: Mark) -> list[str]:
    """A line of curves.csv."""
    return [
        *(row.name, row.backbone.name, str(m.images), f"{m.train_seconds:.1f}", f"{m.hours:.5f}", m.device),
        *(f"{m.converged:.1f}", f"{m.median_end_t_mm:.4f}", f"{m.median_end_r_deg:.5f}", m.precision),
    ]


def _line(row: Row, m: Mark) -> dict[str, str]:
    """A row of the table: its last mark."""
    mean = "-" if m.mean_end_t_mm is None else f"{m.mean_end_t_mm / 10:.3f} cm {m.mean_end_r_deg:.3f} deg"
    seen = m.images / max(m.train_seconds, 1e-9)
    return {
        "row": row.name,
        "what": STEPS[row.rung],
        "backbone": row.backbone.timm,
        "first weights": row.backbone.weights,
        "input [px]": str(row.recipe.network.image_size),
        "weights [M]": f"{m.weights / 1e6:.2f}",
        "images": str(m.images),
        "of": str(row.images(row.steps)),
        "hours": f"{m.hours:.3f}",
        "images/s": f"{seen:.0f}",
        "converged [%]": f"{m.converged:.1f}",
        "end, median": f"{m.median_end_t_mm:.2f} mm {m.median_end_r_deg:.3f} deg",
        "end, mean of the converged": mean,
        "seed": str(row.recipe.seed),
        "device": m.device,
        "precision": m.precision or "-",
        "date": m.date,
    }
