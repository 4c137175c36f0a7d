"""How well a network for any scene sees from one look where the camera is, over reliefs: the pose that its cells and the goal's true depth map agree on,
beside the true one, on photos of photos.txt that no training has seen.

    python -m siame_se3.experiments.one_look_relief --photos-root debs --models any-scene other.safetensors

Each photo has boxes, cylinders, steps and hills under it that `Relief.drawn` draws of a seed, the same shapes at each height; starts are Table I's, the
same for each model and height. `within` are shares of the looks whose pose is nearer to the truth than so much of the start's distance (the translation);
`in the image` is the median over looks of how far the pose has what the goal shows from where it is, in image widths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.experiments import photos
from siame_se3.experiments.any_scene import UNSEEN
from siame_se3.experiments.any_scene_training import CAMERA
from siame_se3.experiments.script import median, parser, run_script, table
from siame_se3.files import model_file
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.neural import Neural
from siame_se3.networks import checkpoint
from siame_se3.plants.depth_camera import DepthCamera
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, draw_starts
from siame_se3.scenes.relief import Relief

PERCENT = (0, 10, 20, 30)  # of the goal's distance: heights of the reliefs
CONDITIONS: dict[str, Augmentation | None] = {"none": None, "all of the training": CAMERA}
WITHIN = (0.1, 0.2, 0.5)  # of the start's distance
_GRID = 14  # points of the goal along a side, whose places in the current image are compared
_CLEARANCE = 0.1  # of a camera above the highest relief [m]


@dataclass(frozen=True)
class Look:
    """What is looked at.

    Attributes:
        percent: height of the reliefs, of the goal's distance.
        condition: of the current images, one of CONDITIONS.
        looks: of each photo.
        seed: of reliefs, starts and disturbances.
    """

    percent: int
    condition: str
    looks: int
    seed: int


def starts(
    photo: Scene, camera: Camera, looks: int, seed: int
) -> tuple[Float[Tensor, "n 4 4"], Float[Tensor, "n 4 4"]]:
    """Table I goals and starts that are clear of the highest relief, T_wd and T_wc."""
    T_wd, T_wc = draw_starts("table1", 6 * looks, photo, camera, Workspace(), seed)
    top = PERCENT[-1] / 100 * Workspace.distance + _CLEARANCE
    clear = ((T_wc[:, 2, 3] < -top) & (T_wd[:, 2, 3] < -top)).nonzero()[:looks, 0]
    return T_wd[clear], T_wc[clear]


def errors(law: Neural, camera: Camera, photo: Scene, look: Look) -> Float[Tensor, "n 4"]:
    """Of each look at one photo: the error of the pose found [m], [rad], that of standing still [m], and how far the pose found has what the goal
    shows from where it is in the current image, on average [image widths]. Where no pose is found, it is that of standing still."""
    scene = Relief.drawn(photo, look.percent / 100 * Workspace.distance, look.seed)
    T_wd, T_wc = starts(photo, camera, look.looks, look.seed)
    goal = FlyingCameras(scene, camera, depth_camera=DepthCamera.ideal()).look(T_wd)
    plant = FlyingCameras(scene, camera, conditions=CONDITIONS[look.condition], seed=look.seed)
    images = plant.reset(T_wc).image
    assert images is not None
    _, state = law.aim(goal)
    T_cd = law.poses(images, state, camera)
    assert T_cd is not None
    lost = T_cd.isnan().flatten(1).any(1)
    T_cd = torch.where(lost[:, None, None], torch.eye(4, dtype=T_cd.dtype), T_cd)
    T_dc = lie.inverse(T_wd) @ T_wc
    Z = scene.depth(camera.resized(_GRID), T_wd)
    aside = misplaced(camera, Z, T_cd, lie.inverse(T_dc))
    return torch.stack((*lie.error_norms(T_dc @ T_cd), lie.error_norms(T_dc)[0], aside), 1)


def misplaced(
    camera: Camera, Z: Float[Tensor, "n k k"], T_cd: Float[Tensor, "n 4 4"], true: Float[Tensor, "n 4 4"]
) -> Float[Tensor, "n"]:
    """Mean distance between where two poses have points of the goal in the current image, of those that the true one has in it [image widths].

    Args:
        camera: of both images.
        Z: depths of the goal's points, in the middle of k x k equal parts of the image.
    """
    grid = camera.resized(Z.shape[-1])
    points = grid.rays(grid.pixel_grid()).reshape(-1, 3) * Z.double().flatten(1)[..., None]
    at, there = (
        camera.project(torch.cat((X[..., :2], X[..., 2:].clamp(min=0.05)), -1))
        for X in (points @ T[:, :3, :3].mT + T[:, None, :3, 3] for T in (T_cd, true))
    )
    size = torch.tensor([camera.width, camera.height])
    inside = (there > -0.5).all(-1) & (there < size - 0.5).all(-1)
    apart = (at - there).norm(dim=-1).clamp(max=camera.width) * inside
    return apart.nan_to_num(0.0).sum(1) / inside.sum(1).clamp(min=1) / camera.width


@lru_cache(maxsize=4)
def _law(model: str) -> tuple[Neural, Camera]:
    loaded = checkpoint.load(model_file(Path(model)))
    return Neural.from_model(loaded), loaded.camera


def row(model: str, scenes: list[Scene], look: Look) -> dict[str, Any]:
    """All scenes under one condition."""
    law, camera = _law(model)
    found = torch.cat(
        [
            errors(law, camera, scene, Look(look.percent, look.condition, look.looks, look.seed + k))
            for k, scene in enumerate(scenes)
        ]
    )
    t, r, start, aside = found.unbind(1)
    shares = {f"within {100 * x:g} %": f"{100 * float((t < x * start).double().mean()):.1f} %" for x in WITHIN}
    return {
        "model": model,
        "relief": f"{look.percent} %",
        "disturbances": look.condition,
        "looks": len(found),
        "median": f"{1e3 * median(t):.2f} mm {math.degrees(median(r)):.2f} deg",
        "in the image": f"{100 * median(aside):.2f} %",
        **shares,
        "worse than standing still": f"{100 * float((t > start).double().mean()):.1f} %",
    }


def main() -> None:
    """All models, heights and conditions."""
    options = parser(__doc__)
    options.add_argument("--photos-root", type=Path, default=Path("/"), help="where Debian's packages are unpacked")
    options.add_argument("--models", nargs="+", default=["any-scene"], help="files, or names of bundled ones")
    options.add_argument("--photos", type=int, default=UNSEEN, help="of the list's unseen ones, so many")
    options.add_argument("--looks", type=int, default=10, help="a photo")
    options.add_argument("--seed", type=int, default=100)
    given = options.parse_args()
    scenes = photos.scenes("unseen", given.photos, None, given.photos_root)
    rows = {
        f"{condition}, {percent} %, {model}": partial(
            row, model, scenes, Look(percent, condition, given.looks, given.seed)
        )
        for condition in CONDITIONS
        for percent in PERCENT
        for model in given.models
    }
    table(given, rows, ("photos_root", "models"))


if __name__ == "__main__":
    run_script(main)
