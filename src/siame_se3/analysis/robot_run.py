"""Trajectories of one run -> the paper's Fig. 4 and 5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from siame_se3.analysis import style
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
    figure = style.new_figure(14, 11)
    top, bottom = cast(Any, figure.subfigures(2, 1, height_ratios=(1, 2.5)))
    _images(top.subplots(1, 2 * len(images) - 2), images)
    left, right = bottom.subfigures(1, 2, width_ratios=(1.6, 1))
    _stages(left.subplots(2, 2), stages)
    upper, lower = right.subfigures(2, 1, height_ratios=(1.4, 1))
    _paths(upper.add_subplot(projection="3d"), stages, reference)
    _correlation(lower.add_subplot(), codes, ssd, correlation, stages[0].dt)
    return figure


def _images(axes: Any, images: Sequence[Tensor]) -> None:
    start, desired, *ends = images
    style.show_image(axes[0], start, "start")
    style.show_image(axes[1], desired, "goal image")
    titles = ("network's end", "photometric end")
    for k, (image, title) in enumerate(zip(ends, titles, strict=False)):
        style.show_image(axes[2 + 2 * k], image, title)
        style.show_image(
            axes[3 + 2 * k], style.difference(image, desired), f"{title} - goal" + " (grey: equal)" * (k == 0)
        )


def _stages(axes: Any, stages: Sequence[Trajectory]) -> None:
    """Twists and errors over time, one stage after the other; as far as something happens."""
    began, last = 0.0, 0.0
    for stage in stages:
        p = lie.vector_from_pose(lie.inverse(stage.T_wd) @ stage.T_wc)[:, 0].numpy()
        v = stage.twist[:, 0].numpy()
        x = began + style.times(len(p), stage.dt)
        for k, colour in enumerate((style.BLUE, style.ORANGE, style.GREEN)):
            new = began == 0
            axes[0, 0].plot(x[:-1], 100 * v[:, k], color=colour, label=f"v{'xyz'[k]}" if new else None)
            axes[0, 1].plot(x[:-1], np.degrees(v[:, 3 + k]), color=colour, label=f"w{'xyz'[k]}" if new else None)
            axes[1, 0].plot(x, 100 * p[:, k], color=colour, label=f"t{'xyz'[k]}" if new else None)
            axes[1, 1].plot(x, np.degrees(p[:, 3 + k]), color=colour, label=f"$\\theta$u{'xyz'[k]}" if new else None)
        last = began + stage.dt * max(happens(p[:, :3]), happens(p[:, 3:]))
        began = x[-1]
        if stage is not stages[-1]:
            for a in axes.flat:
                a.axvline(
                    began,
                    color=style.GREY,
                    linestyle=":",
                    linewidth=1.4,
                    label="hand-off" if stage is stages[0] else None,
                )
    for a, label in zip(axes.flat, _LABELS, strict=True):
        a.set_ylabel(label)
        a.set_xlabel("time [s]" + (f" of {began:.0f}; little moves later" if last < 0.8 * began else ""))
        a.set_xlim(0, last if last < 0.8 * began else began)
        a.axhline(0, color=style.GREY, linewidth=0.6)
        style.tidy(a)
        style.legend_above(a, ncols=4, fontsize=9)


def happens(values: np.ndarray) -> int:
    """Until when something happens: 1.2 times the last row (T, n) in which a value is farther than 2 % of its range from the last one."""
    away = np.abs(values - values[-1]) > 0.02 * max(float(np.ptp(values)), 1e-12)
    moving = np.flatnonzero(away.any(1))
    return min(len(values) - 1, round(1.2 * (moving[-1] + 1))) if len(moving) else len(values) - 1


def _paths(space: Any, stages: Sequence[Trajectory], reference: Trajectory) -> None:
    """The camera's positions [cm], height upwards, and PBVS's."""
    upwards = (1, 1, -1)  # the world's z points into the print
    for path, colour, line, label in (
        (reference, style.GREEN, "--", "PBVS with true poses"),
        *zip(stages, (style.BLUE, style.RED), ("-", "-"), ("network", "photometric"), strict=False),
    ):
        positions = (100 * path.T_wc[:, 0, :3, 3].numpy() * upwards).T
        space.plot(*positions, color=colour, linestyle=line, linewidth=2, label=label)
    goal = 100 * stages[0].T_wd[0, :3, 3].numpy() * upwards
    space.scatter(*goal[:, None], color=style.ORANGE, s=30, label="desired camera")
    for name, label in (("x", "x [cm]"), ("y", "y [cm]"), ("z", "height [cm]")):
        getattr(space, f"set_{name}label")(label, fontsize=9)
        space.locator_params(name, nbins=5)  # that their numbers do not touch
    space.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=9, frameon=False)


def _correlation(axes: Any, codes: Sequence[float], ssd: Sequence[float], correlation: float, dt: float) -> None:
    x, both = style.times(len(codes), dt), np.stack((np.asarray(codes) / max(codes), np.asarray(ssd) / max(ssd)), 1)
    axes.plot(x, both[:, 0], color=style.BLUE, label="||S(I) - S(I*)||")
    axes.plot(x, both[:, 1], color=style.ORANGE, linestyle="--", label="SSD of I and I*")
    axes.set_xlabel("time of the network's run [s]")
    axes.set_xlim(0, max(dt, dt * happens(both)))
    axes.set_ylabel("share of the largest")
    axes.text(0.98, 0.94, f"correlation {correlation:.3f}", transform=axes.transAxes, ha="right", fontsize=10)
    style.tidy(axes)
    style.legend_above(axes, fontsize=9)
