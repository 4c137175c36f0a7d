"""Trajectory -> one page on a servo run or a batch of them: images and their differences, paths, errors, twists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from siame_se3.analysis.metrics import Row, rows, summary
from siame_se3.analysis.report import counted
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
    legend_above,
    new_figure,
    show_image,
    tidy,
    times,
)
from siame_se3.errors import InputError
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import View
from siame_se3.scenes.planar import Scene
from siame_se3.servo.trajectory import Trajectory

_COLOUR = (RED, BLUE)  # of runs that did not converge, and that did
_UPWARDS = (1, 1, -1)  # the world's z points into the print
_SIDES = (384, 512)  # least and most pixels of an image's longer side
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

    A run that converged is shown, and one that did not, where there are both.

    Args:
        trajectory: of the runs.
        scene: what the cameras saw.
        camera: of the images, which are drawn with more pixels where it has few.
        desired, last: views of all runs at the desired and at the end poses, to be shown where the scene alone does not make them (disturbed
            images, an arm's); they are rendered for the runs shown otherwise.
        run: which run to show, alone; None for the converged one with the largest start error, and a typical one of those that failed.

    Raises:
        InputError: no run, or poses that are not known (of a robot that does not measure them).
    """
    if not trajectory.T_wd.numel() or not bool(trajectory.T_wc.isfinite().all() & trajectory.T_wd.isfinite().all()):
        raise InputError("figure: the poses of this run are not known; give one of a simulated robot")
    table = rows(trajectory)
    shown = _shown(table) if run is None else [run]
    strips = len(shown)
    figure = new_figure(15, 6.6 + 3.3 * strips)
    *strip_figures, bottom = cast(Any, figure.subfigures(strips + 1, 1, height_ratios=(*[1] * strips, 2.0)))
    seen = _as_seen(trajectory, desired, last)
    for part, k in zip(strip_figures, shown, strict=True):
        _images(part.subplots(1, 5), trajectory, scene, _drawn(camera), *seen, table[k])
    title = _title(trajectory, scene, table)
    size = min(14.0, 14 * 120 / len(title))  # all of it is in the figure's width
    figure.suptitle(title, fontsize=size, fontweight="bold", parse_math=False)
    left, right = bottom.subfigures(1, 2, width_ratios=(1, 1.15))
    good = [bool(r.converged) for r in table]
    _paths(left.add_subplot(projection="3d"), trajectory, scene, good, shown)
    axes = right.subplots(2, 2, sharex=True)
    _errors(axes[0], trajectory, shown, good)
    _twists(axes[1], trajectory, shown[0])
    for a in axes.flat:
        tidy(a)
        a.set_xlim(0, trajectory.dt * max(1, len(trajectory.T_wc) - 1))
        _mark_switch(a, table[shown[0]], trajectory.dt)
    for a in axes[0]:
        above = a.secondary_xaxis("top", functions=(lambda t: t / trajectory.dt, lambda k: k * trajectory.dt))
        above.tick_params(labelsize=7, colors=NOTE)
        above.set_xlabel("iteration", fontsize=7, color=NOTE)
    right.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=5, fontsize=8, frameon=False)
    figure.supxlabel(_note(trajectory), fontsize=8, color=NOTE, parse_math=False)
    return figure


def _shown(table: Sequence[Row]) -> list[int]:
    """The converged run with the largest start error, in units of the paper's means; and of those that failed, the one in the middle by end error."""
    good = [k for k, row in enumerate(table) if row.converged]
    failed = sorted((k for k, row in enumerate(table) if not row.converged), key=lambda k: table[k].end_t_m)
    farthest = sorted(good, key=lambda k: table[k].start_t_m / 0.125 + table[k].start_r_deg / 17.5)
    return [*farthest[-1:], *failed[len(failed) // 2 :][:1]]


def _drawn(camera: Camera) -> Camera:
    """The same camera with as many pixels as are seen on the page."""
    scale = min(max(max(camera.size), _SIDES[0]), _SIDES[1]) / max(camera.size)
    return camera.resized(max(2, round(scale * camera.width)), max(2, round(scale * camera.height)))


def _as_seen(trajectory: Trajectory, desired: View | None, last: View | None) -> tuple[View | None, View | None]:
    """The views to be shown as they are; None for those that the scene alone makes."""
    settings = trajectory.settings
    plain = settings.get("conditions") is None and settings.get("plant", "flying") == "flying"
    return (None, None) if plain else (desired, last)


def _digits(value: float, unit: str) -> str:
    """With more digits where two would say zero, and never only zeros."""
    if value >= 0.1:
        return f"{value:.2f} {unit}"
    return f"{value:.4f} {unit}" if value >= 5e-5 else f"below 0.0001 {unit}"


def _length(metres: float) -> str:
    return _digits(100 * metres, "cm") if metres >= 0.01 else _digits(1000 * metres, "mm")


def _angle(degrees: float) -> str:
    return _digits(degrees, "deg")


def _title(trajectory: Trajectory, scene: Scene, table: Sequence[Row]) -> str:
    s, law = summary(table), trajectory.settings.get("law", "neural")
    good = sum(r.converged for r in table)
    return (
        f"{counted(s.runs, 'camera')}, law '{law}', scene '{scene.name}': {good} of {s.runs} converged ({s.converged_percent:.1f} %), "
        f"end error {_length(s.median_end_t_m)} and {_angle(s.median_end_r_deg)}"
        + ", median of all runs" * (s.runs > 1)
        + ", stopped by Ctrl-C" * bool(trajectory.settings.get("stopped"))
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
    start = _of_size(start, goal)
    show_image(axes[0], start, f"start: {100 * row.start_t_m:.1f} cm, {row.start_r_deg:.1f} deg away")
    show_image(axes[1], goal, "goal image")
    show_image(axes[2], end, f"end: {_length(row.end_t_m)}, {_angle(row.end_r_deg)} away")
    show_image(axes[3], difference(start, goal), "start - goal (grey: equal)")
    show_image(axes[4], difference(end, goal), "end - goal")
    axes[0].set_ylabel(
        f"run {row.run}: " + ("converged" if row.converged else "not converged"), color=_COLOUR[row.converged]
    )


def _of_size(image: Tensor, other: Tensor) -> Tensor:
    """An image with as many pixels as another."""
    if image.shape == other.shape:
        return image
    return torch.nn.functional.interpolate(image[None], other.shape[-2:], mode="bilinear", antialias=True)[0]


def _band(axes: Any, values: np.ndarray, dt: float, shown: Sequence[int], good: Sequence[bool]) -> None:
    """The runs' median, 90 % of them around it, and the runs shown."""
    x = times(len(values), dt)
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95), axis=1)
    axes.fill_between(x, low, high, color=BLUE, alpha=0.18, linewidth=0, label="5 to 95 % of the runs")
    axes.plot(x, middle, color=BLUE, linewidth=2, label="median")
    for run in shown:
        axes.plot(x, values[:, run], color=ORANGE if good[run] else RED, linewidth=1.2, label=f"run {run}")
    axes.set_yscale("log")


def _errors(axes: Any, trajectory: Trajectory, shown: Sequence[int], good: Sequence[bool]) -> None:
    t, r = (x.reshape(len(x), -1).numpy() for x in trajectory.error_norms)
    axes[0].set_ylabel("translation error [cm]")
    _band(axes[0], 100 * t + _LEAST, trajectory.dt, shown, good)
    axes[1].set_ylabel("rotation error [deg]")
    _band(axes[1], np.degrees(r) + _LEAST, trajectory.dt, shown, good)


def _mark_switch(axes: Any, row: Row, dt: float) -> None:
    """Where the second law of a hand-off took over in the run shown."""
    if row.switch >= 0:
        axes.axvline(row.switch * dt, color=GREY, linestyle=":", linewidth=1.4, label=f"hand-off of run {row.run}")


def _twists(axes: Any, trajectory: Trajectory, run: int) -> None:
    v = trajectory.twist[:, run].numpy()
    x = times(len(v), trajectory.dt)
    for k, (name, colour) in enumerate(zip(("vx", "vy", "vz"), (BLUE, ORANGE, GREEN), strict=True)):
        axes[0].plot(x, 100 * v[:, k], color=colour, linewidth=1.6, label=name)
    axes[0].set_ylabel(f"v commanded [cm/s], run {run}")
    for k, (name, colour) in enumerate(zip(("wx", "wy", "wz"), (RED, SKY, PURPLE), strict=True)):
        axes[1].plot(x, np.degrees(v[:, 3 + k]), color=colour, linewidth=1.6, label=name)
    axes[1].set_ylabel(f"w commanded [deg/s], run {run}")
    for a in axes:
        a.set_xlabel("time [s]")
        legend_above(a)
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


def _paths(axes: Any, trajectory: Trajectory, scene: Scene, good: Sequence[bool], shown: Sequence[int]) -> None:
    """Camera positions above the print, in the world; height drawn upwards."""
    _print_surface(axes, scene)
    p = trajectory.T_wc[..., :3, 3].numpy() * _UPWARDS
    for k in range(p.shape[1]):
        if k not in shown:
            axes.plot(*p[:, k].T, color=_COLOUR[good[k]], alpha=0.28 if good[k] else 0.8, linewidth=0.7)
    axes.scatter(*p[0].T, s=5, color=[_COLOUR[g] for g in good], alpha=0.6, linewidths=0)
    for k in shown:
        axes.plot(*p[:, k].T, color=ORANGE if good[k] else RED, linewidth=2.4, label=f"run {k}, shown above")
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
