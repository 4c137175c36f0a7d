"""Convergence, end error and one step against the height of a scene's relief."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from siame_se3.analysis.curves import keep_apart
from siame_se3.analysis.style import BLUE, GREEN, NOTE, ORANGE, PURPLE, RED, new_figure, tidy

_COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE)


def against_relief(
    curves: Mapping[tuple[str, str], Sequence[tuple[float, float, float, float]]],
    depths: Mapping[str, str],
    note: str = "",
) -> Figure:
    """Three panels; a colour a law, dashed for a plane's depth.

    Args:
        curves: of each law and depth, (relief [% of the distance], converged [%], median end error [mm], what one step leaves of the way [%]).
        depths: a title for each depth.
        note: what was run.
    """
    figure = new_figure(13, 4.6)
    shares, errors, steps = figure.subplots(1, 3)
    laws = list(dict.fromkeys(law for law, _ in curves))
    lines: list[Any] = []
    for (law, depth), points in curves.items():
        look = {
            "color": _COLOURS[laws.index(law) % len(_COLOURS)],
            "linestyle": "--" if depth == "plane" else "-",
            "marker": "s" if depth == "plane" else "o",
            "markersize": 5,
            "linewidth": 1.8,
        }
        x = [point[0] for point in points]
        lines += shares.plot(x, [point[1] for point in points], label=f"{law}, {depths[depth]} depth", **look)
        errors.plot(x, [max(point[2], 1e-3) for point in points], **look)  # a logarithmic axis has no 0
        steps.plot(x, [point[3] for point in points], **look)
    shares.set_ylabel("converged [%]")
    shares.set_ylim(-3, 103)
    errors.set_ylabel("median end error, all runs [mm]")
    errors.set_yscale("log")
    steps.set_ylabel("left of the way after one step, median [%]")
    steps.set_ylim(0, 105)
    for axes in (shares, errors, steps):
        axes.set_xlabel("height of the relief [% of the distance]")
        tidy(axes, alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    if note := "; ".join(filter(None, (note, keep_apart(figure, shares, lines)))):
        figure.suptitle(note, fontsize=9, color=NOTE)
    return figure
