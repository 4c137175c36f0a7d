"""The networks of the benchmark's rows: trained on its scene for a stated budget when they are missing, then kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from siame_se3.errors import InputError
from siame_se3.networks import checkpoint
from siame_se3.networks.checkpoint import Model
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import LossConfig
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.training.data import DataConfig
from siame_se3.training.driver import Callbacks, Progress, fit
from siame_se3.training.recipe import Recipe, difference, for_photos

RECIPES = {
    "siame-se(3)": Recipe(),
    "photo": for_photos(),  # what the train command makes; the others are by the paper's disturbances, as the tables were made
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
    ).tuned(),
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
        times=4.0,  # in one budget it has just begun to distinguish its scenes
    ),
}

BUNDLED = ("any-scene",)  # names of networks that come with the package, and are not trained here


def recipe_of(name: str) -> Recipe:
    """Of a name in RECIPES, or of 'many-N-colour' and 'many-N-grey', one network for N scenes."""
    if not name.startswith("many-"):
        return RECIPES[name]
    _, count, colour = name.split("-")
    # Four scenes a step, so that its gradient is not that of one of them; cells are matched, not remembered, so that the number of
    # scenes costs nothing.
    network = NetworkConfig(colour=colour == "colour", pooling="descriptors", fusion="matching", head=(256, 256))
    data = DataConfig(views=16, groups=4, near=0.25, near_weight=4.0, most_pairs=48)
    return Recipe(network, data=data, scenes=int(count))


def path_of(folder: Path, name: str) -> Path:
    """Where a network is kept; its training state stands beside it until it is done."""
    return folder / "networks" / f"{name.replace('(', '').replace(')', '')}.safetensors"


def obtain(
    name: str,
    scenes: Sequence[Scene],
    folder: Path,
    minutes: float,
    seed: int,
    say: Callable[[str], None] = lambda line: None,
) -> Model:
    """A network by its name, trained for `minutes` if it is not there; an interrupted training goes on.

    Raises:
        InputError: the one that is there was trained by another recipe, for less time, or on other scenes.
    """
    if name in BUNDLED:
        return checkpoint.load(name)
    path, recipe = path_of(folder, name), recipe_of(name)
    recipe = replace(recipe, minutes=minutes, seed=seed, train=replace(recipe.train, evaluations=0))
    if path.is_file():
        return _kept(path, recipe, scenes)
    initial = None
    if recipe.init:
        initial = obtain(recipe.init, scenes, folder, minutes, seed, say).network.weights_for(recipe.network)

    def report(p: Progress) -> None:
        if p.step % max(1, p.steps // 5) < recipe.train.log_every or p.step == p.steps:
            say(f"  training {name}: step {p.step} of {p.steps}, loss {p.loss:.3f}, {p.seconds:.0f} s")

    return fit(recipe, scenes, path, Callbacks(report, say=lambda line: say(f"  {line}")), initial).model


def _kept(path: Path, recipe: Recipe, scenes: Sequence[Scene]) -> Model:
    """A network that is there, if it is the one that is wanted."""
    model = checkpoint.load(path)
    if "recipe" in model.card and (field := difference(model.card["recipe"], recipe.in_card())):
        raise InputError(f"{path}: trained by another recipe ({field}); remove it, or write to another place", "out")
    minutes = model.card.get("recipe", {}).get("minutes", recipe.minutes)
    if minutes < recipe.minutes:
        raise InputError(
            f"{path}: trained for {minutes:g} minutes, and {recipe.minutes:g} are asked for; remove it, or write to another place",
            *("out", "minutes"),
        )
    names = [scene.name for scene in scenes]
    if recipe.scenes and model.card.get("scenes", names) != names:
        raise InputError(f"{path}: trained on other scenes; remove it, or write to another place", "out")
    return model
