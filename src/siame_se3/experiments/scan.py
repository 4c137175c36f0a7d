"""How well a scan knows the depths of a goal: over reliefs whose depth is known, with noise, errors of the poses and of the hand-eye transform.

    python -m siame_se3.experiments.scan --objects meshes

Each row is the same scenes: the bundled photo on drawn solids, up to 15 cm high, 0.6 m away; with --objects also piles of a folder's objects in
MuJoCo. Errors are shares of the depth, over all pixels of all scenes that have one; seconds are those of the depths, without the images.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from siame_se3.commissioning.scan import ScanPattern
from siame_se3.commissioning.scan_depth import DepthMap, depth_from_views
from siame_se3.errors import SceneError
from siame_se3.experiments.script import bundled_print, parser, run_script, table
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.scenes.mujoco_objects import dropped
from siame_se3.scenes.relief import Relief
from siame_se3.scenes.types import Scene

DISTANCE = 0.6  # of the goal from the table [m]
CNS = Camera.from_focal(540, 640, 480)


@dataclass(frozen=True)
class Case:
    """A row: camera, motion, and what is wrong.

    Attributes:
        camera: of all images.
        pattern: of the motion.
        noise: of the images, standard deviation as a share of the range.
        exposure: gains of the views are drawn from 1 - exposure to 1 + exposure.
        pose_t, pose_r: errors of each view's pose, standard deviation of their lengths [m, rad].
        hand_eye: error of the hand-eye transform (t, theta u) in the camera's frame [m, rad].
        tallest: solid on the table [m]; 0 for a plane.
    """

    camera: Camera
    pattern: ScanPattern = field(default_factory=ScanPattern)
    noise: float = 0.01
    exposure: float = 0.0
    pose_t: float = 0.0
    pose_r: float = 0.0
    hand_eye: tuple[float, ...] = (0.0,) * 6
    tallest: float = 0.15


_SMALL = Case(default_camera())
_USUAL = replace(_SMALL, pose_t=0.0002, pose_r=math.radians(0.05))
CASES = {
    "exact poses": _SMALL,
    "poses off by 0.2 mm, 0.05 deg": _USUAL,
    "the same, 640 x 480 px, f 540 px": replace(_USUAL, camera=CNS),
    "exposures from 0.7 to 1.3": replace(_USUAL, exposure=0.3),
    "twice the noise": replace(_USUAL, noise=0.02),
    "poses off by 1 mm, 0.1 deg": replace(_SMALL, pose_t=0.001, pose_r=math.radians(0.1)),
    "hand-eye off by 3 mm along the axis": replace(_SMALL, hand_eye=(0, 0, 0.003, 0, 0, 0)),
    "hand-eye off by 1 deg about x": replace(_SMALL, hand_eye=(0, 0, 0, math.radians(1), 0, 0)),
    "radius 2 cm": replace(_USUAL, pattern=ScanPattern(radius=0.02)),
    "radius 8 cm": replace(_USUAL, pattern=ScanPattern(radius=0.08)),
    "12 views": replace(_USUAL, pattern=ScanPattern(views=12)),
    "4 views": replace(_USUAL, pattern=ScanPattern(views=4)),
    "a plane": replace(_USUAL, tallest=0.0),
}


def scanned(scene: Scene, case: Case, seed: int) -> tuple[DepthMap, Tensor, float]:
    """The depths of a goal as a scan finds them, the true ones, and how long it took [s]."""
    generator = torch.Generator().manual_seed(seed)
    goal = lie.pose_from_vector(torch.tensor([0, 0, -DISTANCE, 0.05, 0.1, 0.3], dtype=torch.float64))
    places = case.pattern.places(DISTANCE)
    images, _ = scene.render(case.camera, torch.cat((goal[None], goal @ places)))
    gains = 1 + case.exposure * (2 * torch.rand(len(images), 1, 1, 1, generator=generator) - 1)
    images = (gains * images + case.noise * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    images = (255 * images).round() / 255
    E = lie.pose_from_vector(torch.tensor(case.hand_eye, dtype=torch.float64))
    sizes = torch.tensor([case.pose_t] * 3 + [case.pose_r] * 3, dtype=torch.float64) / math.sqrt(3)
    errors = lie.exp(torch.randn(len(places), 6, generator=generator, dtype=torch.float64) * sizes)
    T_gk = lie.inverse(E) @ places @ errors @ E
    began = time.perf_counter()
    found = depth_from_views(images[0], images[1:], T_gk, case.camera, DISTANCE)
    return found, scene.depth(case.camera, goal[None])[0], time.perf_counter() - began


def scenes_of(case: Case, count: int, objects: Path | None) -> Iterator[Scene]:
    """Reliefs, a plane, or piles of a folder's objects (those that stay on the table)."""
    if objects is None:
        for seed in range(count):
            yield Relief.drawn(bundled_print(), case.tallest, seed) if case.tallest else bundled_print()
        return
    seeds = itertools.count()
    while count:
        try:
            scene = dropped(next(seeds), objects)
        except SceneError as error:
            if "fell off" not in str(error):
                raise
            continue  # the next pile
        yield scene
        scene.close()
        count -= 1


def row(name: str, case: Case, scenes: int, objects: Path | None = None) -> dict[str, Any]:
    """All scenes under a case."""
    errors, sigmas, said, filled, seconds = [], [], [], [], []
    for seed, scene in enumerate(scenes_of(case, scenes, objects)):
        found, true, spent = scanned(scene, case, seed)
        seconds.append(spent)
        known = found.depth.isfinite() & true.isfinite()
        apart = (found.depth - true)[known].abs()
        errors.append(apart / true[known])
        sigmas.append(apart / found.std[known])
        said.append(found.relative_std)
        filled.append(float(known.float().mean()))
    error, sigma = torch.cat(errors), torch.cat(sigmas)
    return {
        "scan": name,
        "pixels with a depth": f"{100 * sum(filled) / scenes:.0f} %",
        "error, median": f"{100 * float(error.median()):.2f} %",
        "90 %": f"{100 * float(error.kthvalue(int(0.9 * len(error)))[0]):.2f} %",
        "above 5 %": f"{100 * float((error > 0.05).float().mean()):.1f} %",
        "said": f"{100 * sum(said) / scenes:.2f} %",
        "within 3 sigma": f"{100 * float((sigma < 3).float().mean()):.1f} %",
        "seconds": f"{statistics.median(seconds):.1f}",
    }


def main() -> None:
    """All cases."""
    options = parser(__doc__)
    options.add_argument("--scenes", type=int, default=10, help="of each row")
    options.add_argument("--objects", type=Path, help="folder of meshes, for rows of piles in MuJoCo")
    given = options.parse_args()
    rows = {name: partial(row, name, case, given.scenes) for name, case in CASES.items()}
    if given.objects is not None:
        for size, case in (("224 px", _USUAL), ("640 x 480 px", replace(_USUAL, camera=CNS))):
            name = f"objects, {size}"
            rows[name] = partial(row, name, case, given.scenes, given.objects)
    table(given, rows)


if __name__ == "__main__":
    run_script(main)
