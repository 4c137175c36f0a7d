"""Trajectories of one run -> the paper's Fig. 4 and 5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from siame_se3.analysis.style import BLUE, GREEN, GREY, ORANGE, RED, difference, new_figure, show_image, tidy
from siame_se3.geometry import lie
from siame_se3.servo.trajectory import Trajectory

_LABELS = ("v commanded [cm/s]", "w commanded [deg/s]", "translation error [cm]", "rotation error [deg]")


def robot_run(
    trajectories: Sequence[Trajectory],
    images: Sequence[Tensor],
    codes: Sequence[float],
    ssd: Sequence[float],
    correlation: float,
) -> Figure:
    """One run as the paper's Fig. 4 and 5 show it.

    Args:
        trajectories: of the network, of photometric servoing after it (or none), and PBVS's from the same start; one run each.
        images: at the start, the desired one, and at the end of each stage (3, h, w).
        codes, ssd: ||S(I) - S(I*)|| and the sum of squared differences, of each iteration of the network's.
        correlation: of the two.
    """
    *stages, reference = trajectories
    figure = new_figure(14, 11)
    top, bottom = cast(Any, figure.subfigures(2, 1, height_ratios=(1, 2.5)))
    _images(top.subplots(1, len(images)), images)
    left, right = bottom.subfigures(1, 2, width_ratios=(1.6, 1))
    _stages(left.subplots(2, 2), stages)
    upper, lower = right.subfigures(2, 1, height_ratios=(1.4, 1))
    _paths(upper.add_subplot(projection="3d"), stages, reference)
    _correlation(lower.add_subplot(), codes, ssd, correlation)
    return figure


def _images(axes: Any, images: Sequence[Tensor]) -> None:
    start, desired, *ends = images
    show_image(axes[0], start, "start")
    show_image(axes[1], desired, "desired")
    titles = ("end of the network's run", "end of the photometric run")
    for a, image, title in zip(axes[2:], ends, titles, strict=False):
        show_image(a, difference(image, desired), f"{title} - desired (grey: equal)")


def _stages(axes: Any, stages: Sequence[Trajectory]) -> None:
    """Twists and errors, one stage after the other."""
    shift = 0
    for stage in stages:
        p = lie.vector_from_pose(lie.inverse(stage.T_wd) @ stage.T_wc)[:, 0].numpy()
        v = stage.twist[:, 0].numpy()
        x = shift + np.arange(len(p))
        for k, colour in enumerate((BLUE, ORANGE, GREEN)):
            new = shift == 0
            axes[0, 0].plot(x[:-1], 100 * v[:, k], color=colour, label=f"v{'xyz'[k]}" if new else None)
            axes[0, 1].plot(x[:-1], np.degrees(v[:, 3 + k]), color=colour, label=f"w{'xyz'[k]}" if new else None)
            axes[1, 0].plot(x, 100 * p[:, k], color=colour, label=f"t{'xyz'[k]}" if new else None)
            axes[1, 1].plot(x, np.degrees(p[:, 3 + k]), color=colour, label=f"$\\theta$u{'xyz'[k]}" if new else None)
        shift += len(p) - 1
        if stage is not stages[-1]:
            for a in axes.flat:
                a.axvline(shift, color=GREY, linestyle=":", linewidth=1)
    for a, label in zip(axes.flat, _LABELS, strict=True):
        a.set_ylabel(label)
        a.set_xlabel("iteration" + ("; dotted: photometric takes over" if len(stages) > 1 else ""))
        a.axhline(0, color=GREY, linewidth=0.6)
        tidy(a)
        a.legend(fontsize=9, frameon=False, ncols=3)


def _paths(space: Any, stages: Sequence[Trajectory], reference: Trajectory) -> None:
    """The camera's positions [cm], height upwards, and PBVS's."""
    upwards = (1, 1, -1)  # the world's z points into the print
    for path, colour, line, label in (
        (reference, GREEN, "--", "PBVS with true poses"),
        *zip(stages, (BLUE, RED), ("-", "-"), ("network", "photometric"), strict=False),
    ):
        positions = (100 * path.T_wc[:, 0, :3, 3].numpy() * upwards).T
        space.plot(*positions, color=colour, linestyle=line, linewidth=2, label=label)
    goal = 100 * stages[0].T_wd[0, :3, 3].numpy() * upwards
    space.scatter(*goal[:, None], color=ORANGE, s=30, label="desired camera")
    for name, label in (("x", "x [cm]"), ("y", "y [cm]"), ("z", "height [cm]")):
        getattr(space, f"set_{name}label")(label, fontsize=9)
    space.legend(fontsize=9, frameon=False)


def _correlation(axes: Any, codes: Sequence[float], ssd: Sequence[float], correlation: float) -> None:
    axes.plot(np.asarray(codes) / max(codes), color=BLUE, label="||S(I) - S(I*)||")
    axes.plot(np.asarray(ssd) / max(ssd), color=ORANGE, linestyle="--", label="SSD of I and I*")
    axes.set_xlabel("iteration of the network's run")
    axes.set_ylabel("share of the largest")
    axes.set_title(f"correlation {correlation:.3f}", fontsize=10)
    tidy(axes)
    axes.legend(fontsize=9, frameon=False)
