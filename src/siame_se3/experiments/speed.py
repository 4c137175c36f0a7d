"""Step times at batch 1, and where the training time goes.

    python -m siame_se3.experiments.speed

Medians over many calls: the law's step (image -> velocity) of the default model and of EfficientNet-B3 at 224 px by
OpenVINO, and the shares of rendering, augmentation and the rest in a training step of the default network.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from siame_se3.analysis.report import markdown
from siame_se3.experiments.pages import header
from siame_se3.experiments.script import bundled_print, run_script
from siame_se3.files import BUNDLED_MODEL, bundled
from siame_se3.geometry.camera import default_camera
from siame_se3.laws.neural import Neural
from siame_se3.laws.types import View
from siame_se3.networks import checkpoint
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.engines import OpenVinoEngine
from siame_se3.networks.losses import LossConfig
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.scenes.poses import Workspace
from siame_se3.training.batches import BatchSource
from siame_se3.training.data import DataConfig
from siame_se3.training.recipe import TrainConfig
from siame_se3.training.trainer import Trainer


def step_time(network: SiameseNetwork, precision: str, calls: int = 300) -> float:
    """Median milliseconds of law(view), one image."""
    engine = OpenVinoEngine(network, precision)  # type: ignore[arg-type]  # precision is one of the two literals
    size = network.config.image_size
    view = View(torch.rand(1, 3, size, size))
    law, state = Neural(engine).aim(view)
    times = []
    for _ in range(calls):
        t0 = time.perf_counter()
        law(view, state)
        times.append(time.perf_counter() - t0)
    return 1e3 * statistics.median(times[calls // 10 :])


def laws() -> None:
    """A table of laws' steps."""
    default = checkpoint.load(bundled(BUNDLED_MODEL)).network
    paper = SiameseNetwork(NetworkConfig("efficientnet_b3", 224, pooling="average", head=(1024, 256)))
    rows = [
        {"network": name, "precision": precision, "step, batch 1 [ms]": round(step_time(network, precision), 2)}
        for name, network in (("default (ResNet-10t, 112 px)", default), ("EfficientNet-B3, 224 px", paper))
        for precision in ("f32", "bf16")
    ]
    print(markdown(rows))


def training(steps: int) -> None:
    """A table of training steps, over flat scenes and with all of them over reliefs."""
    rows = []
    for relief in (0.0, 0.2):
        data = DataConfig(relief=relief, relief_rate=1.0, curriculum=0.0)
        source = BatchSource([bundled_print()], default_camera(112), Workspace(), data, 0)
        trainer = Trainer(NetworkConfig(), LossConfig(), source, TrainConfig(steps=10 + steps))
        for _ in range(min(10, steps)):
            trainer.advance()
        trainer.seconds, trainer.shares = 0.0, {}
        for _ in range(steps):
            trainer.advance()
        views = steps * data.views
        rows.append(
            {
                "scenes": f"relief of up to {100 * relief:.0f} %" if relief else "flat",
                **{name: f"{100 * value / trainer.seconds:.1f} %" for name, value in trainer.shares.items()},
                "images/s": round(views / trainer.seconds),
            }
        )
    print(markdown(rows))


def main() -> None:
    """Both tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", choices=("laws", "training"))
    options.add_argument("--steps", type=int, default=40, help="of each training")
    given = options.parse_args()
    print(header())
    if given.only != "training":
        laws()
    if given.only != "laws":
        training(given.steps)


if __name__ == "__main__":
    run_script(main)
