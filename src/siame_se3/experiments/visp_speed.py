"""Time a step of the photometric laws beside ViSP's, in one run: 224 x 224, batch 1, one thread; and a run's share of 64.

    python -m siame_se3.experiments.visp_speed [--visp visp_dvs] [--scene coffee.png --starts medium.csv] [--repeats 300]

`visp_dvs` is the reference program (built from visp_dvs.cpp with ViSP 3.5.0, OMP_NUM_THREADS=1). Without it only our own
times are printed. Ours take the image in, as a controller gets it, to the velocity.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import time
from pathlib import Path

import torch

from siame_se3.analysis.report import markdown
from siame_se3.experiments.pages import header
from siame_se3.experiments.script import run_script, skimage_photo
from siame_se3.geometry.camera import Camera
from siame_se3.laws.light import LightDVS
from siame_se3.laws.photometric import DVS
from siame_se3.laws.types import Controller
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, reference_pose, starts_from_csv

LAWS: dict[str, tuple[Controller, str | None]] = {
    "Gauss-Newton, current L": (DVS("gauss-newton", "current"), "vpServo::computeControlLaw total"),
    "LM, desired L": (DVS(), "LM desired L (example code form)"),
    "LM, current L": (DVS("levenberg-marquardt", "current"), "AtA+LU+LTe (LM current)"),
    "DCT-VS, K = 20, desired L": (DVS(coefficients=20), None),
    "DCT-VS, K = 20, current L": (DVS(coefficients=20, interaction="current"), None),
    "local contrast, robust, mean L": (DVS("gauss-newton", "mean", normalise="local", robust=True), None),
    "hand-off's: light fitted, robust, mean L": (LightDVS(), None),
}


def visp_times(program: Path, scene: Path, starts: Path, repeats: int) -> dict[str, float]:
    """Median milliseconds of each of ViSP's parts."""
    command = [str(program), str(scene), str(starts), os.devnull, "--bench", str(repeats)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    parts = done.stdout.split(":", 1)[1].split("|")
    found = (re.fullmatch(r"\s*(.+?) ([0-9.]+)\s*", part) for part in parts)
    return {m.group(1): float(m.group(2)) for m in found if m}


def main() -> None:
    """Both, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visp", type=Path)
    parser.add_argument("--scene", type=Path, default=skimage_photo("coffee.png"))
    parser.add_argument("--starts", type=Path)
    parser.add_argument("--repeats", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(header())
    camera = Camera(240.0, 240.0, 111.5, 111.5, 224, 224)
    plant = FlyingCameras(Scene.from_photo(options.scene, 1.2, extent="centres").grey(), camera)
    T_wd = reference_pose(Workspace.distance)
    T_wc = starts_from_csv(options.starts, Workspace())[1][0] if options.starts else T_wd.clone()
    if not options.starts:
        T_wc[0, 3] += 0.02
    visp = {}
    if options.visp:
        if not options.starts:
            parser.error("--visp: give it --starts too")
        visp = visp_times(options.visp, options.scene, options.starts, options.repeats)
        print("ViSP [ms]:", ", ".join(f"{name} {ms:.3f}" for name, ms in visp.items()))
    features = visp.get("buildFrom", 0.0) + visp.get("error", 0.0)
    table = []
    for name, (controller, part) in LAWS.items():
        (law, state), view = controller.aim(plant.look(T_wd[None])), plant.look(T_wc[None])
        (_, states), views = controller.aim(plant.look(T_wd.repeat(64, 1, 1))), plant.look(T_wc.repeat(64, 1, 1))
        single, batch = [], []
        for _ in range(options.repeats):
            began = time.perf_counter()
            law(view, state)
            single.append(time.perf_counter() - began)
        for _ in range(max(5, options.repeats // 30)):
            began = time.perf_counter()
            law(views, states)
            batch.append((time.perf_counter() - began) / 64)
        ours = 1e3 * statistics.median(single)
        # ViSP's whole step: vpServo's total has the interaction matrix and the error in it, the LM parts have not.
        theirs = None
        if part in visp:
            theirs = visp[part] + (visp["buildFrom"] if part.startswith("vpServo") else features)
            theirs += visp["interaction"] if part.startswith("AtA") else 0.0
        table.append(
            {
                "law": name,
                "ours [ms]": f"{ours:.2f}",
                "a run's share of 64 [ms]": f"{1e3 * statistics.median(batch):.2f}",
                "ViSP [ms]": "-" if theirs is None else f"{theirs:.2f}",
                "times as fast": "-" if theirs is None else f"{theirs / ours:.1f}",
            }
        )
    print(markdown(table))


if __name__ == "__main__":
    run_script(main)
