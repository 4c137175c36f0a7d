"""How well `any-scene` sees from one look where the goal is: the homography that it finds beside the true one, on the 40 photos of photos.txt that no
training has seen.

    python -m siame_se3.experiments.one_look --photos-root debs --looks 17
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.experiments import photos
from siame_se3.experiments.any_scene import UNSEEN
from siame_se3.experiments.any_scene_training import CAMERA
from siame_se3.experiments.confidence import misplaced
from siame_se3.experiments.script import add_photos_root, median, parser, run_script, table
from siame_se3.files import model_file
from siame_se3.geometry.plane import homography
from siame_se3.laws.neural import Neural
from siame_se3.laws.types import View
from siame_se3.networks import checkpoint
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, draw_starts

CONDITIONS: dict[str, tuple[str, Augmentation | None]] = {
    "Table I": ("table1", None),
    "Table I, all disturbances of the training": ("table1", CAMERA),
    "wide": ("wide", None),
}
WITHIN = (0.01, 0.02, 0.05, 0.1)  # of the image's width


def errors(
    law: Neural, plant: FlyingCameras, goal: FlyingCameras, T_wd: Float[Tensor, "n 4 4"], T_wc: Float[Tensor, "n 4 4"]
) -> Float[Tensor, "n"]:
    """Mean distance of what both images show from where the network has it, in image widths."""
    _, state = law.aim(View(goal.look(T_wd).image, None, None, goal.camera))
    images = plant.reset(T_wc).image
    assert images is not None
    found = law.homographies(images, state)
    assert found is not None
    return misplaced(plant.camera, found, homography(plant.camera, T_wc, T_wd))


def row(condition: str, scenes: list[Scene], looks: int, seed: int) -> dict[str, Any]:
    """All scenes under a condition."""
    model = checkpoint.load(model_file(Path("any-scene")))
    law, (starts, disturbance) = Neural.from_model(model), CONDITIONS[condition]
    parts = []
    for k, scene in enumerate(scenes):
        T_wd, T_wc = draw_starts(starts, looks, scene, model.camera, Workspace(), seed + k)
        disturbed = FlyingCameras(scene, model.camera, conditions=disturbance, seed=seed + k)
        parts.append(errors(law, disturbed, FlyingCameras(scene, model.camera), T_wd, T_wc))
    found = torch.cat(parts)
    shares = {f"within {100 * x:g} %": f"{100 * float((found < x).double().mean()):.0f} %" for x in WITHIN}
    return {"starts": condition, "looks": len(found), "median": f"{100 * median(found):.2f} %", **shares}


def main() -> None:
    """All conditions."""
    options = parser(__doc__)
    add_photos_root(options)
    options.add_argument("--seed", type=int, default=100)
    options.add_argument("--looks", type=int, default=17, help="a photo")
    given = options.parse_args()
    scenes = photos.scenes("unseen", UNSEEN, None, given.photos_root)
    rows = {condition: partial(row, condition, scenes, given.looks, given.seed) for condition in CONDITIONS}
    table(given, rows, ("photos_root",))


if __name__ == "__main__":
    run_script(main)
