"""The rows of `siame bench paper`: from the paper's training to ours in four steps, with several backbones; and VGG with Eq. 5.

What an image passes is the paper's in the first three steps: 224 px, average pooling over the last map, difference, head 1024-256-6. Our
loop is common to all of them, and not the paper's: a one-cycle learning rate (here without a rise), bf16 autocast where the machine computes with
bfloat16 itself, gradients clipped at 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from siame_se3.errors import InputError
from siame_se3.experiments.imagenet import LITE0, MEAN, STD
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import LossConfig
from siame_se3.networks.part_configs import InputConfig
from siame_se3.training.data import DataConfig
from siame_se3.training.recipe import Recipe, TrainConfig

IMAGES = 100_000  # that a row's network sees
SMALL_TIMES = 5  # so many times more for the small backbone, which is that much faster
QUICK_IMAGES, QUICK_SIDE, QUICK_VIEWS = 160, 64, 8

STEPS = {
    "paper": "the paper's: its pairs, Eq. 6",
    "all-pairs": "the same with all pairs of 50 views",
    "losses": "with our inputs, losses and optimiser",
    "ours": "ours: homography pooling, relative fusion",
    "pose": "pose of one image, Eq. 5",
}

Start = Literal["random", "hub", "package"]


@dataclass(frozen=True)
class Backbone:
    """A backbone of the ladder.

    Attributes:
        name: in the rows' names.
        timm: its name there.
        start: its first weights: random, timm's of ImageNet from a hub, or those of a package (see `imagenet`).
        side, stride: of our step: image [px], and input per cell [px]; 14 x 14 cells in each case.
        times: its images over the other backbones'.
    """

    name: str
    timm: str
    start: Start = "random"
    side: int = 224
    stride: int = 16
    times: int = 1

    @property
    def weights(self) -> str:
        """Its first weights, in words."""
        return "random" if self.start == "random" else "ImageNet"


@dataclass(frozen=True)
class Row:
    """A training of the ladder.

    Attributes:
        rung: of `STEPS`.
        backbone: of the network.
        recipe: with its number of steps.
    """

    rung: str
    backbone: Backbone
    recipe: Recipe

    @property
    def name(self) -> str:
        """Also of its files."""
        return f"{self.rung}-{self.backbone.name}"

    @property
    def steps(self) -> int:
        """Of the training."""
        assert self.recipe.train.steps is not None
        return self.recipe.train.steps

    def images(self, step: int) -> int:
        """That have been seen after a step."""
        return step * self.recipe.data.views * self.recipe.data.groups


SMALL = Backbone("resnet10t", "resnet10t", side=112, stride=8, times=SMALL_TIMES)
B3 = Backbone("b3", "efficientnet_b3")
BACKBONES = (SMALL, B3, Backbone("lite0-imagenet", LITE0, "package"), Backbone("lite0", LITE0))
HUB = (Backbone("b3-imagenet", "efficientnet_b3", "hub"),)
VGGS = (Backbone("vgg11", "vgg11"), Backbone("vgg16", "vgg16"))

# Those that say most come first: what time there is goes to them.
_FIRST = ("paper-b3", "ours-b3", "ours-resnet10t", "losses-b3", "all-pairs-b3", "paper-resnet10t")


def paper(backbone: Backbone) -> Recipe:
    """Siame-se(3) as published: Eq. 6 with the norm itself, 25 pairs of two views a step, Adam at 1e-4, of the loss weights 5e-4."""
    network = replace(NetworkConfig.paper(), backbone=backbone.timm, pretrained=backbone.start == "hub")
    if backbone.start == "package":
        network = replace(network, input=InputConfig(mean=MEAN, std=STD))
    data = DataConfig(views=50, near=0.0, pairs="paper", spread=(1.0, 1.0), curriculum=0.0)
    adam = TrainConfig(optimiser="adamw", lr=1e-4, lr_loss=5.0, weight_decay=0.0, warmup=0.0, average=0.0)
    return Recipe(network, LossConfig("eq6", norm="l2", near=0.0, where=0.0), data, train=adam)


def all_pairs(backbone: Backbone) -> Recipe:
    """The paper's, with each of the 50 views of a step as the goal of each other."""
    recipe = paper(backbone)
    return replace(recipe, data=replace(recipe.data, pairs="all"))


def losses(backbone: Backbone) -> Recipe:
    """The paper's layers with our views, losses and optimiser. 'where' needs a map, which average pooling does not have."""
    ours = NetworkConfig()
    network = replace(
        paper(backbone).network,
        local_contrast=ours.local_contrast,
        zero_at_goal=ours.zero_at_goal,
        output_scale=ours.output_scale,
        input=ours.input,
    )
    return Recipe(network, LossConfig(where=0.0))


def ours(backbone: Backbone) -> Recipe:
    """The default recipe, with 14 x 14 cells of the backbone."""
    network = NetworkConfig(backbone.timm, backbone.side, stride=backbone.stride, pretrained=backbone.start == "hub")
    return Recipe(network)


def pose(backbone: Backbone) -> Recipe:
    """Bateux et al. 2018: the pose of one image by a VGG with its two layers of 4096, Eq. 5, with the paper's views."""
    recipe = paper(backbone)
    network = replace(NetworkConfig.vgg_pose(), backbone=backbone.timm, pretrained=backbone.start == "hub")
    return replace(recipe, network=network, loss=LossConfig("eq5", norm="l2", near=0.0, where=0.0))


_RECIPES: dict[str, Callable[[Backbone], Recipe]] = {
    "paper": paper,
    "all-pairs": all_pairs,
    "losses": losses,
    "ours": ours,
    "pose": pose,
}


def rows(images: int = IMAGES, seed: int = 42, pretrained: bool = False, fast: bool = False) -> list[Row]:
    """All rows, the most important ones first.

    Args:
        images: that each row's network sees; five times as many for the small backbone.
        seed: of the weights and the views.
        pretrained: also the rows that start from a hub's ImageNet weights.
        fast: sums in any order (see `TrainConfig`).
    """
    backbones = (*BACKBONES, *(HUB if pretrained else ()))
    wanted = [(rung, backbone) for backbone in backbones for rung in STEPS if rung != "pose"]
    wanted += [("pose", backbone) for backbone in VGGS]
    found = [_row(rung, backbone, images, seed, fast) for rung, backbone in wanted]
    first = {name: k for k, name in enumerate(_FIRST)}
    return sorted(found, key=lambda row: first.get(row.name, len(first)))


def chosen(known: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Of the rows those of these names, in the names' order; all of them for no names.

    Raises:
        InputError: no such row.
    """
    by_name = {row.name: row for row in known}
    if unknown := [name for name in names if name not in by_name]:
        raise InputError(f"{unknown[0]}: no such row; use some of {', '.join(by_name)}", "only")
    return [by_name[name] for name in names] or list(known)


def quick(seed: int = 42) -> list[Row]:
    """The four steps with the small backbone, in a minute: tiny images, few of them."""
    return [shrunk(row, QUICK_SIDE, QUICK_VIEWS, QUICK_IMAGES) for row in rows(seed=seed) if row.backbone == SMALL]


def shrunk(row: Row, side: int, views: int, images: int) -> Row:
    """A row with images of another side [px], fewer of them a step and in all."""
    recipe = replace(
        row.recipe, network=replace(row.recipe.network, image_size=side), data=replace(row.recipe.data, views=views)
    )
    return replace(row, recipe=recipe.of_steps(math.ceil(images / views)))


def _row(rung: str, backbone: Backbone, images: int, seed: int, fast: bool) -> Row:
    recipe = _RECIPES[rung](backbone)
    steps = math.ceil(images * backbone.times / recipe.data.views)
    # A state is some times the weights' size: seldom written.
    train = replace(recipe.train, steps=steps, fast=fast, checkpoint_seconds=300.0, evaluations=0, log_every=5)
    return Row(rung, backbone, replace(recipe, seed=seed, train=train))
