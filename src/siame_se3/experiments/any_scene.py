"""Laws without a training on the scene, on 40 photos that no training has seen (photos.txt, 'unseen'), fifteen of them with little texture or
one that repeats itself: near and far starts, blur, bad light, and the public posters' perturbation.

    python -m siame_se3.experiments.any_scene --photos-root debs --runs 12

docs/benchmarks.md says how to have the photos; of each row, runs are shared out to them evenly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from siame_se3.analysis import metrics
from siame_se3.experiments import photos
from siame_se3.experiments.runner import scene_runs, shared_out
from siame_se3.experiments.script import add_photos_root, parser, run_script, table
from siame_se3.files import model_file
from siame_se3.geometry.camera import default_camera
from siame_se3.laws.handoff import Handoff
from siame_se3.laws.light import LightDVS
from siame_se3.laws.registry import controller_for
from siame_se3.laws.types import Controller
from siame_se3.networks import checkpoint
from siame_se3.scenes.conditions import NONE, Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.simulation import Task

UNSEEN = 40
# Light, blur and the perturbation of docs/benchmarks.md; a lamp, gain, bias, noise and a patch of 15 % in every run.
CONDITIONS: dict[str, tuple[str, Augmentation | None]] = {
    "table1": ("table1", None),
    "wide": ("wide", None),
    "blur 3 px": ("table1", replace(NONE, blur=3.0, least=1.0)),
    "all light, 15 %": ("table1", Augmentation(occlusion=0.15, occlusion_rate=1.0)),
    "poster": (
        "table1",
        replace(
            NONE,
            brightness=0.6,
            contrast=0.6,
            saturation=0.4,
            noise=0.05,
            occlusion=0.33,
            occlusion_rate=0.5,
            each_frame=True,
        ),
    ),
}


def _any_scene(law: str) -> Controller:
    return controller_for(law, checkpoint.load(model_file(Path("any-scene"))))


LAWS: dict[str, Callable[[], Controller]] = {
    "auto, then photometric": lambda: controller_for("handoff"),
    "any-scene, then photometric": lambda: _any_scene("handoff"),
    "any-scene alone": lambda: _any_scene("neural"),
    "SIFT, then photometric": lambda: Handoff(controller_for("pbvs-sift"), LightDVS()),
    "ORB, then photometric": lambda: Handoff(controller_for("pbvs-orb"), LightDVS()),
}


@dataclass(frozen=True)
class Line:
    """A law under a condition, so many runs a photo, so many iterations at most."""

    law: str
    condition: str
    runs: int
    iterations: int = 200


def row(line: Line, scenes: list[Scene], seed: int) -> dict[str, Any]:
    """All scenes."""
    began = time.perf_counter()
    starts, disturbance = CONDITIONS[line.condition]
    law, camera = LAWS[line.law](), default_camera()
    tasks = [
        Task(scene, camera, starts, line.runs, seed + k, disturbance=disturbance) for k, scene in enumerate(scenes)
    ]
    ended = shared_out(law, tasks, ServoConfig(gain=10.0, max_iterations=line.iterations), quiet=True)
    s = metrics.summary(ended)
    parts = scene_runs(len(ended), len(scenes))
    counts = [sum(ended[i].converged for i in part) for part in parts]
    failed = [f"{x.name} {n}" for x, n in zip(scenes, counts, strict=True) if n < line.runs]
    return {
        "law": line.law,
        "condition": line.condition,
        "runs": len(ended),
        "converged": f"{s.converged_percent:.1f} %",
        "median end": f"{1e3 * s.median_end_t_m:.4f} mm {s.median_end_r_deg:.4f} deg",
        "seconds": f"{time.perf_counter() - began:.0f}",
        f"photos with less than {line.runs} of {line.runs}": ", ".join(failed) or "none",
    }


def main() -> None:
    """All rows."""
    options = parser(__doc__)
    add_photos_root(options)
    options.add_argument("--seed", type=int, default=700)
    options.add_argument("--runs", type=int, default=12, help="a photo")
    options.add_argument("--laws", nargs="*", choices=tuple(LAWS), default=tuple(LAWS))
    options.add_argument("--conditions", nargs="*", choices=tuple(CONDITIONS), default=tuple(CONDITIONS))
    given = options.parse_args()
    scenes = photos.scenes("unseen", UNSEEN, None, given.photos_root)
    lines = [Line(law, condition, given.runs) for law in given.laws for condition in given.conditions]
    rows = {f"{line.law}, {line.condition}": partial(row, line, scenes, given.seed) for line in lines}
    table(given, rows, ("photos_root", "laws", "conditions"))


if __name__ == "__main__":
    run_script(main)
