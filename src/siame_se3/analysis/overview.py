"""Trajectory -> one page on a servo run or a batch of them: images and their differences, paths, errors, twists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from siame_se3.analysis.metrics import Row, rows, summary
from siame_se3.analysis.style import (
    BLUE,
    GREEN,
    GREY,
    NOTE,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    difference,
    new_figure,
    show_image,
    tidy,
)
from siame_se3.errors import InputError
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import View
from siame_se3.scenes.planar import Scene
from siame_se3.servo.trajectory import Trajectory

_UPWARDS = (1, 1, -1)  # the world's z points into the print
_LEAST = 1e-6  # errors on a logarithmic axis are above zero by this [cm, deg]


def overview(
    trajectory: Trajectory,
    scene: Scene,
    camera: Camera,
    desired: View | None = None,
    last: View | None = None,
    run: int | None = None,
) -> Figure:
    """One page on a servo run or a batch of them: images and their differences, 3D paths, errors, twists.

    Args:
        trajectory: of the runs.
        scene: what the cameras saw.
        camera: with which the start is drawn.
        desired, last: views of all runs at the desired and at the end poses; rendered for the run shown where they are not given.
        run: which run to show in images and twists; None for the converged one with the largest start error.

    Raises:
        InputError: no run, or poses that are not known (of a robot that does not measure them).
    """
    if not trajectory.T_wd.numel() or not bool(trajectory.T_wc.isfinite().all() & trajectory.T_wd.isfinite().all()):
        raise InputError("figure: the poses of this run are not known; give one of a simulated robot")
    table = rows(trajectory)
    run = _farthest(table) if run is None else run
    figure = new_figure(15, 9.6)
    top, bottom = cast(Any, figure.subfigures(2, 1, height_ratios=(1, 1.75)))
    _images(top.subplots(1, 5), trajectory, scene, camera, desired, last, table[run])
    title = _title(trajectory, scene, table)
    size = min(14.0, 14 * 120 / len(title))  # all of it is in the figure's width
    figure.suptitle(title, fontsize=size, fontweight="bold", parse_math=False)
    left, right = bottom.subfigures(1, 2, width_ratios=(1, 1.15))
    good = np.array([bool(r.converged) for r in table])
    _paths(left.add_subplot(projection="3d"), trajectory, scene, good, run)
    axes = right.subplots(2, 2, sharex=True)
    _errors(axes[0], trajectory, run)
    _twists(axes[1], trajectory, run)
    for a in axes.flat:
        tidy(a)
        a.set_xlim(0, max(1, len(trajectory.T_wc) - 1))
    figure.supxlabel(_note(trajectory), fontsize=8, color=NOTE, parse_math=False)
    return figure


def _farthest(table: Sequence[Row]) -> int:
    """The converged run with the largest start error, in units of the paper's means."""
    return max(
        range(len(table)), key=lambda k: (table[k].converged, table[k].start_t_m / 0.125 + table[k].start_r_deg / 17.5)
    )


def _digits(error: float) -> str:
    """With four digits where two would say zero."""
    return f"{error:.2f}" if error >= 0.1 else f"{error:.4f}"


def _title(trajectory: Trajectory, scene: Scene, table: Sequence[Row]) -> str:
    s, law = summary(table), trajectory.settings.get("law", "neural")
    return (
        f"{s.runs} cameras driven to their desired view, law '{law}', scene '{scene.name}': {s.converged_percent:.1f} % converged, "
        f"median end error {_digits(1000 * s.median_end_t_m)} mm and {_digits(s.median_end_r_deg)} deg"
    )


def _note(trajectory: Trajectory) -> str:
    """What was run, and how fast."""
    settings = trajectory.settings
    note = f"{settings.get('command', '')}    paths: blue converged, red not    "
    if gain := settings.get("servo", {}).get("gain"):
        note += f"gain {gain:g}/s, "
    note += f"dt {trajectory.dt * 1000:.0f} ms"
    if (seconds := settings.get("seconds")) is not None:
        note += f"    {seconds} s on {settings.get('hardware', '')}"
    return note


def _images(
    axes: Any, trajectory: Trajectory, scene: Scene, camera: Camera, desired: View | None, last: View | None, row: Row
) -> None:
    from siame_se3.scenes.render import render

    def picture(view: View | None, T_wc: Tensor) -> Tensor:
        if view is None or view.image is None:
            return render(scene, camera, T_wc)[0]
        return view.image[row.run].cpu()

    start = picture(None, trajectory.T_wc[0, row.run])
    goal, end = picture(desired, trajectory.T_wd[row.run]), picture(last, trajectory.T_wc[-1, row.run])
    show_image(axes[0], start, f"start: {100 * row.start_t_m:.1f} cm, {row.start_r_deg:.1f} deg away")
    show_image(axes[1], goal, "desired: the photo to return to")
    show_image(axes[2], end, f"end: {_digits(1000 * row.end_t_m)} mm, {_digits(row.end_r_deg)} deg away")
    show_image(axes[3], difference(start, goal), "start - desired (grey: equal)")
    show_image(axes[4], difference(end, goal), "end - desired")


def _band(axes: Any, values: np.ndarray, run: int) -> None:
    """The runs' median, 90 % of them around it, and the run shown."""
    x = np.arange(len(values))
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95), axis=1)
    axes.fill_between(x, low, high, color=BLUE, alpha=0.18, linewidth=0, label="5 to 95 % of the runs")
    axes.plot(x, middle, color=BLUE, linewidth=2, label="median")
    axes.plot(x, values[:, run], color=ORANGE, linewidth=1.2, label="run shown")
    axes.set_yscale("log")
    axes.legend(fontsize=8, frameon=False)


def _errors(axes: Any, trajectory: Trajectory, run: int) -> None:
    t, r = (x.reshape(len(x), -1).numpy() for x in trajectory.error_norms)
    axes[0].set_ylabel("translation error [cm]")
    _band(axes[0], 100 * t + _LEAST, run)
    axes[1].set_ylabel("rotation error [deg]")
    _band(axes[1], np.degrees(r) + _LEAST, run)


def _twists(axes: Any, trajectory: Trajectory, run: int) -> None:
    v = trajectory.twist[:, run].numpy()
    x = np.arange(len(v))
    for k, (name, colour) in enumerate(zip(("vx", "vy", "vz"), (BLUE, ORANGE, GREEN), strict=True)):
        axes[0].plot(x, 100 * v[:, k], color=colour, linewidth=1.6, label=name)
    axes[0].set_ylabel("v commanded [cm/s], run shown")
    for k, (name, colour) in enumerate(zip(("wx", "wy", "wz"), (RED, SKY, PURPLE), strict=True)):
        axes[1].plot(x, np.degrees(v[:, 3 + k]), color=colour, linewidth=1.6, label=name)
    axes[1].set_ylabel("w commanded [deg/s], run shown")
    for a in axes:
        a.set_xlabel("iteration")
        a.legend(fontsize=8, frameon=False, ncols=3)
        a.axhline(0, color=GREY, linewidth=0.6)


def _print_surface(axes: Any, scene: Scene) -> None:
    """The print on the ground, in small."""
    step = max(1, scene.texture.shape[-1] // 160)
    small = torch.nn.functional.avg_pool2d(scene.texture[None], step)[0].permute(1, 2, 0).clamp(0, 1).numpy()
    h, w = small.shape[:2]
    x, y = np.meshgrid(
        np.linspace(-scene.width / 2, scene.width / 2, w + 1), np.linspace(-scene.height / 2, scene.height / 2, h + 1)
    )
    look = {"rcount": h, "ccount": w, "shade": False, "linewidth": 0, "antialiased": False, "zorder": 0}
    axes.plot_surface(x, y, np.zeros_like(x), facecolors=small, **look)


def _paths(axes: Any, trajectory: Trajectory, scene: Scene, good: np.ndarray, chosen: int) -> None:
    """Camera positions above the print, in the world; height drawn upwards."""
    _print_surface(axes, scene)
    p = trajectory.T_wc[..., :3, 3].numpy() * _UPWARDS
    for k in range(p.shape[1]):
        if k != chosen:
            axes.plot(*p[:, k].T, color=BLUE if good[k] else RED, alpha=0.28 if good[k] else 0.8, linewidth=0.7)
    axes.scatter(*p[0].T, s=5, color=[BLUE if g else RED for g in good], alpha=0.6, linewidths=0)
    axes.plot(*p[:, chosen].T, color=ORANGE, linewidth=2.4, label="run shown above")
    d = trajectory.T_wd[:, :3, 3].numpy() * _UPWARDS
    axes.scatter(*d.T, s=9, color=GREEN, linewidths=0, label="desired cameras")
    axes.set_xlabel("x [m]", fontsize=8)
    axes.set_ylabel("y [m]", fontsize=8)
    axes.set_zlabel("height [m]", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.view_init(elev=24, azim=-62)
    axes.invert_yaxis()
    spans = [float(np.ptp(axes.get_xlim3d())), float(np.ptp(axes.get_ylim3d())), float(np.ptp(axes.get_zlim3d()))]
    axes.set_box_aspect(spans, zoom=1.12)
    axes.legend(loc="upper left", fontsize=8, frameon=False)
