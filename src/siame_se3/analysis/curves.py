"""Experiments -> curves of shares [%]: the paper's Fig. 2 and 3, and ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from siame_se3.analysis.style import BLUE, GREEN, NOTE, ORANGE, PURPLE, RED, SKY, new_figure, tidy

_LOOKS = [
    (colour, line, marker)
    for line, marker in (("-", "o"), ("--", "s"), (":", "^"))
    for colour in (BLUE, RED, GREEN, ORANGE, PURPLE, SKY)
]


def _curves(
    x: Sequence[float], curves: dict[str, list[float]], xlabel: str, ylabel: str, marks: int, note: str = ""
) -> tuple[Figure, Any]:
    """Lines of shares [%] that differ by colour, dashes and markers; the best at the top of the legend; a note on what was run below."""
    figure = new_figure(10.5, 5.2)
    axes = figure.add_subplot()
    for (name, shares), (colour, line, marker) in zip(curves.items(), _LOOKS, strict=False):
        axes.plot(
            *(x, shares),
            color=colour,
            linestyle=line,
            marker=marker,
            markevery=marks,
            markersize=5,
            linewidth=1.8,
            label=name,
        )
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_ylim(-3, 103)
    if note:
        figure.supxlabel(note, fontsize=8, color=NOTE)
    tidy(axes, alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda k: -sum(curves[labels[k]]))
    figure.legend(
        [handles[k] for k in order], [labels[k] for k in order], loc="outside right upper", frameon=False, fontsize=9
    )
    return figure, axes


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
