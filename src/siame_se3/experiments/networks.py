"""The networks of the benchmark's rows: trained on its scene for a stated budget when they are missing, then kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

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

BUNDLED = ("any-scene", "coffee")  # names of networks that come with the package, and are not trained here
NONE_INSTEAD: Mapping[str, str] = MappingProxyType({})
_WAIT = 1.0  # between looks whether another process is done with a network [s]


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


def root(name: str) -> str:
    """The network that a network's training begins with, or its own name; two of one root are not trained at a time."""
    while name not in BUNDLED and (first := recipe_of(name).init):
        name = first
    return name


def digest(model: Model) -> str:
    """Of a network's weights, as they are loaded."""
    return checkpoint.digests({}, model.network.state_dict())["weights_sha256"]


def minutes_of(model: Model) -> float | None:
    """The budget that a network was trained with [min]; None where its card does not say."""
    minutes: float | None = model.card.get("recipe", {}).get("minutes")
    return minutes


def obtain(
    name: str,
    scenes: Sequence[Scene],
    folder: Path,
    minutes: float,
    seed: int,
    say: Callable[[str], None] = lambda line: None,
    instead: Mapping[str, str] = NONE_INSTEAD,
) -> Model:
    """A network by its name, trained for `minutes` if it is not there; an interrupted training goes on, and one of another process is waited for.

    Args:
        instead: names of bundled networks, by those of the networks that they are taken for.

    Raises:
        InputError: the one that is there was trained by another recipe, for less time, on other scenes, or from other weights.
    """
    names = [scene.name for scene in scenes]
    if (model := kept(name, names, folder, minutes, instead)) is not None:
        return model
    path, recipe = path_of(folder, name), recipe_of(name)
    recipe = replace(recipe, minutes=minutes, seed=seed, train=replace(recipe.train, evaluations=0))
    initial: Mapping[str, Tensor] | None = None
    facts: dict[str, str] = {}
    if recipe.init:
        first = obtain(recipe.init, scenes, folder, minutes, seed, say, instead)
        initial, facts = first.network.weights_for(recipe.network), {"initial": digest(first)}

    def report(p: Progress) -> None:
        if p.step % max(1, p.steps // 5) < recipe.train.log_every or p.step == p.steps:
            say(f"  training {name}: step {p.step} of {p.steps}, loss {p.loss:.3f}, {p.seconds:.0f} s")

    # what it starts from is kept with its state: it is not what is there when an interrupted training goes on
    callbacks = Callbacks(report, say=lambda line: say(f"  {line}"), card=lambda: facts, kept=facts)
    waits = False
    while not path.is_file():
        try:
            return fit(recipe, scenes, path, callbacks, initial).model
        except InputError as error:
            if not isinstance(error.__context__, BlockingIOError):  # not the lock of `exclusive`
                raise
        if not waits:
            say(f"  {path}: another process trains it; waiting for that")
        waits = True
        time.sleep(_WAIT)
    return _checked(path, recipe, names, folder, instead)


def kept(
    name: str, scenes: Sequence[str], folder: Path, minutes: float, instead: Mapping[str, str] = NONE_INSTEAD
) -> Model | None:
    """A network by its name if it is there; None where it would be trained.

    Args:
        scenes: the names of those that it is for.

    Raises:
        InputError: it is not the one that `obtain` would train.
    """
    taken = instead.get(name, name)
    if taken in BUNDLED:
        return checkpoint.load(taken)
    path = path_of(folder, name)
    return (
        _checked(path, replace(recipe_of(name), minutes=minutes), scenes, folder, instead) if path.is_file() else None
    )


def _checked(path: Path, recipe: Recipe, scenes: Sequence[str], folder: Path, instead: Mapping[str, str]) -> Model:
    """A network that is there, if it is the one that is wanted."""
    model, advice = checkpoint.load(path), "remove it, or write to another place"
    if "recipe" not in model.card and digest(model) == digest(checkpoint.load("coffee")):
        raise InputError(
            f"{path}: the bundled model, put there by --quick or --bundled-model of an earlier version; remove it to train one",
            "out",
        )
    if "recipe" in model.card and (field := difference(model.card["recipe"], recipe.in_card())):
        raise InputError(f"{path}: trained by another recipe ({field}); {advice}", "out")
    minutes = minutes_of(model)
    if minutes is not None and minutes < recipe.minutes:
        raise InputError(
            f"{path}: trained for {minutes:g} minutes, and {recipe.minutes:g} are asked for; {advice}",
            *("out", "minutes"),
        )
    if recipe.scenes and model.card.get("scenes", scenes) != list(scenes):
        raise InputError(f"{path}: trained on other scenes; {advice}", "out")
    first = instead.get(recipe.init, recipe.init)
    place = Path(first) if first in BUNDLED else path_of(folder, first)
    there = "initial" in model.card and (first in BUNDLED or place.is_file())
    if there and digest(checkpoint.load(place)) != model.card["initial"]:
        raise InputError(f"{path}: trained from another {recipe.init} than {place}; {advice}", "out")
    return model
