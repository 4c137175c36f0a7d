"""The networks of the benchmark's rows: trained on its scene for a stated budget when they are missing, then kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from siame_se3 import checkpoint
from siame_se3.checkpoint import Model
from siame_se3.data import BatchSource, DataConfig
from siame_se3.loss import LossConfig
from siame_se3.network import NetworkConfig
from siame_se3.sampling import Workspace
from siame_se3.scene import Scene
from siame_se3.simulate import default_camera, hardware
from siame_se3.train import Progress, TrainConfig, Trainer, steps_in, train


@dataclass(frozen=True)
class Recipe:
    """How a row's network is made."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)


RECIPES = {
    "siame-se(3)": Recipe(),
    "siame-se(3)-two": Recipe(loss=LossConfig("two")),
    "siame-SE(3)": Recipe(NetworkConfig(output="pose"), LossConfig("eq5")),
    # Bateux et al.'s idea (the pose of one image, no siamese head, average pooling, Eq. 5) with the backbone of the other rows:
    # their VGG-16 at 224 px, `NetworkConfig.vgg_pose()`, has 134 million weights and starts from ImageNet's.
    "absolute-pose": Recipe(
        NetworkConfig(pooling="average", fusion="absolute", output="pose", head=(256,)),
        LossConfig("eq5", where=0.0),
    ),
}


def path_of(folder: Path, name: str) -> Path:
    """Where a network is kept; its training state stands beside it until it is done."""
    return folder / "networks" / f"{name.replace('(', '').replace(')', '')}.safetensors"


def obtain(
    name: str, scene: Scene, folder: Path, minutes: float, seed: int, tell: Callable[[str], None] = lambda line: None
) -> Model:
    """The network of a row, trained for `minutes` if it is not there; an interrupted training goes on."""
    path = path_of(folder, name)
    if path.is_file():
        return checkpoint.load(path)
    recipe = RECIPES[name]
    camera, workspace = default_camera(recipe.network.image_size), Workspace()
    source = BatchSource([scene], camera, workspace, recipe.data, seed, recipe.network.output)
    state = path.with_name(path.name + ".state")
    budget = path.with_name(path.name + ".steps")  # so that a training goes on with the number of steps it began with
    if not budget.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        budget.write_text(str(steps_in(minutes, recipe.network, recipe.loss, source, TrainConfig())), encoding="utf-8")
    config = TrainConfig(steps=int(budget.read_text(encoding="utf-8")), evaluations=0)
    trainer = Trainer(recipe.network, recipe.loss, source, config)

    def report(p: Progress) -> None:
        if p.step % max(1, p.steps // 5) < config.log_every or p.step == p.steps:
            tell(f"  training {name}: step {p.step} of {p.steps}, loss {p.loss:.3f}, {p.seconds:.0f} s")

    network = train(trainer, state, report)
    card = {
        "recipe": asdict(recipe),
        "seed": seed,
        "steps": config.steps,
        "images": config.steps * recipe.data.views,
        "seconds": round(trainer.seconds, 1),
        "hardware": hardware(),
        "date": time.strftime("%Y-%m-%d"),
    }
    model = Model(network.float().cpu(), camera, workspace.distance, scene.width, card)
    checkpoint.save(model, path)
    for done in (state, budget):
        done.unlink(missing_ok=True)
    return model
