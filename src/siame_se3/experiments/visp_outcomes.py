"""Closed-loop outcomes of the photometric laws on ViSP's own starts, beside ViSP's.

    python -m siame_se3.experiments.visp_outcomes REFERENCE_FOLDER

The folder has the scenes (coffee.png, astronaut.png), the starts (small.csv, medium.csv, large.csv) and ViSP's outcomes
(out-SCENE-SET-LAW.csv, law gn or lm). Our renderer and laws, ViSP's set-up: 224 x 224 px, f = 240 px, a plane 1.2 m wide at
0.6 m, bilinear, whole grey levels, gain 30, dt 0.04 s, twist limited to 1 m/s and 90 deg/s, 200 iterations; converged below 1 mm and 0.1 deg.
"""

from __future__ import annotations

import math
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import torch

from siame_se3.errors import InputError
from siame_se3.experiments.script import parser, run_script, table
from siame_se3.files import read_csv_table, shown
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import plane_from_pixel
from siame_se3.laws.photometric import DVS
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, starts_from_csv
from siame_se3.scenes.render import render
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo

LAWS = {"gn": DVS("gauss-newton", "current"), "lm": DVS()}
CONFIG = ServoConfig(gain=30.0, max_iterations=200, max_v=1.0, max_w=math.radians(90), settle_v=1e-12, settle_w=1e-12)


class ViSPCamera(FlyingCameras):
    """Plain bilinear, whole grey levels, truncated, as ViSP's simulator has them."""

    def _render(
        self, poses: torch.Tensor, runs: torch.Tensor, twist: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        images, _ = render(self.scene, self.camera, poses, antialias=False)
        return (images * 255 + 1e-3).floor() / 255, plane_from_pixel(self.camera, poses)


def outcomes(scene: Scene, starts: Path, law: DVS) -> list[int | None]:
    """Of each start, the first iteration below 1 mm and 0.1 deg, or None."""
    T_wd, T_wc = starts_from_csv(starts, Workspace())
    plant = ViSPCamera(scene, Camera(240.0, 240.0, 111.5, 111.5, 224, 224))
    t, r = servo(plant, law, plant.look(T_wd), T_wc, CONFIG).error_norms
    good = (t < 1e-3) & (r < math.radians(0.1))
    return [int(run.nonzero()[0]) if run.any() else None for run in good.T]


def reference(path: Path, runs: int) -> list[int | None]:
    """The same of ViSP.

    Raises:
        InputError: not a file of outcomes, or not of as many runs.
    """
    rows = read_csv_table(path, ("iters", "converged"), "give ViSP's outcomes of these starts")
    found: list[int | None] = []
    for number, line in enumerate(rows):
        if not line["iters"].isdecimal() or line["converged"] not in ("0", "1"):
            raise InputError(
                f"{path}, run {number}: iters {shown(line['iters'])}, converged {shown(line['converged'])}; "
                "give a whole number, and 0 or 1"
            )
        found.append(int(line["iters"]) if line["converged"] == "1" else None)
    if len(found) != runs:
        raise InputError(f"{path}: outcomes of {len(found)} runs for {runs} starts; give those of the same starts")
    return found


def row(folder: Path, name: str, starts: str, law: str) -> dict[str, Any]:
    """One scene, set of starts and law, beside ViSP's outcomes."""
    scene = Scene.from_photo(folder / f"{name}.png", 1.2, extent="centres")
    ours = outcomes(scene, folder / f"{starts}.csv", LAWS[law])
    visp = reference(folder / f"out-{name}-{starts}-{law}.csv", len(ours))
    found: dict[str, Any] = {"scene": name, "starts": starts, "law": law}
    for who, runs in (("ours", ours), ("ViSP", visp)):
        done = [k for k in runs if k is not None]
        found[f"{who}: converged"] = f"{len(done)} of {len(runs)}"
        found[f"{who}: median iterations"] = statistics.median(done) if done else "-"
    both = [(a, b) for a, b in zip(ours, visp, strict=True) if a is not None and b is not None]
    found["same outcome"] = sum((a is None) == (b is None) for a, b in zip(ours, visp, strict=True))
    ratios = [a / b for a, b in both if b > 0]
    found["iterations, ours / ViSP, median over runs of both"] = f"{statistics.median(ratios):.2f}" if ratios else "-"
    return found


def main() -> None:
    """All cells, then the table."""
    options = parser(__doc__)
    options.add_argument("folder", type=Path)
    given = options.parse_args()
    torch.set_num_threads(2)
    cells = [(n, s, law) for n in ("coffee", "astronaut") for s in ("small", "medium", "large") for law in LAWS]
    table(given, {", ".join(cell): partial(row, given.folder, *cell) for cell in cells})


if __name__ == "__main__":
    run_script(main)
