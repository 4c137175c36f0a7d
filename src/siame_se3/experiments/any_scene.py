"""The bundled any-scene model on photos that no training has seen: patience, another distance, bad light; SIFT points for comparison.

    python -m siame_se3.experiments.any_scene --photos-root photos

The photos are `siame bench fig3`'s (docs/benchmarks.md says how to have them); of each law, runs are shared out to the 12 unseen ones.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from siame_se3.analysis import metrics
from siame_se3.experiments import photos
from siame_se3.experiments.runner import scene_runs, shared_out
from siame_se3.experiments.script import parser, run_script, table
from siame_se3.files import model_file
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.laws.registry import controller_for
from siame_se3.laws.types import Controller
from siame_se3.networks import checkpoint
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.simulation import Task

DISTURBED = Augmentation(occlusion_rate=1.0)  # as `siame servo --perturb`


@dataclass(frozen=True)
class Line:
    """A law under one condition; scene and distance scaled, runs a scene, iterations at most."""

    law: Controller
    camera: Camera
    scale: float = 1.0
    runs: int = 17
    iterations: int = 300
    disturbance: Augmentation | None = None


def row(name: str, line: Line, scenes: list[Scene], seed: int) -> dict[str, Any]:
    """All scenes."""
    began = time.perf_counter()
    tasks = [
        Task(
            *(photos.resized(scene, line.scale * scene.width), line.camera, "table1", line.runs, seed + k),
            distance=line.scale * Workspace.distance,
            disturbance=line.disturbance,
        )
        for k, scene in enumerate(scenes)
    ]
    ended = shared_out(line.law, tasks, ServoConfig(gain=10.0, max_iterations=line.iterations), quiet=True)
    s = metrics.summary(ended)
    parts = scene_runs(len(ended), len(scenes))
    counts = [sum(ended[i].converged for i in part) for part in parts]
    return {
        "law": name,
        "runs": len(ended),
        "converged": f"{s.converged_percent:.1f} %",
        "median end": f"{1e3 * s.median_end_t_m:.4f} mm {s.median_end_r_deg:.4f} deg",
        "iterations, at most": line.iterations,
        "seconds": f"{time.perf_counter() - began:.0f}",
        "converged, each scene": ", ".join(
            f"{scene.name} {count}" for scene, count in zip(scenes, counts, strict=True)
        ),
    }


def main() -> None:
    """All lines."""
    options = parser(__doc__)
    options.add_argument("--photos-root", type=Path, default=Path("/"), help="where Debian's packages are unpacked")
    options.add_argument("--seed", type=int, default=500)
    given = options.parse_args()
    model = checkpoint.load(model_file(Path("any-scene")))
    matching = (controller_for("handoff", model), model.camera)
    points = (controller_for("handoff"), default_camera())
    lines = {
        "any-scene, hand-off": Line(*matching),
        "any-scene, hand-off, at 1.2 m, prints of 1.6 m": Line(*matching, scale=2.0),
        "any-scene, hand-off, disturbed": Line(*matching, runs=10, iterations=200, disturbance=DISTURBED),
        "SIFT points, hand-off": Line(*points),
        "SIFT points, hand-off, disturbed": Line(*points, runs=10, iterations=200, disturbance=DISTURBED),
    }
    scenes = photos.scenes("unseen", photos.UNSEEN, None, given.photos_root)
    table(given, {name: partial(row, name, line, scenes, given.seed) for name, line in lines.items()}, ("photos_root",))


if __name__ == "__main__":
    run_script(main)
