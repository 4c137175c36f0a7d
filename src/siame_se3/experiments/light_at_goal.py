"""What a photometric law asks for at the goal when the light has changed: it should be nothing, and is the error that the law ends with.

    python -m siame_se3.experiments.light_at_goal [--draws 100] [--seed 23] [--size 112]

The bundled scene; each draw has a desired pose, lamps, gain, bias, white balance and noise of its own, one kind a column and all.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch

from siame_se3.experiments.common import header, markdown
from siame_se3.files import BUNDLED_PHOTO, bundled
from siame_se3.geometry.camera import default_camera
from siame_se3.laws.light import LightDVS
from siame_se3.laws.photometric import DVS
from siame_se3.laws.types import Controller
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes import poses as sampling
from siame_se3.scenes.conditions import NONE, Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace

USUAL = Augmentation(occlusion=0.0)
KINDS = {
    "lamps": replace(NONE, lamps=USUAL.lamps, lamp_gain=USUAL.lamp_gain),
    "gain and bias": replace(NONE, gain=USUAL.gain, bias=USUAL.bias),
    "noise (one frame)": replace(NONE, noise=USUAL.noise),
    "white balance": replace(NONE, colour=USUAL.colour),
    "all of them": USUAL,
}
LAWS: dict[str, Controller] = {
    "dvs, local contrast, robust": DVS("gauss-newton", "mean", normalise="local", robust=True),
    "dvs-light": LightDVS(),
}


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument("--size", type=int, default=112)
    options = parser.parse_args()
    print(header(), flush=True)
    scene, camera = Scene.from_photo(bundled(BUNDLED_PHOTO), 0.8), default_camera(options.size)
    T_wd, _ = sampling.draw_starts("table1", options.draws, scene, camera, Workspace(), options.seed)
    table = []
    for name, controller in LAWS.items():
        row = {"law": name}
        for kind, conditions in KINDS.items():
            plant = FlyingCameras(scene, camera, conditions=conditions, seed=options.seed)
            asked = 1e3 * controller.aim(plant.look(T_wd))(plant.reset(T_wd))[:, :3].norm(dim=1)
            row[kind] = f"{float(asked.mean()):.3f} mm (median {float(torch.median(asked)):.3f})"
        table.append(row)
    print(markdown(table))


if __name__ == "__main__":
    main()
