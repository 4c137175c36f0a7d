"""Two photos of one place: the goal image is rendered from one, the world that the camera moves over from the other."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from siame_se3.analysis.metrics import certainties
from siame_se3.errors import InputError, LawError, SceneError
from siame_se3.experiments.real.pictures import Folder, Picture
from siame_se3.experiments.real.rows import Settings, Table, controller
from siame_se3.experiments.real.worlds import Drawn, drawn
from siame_se3.geometry import lie
from siame_se3.laws.types import Controller
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo

END = ("end_x", "end_y", "end_z", "end_rx", "end_ry", "end_rz")  # c*Tc where the run ended [m, rad]
COLUMNS = (
    *("folder", "law", "goal", "world", "run", "start_t_m", "start_r_deg"),
    *("end_t_m", "end_r_deg", "end_align", "converged", "refused", "reason"),
    *("confidence_start", "confidence_least", "pose_sigma_t_m", "pose_sigma_r_deg", *END),
)
KEY = ("folder", "law", "goal", "world")
ALIGNED = 1.0  # [% of the image's width]
GAIN, ITERATIONS = 10.0, 100


def table(settings: Settings) -> Table:
    """The rows that are there."""
    made = {"runs": settings.runs, "seed": settings.seed, "gain": GAIN, "iterations": ITERATIONS}
    return Table(settings.out / "real" / "two_photos.csv", COLUMNS, KEY, made)


def run(folder: Folder, settings: Settings) -> Table:
    """Every law on every pair of pictures that the folder has for it; those that are there are left."""
    rows = table(settings)
    for k, goal in enumerate(folder.pictures):
        for law in settings.laws:
            made: Controller | str = ""
            for world in (folder.pictures[j] for i, j in folder.worlds if i == k):
                if rows.has(folder.name, law, goal.name, world.name):
                    continue
                made = made or _controller_or_refusal(law, settings, folder.name, goal)
                try:
                    found = runs(made, goal, world, settings, folder.metric)
                except SceneError as error:  # of the pair: what a law refuses is a run that stands still
                    settings.say(f"two photos, {law}: {folder.name}, passed over: {error}")
                    continue
                rows.add((folder.name, law, goal.name, world.name, *row) for row in found)
                aligned = sum(row[6] for row in found)
                settings.say(
                    f"two photos, {law}: {goal.name} in {world.name}: {aligned} of {len(found)} aligned within {ALIGNED:g} %"
                )
    return rows


def _controller_or_refusal(law: str, settings: Settings, folder: str, goal: Picture) -> Controller | str:
    """A law, or why there is none for this goal: no network can be trained on it, say."""
    try:
        return controller(law, settings, folder, goal)
    except (LawError, SceneError) as error:  # not what an option or a file would put right
        return str(error)


def runs(
    law: Controller | str, goal: Picture, world: Picture, settings: Settings, metric: bool = True
) -> list[tuple[Any, ...]]:
    """Of one pair, see `worlds.drawn`; `metric` where poses were measured, at the scene's origin. Where a law refuses, or there is only why it does,
    all stand still at the start.

    Raises:
        SceneError: the pictures show too little in common.
    """
    d = drawn(goal, world, settings.runs, settings.seed, metric)
    if isinstance(law, str):
        return _refused(d, law)
    try:
        trajectory = servo(d.there, law, d.target, d.T_wc, ServoConfig(gain=GAIN, max_iterations=ITERATIONS))
    except InputError as error:  # a lens that it was not made for, say, or a map with too few depths
        return _refused(d, str(error))
    end = trajectory.T_wc[-1].double()
    align = d.alignment(end)
    start, left, at = _apart(d.T_wd, d.T_wc), _apart(d.T_wd, end), lie.vector_from_pose(lie.inverse(d.T_wd) @ end)
    found: list[tuple[Any, ...]] = []
    for k, (reason, sure) in enumerate(zip(trajectory.reason, certainties(trajectory), strict=True)):
        moved = bool(trajectory.twist[:, k].any())
        fault = reason not in ("settled", "max_iterations", "iterations")
        aligned = int(float(align[k]) <= ALIGNED)
        known = ("" if math.isnan(x) else x for x in sure)
        found.append(
            (
                k,
                *start[k],
                *left[k],
                float(align[k]),
                aligned,
                int(fault and not moved),
                reason,
                *known,
                *at[k].tolist(),
            )
        )
    return found


def _refused(d: Drawn, why: str) -> list[tuple[Any, ...]]:
    start, at = _apart(d.T_wd, d.T_wc), lie.vector_from_pose(lie.inverse(d.T_wd) @ d.T_wc)
    align, unknown = d.alignment(d.T_wc), ("",) * 4
    return [(k, *start[k], *start[k], float(align[k]), 0, 1, why, *unknown, *at[k].tolist()) for k in range(len(start))]


def _apart(T_wd: Tensor, T_wc: Tensor) -> list[tuple[float, float]]:
    t, r = lie.error_norms(lie.inverse(T_wd) @ T_wc)
    return list(zip(t.tolist(), torch.rad2deg(r).tolist(), strict=True))
