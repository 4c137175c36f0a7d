"""Experiments -> curves and maps of shares [%]: the paper's Fig. 2 and 3, and ours."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from siame_se3.analysis.style import BLUE, GREEN, NOTE, ORANGE, PURPLE, RED, SKY, new_figure, tidy

_APART = 3.4  # between lines of the same values [points]
_LOOKS = [
    (colour, line, marker)
    for line, marker in (("-", "o"), ("--", "s"), (":", "^"))
    for colour in (BLUE, RED, GREEN, ORANGE, PURPLE, SKY)
]


def _curves(
    x: Sequence[float], curves: dict[str, list[float]], xlabel: str, ylabel: str, marks: int, note: str = ""
) -> tuple[Figure, Any]:
    """Lines of shares [%] that differ by colour, dashes and markers; the best at the top of the legend; a note on what was run below.

    Lines that would lie on each other, as many do at 100 %, are drawn a little beside each other, and the note says so.
    """
    figure = new_figure(10.5, 5.2)
    axes = figure.add_subplot()
    lines = []
    for (name, shares), (colour, line, marker) in zip(curves.items(), _LOOKS, strict=False):
        lines += axes.plot(
            *(x, shares),
            color=colour,
            linestyle=line,
            marker=marker,
            markevery=marks,
            markersize=4,
            linewidth=1.8,
            label=name,
        )
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_ylim(-3, 103)
    if note := "; ".join(filter(None, (note, keep_apart(figure, axes, lines)))):
        figure.supxlabel(note, fontsize=8, color=NOTE, parse_math=False)
    tidy(axes, alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda k: -sum(curves[labels[k]]))
    figure.legend(
        [handles[k] for k in order], [labels[k] for k in order], loc="outside right upper", frameon=False, fontsize=9
    )
    return figure, axes


def keep_apart(figure: Figure, axes: Any, lines: Sequence[Any]) -> str:
    """Draw lines of shares [%] that would lie on each other, as many do at 100 %, a little beside each other; what to say of it, '' where none does."""
    shares = [list(line.get_ydata()) for line in lines]
    lower = levels(shares)
    for line, values, level in zip(lines, shares, lower, strict=True):
        inwards = level * _APART / 72 * (-1 if sum(values) > 50 * len(values) else 1)
        line.set_transform(axes.transData + ScaledTranslation(0, inwards, figure.dpi_scale_trans))
    return "lines with the same values are drawn beside each other" * any(lower)


def levels(curves: Sequence[Sequence[float]]) -> list[int]:
    """How far beside its values each curve is drawn, so that those that are equal within 1 % at half of their points or more are told apart."""
    found: list[int] = []
    for k, curve in enumerate(curves):
        alike = [
            j for j in range(k) if 2 * sum(abs(a - b) <= 1 for a, b in zip(curve, curves[j], strict=True)) >= len(curve)
        ]
        taken = {found[j] for j in alike}
        found.append(next(level for level in range(k + 1) if level not in taken))
    return found


def success(thresholds_mm: Sequence[float], curves: dict[str, list[float]], note: str = "") -> Figure:
    """Share of the runs that end within a threshold [mm, and a tenth of it in deg], of each law."""
    figure, axes = _curves(
        thresholds_mm, curves, "threshold [mm]; and a tenth of it in deg", "runs that end within it [%]", 3, note
    )
    axes.set_xscale("log")
    axes.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    return figure


def overlap(overlaps: Sequence[float], curves: dict[str, list[float]], note: str = "") -> Figure:
    """Converged runs of each law against the overlap of start and desired view (the paper's Fig. 2)."""
    figure, _ = _curves(
        [100 * x for x in overlaps],
        curves,
        "overlap of start and desired view [%], mean of a batch",
        "converged [%]",
        1,
        note,
    )
    return figure


def scenes(counts: Sequence[int], curves: dict[str, list[float]], note: str = "") -> Figure:
    """Converged runs of networks for several scenes against their number (the paper's Fig. 3)."""
    figure, axes = _curves(
        [float(n) for n in counts], curves, "scenes that one network is trained on", "converged [%]", 1, note
    )
    axes.set_xscale("log")
    if len(counts) == 1:
        axes.set_xlim(counts[0] / 2, counts[0] * 2)  # the only number in the middle
    axes.set_xticks(list(counts), [str(n) for n in counts])
    axes.minorticks_off()
    return figure


def basins(distances_cm: Sequence[float], curves: dict[str, list[float]], degrees_per_cm: float) -> Figure:
    """Converged runs [%] of each law against the distance of their start."""
    label = f"distance of the start [cm]; turned by {degrees_per_cm:g} deg for each cm"
    figure, axes = _curves(distances_cm, curves, label, "converged [%]", 1)
    axes.set_xscale("log")
    axes.set_xticks(list(distances_cm), [f"{d:g}" for d in distances_cm])
    axes.minorticks_off()
    return figure


def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    shares: Sequence[Sequence[float]],
    below: Sequence[Sequence[str]],
    note: str = "",
) -> Figure:
    """Shares [%] of rows (down) and columns (across), each with its number and a line below it; NaN is left empty."""
    figure = new_figure(3.2 + 1.25 * len(columns), 1.6 + 0.42 * len(rows))
    axes = figure.add_subplot()
    values = np.asarray(shares, dtype=float).reshape(len(rows), len(columns))
    drawn = axes.imshow(np.ma.masked_invalid(values), cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for i, j in np.argwhere(np.isfinite(values)):
        dark = values[i, j] < 55
        axes.text(
            *(j, i),
            f"{values[i, j]:.1f}\n{below[i][j]}",
            ha="center",
            va="center",
            fontsize=7.5,
            linespacing=1.0,
            color="white" if dark else "black",
        )
    axes.set_xticks(range(len(columns)), [fill(name, 18, break_on_hyphens=False) for name in columns], fontsize=8)
    axes.set_yticks(range(len(rows)), list(rows), fontsize=9)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.colorbar(drawn, ax=axes, label="converged [%]", pad=0.01, fraction=0.03)
    if note:
        figure.supxlabel(note, fontsize=8, color=NOTE, parse_math=False)
    return figure
