"""One step on raw pictures: from each to each, a law's velocity at gain 1 against the motion that leads there."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import cv2
from torch import Tensor

from siame_se3.experiments.real.folders import Folder, Picture, between
from siame_se3.experiments.real.planes import alignment
from siame_se3.experiments.real.rows import Settings, Table, controller
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.crop import square_box
from siame_se3.images.decode import as_image
from siame_se3.laws.types import Controller, View

COLUMNS = (
    *("folder", "law", "goal", "current", "start_t_m", "start_r_deg", "start_align"),
    *("error_t_m", "error_r_deg", "error_align", "answered", "confidence", "ms"),
)
NEAR = 0.35, 45.0  # pairs within this are asked for [m, deg]


def table(settings: Settings) -> Table:
    """The rows that are there."""
    return Table(settings.out / "real" / "one_step.csv", COLUMNS, 4, {"near": NEAR})


def run(folder: Folder, settings: Settings) -> Table:
    """Every law on every ordered pair of pictures that are near each other; those that are there are left."""
    rows = table(settings)
    for goal in folder.pictures:
        near = [other for other in folder.pictures if other is not goal and within(goal, other)]
        for law in settings.laws:
            if "+" in law:  # a hand-off's first step is that of its first law
                continue
            todo = [other for other in near if not rows.has(folder.name, law, goal.name, other.name)]
            if todo:
                made = controller(law, settings, folder.name, goal)
                rows.add((folder.name, law, goal.name, other.name, *step(made, goal, other)) for other in todo)
                settings.say(f"one step, {law}: {folder.name}, {goal.name} from {len(todo)} others")
    return rows


def within(a: Picture, b: Picture) -> bool:
    """Whether two pictures are near each other."""
    t, r = between(a, b)
    return t <= NEAR[0] and r <= NEAR[1]


def view_of(picture: Picture) -> View:
    """The picture's middle square, as a network and a live camera have it."""
    h, w = picture.rgb.shape[:2]
    top, left, side = square_box(h, w)
    size = min(side, 480)
    square = picture.rgb[top : top + side, left : left + side]
    image = as_image(square if size == side else cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA))
    T_wc = picture.T_wc[None]
    depth = -T_wc[:, 2, 3] / T_wc[:, 2, 2]
    return View(image[None], T_wc, depth, picture.camera.square(size))


def step(law: Controller, goal: Picture, current: Picture) -> tuple[Any, ...]:
    """Of one pair, COLUMNS from the fifth on: errors are of where the velocity leads, over a second and as PBVS means it: v = (t_cd, theta u)."""
    target, seen = view_of(goal), view_of(current)
    assert target.T_wc is not None
    assert seen.T_wc is not None
    assert target.camera is not None
    act, state = law.aim(target)
    act(replace(target, T_wc=None), state)  # engines begin
    began = time.perf_counter()
    output, _ = act(seen if "pose" in law.needs else replace(seen, T_wc=None), state)
    ms = 1e3 * (time.perf_counter() - began)
    v = output.v[0].double().cpu()
    led = seen.T_wc @ lie.pose(lie.so3_exp(v[3:]), v[:3])
    confidence = "" if output.confidence is None else float(output.confidence[0])
    return (
        *between(goal, current),
        _aligned(target.camera, target.T_wc, seen.T_wc),
        *_apart(target.T_wc, led),
        _aligned(target.camera, target.T_wc, led),
        int(not output.faults[0]),
        confidence,
        ms,
    )


def _aligned(camera: Camera, T_wd: Tensor, T_wc: Tensor) -> float:
    return float(alignment(camera, T_wd, T_wc, (0.0, 0.0))[0])


def _apart(T_wd: Tensor, T_wc: Tensor) -> tuple[float, float]:
    t, r = lie.error_norms(lie.inverse(T_wd) @ T_wc)
    return float(t[0]), math.degrees(float(r[0]))
