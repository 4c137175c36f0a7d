"""Trainings -> convergence and end error against images seen and against hours: what each step of a ladder of them is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from siame_se3.analysis.style import BLUE, GREEN, GREY, NOTE, ORANGE, PURPLE, RED, SKY, new_figure, tidy

_COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, GREY)  # of backbones
_LINES: tuple[tuple[Any, str], ...] = ((":", "v"), ("-.", "^"), ("--", "s"), ("-", "o"), ((0, (6, 1, 1, 1, 1, 1)), "D"))
_LEAST_MM = 1e-2  # shorter end errors are drawn there


@dataclass(frozen=True)
class Curve:
    """A training at its marks.

    Attributes:
        step, backbone: what it is; line and colour go by them.
        images, hours: seen and spent.
        converged: share of the runs [%].
        end_mm: median end error [mm].
    """

    step: str
    backbone: str
    images: Sequence[float]
    hours: Sequence[float]
    converged: Sequence[float]
    end_mm: Sequence[float]


def ladder(curves: Sequence[Curve], note: str = "") -> Figure:
    """Converged runs above and median end error below, against images on the left and hours on the right.

    A backbone has a colour and a step a line; both are explained beside the panels, a note on what was run is below.
    """
    figure = new_figure(12.0, 7.0)
    panels = figure.subplots(2, 2, sharex="col", sharey="row")
    backbones = list(dict.fromkeys(c.backbone for c in curves))
    steps = list(dict.fromkeys(c.step for c in curves))
    colour = {name: _COLOURS[k % len(_COLOURS)] for k, name in enumerate(backbones)}
    look = {name: _LINES[k % len(_LINES)] for k, name in enumerate(steps)}
    for curve in curves:
        line, marker = look[curve.step]
        style = {
            "color": colour[curve.backbone],
            "linestyle": line,
            "marker": marker,
            "markersize": 5,
            "linewidth": 1.6,
        }
        end = [max(x, _LEAST_MM) for x in curve.end_mm]
        for (above, below), x in zip(panels.T, (curve.images, curve.hours), strict=True):
            above.plot(x, curve.converged, **style)
            below.plot(x, end, **style)
    for axes in panels.flat:
        axes.set_xscale("log")
        tidy(axes, alpha=0.3)
    panels[0, 0].set_ylabel("converged [%]")
    panels[0, 0].set_ylim(-3, 103)
    panels[1, 0].set_ylabel("end error, median of all runs [mm]")
    panels[1, 0].set_yscale("log")
    panels[1, 0].set_xlabel("images seen")
    panels[1, 1].set_xlabel("hours of training")
    entries = [Line2D([], [], color=colour[name], linewidth=3, label=name) for name in backbones]
    entries.append(Line2D([], [], linestyle="none", label=""))
    entries += [
        Line2D([], [], color=NOTE, linestyle=look[n][0], marker=look[n][1], markersize=5, label=n) for n in steps
    ]
    figure.legend(handles=entries, loc="outside right upper", frameon=False, fontsize=9, handlelength=3.2)
    if note:
        figure.supxlabel(note, fontsize=8, color=NOTE, parse_math=False)
    return figure
