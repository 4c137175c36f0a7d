"""One step on raw pictures: from each to each, a law's velocity at gain 1 against the motion that leads there."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import cv2
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError, LawError, SceneError
from siame_se3.experiments.real.pictures import LEAST_WITH_DEPTH, NEAR, NEAR_WITH_DEPTH, Folder, Picture, apart, between
from siame_se3.experiments.real.planes import alignment
from siame_se3.experiments.real.rows import Settings, Table, controller
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.crop import square_box
from siame_se3.images.decode import as_image
from siame_se3.images.registration import network_depth
from siame_se3.laws.types import Controller, Law, View

TWIST = ("v_x", "v_y", "v_z", "w_x", "w_y", "w_z")  # of the law, at gain 1 [m/s, rad/s]
COLUMNS = (
    *("folder", "law", "goal", "current", "start_t_m", "start_r_deg", "start_align"),
    *("error_t_m", "error_r_deg", "error_align", "answered", "confidence", "ms"),
    *("depth", "error_share", *TWIST),
)
KEY = ("folder", "law", "goal", "current", "depth")
DEPTHS = ("map", "plane")  # what laws are given of a goal whose depth is known: that of each pixel, or one number
_GRID = 33  # points a side of the goal's view, that alignment is measured at where its depth is known
_SIDE = 480  # of the square that laws see, at most [px]


def table(settings: Settings) -> Table:
    """The rows that are there."""
    made = {"near": NEAR, "near with depth": [LEAST_WITH_DEPTH, *NEAR_WITH_DEPTH]}
    return Table(settings.out / "real" / "one_step.csv", COLUMNS, KEY, made)


def run(folder: Folder, settings: Settings) -> Table:
    """Every law on every ordered pair of pictures that are near each other; those that are there are left. Where the goal's depth is known,
    with it and with a plane."""
    rows = table(settings)
    for k, goal in enumerate(folder.pictures):
        near = [folder.pictures[j] for i, j in folder.pairs if i == k]
        for law in settings.laws:
            if "+" in law:  # a hand-off's first step is that of its first law
                continue
            for depth in DEPTHS if goal.depth is not None else DEPTHS[1:]:
                todo = [other for other in near if not rows.has(folder.name, law, goal.name, other.name, depth)]
                if todo:
                    made = _aimed_or_refused(law, settings, folder.name, goal, depth)
                    found = [_looked_or_refused(made, goal, other, depth) for other in todo]
                    rows.add(
                        (folder.name, law, goal.name, other.name, *row)
                        for other, (row, _) in zip(todo, found, strict=True)
                    )
                    refusals = [why for _, why in found if why]
                    but = f"; {len(refusals)} refused: {refusals[0]}" if refusals else ""
                    settings.say(
                        f"one step, {law}, depth {depth}: {folder.name}, {goal.name} from {len(todo)} others{but}"
                    )
    return rows


def view_of(picture: Picture, most: int = _SIDE, side: int | None = None) -> View:
    """The picture's middle square, as a network and a live camera have it; its depth, where it is known: of each pixel, or of the plane.

    Args:
        most: of its side, where the picture has more [px].
        side: its side, whatever the picture has [px]: pictures beside a goal are given its own, as a camera would have it.
    """
    h, w = picture.rgb.shape[:2]
    top, left, own = square_box(h, w)
    size = side or min(own, most)
    square = picture.rgb[top : top + own, left : left + own]
    how = cv2.INTER_AREA if size < own else cv2.INTER_LINEAR
    image = as_image(square if size == own else cv2.resize(square, (size, size), interpolation=how))
    T_wc = picture.T_wc[None]
    depth: Tensor | None = None
    if picture.depth is not None:
        depth = network_depth(torch.from_numpy(picture.depth), size)
    elif picture.from_plane is not None:
        depth = -T_wc[:, 2, 3] / T_wc[:, 2, 2]
    return View(image[None], T_wc, depth, picture.camera.square(size))


def step(law: Controller, goal: Picture, current: Picture, depth: str = "plane") -> tuple[Any, ...]:
    """Of one pair, COLUMNS from the fifth on: errors are of where the velocity leads, over a second and as PBVS means it: v = (t_cd, theta u).

    Args:
        depth: what the law is given, of DEPTHS; a plane is that of the scene, or where there is none one square to the goal's view, at the
            goal's median depth.
    """
    return _looked(_aimed(law, goal, depth), current)


@dataclass(frozen=True, eq=False)
class _Aimed:
    """A law that knows its goal."""

    goal: Picture
    view: View
    depth: str
    with_pose: bool
    law: Law
    state: Any


def _aimed_or_refused(law: str, settings: Settings, folder: str, goal: Picture, depth: str) -> _Aimed | str:
    """A law that knows its goal, or why it does not take it: that no network can be trained on it, or was for another field of view, say."""
    try:
        made = controller(law, settings, folder, goal)
    except (LawError, SceneError) as error:  # not what an option or a file would put right
        return str(error)
    try:
        return _aimed(made, goal, depth)
    except InputError as error:
        return str(error)


def _looked_or_refused(aimed: _Aimed | str, goal: Picture, current: Picture, depth: str) -> tuple[tuple[Any, ...], str]:
    """See `step`; a law that refuses stands still, as one that does not know, and says why."""
    if not isinstance(aimed, str):
        try:
            return _looked(aimed, current), ""
        except InputError as error:
            aimed = str(error)
    return _row(goal, view_of(goal), current, torch.zeros(6, dtype=torch.float64), (0, "", "", depth)), aimed


def _aimed(law: Controller, goal: Picture, depth: str) -> _Aimed:
    view = view_of(goal)
    given = view if goal.from_plane is not None or "pose" in law.needs else replace(view, T_wc=None)
    act, state = law.aim(replace(given, depth=given.distance) if depth == "plane" else given)
    act(view if "pose" in law.needs else _without_pose(view), state)  # engines begin
    return _Aimed(goal, view, depth, "pose" in law.needs, act, state)


def _without_pose(view: View) -> View:
    """What a camera without depth knows of a picture."""
    return replace(view, T_wc=None, depth=None if view.depth_map is not None else view.depth)


def _looked(aimed: _Aimed, current: Picture) -> tuple[Any, ...]:
    """See `step`."""
    camera = aimed.view.camera
    assert camera is not None
    seen = view_of(current, side=camera.width)
    began = time.perf_counter()
    output, _ = aimed.law(seen if aimed.with_pose else _without_pose(seen), aimed.state)
    ms = 1e3 * (time.perf_counter() - began)
    confidence = "" if output.confidence is None else float(output.confidence[0])
    said = (int(not output.faults[0]), confidence, ms, aimed.depth)
    return _row(aimed.goal, aimed.view, current, output.v[0].double().cpu(), said)


def _row(
    goal: Picture, view: View, current: Picture, v: Float[Tensor, "6"], said: tuple[int, float | str, float | str, str]
) -> tuple[Any, ...]:
    """COLUMNS from the fifth on.

    Args:
        goal, view: the goal, and its view.
        v: of the law, at gain 1.
        said: answered, confidence, ms and depth.
    """
    led = reached(current.T_wc, v)
    start, error = between(goal, current), apart(goal.T_wc, led)
    return (
        *start,
        aligned(goal, view, current.T_wc),
        *error,
        aligned(goal, view, led),
        *said,
        error[0] / max(1e-9, start[0]),
        *v.tolist(),
    )


def reached(T_wc: Float[Tensor, "4 4"], v: Float[Tensor, "6"]) -> Float[Tensor, "4 4"]:
    """Where a velocity leads to, over a second: v = (t_cd, theta u) [m, rad]."""
    return T_wc @ lie.pose(lie.so3_exp(v[3:]), v[:3])


def aligned(goal: Picture, target: View, T_wc: Float[Tensor, "4 4"]) -> float:
    """How far from their places points that the goal sees are in the image of a camera at T_wc, in % of the image's width: of its plane, near
    the scene's origin, or of its depth map."""
    assert target.camera is not None
    if target.depth_map is None:
        return float(alignment(target.camera, goal.T_wc, T_wc, (0.0, 0.0)))
    return alignment_of_points(target.camera, target.depth_map[0], goal.T_wc, T_wc)


def alignment_of_points(
    camera: Camera, depth: Float[Tensor, "h w"], T_wd: Float[Tensor, "4 4"], T_wc: Float[Tensor, "4 4"]
) -> float:
    """As `planes.alignment`, of points that the goal's depth map knows, a grid of them; infinite where one is behind the camera.

    Args:
        camera: of both views.
        depth: of the desired view [m], NaN where it is not known.
        T_wd, T_wc: desired and present pose.
    """
    rows, columns = (torch.linspace(0, n - 1, _GRID).round().long() for n in depth.shape)
    Z = depth[rows[:, None], columns].double().flatten()
    known = Z.isfinite()
    pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).reshape(-1, 2)[known].double()
    T_cd = lie.inverse(T_wc) @ T_wd
    X = (camera.rays(pixels) * Z[known, None]) @ T_cd[:3, :3].T + T_cd[:3, 3]
    if not len(X) or float(X[:, 2].min()) <= 1e-6:
        return math.inf if len(X) else math.nan
    return 100 * float((camera.project(X) - pixels).norm(dim=1).mean()) / camera.width
