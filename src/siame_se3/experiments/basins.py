"""How far away each law may start: convergence against the distance of the start, and a picture of it.

    python -m siame_se3.experiments.basins [--runs 60] [--laws handoff neural dvs ...] [--out docs/basins.png]

The bundled scene and model. A start at D cm is D cm away in a random direction, and turned by 1.4 deg for each cm (the
proportion of Table I) about a random axis; both cameras see at least a third of the print. 224 px images; no disturbance.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import torch

from siame_se3.analysis import metrics, plots
from siame_se3.errors import SceneError
from siame_se3.experiments.script import bundled_print, parser, run_script, table
from siame_se3.files import BUNDLED_MODEL, bundled
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.laws.registry import controller_for
from siame_se3.networks import checkpoint
from siame_se3.networks.checkpoint import Model
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.overlap import visible
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, reference_pose
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo

DISTANCES = (1, 2, 4, 8, 12, 16, 24, 32, 48)  # cm
DEGREES_PER_CM = 1.4
LAWS = ("handoff", "neural", "dvs", "dvs-light", "dct", "pbvs-sift", "pbvs-orb", "ibvs-sift", "ibvs-orb")
_ROUNDS = 1000  # of draws, at most


def starts(n: int, distance: float, scene: Scene, camera: Camera, seed: int) -> torch.Tensor:
    """n poses T_wc at one distance [cm] from the reference pose.

    Raises:
        SceneError: too few of the places at that distance see enough of the print.
    """
    generator = torch.Generator().manual_seed(seed)
    T_wd, kept = reference_pose(Workspace.distance), torch.zeros(0, 4, 4, dtype=torch.float64)
    for _ in range(_ROUNDS):
        t, u = torch.randn(2, 4 * n, 3, generator=generator, dtype=torch.float64)
        t = t / t.norm(dim=1, keepdim=True) * distance / 100
        u = u / u.norm(dim=1, keepdim=True) * math.radians(DEGREES_PER_CM * distance)
        T = T_wd @ lie.pose_from_vector(torch.cat((t, u), 1))
        good = (visible(scene, camera, T) >= 1 / 3) & (T[:, 2, 3] < -0.1)
        kept = torch.cat((kept, T[good]))
        if len(kept) >= n:
            return kept[:n]
    raise SceneError(
        f"starts at {distance:g} cm: {len(kept)} of {n} found that see a third of the print; give fewer runs", "runs"
    )


def row(law: str, model: Model, runs: int) -> dict[str, Any]:
    """One law at all distances."""
    scene, camera = bundled_print(), default_camera()
    plant, controller = FlyingCameras(scene, camera), controller_for(law, model)
    config = ServoConfig(gain=15.0 if law in ("dvs", "dct") else 8.0, max_iterations=150)
    found: dict[str, Any] = {"law": law}
    for distance in DISTANCES:
        T_wc = starts(runs, distance, scene, camera, seed=distance)
        T_wd = reference_pose(Workspace.distance).repeat(len(T_wc), 1, 1)
        trajectory = servo(plant, controller, plant.look(T_wd), T_wc, config)
        share = metrics.summary(metrics.rows(trajectory)).converged_percent
        print(law, distance, "cm", share, "%", flush=True)
        found[f"{distance} cm"] = f"{share:.0f} %"
    return found


def main() -> None:
    """All laws at all distances, then the table and the figure."""
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=60)
    options.add_argument("--laws", nargs="+", default=list(LAWS))
    options.add_argument("--out", type=Path, default=Path("basins.png"))
    given = options.parse_args()
    model = checkpoint.load(bundled(BUNDLED_MODEL))
    rows = table(given, {law: partial(row, law, model, given.runs) for law in given.laws}, ("laws", "out"))
    curves = {line["law"]: [float(line[f"{d} cm"].split()[0]) for d in DISTANCES] for line in rows}
    plots.save(plots.basins(DISTANCES, curves, DEGREES_PER_CM), given.out)


if __name__ == "__main__":
    run_script(main)
