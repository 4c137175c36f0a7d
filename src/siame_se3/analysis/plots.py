"""Trajectories -> figures. Pure: nothing is shown, nothing global is changed; `save` writes the file.

Colours are Okabe and Ito's, which colour-blind readers tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from siame_se3.analysis.metrics import rows, summary
from siame_se3.errors import InputError
from siame_se3.files import atomically
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import View
from siame_se3.scenes.planar import Scene
from siame_se3.servo.trajectory import Trajectory

BLUE, ORANGE, GREEN, RED, SKY, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
GREY = "#8a8f98"


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure, whole or not at all; the format follows the name (.png, .pdf, .svg).

    Raises:
        InputError: another ending, or it cannot be written.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in (".png", ".pdf", ".svg"):
        raise InputError(f"{path}: unknown figure format; give a name that ends in .png, .pdf or .svg")
    atomically(path, lambda partial: figure.savefig(partial, dpi=130, format=ending[1:]))


def _told(error: float) -> str:
    """With four digits where two would say zero."""
    return f"{error:.2f}" if error >= 0.1 else f"{error:.4f}"


def _show(axes: Any, image: Tensor, title: str) -> None:
    axes.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])


def _difference(a: Tensor, b: Tensor) -> Tensor:
    """Grey where equal, as the field prints it: (a - b)/2 + 1/2."""
    return (a - b) / 2 + 0.5


def _band(axes: Any, x: Any, values: np.ndarray, colour: str, label: str) -> None:
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95), axis=1)
    axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0, label="5 to 95 % of the runs")
    axes.plot(x, middle, color=colour, linewidth=2, label=label)


def _paths(axes: Any, trajectory: Trajectory, scene: Scene, good: np.ndarray, chosen: int) -> None:
    """Camera positions above the print, in the world; height drawn upwards."""
    texture = scene.texture
    step = max(1, texture.shape[-1] // 160)
    small = torch.nn.functional.avg_pool2d(texture[None], step)[0].permute(1, 2, 0).clamp(0, 1).numpy()
    h, w = small.shape[:2]
    x, y = np.meshgrid(
        np.linspace(-scene.width / 2, scene.width / 2, w + 1), np.linspace(-scene.height / 2, scene.height / 2, h + 1)
    )
    axes.plot_surface(
        x,
        y,
        np.zeros_like(x),
        facecolors=small,
        rcount=h,
        ccount=w,
        shade=False,
        linewidth=0,
        antialiased=False,
        zorder=0,
    )
    p = trajectory.T_wc[..., :3, 3].numpy()
    for k in range(p.shape[1]):
        if k != chosen:
            axes.plot(
                *(p[:, k] * (1, 1, -1)).T, color=BLUE if good[k] else RED, alpha=0.28 if good[k] else 0.8, linewidth=0.7
            )
    axes.scatter(*(p[0] * (1, 1, -1)).T, s=5, color=[BLUE if g else RED for g in good], alpha=0.6, linewidths=0)
    axes.plot(*(p[:, chosen] * (1, 1, -1)).T, color=ORANGE, linewidth=2.4, label="run shown above")
    d = trajectory.T_wd[:, :3, 3].numpy() * (1, 1, -1)
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
        desired, last: views of all runs at the desired and at the end poses; rendered for the run shown if they are not given.
        run: which run to show in images and twists; None for the converged one with the largest start error.

    Raises:
        InputError: no run, or poses that are not known (of a robot that does not tell them).
    """
    from siame_se3.scenes.render import render

    if not trajectory.T_wd.numel() or not bool(trajectory.T_wc.isfinite().all() & trajectory.T_wd.isfinite().all()):
        raise InputError("figure: the poses of this run are not known; give one of a simulated robot")
    table = rows(trajectory)
    s = summary(table)
    good = np.array([bool(r.converged) for r in table])
    if run is None:
        run = max(
            range(len(table)),
            key=lambda k: (table[k].converged, table[k].start_t_m / 0.125 + table[k].start_r_deg / 17.5),
        )
    chosen = table[run]

    def picture(view: View | None, T: Tensor) -> Tensor:
        return render(scene, camera, T)[0] if view is None or view.image is None else view.image[run].cpu()

    start = picture(None, trajectory.T_wc[0, run])
    goal, end = picture(desired, trajectory.T_wd[run]), picture(last, trajectory.T_wc[-1, run])

    figure = Figure(figsize=(15, 9.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    top, bottom = cast(Any, figure.subfigures(2, 1, height_ratios=(1, 1.75)))
    images = top.subplots(1, 5)
    _show(images[0], start, f"start: {100 * chosen.start_t_m:.1f} cm, {chosen.start_r_deg:.1f} deg away")
    _show(images[1], goal, "desired: the photo to return to")
    _show(images[2], end, f"end: {_told(1000 * chosen.end_t_m)} mm, {_told(chosen.end_r_deg)} deg away")
    _show(images[3], _difference(start, goal), "start - desired (grey: equal)")
    _show(images[4], _difference(end, goal), "end - desired")
    t, r = (x.reshape(len(x), -1).numpy() for x in trajectory.error_norms)
    law = trajectory.settings.get("law", "neural")
    title = (
        f"{s.runs} cameras driven to their desired view, law '{law}', scene '{scene.name}': {s.converged_percent:.1f} % converged, "
        f"median end error {_told(1000 * s.median_end_t_m)} mm and {_told(s.median_end_r_deg)} deg"
    )
    size = min(14.0, 14 * 120 / len(title))  # all of it is in the figure's width
    figure.suptitle(title, fontsize=size, fontweight="bold", parse_math=False)
    left, right = bottom.subfigures(1, 2, width_ratios=(1, 1.15))
    _paths(left.add_subplot(projection="3d"), trajectory, scene, good, run)
    axes = right.subplots(2, 2, sharex=True)
    x = np.arange(len(t))
    tiny = 1e-6
    _band(axes[0, 0], x, 100 * t + tiny, BLUE, "median")
    axes[0, 0].plot(x, 100 * t[:, run] + tiny, color=ORANGE, linewidth=1.2, label="run shown")
    axes[0, 0].set_ylabel("translation error [cm]")
    _band(axes[0, 1], x, np.degrees(r) + tiny, BLUE, "median")
    axes[0, 1].plot(x, np.degrees(r[:, run]) + tiny, color=ORANGE, linewidth=1.2, label="run shown")
    axes[0, 1].set_ylabel("rotation error [deg]")
    for a in axes[0]:
        a.set_yscale("log")
        a.legend(fontsize=8, frameon=False)
    v = trajectory.twist[:, run].numpy()
    for k, (name, colour) in enumerate(zip(("vx", "vy", "vz"), (BLUE, ORANGE, GREEN), strict=True)):
        axes[1, 0].plot(x[:-1], 100 * v[:, k], color=colour, linewidth=1.6, label=name)
    axes[1, 0].set_ylabel("v commanded [cm/s], run shown")
    for k, (name, colour) in enumerate(zip(("wx", "wy", "wz"), (RED, SKY, PURPLE), strict=True)):
        axes[1, 1].plot(x[:-1], np.degrees(v[:, 3 + k]), color=colour, linewidth=1.6, label=name)
    axes[1, 1].set_ylabel("w commanded [deg/s], run shown")
    for a in axes[1]:
        a.set_xlabel("iteration")
        a.legend(fontsize=8, frameon=False, ncols=3)
        a.axhline(0, color=GREY, linewidth=0.6)
    for a in axes.flat:
        a.grid(alpha=0.25)
        a.spines[["top", "right"]].set_visible(False)
        a.set_xlim(0, max(1, len(t) - 1))
    note = f"{trajectory.settings.get('command', '')}    paths: blue converged, red not    "
    if gain := trajectory.settings.get("servo", {}).get("gain"):
        note += f"gain {gain:g}/s, "
    note += f"dt {trajectory.dt * 1000:.0f} ms"
    seconds = trajectory.settings.get("seconds")
    if seconds is not None:
        note += f"    {seconds} s on {trajectory.settings.get('hardware', '')}"
    figure.supxlabel(note, fontsize=8, color="#555555", parse_math=False)
    return figure


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
    from siame_se3.geometry import lie

    *stages, reference = trajectories
    figure = Figure(figsize=(14, 11), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    top, bottom = cast(Any, figure.subfigures(2, 1, height_ratios=(1, 2.5)))
    ends = images[2:]
    titles = ["end of the network's run", "end of the photometric run"]
    panels = top.subplots(1, 2 + len(ends))
    _show(panels[0], images[0], "start")
    _show(panels[1], images[1], "desired")
    for axes, image, title in zip(panels[2:], ends, titles, strict=False):
        _show(axes, _difference(image, images[1]), f"{title} - desired (grey: equal)")
    left, right = bottom.subfigures(1, 2, width_ratios=(1.6, 1))
    axes = left.subplots(2, 2)
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
    for a, label in zip(
        axes.flat,
        ("v commanded [cm/s]", "w commanded [deg/s]", "translation error [cm]", "rotation error [deg]"),
        strict=True,
    ):
        a.set_ylabel(label)
        a.set_xlabel("iteration" + ("; dotted: photometric takes over" if len(stages) > 1 else ""))
        a.axhline(0, color=GREY, linewidth=0.6)
        a.grid(alpha=0.25)
        a.spines[["top", "right"]].set_visible(False)
        a.legend(fontsize=9, frameon=False, ncols=3)
    upper, lower = right.subfigures(2, 1, height_ratios=(1.4, 1))
    space = upper.add_subplot(projection="3d")
    for path, colour, line, label in (
        (reference, GREEN, "--", "PBVS with true poses"),
        *zip(stages, (BLUE, RED), ("-", "-"), ("network", "photometric"), strict=False),
    ):
        space.plot(
            *(100 * path.T_wc[:, 0, :3, 3].numpy() * (1, 1, -1)).T,
            color=colour,
            linestyle=line,
            linewidth=2,
            label=label,
        )
    goal = 100 * stages[0].T_wd[0, :3, 3].numpy() * (1, 1, -1)
    space.scatter(*goal[:, None], color=ORANGE, s=30, label="desired camera")
    for name, label in (("x", "x [cm]"), ("y", "y [cm]"), ("z", "height [cm]")):
        getattr(space, f"set_{name}label")(label, fontsize=9)
    space.legend(fontsize=9, frameon=False)
    a = lower.add_subplot()
    a.plot(np.asarray(codes) / max(codes), color=BLUE, label="||S(I) - S(I*)||")
    a.plot(np.asarray(ssd) / max(ssd), color=ORANGE, linestyle="--", label="SSD of I and I*")
    a.set_xlabel("iteration of the network's run")
    a.set_ylabel("share of the largest")
    a.set_title(f"correlation {correlation:.3f}", fontsize=10)
    a.grid(alpha=0.25)
    a.spines[["top", "right"]].set_visible(False)
    a.legend(fontsize=9, frameon=False)
    return figure


_LOOKS = [
    (colour, line, marker)
    for line, marker in (("-", "o"), ("--", "s"), (":", "^"))
    for colour in (BLUE, RED, GREEN, ORANGE, PURPLE, SKY)
]


def _curves(
    x: Sequence[float], curves: dict[str, list[float]], xlabel: str, ylabel: str, marks: int, note: str = ""
) -> tuple[Figure, Any]:
    """Lines of shares [%], told apart by colour, dashes and markers; the best at the top of the legend; a note on what was run below."""
    figure = Figure(figsize=(10.5, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
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
        figure.supxlabel(note, fontsize=8, color="#555555")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
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
