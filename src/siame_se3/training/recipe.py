"""What a training is: `Recipe`, one for the command, the experiments and the ablation; it stands in the model's card."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch

from siame_se3.errors import InputError, require_number
from siame_se3.files import require_types
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import LossConfig
from siame_se3.networks.part_configs import FitConfig, HomographyConfig
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.poses import Workspace
from siame_se3.training.data import DataConfig
from siame_se3.training.precision import precision_for

MINUTES = 5.0  # of training where nothing else is said


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        steps: optimiser steps; the learning rate is a one-cycle over them. None: as many as the recipe's minutes are worth.
        optimiser: 'muon' for the matrices (Jordan et al. 2024; a third fewer steps here) with AdamW for the rest, or 'adamw'.
        lr: peak learning rate of AdamW (1e-4, the paper's, for EfficientNet-B3 from ImageNet weights).
        lr_muon: peak learning rate of Muon.
        lr_loss: of the loss weights, as a multiple of lr (the paper's 5e-4 / 1e-4).
        weight_decay: AdamW's, on matrices.
        warmup: share of the steps over which the learning rate rises.
        clip: largest norm of the gradient.
        average: decay of the running average of the weights that is kept as the result; 0 for the last weights.
        precision: 'bf16' autocast or 'f32'; 'auto': bf16 where the processor or GPU computes with bfloat16 itself, which is then faster, else f32,
            which elsewhere is up to eleven times as fast.
        fast: sums in any order, so that two trainings with several threads differ in their last bits. By default a training repeats itself
            bit for bit on the same machine with the same number of threads.
        checkpoint_seconds: time between saved states [s].
        evaluations: closed-loop evaluations on the way.
        log_every: steps between log lines.
        workers: processes that plan batches ahead, for a GPU; 0 for none. They import the program: a script of your own then needs
            `if __name__ == "__main__":` around what it runs.
        kept: fusion of the network that is kept: with 'geometric' the head, through which S(I) learns, is thrown away as the loss's weights are,
            and the poses that S(I) and S(I*) are say the velocity (of pooling homography with fusion 'relative'; others have none to throw away);
            'trained': as it was trained.

    Raises:
        InputError: a value that trains nothing.
    """

    steps: int | None = None
    optimiser: Literal["muon", "adamw"] = "muon"
    lr: float = 3e-3
    lr_muon: float = 0.04
    lr_loss: float = 5.0
    weight_decay: float = 0.01
    warmup: float = 0.15
    clip: float = 5.0
    average: float = 0.99
    precision: Literal["auto", "bf16", "f32"] = "auto"
    fast: bool = False
    checkpoint_seconds: float = 30.0
    evaluations: int = 4
    log_every: int = 10
    workers: int = 0
    kept: Literal["trained", "geometric"] = "trained"

    def __post_init__(self) -> None:
        require_types(self, "training")
        require_number(self, "workers", 0, whole=True)
        for name in ("lr_loss", "weight_decay", "checkpoint_seconds"):
            require_number(self, name, 0)
        require_number(self, "clip", 0, open_low=True)
        require_number(self, "warmup", 0, 1)
        if (self.steps is not None and self.steps < 1) or self.log_every < 1:
            raise InputError("training: steps and log_every have to be 1 or more", "steps", "train.log_every")
        if not (0 < self.lr < math.inf and 0 < self.lr_muon < math.inf):
            raise InputError("training: give finite learning rates above 0", "train.lr", "train.lr_muon")
        if not 0 <= self.average < 1:
            raise InputError(f"training: average {self.average}; give a decay from 0 (off) to below 1", "train.average")

    def on(self, device: torch.device) -> TrainConfig:
        """The same, 'auto' as what it is on a device."""
        return replace(self, precision=precision_for(device)) if self.precision == "auto" else self


@dataclass(frozen=True)
class Recipe:
    """How a network is made; by default by the paper's disturbances, which the tables of the docs are made with, see also `for_photos`. Its budget
    is `train.steps`, or else `minutes`.

    Attributes:
        network, loss, data, workspace, train: what their classes say.
        camera: of the training's views; None for the default one at the network's image size.
        scenes: how many scenes it is for; of the experiments' networks, that many photos of their list, and 0 for their one print.
        width: of the scenes [m].
        init: the model whose weights it starts from: its file or name, '' for random weights.
        times: of the experiments' networks, the budget over the others'.
        minutes: budget of training [min], where `train.steps` is None; the number of steps is measured.
        seed: of the weights and the views.

    Raises:
        InputError: no budget above 0.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)
    workspace: Workspace = field(default_factory=Workspace)
    scenes: int = 0
    width: float = 0.8
    init: str = ""
    times: float = 1.0
    camera: Camera | None = None
    train: TrainConfig = field(default_factory=TrainConfig)
    minutes: float = MINUTES
    seed: int = 0

    def __post_init__(self) -> None:
        require_types(self, "training")
        if not 0 < self.minutes < math.inf:
            raise InputError(f"training: a budget of {self.minutes} min; give a finite time above 0", "minutes")

    @property
    def seen_by(self) -> Camera:
        """The camera of the training's views."""
        return self.camera or default_camera(self.network.image_size)

    @property
    def budget(self) -> float | None:
        """Minutes that the number of steps is measured for; None where that number is given."""
        return None if self.train.steps is not None else self.minutes * self.times

    def of_steps(self, steps: int) -> Recipe:
        """The same with the number of steps given."""
        return replace(self, train=replace(self.train, steps=steps))

    def on(self, device: torch.device) -> Recipe:
        """The same with the precision that the device is faster in, where none is asked for."""
        return replace(self, train=self.train.on(device))

    def tuned(self) -> Recipe:
        """The same with a third of the learning rates: to go on from a trained network."""
        return replace(self, train=replace(self.train, lr=self.train.lr / 3, lr_muon=self.train.lr_muon / 3))

    def in_card(self) -> dict[str, Any]:
        """As it is in a model's card: what JSON can hold."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def for_photos() -> Recipe:
    """How a network is made that is to work on other pictures of the place than the photo it is trained on: what the train command does.

    The disturbances are a real camera's, and the photo's noise is not taught. Cells may be as sure as they can be of where they are (b down to
    0.0025 half scene widths): in another picture a part of what they see has moved, and only the sure ones tell. S(I) learns through a head, which
    under these disturbances learns to answer less than it should, and is not kept.
    """
    homography = HomographyConfig(log_scale=(-6.0, 1.0), fit=FitConfig(kernel=2.0))
    camera = Augmentation(colour=0.1, noise=0.04, blur=1.2, vignetting=0.4, surroundings=0.8, bend=0.02)
    return Recipe(
        network=NetworkConfig(homography=homography),
        data=DataConfig(augmentation=camera, denoise=True),
        train=TrainConfig(kept="geometric"),
    )


_BUDGET = {"minutes", "seed"}  # a kept network may have been trained for longer, and from another seed
_RUNNING = {
    "steps",
    "checkpoint_seconds",
    "evaluations",
    "log_every",
    "fast",
    "workers",
    "precision",
}  # of `train`: they make no other network, the precision but for rounding


def difference(kept: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The first option that a kept recipe has otherwise than the wanted one, '' for none; both as `Recipe.in_card` writes them.

    Budget and seed make no difference. An option that did not exist when the kept recipe was written had what is now its default; recipes
    that have no `train` at all are from before it was recorded, and are not compared in it.
    """
    mine, theirs = _definition(wanted), _definition(kept)
    if "train" not in theirs:
        mine.pop("train", None)
    return _difference(theirs, mine, _definition(Recipe().in_card()), "")


def _definition(card: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in card.items() if name not in _BUDGET}
    if isinstance(rest.get("train"), dict):
        rest["train"] = {name: value for name, value in rest["train"].items() if name not in _RUNNING}
    return rest


def _difference(kept: dict[str, Any], wanted: dict[str, Any], usual: dict[str, Any], above: str) -> str:
    for name in {**wanted, **kept}:
        was, now = kept.get(name, usual.get(name)), wanted.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            if inner := _difference(was, now, usual.get(name) or {}, f"{above}{name}."):
                return inner
        elif was != now:
            return f"{above}{name} {was}, now {now}"
    return ""
