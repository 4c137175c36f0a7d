"""What the benchmarks share: scenes, a closed-loop check, a header with hardware and command."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from siame_se3.analysis import metrics
from siame_se3.experiments.report import markdown
from siame_se3.files import hardware
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.laws.neural import Neural
from siame_se3.networks.engines import engine_for
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes import poses as sampling
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo

__all__ = ["closed_loop", "header", "markdown", "skimage_photo"]


def header() -> str:
    """Hardware, command and date: printed above each table."""
    return f"{hardware()}; python {' '.join(sys.argv)}; {time.strftime('%Y-%m-%d')}"


def skimage_photo(name: str) -> Path:
    """A photo that the package scikit-image carries."""
    import skimage

    return Path(skimage.__file__).parent / "data" / name


def closed_loop(
    network: SiameseNetwork,
    scene: Scene,
    runs: int,
    seed: int,
    iterations: int = 100,
    camera: Camera | None = None,
    conditions: Augmentation | None = None,
) -> metrics.Summary:
    """Table I starts, network alone, gain 0.4 a step; under conditions drawn once a run, if given."""
    camera = camera or default_camera(network.config.image_size)
    T_wd, T_wc = sampling.draw_starts("table1", runs, scene, camera, Workspace(), seed)
    plant = FlyingCameras(scene, camera, conditions=conditions, seed=seed)
    controller = Neural(engine_for(network), network.config.output)
    config = ServoConfig(gain=10.0, max_iterations=iterations)
    with torch.no_grad():
        trajectory = servo(plant, controller, plant.look(T_wd), T_wc, config)
    return metrics.summary(metrics.rows(trajectory))
