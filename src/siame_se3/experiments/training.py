"""What training costs: images per second of rendering and of training, and the time to the paper's accuracy on one photo."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from siame_se3.analysis import report
from siame_se3.analysis.metrics import Summary
from siame_se3.errors import InputError
from siame_se3.experiments.evaluation import closed_loop, mean_end
from siame_se3.experiments.runner import Setup, write_facts
from siame_se3.files import hardware, read_json
from siame_se3.geometry.camera import default_camera
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import LossConfig
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.scenes.render import render
from siame_se3.scenes.views import training_views
from siame_se3.servo.simulation import Task
from siame_se3.training.batches import BatchSource
from siame_se3.training.data import DataConfig
from siame_se3.training.driver import Callbacks, Progress, fit
from siame_se3.training.recipe import Recipe, TrainConfig
from siame_se3.training.trainer import Trainer

PAPER_IMAGES = 10_000_000  # 5 million pairs
_CYCLE = 1000  # steps of the learning rate's cycle while rates are measured, which do not depend on it


def paper_reached(s: Summary) -> bool:
    """98.9 % converged, mean end error of those under 1.0 cm and 0.75 deg."""
    return s.converged_percent >= 98.9 and s.end_t_converged_m[0] < 0.01 and s.end_r_converged_deg[0] < 0.75


@dataclass(frozen=True)
class Reach:
    """How far a training came."""

    reached: bool
    seconds: float
    images: int
    summary: Summary


def reach(scene: Scene, minutes: float, runs: int, seed: int, device: str = "cpu") -> Reach:
    """Train the default network from random weights for `minutes`; checked in closed loop, network alone, from 70 % of the training on,
    on starts that no other part uses, until the paper's accuracy is there. Seconds are those of training, without the checks."""
    recipe = Recipe(minutes=minutes, seed=seed)
    task = Task(scene, recipe.seen_by, runs=runs, seed=1000 + seed)
    reached: list[Reach] = []

    def check(network: SiameseNetwork, p: Progress) -> bool:
        s = closed_loop(network.float(), task)
        reached.append(Reach(paper_reached(s), p.seconds, p.images, s))
        return reached[-1].reached

    fit(recipe, [scene], callbacks=Callbacks(evaluate=check, at=(0.7, 0.8, 0.9, 1.0)), device=device)
    return reached[-1]


def _seconds(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def rates(
    scene: Scene, network: NetworkConfig, data: DataConfig, config: TrainConfig, device: str, steps: int
) -> dict[str, float]:
    """Images per second of rendering alone and of training, and rendering's share of the training [%]."""
    where = torch.device(device)
    camera = default_camera(network.image_size)
    generator = torch.Generator().manual_seed(0)
    poses = training_views(64, scene, camera, Workspace(), generator).to(where)
    render(scene, camera, poses)
    began = _seconds(where)
    for _ in range(steps):
        render(scene, camera, poses)
    rendering = 64 * steps / (_seconds(where) - began)
    loss = LossConfig(where=0.0) if network.pooling == "average" else LossConfig()
    source = BatchSource([scene], camera, Workspace(), data, 0, device=where)
    trainer = Trainer(network, loss, source, replace(config, steps=_CYCLE))
    for _ in range(max(3, steps // 4)):
        trainer.advance()
    trainer.seconds, trainer.shares = 0.0, {}
    began = _seconds(where)
    for _ in range(steps):
        trainer.advance()
    seconds = _seconds(where) - began
    # On a GPU the CPU runs ahead, so that the trainer's shares say nothing: rendering's share from its own rate.
    share = (
        trainer.shares["render"] / trainer.seconds if where.type == "cpu" else steps * data.views / rendering / seconds
    )
    return {"rendering": rendering, "training": steps * data.views / seconds, "share": 100 * share}


def _measured(setup: Setup, device: str, place: Path, kind: tuple[Any, ...], runs: int) -> dict[str, Any]:
    """A row's figures, from its file if they are there.

    Raises:
        InputError: they were made with other options.
    """
    network, data, config, count = kind
    made = {"steps": count, "runs": runs, "minutes": setup.minutes, "seed": setup.seed, "scene": setup.scene.name}
    if place.is_file():
        kept: dict[str, Any] = read_json(place, hint="remove it to measure again")
        if kept.get("made with") != made:
            raise InputError(
                f"{place}: made with other options; give the same ones, another folder, or remove it", "out"
            )
        return kept
    found: dict[str, Any] = {"made with": made} | dict(rates(setup.scene, network, data, config, device, count))
    if network == NetworkConfig():
        r = reach(setup.scene, setup.minutes, runs, setup.seed, device)
        figures = f"{r.summary.converged_percent:.1f} %, {mean_end(r.summary)}"
        found["reached"] = (
            f"{r.seconds:.0f} s, {r.images} images ({figures})"
            if r.reached
            else f"not in {r.seconds:.0f} s ({figures})"
        )
    else:
        hours = PAPER_IMAGES / found["training"] / 3600
        found["reached"] = f"not run; the paper's {PAPER_IMAGES // 1_000_000} million images would take {hours:.0f} h"
    found["hardware"] = hardware(device)
    write_facts(place, found)
    return found


def run(setup: Setup, runs: int, steps: int, command: str) -> str:
    """Measure on the CPU, and on a GPU if there is one; training.csv and the report page; the table as text."""
    folder = setup.folder / "training"
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    paper = replace(NetworkConfig.paper(), pretrained=False)
    kinds = {
        "default: ResNet-10t, 112 px, all pairs of 64": (NetworkConfig(), DataConfig(), TrainConfig(), 10 * steps),
        "the paper's: EfficientNet-B3, 224 px, 25 pairs": (
            *(paper, DataConfig(views=50, near=0.0, pairs="paper", spread=(1.0, 1.0))),
            *(TrainConfig(optimiser="adamw", lr=1e-4), steps),
        ),
    }
    table = []
    for device in devices:
        for title, kind in kinds.items():
            setup.say(f"training: {title}, {device}")
            found = _measured(setup, device, folder / f"{device}-{kind[0].backbone}.json", kind, runs)
            table.append(
                {
                    "network": title,
                    "on": str(found["hardware"]),
                    "rendering [images/s]": f"{float(found['rendering']):.0f}",
                    "training [images/s]": f"{float(found['training']):.1f}",
                    "rendering's share [%]": f"{float(found['share']):.1f}",
                    "time to 98.9 %, 1.0 cm, 0.75 deg": str(found["reached"]),
                }
            )
    text = report.markdown(table)
    report.write_table(table, folder / "training.csv")
    gpu = "" if len(devices) > 1 else " No GPU could be had where this was run."
    origin = f"`{command}`; {hardware()}; scene {setup.scene.name}, seed {setup.seed}, checks on {runs} starts; {time.strftime('%Y-%m-%d')}.{gpu}"
    report.write_report(folder / "report.md", "What training costs", [origin, text])
    return text
