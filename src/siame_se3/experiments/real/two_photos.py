"""Two photos of one place: the goal image is rendered from one, the world that the camera moves over from the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.analysis.metrics import certainties
from siame_se3.errors import SceneError
from siame_se3.experiments.real.pictures import Folder, Picture
from siame_se3.experiments.real.planes import alignment, common, footprint, scene_of, shared
from siame_se3.experiments.real.rows import Settings, Table, controller
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.laws.types import Controller
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.poses import Workspace, draw_starts
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
_DRAWN = 10  # starts for one that is kept, at most


def table(settings: Settings) -> Table:
    """The rows that are there."""
    made = {"runs": settings.runs, "seed": settings.seed, "gain": GAIN, "iterations": ITERATIONS}
    return Table(settings.out / "real" / "two_photos.csv", COLUMNS, KEY, made)


def run(folder: Folder, settings: Settings) -> Table:
    """Every law on every ordered pair of different pictures, and of each goal with itself; those that are there are left."""
    rows = table(settings)
    if not folder.flat:
        settings.say(f"two photos: {folder.name} shows no plane, and is left out")
        return rows
    for goal in folder.pictures:
        for law in settings.laws:
            made: Controller | None = None
            for world in folder.pictures:
                if rows.has(folder.name, law, goal.name, world.name):
                    continue
                made = made or controller(law, settings, folder.name, goal)
                found = runs(made, goal, world, settings, folder.metric)
                rows.add((folder.name, law, goal.name, world.name, *row) for row in found)
                aligned = sum(row[6] for row in found)
                settings.say(
                    f"two photos, {law}: {goal.name} in {world.name}: {aligned} of {len(found)} aligned within {ALIGNED:g} %"
                )
    return rows


@dataclass(frozen=True, eq=False)
class Drawn:
    """The runs of a pair.

    Attributes:
        here, there: cameras over what the goal's picture shows, and over what the world's does.
        camera: theirs.
        T_wd, T_wc: desired and start poses.
        middle: of what both pictures show [m].
    """

    here: FlyingCameras
    there: FlyingCameras
    camera: Camera
    T_wd: Float[Tensor, "n 4 4"]
    T_wc: Float[Tensor, "n 4 4"]
    middle: tuple[float, float]


def drawn(goal: Picture, world: Picture, settings: Settings) -> Drawn:
    """Table I starts in front of what both pictures show, of which a start sees a fifth of the desired view at least.

    Raises:
        SceneError: they show too little in common.
    """
    camera = default_camera(224)
    box = common(goal, world)
    here, there = scene_of(goal, box), scene_of(world, box)
    T_wd, T_wc = draw_starts("table1", _DRAWN * settings.runs, here, camera, Workspace(), settings.seed)
    middle = np.array([box.x, box.y])
    share = shared(camera, T_wd, T_wc, [footprint(picture) - middle for picture in (goal, world)])
    kept = (share >= Workspace.min_overlap).nonzero()[: settings.runs, 0]
    if len(kept) < settings.runs:
        raise SceneError(f"{goal.name} and {world.name} show too little of the plane in common; leave one of them out")
    flying = (FlyingCameras(scene, camera) for scene in (here, there))
    return Drawn(*flying, camera, T_wd[kept], T_wc[kept], (box.x, box.y))


def runs(
    law: Controller, goal: Picture, world: Picture, settings: Settings, metric: bool = True
) -> list[tuple[Any, ...]]:
    """Of one pair, see `drawn`; `metric` where poses were measured, at the scene's origin."""
    d = drawn(goal, world, settings)
    config = ServoConfig(gain=GAIN, max_iterations=ITERATIONS)
    trajectory = servo(d.there, law, d.here.look(d.T_wd), d.T_wc, config)
    end = trajectory.T_wc[-1].double()
    align = alignment(d.camera, d.T_wd, end, (-d.middle[0], -d.middle[1]) if metric else None)
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


def _apart(T_wd: Tensor, T_wc: Tensor) -> list[tuple[float, float]]:
    t, r = lie.error_norms(lie.inverse(T_wd) @ T_wc)
    return list(zip(t.tolist(), torch.rad2deg(r).tolist(), strict=True))
