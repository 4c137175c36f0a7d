"""Trajectory -> what the script of a report draws: paths, cameras on them, curves, bands; few enough numbers for a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from siame_se3.analysis import html, metrics
from siame_se3.analysis.html import rounded
from siame_se3.analysis.metrics import Row
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.scenes.planar import Scene
from siame_se3.servo.trajectory import Trajectory

_DETAILED, _DRAWN = 60, 300  # runs with curves of their own, and runs with a path
_SAMPLES, _PATH = 160, 40  # of a run's curves, and of a path without curves
_GROUND = 384  # [px] of the print's picture
_UP = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))  # a robot's base, z up, as a scene, z down


def drawn_data(
    trajectory: Trajectory, table: Sequence[Row], scene: Any, camera: Camera | None, shown: int, known: bool
) -> dict[str, Any]:
    """All that the script draws of a trajectory.

    Args:
        trajectory: of the runs. table: `metrics.rows` of it, where the poses are known.
        scene: what the cameras saw; a print is drawn below the paths.
        camera: its intrinsics, for the cameras drawn; None for none.
        shown: number of the run shown first.
        known: whether all poses are, so that there are errors.
    """
    n = len(trajectory.reason)
    placed = bool(trajectory.T_wc.isfinite().all())
    T = _poses(trajectory, placed)
    good = [bool(row.converged) for row in table] if known else [True] * n
    detailed = _chosen(good, shown, _DETAILED)
    drawn = [k for k in _chosen(good, shown, _DRAWN) if k not in set(detailed)]
    return {
        "dt": trajectory.dt,
        "shown": shown,
        "runs": [_run(trajectory, T, k, good[k], known) for k in detailed],
        "others": [{"good": good[k], "path": _path(T[: int(trajectory.iterations[k]) + 1, k])} for k in drawn],
        "goals": rounded(_goals(trajectory)[:_DRAWN].tolist()) if known else [],
        "bands": _bands(trajectory) if known else {},
        "print": _ground(scene) if placed and isinstance(scene, Scene) else None,
        "camera": None if camera is None else rounded([camera.width / 2 / camera.fx, camera.height / 2 / camera.fy]),
        "charts": _charts(trajectory, known, n),
        "frame": _frame(trajectory, placed),
    }


def _poses(trajectory: Trajectory, placed: bool) -> Float[Tensor, "T1 n 4 4"]:
    """In a frame whose z points down; where they are not known, as the applied twists lead from the start."""
    if placed:
        return _UP @ trajectory.T_wc if trajectory.settings.get("poses") == "base" else trajectory.T_wc
    T = [torch.eye(4, dtype=torch.float64).expand(len(trajectory.reason), 4, 4)]
    for v in trajectory.applied.nan_to_num(0.0):
        T.append(T[-1] @ lie.exp(v * trajectory.dt))
    return torch.stack(T)


def _frame(trajectory: Trajectory, placed: bool) -> str:
    """What the paths are, where they are not the scene's."""
    if placed:
        return "in the robot's base" if trajectory.settings.get("poses") == "base" else ""
    return (
        "by the applied twists, from the start"
        if bool(trajectory.applied.any())
        else "nothing was sent: it has not moved"
    )


def _goals(trajectory: Trajectory) -> Float[Tensor, "n 3"]:
    return _desired(trajectory)[:, :3, 3]


def _desired(trajectory: Trajectory) -> Float[Tensor, "n 4 4"]:
    return _UP @ trajectory.T_wd if trajectory.settings.get("poses") == "base" else trajectory.T_wd


def _chosen(good: Sequence[bool], shown: int, most: int) -> list[int]:
    """At most so many runs, in order: the one shown, up to half of those that failed, the others evenly."""
    failed = [k for k, one in enumerate(good) if not one]
    first = {shown, *failed[: max(1, most // 2)]} if good else set()
    rest = [k for k in range(len(good)) if k not in first]
    room = max(0, most - len(first))
    step = max(1, math.ceil(len(rest) / room)) if room else len(rest) + 1
    return sorted(first | set(rest[::step]))


def _samples(count: int, most: int) -> Int[Tensor, "k"]:
    """Numbers from 0 to count - 1, the first and the last among them, at most so many."""
    return torch.linspace(0, count - 1, min(count, most)).round().long().unique()


def _path(T: Float[Tensor, "t 4 4"]) -> list[list[float]]:
    found: list[list[float]] = rounded(T[_samples(len(T), _PATH), :3, 3].tolist())
    return found


def _run(trajectory: Trajectory, T: Float[Tensor, "T1 n 4 4"], k: int, good: bool, known: bool) -> dict[str, Any]:
    """One run with all that is drawn of it."""
    last = min(int(trajectory.iterations[k]), len(trajectory.twist)) if known else len(trajectory.twist)
    at = _samples(last + 1, _SAMPLES)
    v = torch.cat((trajectory.twist[:last, k], torch.full((1, 6), torch.nan, dtype=trajectory.twist.dtype)))[at]
    own = T[at, k]
    found = {
        "run": k,
        "good": good,
        "k": at.tolist(),
        "path": rounded(own[:, :3, 3].tolist()),
        "turned": rounded(quaternions(own[:, :3, :3]).tolist(), 3),
        "v": rounded((100 * v[:, :3]).tolist()),
        "w": rounded(torch.rad2deg(v[:, 3:]).tolist()),
        "handoff": int(metrics.switch_iterations(trajectory.stage[:, k : k + 1])[0]),
    }
    confidence = trajectory.confidences[:, k]
    if bool(confidence.isfinite().any()):
        found["confidence"] = rounded(torch.cat((confidence[:last], torch.full((1,), torch.nan)))[at].tolist(), 3)
    if known:
        goal = _desired(trajectory)[k]
        t, r = lie.error_norms(lie.inverse(trajectory.T_wd[k]) @ trajectory.T_wc[at, k])
        found |= {"t": rounded((1000 * t).tolist()), "r": rounded(torch.rad2deg(r).tolist())}
        found["goal"] = {"p": rounded(goal[:3, 3].tolist()), "q": rounded(quaternions(goal[None, :3, :3])[0].tolist())}
    return found


def quaternions(R: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 4"]:
    """(w, x, y, z) of rotations."""
    theta_u = lie.so3_log(R.double())
    half = theta_u.norm(dim=1, keepdim=True) / 2
    return torch.cat((torch.cos(half), 0.5 * torch.sinc(half / torch.pi) * theta_u), 1)


def _bands(trajectory: Trajectory) -> dict[str, Any]:
    """5, 50 and 95 % of the runs' errors [mm, deg]."""
    t, r = trajectory.error_norms
    at = _samples(len(t), _SAMPLES)
    found: dict[str, Any] = {"k": at.tolist()}
    for name, values in (("t", 1000 * t[at]), ("r", torch.rad2deg(r[at]))):
        low, middle, high = (np.quantile(values.numpy(), q, axis=1).tolist() for q in (0.05, 0.5, 0.95))
        found[name] = {"low": rounded(low), "middle": rounded(middle), "high": rounded(high)}
    return found


def _ground(scene: Scene) -> dict[str, Any]:
    """The print, in small."""
    pixels = (255 * scene.texture.clamp(0, 1)).round().byte().permute(1, 2, 0).cpu().numpy()
    return {"width": scene.width, "height": scene.height, "image": html.jpeg_uri(pixels, _GROUND)}


def _charts(trajectory: Trajectory, known: bool, n: int) -> list[dict[str, Any]]:
    axes = [("x", "blue"), ("y", "orange"), ("z", "green")]

    def of(name: str) -> list[dict[str, Any]]:
        return [{"of": name, "axis": k, "name": axis, "colour": colour} for k, (axis, colour) in enumerate(axes)]

    charts: list[dict[str, Any]] = []
    if known:
        for name, title in (("t", "distance [mm]"), ("r", "angle [deg]")):
            lines = [{"of": name, "name": "", "colour": "orange"}]
            charts.append({"title": title, "log": True, "lines": lines, **({"band": name} if n > 1 else {})})
    charts.append({"title": "v commanded [cm/s]", "zero": True, "lines": of("v")})
    charts.append({"title": "w commanded [deg/s]", "zero": True, "lines": of("w")})
    if bool(trajectory.confidences.isfinite().any()):
        lines = [{"of": "confidence", "name": "", "colour": "purple"}]
        charts.append({"title": "confidence", "zero": True, "lines": lines})
    return charts
