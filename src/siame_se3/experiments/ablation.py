"""One table: what each choice is worth, same photo, same number of images seen, same steps.

    python -m siame_se3.experiments.ablation [--steps 300] [--runs 128] [--seed 0] [--out ablation.jsonl] [PHOTO]

A finished row is kept in --out and not run again, so a killed benchmark resumes. `--shard 0/2` and `--shard 1/2`, with
OMP_NUM_THREADS=1, share the rows out to two processes; a run without --shard then prints the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from siame_se3.experiments.evaluation import closed_loop
from siame_se3.experiments.script import parser, run_script, skimage_photo, table
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import LossConfig
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.servo.simulation import Task
from siame_se3.training.data import DataConfig
from siame_se3.training.driver import fit
from siame_se3.training.recipe import Recipe, TrainConfig

N, L, D, T = NetworkConfig(), LossConfig(), DataConfig(), TrainConfig(evaluations=0)
VARIANTS = {
    "default": Recipe(N, L, D, train=T),
    "pairs: the paper's (32 of 64 views)": Recipe(N, L, replace(D, pairs="paper", near=0.0), train=T),
    "fusion: difference (the paper's)": Recipe(replace(N, fusion="difference"), L, D, train=T),
    "fusion: concatenation": Recipe(replace(N, fusion="concatenation"), L, D, train=T),
    "loss: Eq. 4, beta 1": Recipe(N, replace(L, kind="eq4"), D, train=T),
    "output: pose, loss Eq. 5 (Siame-SE(3))": Recipe(replace(N, output="pose"), replace(L, kind="eq5"), D, train=T),
    "loss: two weights": Recipe(N, replace(L, kind="two"), D, train=T),
    "head zero at the goal: off": Recipe(replace(N, zero_at_goal=False), L, D, train=T),
    "neighbours: none around the goal's orbit": Recipe(N, L, replace(D, near_orbit=0.0), train=T),
    "neighbours: each under its own light": Recipe(N, L, replace(D, near_alike=0.0), train=T),
    "near-goal samples and weights: off": Recipe(N, replace(L, near=0.0), replace(D, near=0.0), train=T),
    "scene-coordinate task: off": Recipe(N, replace(L, where=0.0), D, train=T),
    "pooling: spatial, S(I) of 256 numbers": Recipe(replace(N, pooling="spatial"), L, D, train=T),
    "pooling: average (the paper's)": Recipe(replace(N, pooling="average"), replace(L, where=0.0), D, train=T),
    "cells: stride 16 (7 x 7)": Recipe(replace(N, stride=16), L, D, train=T),
    "scene-coordinate task: weight 1": Recipe(N, replace(L, where=1.0), D, train=T),
    "local contrast: off": Recipe(replace(N, local_contrast=0.0), L, D, train=T),
    "optimiser: AdamW alone, peak 1.5e-3": Recipe(N, L, D, train=replace(T, optimiser="adamw", lr=1.5e-3)),
}


def row(name: str, recipe: Recipe, scene: Scene, runs: int) -> dict[str, Any]:
    """One variant: train, and measure on plain starts and under disturbances."""
    fitted = fit(recipe, [scene])
    task = Task(scene, recipe.seen_by, runs=runs, seed=1000 + recipe.seed)
    disturbance = Augmentation(occlusion_rate=1.0)
    s = closed_loop(fitted.model.network, task)
    disturbed = closed_loop(
        fitted.model.network, replace(task, runs=runs // 2, seed=2000 + recipe.seed, disturbance=disturbance)
    )
    return {
        "variant": name,
        "images": fitted.steps * recipe.data.views,
        "converged [%]": round(s.converged_percent, 1),
        "end mean [cm]": round(100 * s.end_t_m[0], 2),
        "end mean [deg]": round(s.end_r_deg[0], 2),
        "end median [cm]": round(100 * s.median_end_t_m, 2),
        "end median [deg]": round(s.median_end_r_deg, 2),
        "disturbed: converged [%]": round(disturbed.converged_percent, 1),
        "disturbed: median [cm]": round(100 * disturbed.median_end_t_m, 2),
        "training [s]": round(fitted.seconds),
    }


def main() -> None:
    """All variants, then the table."""
    options = parser(__doc__, keep="--out", default=Path("ablation.jsonl"))
    options.add_argument("photo", nargs="?", type=Path, default=None)
    options.add_argument("--steps", type=int, default=300)
    options.add_argument("--runs", type=int, default=128)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    scene = Scene.from_photo(given.photo or skimage_photo("coffee.png"))
    rows: dict[str, Callable[[], dict[str, Any]]] = {
        name: partial(row, name, replace(recipe, seed=given.seed).of_steps(given.steps), scene, given.runs)
        for name, recipe in VARIANTS.items()
    }
    table(given, rows)


if __name__ == "__main__":
    run_script(main)
