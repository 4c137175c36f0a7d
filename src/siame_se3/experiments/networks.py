"""The networks of the benchmark's rows: trained on its scene for a stated budget when they are missing, then kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from siame_se3.errors import SiameError
from siame_se3.experiments import photos
from siame_se3.files import hardware
from siame_se3.geometry.camera import default_camera
from siame_se3.networks import checkpoint
from siame_se3.networks.checkpoint import Model
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import LossConfig
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.training.batches import BatchSource, DataConfig
from siame_se3.training.trainer import Progress, TrainConfig, Trainer, steps_in, train


@dataclass(frozen=True)
class Recipe:
    """How a row's network is made.

    Attributes:
        scenes: how many photos of the list it is for; 0 for the benchmark's one scene.
        width: of each of these prints [m]; their height follows.
        init: the network whose weights it starts from, '' for random ones.
        times: its budget over the others'.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)
    workspace: Workspace = field(default_factory=Workspace)
    scenes: int = 0
    width: float = photos.WIDTH
    init: str = ""
    times: float = 1.0


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
    "siame-se(3)-wide": Recipe(NetworkConfig(fusion="geometric"), data=DataConfig(starts="wide")),
    # for noise, blur and bad light, which the default augmentation hardly has
    "siame-se(3)-robust": Recipe(
        NetworkConfig(fusion="geometric"),
        data=DataConfig(
            augmentation=Augmentation(
                noise=0.1, blur=3.5, occlusion=0.33, occlusion_rate=0.7, brightness=0.3, contrast=0.6, saturation=0.4
            ),
            curriculum=0.3,
        ),
        init="siame-se(3)",
        times=4.0,
    ),
    # of the robot runs
    "wide-0.8m": Recipe(
        NetworkConfig(fusion="geometric"), data=DataConfig(starts="wide"), workspace=Workspace().at(0.8)
    ),
    "a3-10": Recipe(
        NetworkConfig(fusion="geometric"),
        data=DataConfig(views=16, groups=4, starts="wide"),
        workspace=Workspace().at(0.3),
        scenes=10,
        width=0.42,
        times=4.0,  # in one budget it has just begun to tell its scenes apart
    ),
}


def recipe_of(name: str) -> Recipe:
    """Of a name in RECIPES, or of 'many-N-colour' and 'many-N-grey', one network for N scenes."""
    if not name.startswith("many-"):
        return RECIPES[name]
    _, count, colour = name.split("-")
    # Four scenes a step, so that its gradient is not that of one of them; cells are matched, not learned by heart, so that the number of
    # scenes costs nothing.
    network = NetworkConfig(colour=colour == "colour", pooling="descriptors", fusion="matching", head=(256, 256))
    data = DataConfig(views=16, groups=4, near=0.25, near_weight=4.0, most_pairs=48)
    return Recipe(network, data=data, scenes=int(count))


def path_of(folder: Path, name: str) -> Path:
    """Where a network is kept; its training state stands beside it until it is done."""
    return folder / "networks" / f"{name.replace('(', '').replace(')', '')}.safetensors"


def in_card(recipe: Recipe) -> dict[str, Any]:
    """As it is in a model's card."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return plain


def difference(kept: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The first option that a kept recipe has otherwise than the wanted one, '' for none. One that did not exist when the kept one was
    written had what is now its default."""
    return _difference(kept, wanted, in_card(Recipe()), "")


def _difference(kept: dict[str, Any], wanted: dict[str, Any], usual: dict[str, Any], above: str) -> str:
    for name in {**wanted, **kept}:
        was, now = kept.get(name, usual.get(name)), wanted.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            if inner := _difference(was, now, usual.get(name, {}), f"{above}{name}."):
                return inner
        elif was != now:
            return f"{above}{name} {was}, now {now}"
    return ""


def obtain(
    name: str,
    scenes: Sequence[Scene],
    folder: Path,
    minutes: float,
    seed: int,
    tell: Callable[[str], None] = lambda line: None,
) -> Model:
    """A network by its name, trained for `minutes` if it is not there; an interrupted training goes on."""
    path = path_of(folder, name)
    recipe = recipe_of(name)
    if path.is_file():
        model = checkpoint.load(path)
        if "recipe" in model.card and (field := difference(model.card["recipe"], in_card(recipe))):
            raise SiameError(f"{path}: trained by another recipe ({field}); remove it, or give another --out")
        names = [scene.name for scene in scenes]
        if recipe.scenes and model.card.get("scenes", names) != names:
            raise SiameError(f"{path}: trained on other scenes; remove it, or give another --out")
        return model
    initial = None
    if recipe.init:
        initial = obtain(recipe.init, scenes, folder, minutes, seed, tell).network.weights_for(recipe.network)
    camera = default_camera(recipe.network.image_size)
    source = BatchSource(list(scenes), camera, recipe.workspace, recipe.data, seed, recipe.network.output)
    state = path.with_name(path.name + ".state")
    budget = path.with_name(path.name + ".steps")  # so that a training goes on with the number of steps it began with
    if not budget.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        budget.write_text(
            str(steps_in(minutes * recipe.times, recipe.network, recipe.loss, source, TrainConfig())), encoding="utf-8"
        )
    config = TrainConfig(steps=int(budget.read_text(encoding="utf-8")), evaluations=0)
    if initial is not None:  # to go on from a network, a third of the learning rates
        config = replace(config, lr=config.lr / 3, lr_muon=config.lr_muon / 3)
    trainer = Trainer(recipe.network, recipe.loss, source, config, initial)

    def report(p: Progress) -> None:
        if p.step % max(1, p.steps // 5) < config.log_every or p.step == p.steps:
            tell(f"  training {name}: step {p.step} of {p.steps}, loss {p.loss:.3f}, {p.seconds:.0f} s")

    network = train(trainer, state, report)
    card = {
        "recipe": in_card(recipe),
        "scenes": [scene.name for scene in scenes],
        "seed": seed,
        "steps": config.steps,
        "images": config.steps * recipe.data.views * recipe.data.groups,
        "seconds": round(trainer.seconds, 1),
        "hardware": hardware(),
        "date": time.strftime("%Y-%m-%d"),
    }
    model = Model(network.float().cpu(), camera, recipe.workspace.distance, scenes[0].width, card)
    checkpoint.save(model, path)
    for done in (state, budget):
        done.unlink(missing_ok=True)
    return model
