"""The bundled any-scene model on photos that no training has seen: patience, another distance, bad light; SIFT points for comparison.

    python -m siame_se3.experiments.any_scene --photos-root photos

The photos are `siame bench fig3`'s (docs/benchmarks.md says how to have them); of each law, runs are shared out to the 12 unseen ones.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

from siame_se3.analysis import metrics
from siame_se3.experiments import photos
from siame_se3.files import hardware, model_file
from siame_se3.geometry.camera import default_camera
from siame_se3.laws.registry import controller_for
from siame_se3.networks import checkpoint
from siame_se3.scenes.conditions import Augmentation
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.simulation import run_servo

DISTURBED = Augmentation(occlusion_rate=1.0)  # as `siame servo --perturb`


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos-root", type=Path, default=Path("/"), help="where Debian's packages are unpacked")
    parser.add_argument("--seed", type=int, default=500)
    args = parser.parse_args()
    print(f"{hardware()}, {time.strftime('%Y-%m-%d')}: python {shlex.join(sys.argv)}")
    model = checkpoint.load(model_file(Path("any-scene")))
    matching = (controller_for("handoff", model), model.camera)
    points = (controller_for("handoff"), default_camera(224))
    rows = (  # title, law and camera, scale of scene and distance, runs a scene, iterations, disturbances
        ("any-scene, hand-off", matching, 1.0, 17, 300, None),
        ("any-scene, hand-off, at 1.2 m, prints of 1.6 m", matching, 2.0, 17, 300, None),
        ("any-scene, hand-off, disturbed", matching, 1.0, 10, 200, DISTURBED),
        ("SIFT points, hand-off", points, 1.0, 17, 300, None),
        ("SIFT points, hand-off, disturbed", points, 1.0, 10, 200, DISTURBED),
    )
    scenes = photos.scenes("unseen", photos.UNSEEN, None, args.photos_root)
    for title, (law, camera), scale, runs, iterations, conditions in rows:
        began = time.perf_counter()
        table: list[metrics.Row] = []
        each: list[str] = []
        for k, scene in enumerate(scenes):
            print_ = photos.resized(scene, scale * scene.width)
            config = ServoConfig(gain=10.0, max_iterations=iterations)
            trajectory, _, _ = run_servo(
                law, print_, camera, "table1", runs, args.seed + k, scale * 0.6, config, conditions, quiet=True
            )
            ended = metrics.rows(trajectory)
            table += ended
            each.append(f"{scene.name} {sum(row.converged for row in ended)}")
        s = metrics.summary(table)
        print(
            f"{title}: {s.converged_percent:.1f} % of {len(table)}, median {1e3 * s.median_end_t_m:.4f} mm "
            f"{s.median_end_r_deg:.4f} deg, at most {iterations} iterations, {time.perf_counter() - began:.0f} s; "
            f"converged of {runs} each: {', '.join(each)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
