"""The pages of `siame bench paper`: curves.csv, table.csv, paper.png, report.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from siame_se3.analysis import plots, report
from siame_se3.analysis.ladder import Curve
from siame_se3.experiments.ladder import BACKBONES, HUB, STEPS, VGGS, Row
from siame_se3.files import write_csv_rows

COLUMNS = (
    *("row", "backbone", "images", "train_seconds", "hours", "device"),
    *("converged", "median_end_t_mm", "median_end_r_deg"),
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


def write(folder: Path, found: Mapping[Row, Sequence[Mark]], note: str, command: str) -> str:
    """All pages of the rows that have marks, the table as text."""
    found = dict(sorted(found.items(), key=lambda item: _place(item[0])))
    table = [_line(row, marks[-1]) for row, marks in found.items()]
    text = report.markdown(table)
    if not table:
        return text
    lines = [_values(row, mark) for row, marks in found.items() for mark in marks]
    write_csv_rows(folder / "curves.csv", COLUMNS, lines)
    report.write_table(table, folder / "table.csv")
    curves = [
        Curve(
            *(row.rung, row.backbone.name),
            *([m.images for m in marks], [m.hours for m in marks]),
            *([m.converged for m in marks], [m.median_end_t_mm for m in marks]),
        )
        for row, marks in found.items()
    ]
    plots.save(plots.ladder(curves, note), folder / "paper.png")
    marks_of_all = [mark for marks in found.values() for mark in marks]
    where = "; ".join(sorted({f"{m.device}, {m.date}" for m in marks_of_all}))
    origin = f"`{command}`; {note}; {where}."
    picture = "![convergence and end error against images and hours](paper.png)"
    report.write_report(folder / "report.md", "From the paper's training to ours", [origin, text, picture])
    return text


def _place(row: Row) -> tuple[int, int]:
    return [*BACKBONES, *HUB, *VGGS].index(row.backbone), list(STEPS).index(row.rung)


def _values(row: Row, m: Mark) -> list[str]:
    """A line of curves.csv."""
    return [
        *(row.name, row.backbone.name, str(m.images), f"{m.train_seconds:.1f}", f"{m.hours:.5f}", m.device),
        *(f"{m.converged:.1f}", f"{m.median_end_t_mm:.4f}", f"{m.median_end_r_deg:.5f}"),
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
        "date": m.date,
    }
