"""Two photos as a task: the goal image from one, and cameras over a scene that is the other; start poses before what both show.

Of a plane the goal is rendered from its picture, as the world is from the other. Of pictures with depth the goal is its picture itself, with its
depth map, and the world is the other picture on the surface that its own depth map says (`scenes.relief`): what that picture does not show has
its mean colour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SceneError
from siame_se3.experiments.real.one_step import alignment_of_points, view_of
from siame_se3.experiments.real.pictures import Picture
from siame_se3.experiments.real.planes import alignment, common, footprint, scene_of, shared
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.laws.types import View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.poses import Workspace, draw_starts, offsets
from siame_se3.scenes.relief import Relief

_DRAWN = 10  # starts for one that is kept, at most
_SIDE = 224  # of the images [px]
_SEEN = 0.6  # share of a start's image that shows the world, where that is a relief


@dataclass(frozen=True, eq=False)
class Drawn:
    """The runs of a pair.

    Attributes:
        target: desired views, as laws are given them.
        there: cameras over the world.
        T_wd, T_wc: desired and start poses, in the world's frame.
        alignment: of cameras at some poses (n, 4, 4) with the goals [% of the image's width] (n,).
    """

    target: View
    there: FlyingCameras
    T_wd: Float[Tensor, "n 4 4"]
    T_wc: Float[Tensor, "n 4 4"]
    alignment: Callable[[Float[Tensor, "n 4 4"]], Float[Tensor, "n"]]


def drawn(goal: Picture, world: Picture, runs: int, seed: int, metric: bool = True) -> Drawn:
    """Start poses before what both pictures show, of which a start sees a fifth of the desired view at least: Table I's for a plane, and
    the set-up's offsets from the goal's own pose where there is depth.

    Args:
        runs, seed: of the starts.
        metric: poses were measured, at the scene's origin: alignment is measured there.

    Raises:
        SceneError: they show too little in common.
    """
    return (
        _over_plane(goal, world, runs, seed, metric)
        if goal.from_plane is not None
        else _in_relief(goal, world, runs, seed)
    )


def _over_plane(goal: Picture, world: Picture, runs: int, seed: int, metric: bool) -> Drawn:
    camera = default_camera(_SIDE)
    box = common(goal, world)
    here, there = scene_of(goal, box), scene_of(world, box)
    T_wd, T_wc = draw_starts("table1", _DRAWN * runs, here, camera, Workspace(), seed)
    middle = np.array([box.x, box.y])
    share = shared(camera, T_wd, T_wc, [footprint(picture) - middle for picture in (goal, world)])
    kept = _kept(share >= Workspace.min_overlap, runs, goal, world)
    T_wd, T_wc = T_wd[kept], T_wc[kept]
    origin = (-box.x, -box.y) if metric else None
    target = FlyingCameras(here, camera).look(T_wd)
    return Drawn(target, FlyingCameras(there, camera), T_wd, T_wc, lambda T: alignment(camera, T_wd, T, origin))


def _kept(good: Tensor, runs: int, goal: Picture, world: Picture) -> Tensor:
    kept = good.nonzero()[:runs, 0]
    if len(kept) < runs:
        raise SceneError(f"{goal.name} and {world.name} show too little in common; leave one of them out")
    return kept


def _in_relief(goal: Picture, world: Picture, runs: int, seed: int) -> Drawn:
    target, seen = view_of(goal, _SIDE), view_of(world)
    if target.depth_map is None or seen.depth_map is None:
        raise SceneError(f"{goal.name} and {world.name}: one of them has no depth; give pictures with depth")
    assert target.camera is not None
    assert target.image is not None
    assert seen.camera is not None
    assert seen.image is not None
    colour = seen.image[0].mean((1, 2)).tolist()
    there, T_rw = Relief.from_view(
        seen.image[0], seen.depth_map[0], seen.camera, world.name, fill=(colour[0], colour[1], colour[2])
    )
    camera, depth, image = target.camera, target.depth_map[0], target.image
    assert image is not None
    T_wd = T_rw @ lie.inverse(world.T_wc) @ goal.T_wc  # in the relief's frame
    T_wc = T_wd @ offsets(_DRAWN * runs, Workspace(), torch.Generator().manual_seed(seed))
    in_view = torch.tensor([_share(camera, depth, T_wd, T) for T in T_wc]) >= Workspace.min_overlap
    shown = there.render(camera, T_wc, antialias=False)[1].flatten(1).float().mean(1) >= _SEEN
    kept = _kept(in_view & shown, runs, goal, world)
    one = torch.ones(runs, 1, 1, 1)
    goals = View(one * image, None, one[:, 0] * depth, camera)

    def aligned(T: Tensor) -> Tensor:
        return torch.tensor([alignment_of_points(camera, depth, T_wd, T_k) for T_k in T], dtype=torch.float64)

    return Drawn(goals, FlyingCameras(there, camera), T_wd.repeat(runs, 1, 1), T_wc[kept], aligned)


def _share(camera: Camera, depth: Float[Tensor, "h w"], T_wd: Tensor, T_wc: Tensor) -> float:
    """Of the goal's view, whose points a camera at T_wc has in its image."""
    Z = depth[::8, ::8].double()
    T_cd = lie.inverse(T_wc) @ T_wd
    X = (camera.rays(camera.pixel_grid()[::8, ::8]) * Z[..., None]) @ T_cd[:3, :3].T + T_cd[:3, 3]
    pixels = camera.project(X)
    size = torch.tensor([camera.width - 1.0, camera.height - 1.0], dtype=torch.float64)
    return float(((X[..., 2] > 0) & (pixels >= 0).all(-1) & (pixels <= size).all(-1)).double().mean())
