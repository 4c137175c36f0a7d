"""What a photometric law asks for at the goal when the light has changed: it should be nothing, and is the error that the law ends with.

    python -m siame_se3.experiments.light_at_goal [--draws 100] [--seed 23] [--size 112]

The bundled scene; each draw has a desired pose, lamps, gain, bias, white balance and noise of its own, one kind a column and all.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from siame_se3.experiments.script import bundled_print, median, parser, run_script, table
from siame_se3.geometry.camera import default_camera
from siame_se3.laws.light import LightDVS
from siame_se3.laws.photometric import DVS
from siame_se3.laws.types import Controller
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.conditions import NONE, Augmentation
from siame_se3.servo.simulation import Task

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


def row(name: str, task: Task) -> dict[str, Any]:
    """What one law asks for under each kind of light."""
    T_wd, _ = task.draw()
    found: dict[str, Any] = {"law": name}
    for kind, conditions in KINDS.items():
        plant = FlyingCameras(task.scene, task.camera, conditions=conditions, seed=task.seed)
        law, state = LAWS[name].aim(plant.look(T_wd))
        asked = 1e3 * law(plant.reset(T_wd), state)[0].v[:, :3].norm(dim=1)
        found[kind] = f"{float(asked.mean()):.3f} mm (median {median(asked):.3f})"
    return found


def main() -> None:
    """The table."""
    options = parser(__doc__)
    options.add_argument("--draws", type=int, default=100)
    options.add_argument("--seed", type=int, default=23)
    options.add_argument("--size", type=int, default=112)
    given = options.parse_args()
    task = Task(bundled_print(), default_camera(given.size), runs=given.draws, seed=given.seed)
    table(given, {name: partial(row, name, task) for name in LAWS})


if __name__ == "__main__":
    run_script(main)
