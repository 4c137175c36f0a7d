"""A network alone in closed loop: how trainings are watched, and what the ablation and the time to the paper's accuracy are measured by."""

from __future__ import annotations

import math

import torch

from siame_se3.analysis import metrics
from siame_se3.laws.neural import Neural
from siame_se3.networks import engines
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.plants.flying import FlyingCameras
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.simulation import Task, simulate

GAIN = 10.0  # 0.4 a step of 40 ms


def engine_on(network: SiameseNetwork) -> engines.Engine:
    """What runs a network on the device that it is on: a training on the CPU is not evaluated on the GPU beside it."""
    if next(network.parameters()).is_cuda:
        return engines.engine_for(network, "cuda")
    return engines.engine_for(network, "torch" if torch.cuda.is_available() else "auto")


def mean_end(s: metrics.Summary, digits: int = 2) -> str:
    """Mean end error of the converged, a dash where none is."""
    t, r = 100 * s.end_t_converged_m[0], s.end_r_converged_deg[0]
    return "-" if math.isnan(t) else f"{t:.{digits}f} cm {r:.{digits}f} deg"


def closed_loop(network: SiameseNetwork, task: Task, iterations: int = 100) -> metrics.Summary:
    """Runs of the network alone, rendered on the network's device too."""
    device = next(network.parameters()).device
    plant = FlyingCameras(
        task.scene, task.camera, conditions=task.disturbance, seed=task.seed, device=device, mismatch=task.mismatch
    )
    law = Neural(engine_on(network), network.config.output)
    config = ServoConfig(gain=GAIN, max_iterations=iterations)
    with torch.no_grad():
        trajectory, _, _ = simulate(law, task, config, quiet=True, plant=plant)
    return metrics.summary(metrics.rows(trajectory))
