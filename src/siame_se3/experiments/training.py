"""What training costs: images per second of rendering and of training, and the time to the paper's accuracy on one photo."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import Any

import torch

from siame_se3.analysis import metrics
from siame_se3.analysis.metrics import Summary
from siame_se3.experiments import report
from siame_se3.experiments.cells import Setup
from siame_se3.files import hardware
from siame_se3.geometry.camera import default_camera
from siame_se3.laws.neural import Neural
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.engines import engine_for
from siame_se3.networks.losses import LossConfig
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.scenes.render import render
from siame_se3.scenes.views import training_views
from siame_se3.servo.loop import ServoConfig
from siame_se3.servo.simulation import run_servo
from siame_se3.training.batches import BatchSource, DataConfig
from siame_se3.training.trainer import TrainConfig, Trainer, steps_in

PAPER_IMAGES = 10_000_000  # 5 million pairs


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
    network = NetworkConfig()
    camera = default_camera(network.image_size)
    source = BatchSource([scene], camera, Workspace(), DataConfig(), seed, device=device)
    steps = steps_in(minutes, network, LossConfig(), source, TrainConfig())
    trainer = Trainer(network, LossConfig(), source, TrainConfig(steps=steps))
    checks = {round(steps * share) for share in (0.7, 0.8, 0.9, 1.0)}
    last: Reach | None = None
    while trainer.step < steps:
        trainer.advance()
        if trainer.step in checks:
            law = Neural(engine_for(trainer.result().float()), network.output)
            config = ServoConfig(gain=10.0, max_iterations=100)
            trajectory, _, _ = run_servo(law, scene, camera, "table1", runs, 1000 + seed, 0.6, config, quiet=True)
            s = metrics.summary(metrics.rows(trajectory))
            last = Reach(paper_reached(s), trainer.seconds, trainer.step * source.config.views, s)
            if last.reached:
                break
    assert last is not None
    return last


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
    trainer = Trainer(network, loss, BatchSource([scene], camera, Workspace(), data, 0, device=where), config)
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


def run(setup: Setup, runs: int, steps: int, command: str) -> str:
    """Measure on the CPU, and on a GPU if there is one; training.csv and the report page; the table as text."""
    folder = setup.folder / "training"
    folder.mkdir(parents=True, exist_ok=True)
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
        for title, (network, data, config, count) in kinds.items():
            setup.tell(f"training: {title}, {device}")
            place = folder / f"{device}-{network.backbone}.json"
            kept: dict[str, Any] = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
            if not kept:
                kept = dict(rates(setup.scene, network, data, config, device, count))
                if network == NetworkConfig():
                    r = reach(setup.scene, setup.minutes, runs, setup.seed, device)
                    told = f"{r.summary.converged_percent:.1f} %, {100 * r.summary.end_t_converged_m[0]:.2f} cm {r.summary.end_r_converged_deg[0]:.2f} deg"
                    kept |= {
                        "reached": f"{r.seconds:.0f} s, {r.images} images ({told})"
                        if r.reached
                        else f"not in {r.seconds:.0f} s ({told})"
                    }
                else:
                    kept |= {
                        "reached": f"not run; the paper's {PAPER_IMAGES // 1_000_000} million images would take {PAPER_IMAGES / kept['training'] / 3600:.0f} h"
                    }
                kept["hardware"] = hardware(device)
                place.write_text(json.dumps(kept), encoding="utf-8")
            table.append(
                {
                    "network": title,
                    "on": str(kept["hardware"]),
                    "rendering [images/s]": f"{float(kept['rendering']):.0f}",
                    "training [images/s]": f"{float(kept['training']):.1f}",
                    "rendering's share [%]": f"{float(kept['share']):.1f}",
                    "time to 98.9 %, 1.0 cm, 0.75 deg": str(kept["reached"]),
                }
            )
    text = report.markdown(table)
    report.write_table(table, folder / "training.csv")
    gpu = "" if len(devices) > 1 else " No GPU could be had where this was run."
    origin = f"`{command}`; {hardware()}; scene {setup.scene.name}, seed {setup.seed}, checks on {runs} starts; {time.strftime('%Y-%m-%d')}.{gpu}"
    (folder / "report.md").write_text(f"# What training costs\n\n{origin}\n\n{text}\n", encoding="utf-8")
    return text
