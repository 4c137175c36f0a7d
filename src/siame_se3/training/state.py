"""The state of an interrupted training on disk, and going on from it: safetensors, no pickle; one scheme for all who train.

A state holds all tensors of a `Trainer`, its step, what its training is (`identity`), and the budget that its number of steps was
measured for.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from siame_se3.errors import InputError, TrainingError
from siame_se3.files import atomically, from_dict
from siame_se3.networks.part_configs import HomographyConfig
from siame_se3.scenes.planar import Scene
from siame_se3.training.data import DataConfig
from siame_se3.training.recipe import Recipe, TrainConfig, for_photos
from siame_se3.training.schedule import Schedule
from siame_se3.training.trainer import Trainer

FORMAT, VERSION = "siame-se3 training state", "2"

_BLOCKS = 4  # a side, whose means a texture is known by again
_LEAST = 5  # things that a scene is known by, in a state of any age


def path_of(model: Path) -> Path:
    """Where the state of the training of a model stands: beside it."""
    return model.with_name(model.name + ".state")


@dataclass(frozen=True)
class Begun:
    """What an interrupted training was to be.

    Attributes:
        steps: how many it was to make.
        done: how many it has made.
        minutes: that the number was measured for; None where it was given.
    """

    steps: int
    done: int
    minutes: float | None


def begun(path: Path) -> Begun | None:
    """What the training was to be whose state is there; None where there is none.

    Raises:
        TrainingError: the file is no training state, or a damaged one.
    """
    if not path.is_file():
        return None
    metadata, _ = _read(path, tensors=False)
    try:
        minutes = json.loads(metadata["minutes"])
        steps, done = int(json.loads(metadata["identity"])["train"]["steps"]), int(metadata["step"])
        return Begun(steps, done, None if minutes is None else float(minutes))
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError):
        raise _damaged(path) from None


def as_begun(recipe: Recipe, path: Path) -> Recipe:
    """The recipe by which an interrupted training goes on: in the precision that it was begun in, where none is asked for; one from before photos
    were cleaned had other usual settings (`for_photos`), which it keeps likewise.

    Raises:
        TrainingError: the file is no training state, or a damaged one.
    """
    if not path.is_file():
        return recipe
    metadata, _ = _read(path, tensors=False)
    try:
        began = json.loads(metadata["identity"])
        if recipe.train.precision == "auto":
            begun_in = from_dict(TrainConfig, began["train"], "train").precision
            recipe = replace(recipe, train=replace(recipe.train, precision=begun_in))
        if "denoise" in began["data"]:
            return recipe
        data = from_dict(DataConfig, began["data"], "data")
        homography = from_dict(HomographyConfig, began["network"]["homography"], "network")
    except (KeyError, ValueError, TypeError, RecursionError, InputError):
        raise _damaged(path) from None
    usual, mine = for_photos(), recipe.data
    augmentation = _kept(mine.augmentation, data.augmentation, usual.data.augmentation)
    denoise = data.denoise if mine.denoise == usual.data.denoise else mine.denoise
    kept = "trained" if recipe.train.kept == usual.train.kept else recipe.train.kept
    return replace(
        recipe,
        network=replace(
            recipe.network, homography=_kept(recipe.network.homography, homography, usual.network.homography)
        ),
        data=replace(mine, augmentation=augmentation, denoise=denoise),
        train=replace(recipe.train, kept=kept),
    )


def _kept(mine: Any, theirs: Any, usual: Any) -> Any:
    """`mine`, of a dataclass, with `theirs` in each field that is as usual."""
    names = [f.name for f in dataclasses.fields(mine)]
    return replace(mine, **{n: getattr(theirs, n) for n in names if getattr(mine, n) == getattr(usual, n)})


def save(trainer: Trainer, path: Path, minutes: float | None = None, findings: Mapping[str, Any] | None = None) -> None:
    """Write the state atomically: after a kill there is this one or the one before.

    Args:
        minutes: that the number of steps was measured for; None where it was given.
        findings: of whoever trains, as JSON has them; `load` gives them back.
    """
    kept = {k: v.detach().cpu().contiguous().clone() for k, v in tensors(trainer).items()}
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "identity": json.dumps(identity(trainer), sort_keys=True),
        "minutes": json.dumps(minutes),
        "step": str(trainer.step),
        "schedule": json.dumps(dataclasses.asdict(trainer.schedule)),
        "seconds": repr(trainer.seconds),
        "shares": json.dumps(trainer.shares),
        "evaluated": str(trainer.evaluated),
        "findings": json.dumps(dict(findings or {})),
    }
    atomically(path, lambda partial: save_file(kept, partial, metadata))


def load(trainer: Trainer, path: Path) -> dict[str, Any]:
    """Put a saved state of the same training into a trainer; returns the findings that were saved with it.

    Raises:
        TrainingError: the file is damaged, or of a training with other options.
    """
    metadata, found = _read(path)
    try:
        theirs = _of_now(dict(json.loads(metadata["identity"])))
        step, seconds = int(metadata["step"]), float(metadata["seconds"])
        evaluated = int(metadata.get("evaluated", step))
        findings = dict(json.loads(metadata.get("findings", "{}")))  # an older state has none
        shares = {str(k): float(v) for k, v in json.loads(metadata["shares"]).items()}
        schedule = trainer.schedule  # a state from before plans were changed on the way has none
        if kept := metadata.get("schedule"):
            schedule = from_dict(Schedule, json.loads(kept), "schedule")
        if schedule.length != trainer.schedule.length or step > schedule.steps:
            raise _damaged(path)
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError, InputError):
        raise _damaged(path) from None
    mine = json.loads(json.dumps(identity(trainer)))
    mine["scenes"] = _as_known(mine["scenes"], theirs.get("scenes"))
    if other := ", ".join(k for k in mine if not _alike(mine[k], theirs.get(k))):
        raise TrainingError(
            f"{path}: state of a training with other options ({other}); give the same ones, remove it, or write to another place",
            "out",
        )
    try:
        _put(trainer, found, step)
    except (RuntimeError, KeyError, ValueError):
        raise _damaged(path) from None
    trainer.step, trainer.seconds, trainer.shares, trainer.evaluated = step, seconds, shares, evaluated
    trainer.plan(schedule)
    return findings


def _as_known(mine: list[list[Any]], theirs: Any) -> list[list[Any]]:
    """The scenes by as much as a state knows them by, see `_scene`; whole where what it has are not as many scenes."""
    if not isinstance(theirs, list) or len(theirs) != len(mine) or not all(isinstance(their, list) for their in theirs):
        return mine
    return [own[: max(_LEAST, len(their))] for own, their in zip(mine, theirs, strict=True)]


def _alike(mine: Any, theirs: Any) -> bool:
    """Whether they are equal; sums of pixels and weights to what another number of threads makes of them."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return mine.keys() == theirs.keys() and all(_alike(value, theirs[key]) for key, value in mine.items())
    if isinstance(mine, list) and isinstance(theirs, list):
        return len(mine) == len(theirs) and all(map(_alike, mine, theirs))
    if isinstance(mine, float) and isinstance(theirs, float):
        return math.isclose(mine, theirs, rel_tol=1e-6)
    return bool(mine == theirs)


def _of_now(identity: dict[str, Any]) -> dict[str, Any]:
    """A saved identity with the options that have come since, each as it was before."""
    found = {
        name: from_dict(kind, identity[name], name) for name, kind in (("data", DataConfig), ("train", TrainConfig))
    }
    return identity | {name: json.loads(json.dumps(dataclasses.asdict(options))) for name, options in found.items()}


def identity(trainer: Trainer) -> dict[str, Any]:
    """All that a training depends on, as JSON has it."""
    data = trainer.data
    return {
        "network": dataclasses.asdict(trainer.network_config),
        "loss": dataclasses.asdict(trainer.loss_config),
        "data": dataclasses.asdict(data.config),
        "train": dataclasses.asdict(trainer.config),
        "workspace": dataclasses.asdict(data.workspace),
        "camera": dataclasses.asdict(data.camera),
        "scenes": [_scene(scene) for scene in data.scenes],
        "seed": data.seed,
        "output": data.output,
        "initial": trainer.initial_sum,
    }


def _scene(scene: Scene) -> list[Any]:
    """What a scene is known by again: states from before today have the first five."""
    blocks = (
        F.adaptive_avg_pool2d(scene.texture.double(), _BLOCKS).flatten().tolist()
    )  # a turned picture has the same sum
    named = [scene.name, scene.width, scene.height, list(scene.texture.shape), float(scene.texture.double().sum())]
    return [*named, blocks, scene.fill, scene.extent]


def tensors(trainer: Trainer) -> dict[str, Tensor]:
    """All of a trainer's, by name: weights, average, loss weights, auxiliary layers, the optimisers' moments."""
    found = {f"network.{k}": v for k, v in trainer.network.state_dict().items()}
    found |= {f"average.{k}": v for k, v in trainer.average.state_dict().items()}
    found |= {f"loss.{k}": v for k, v in trainer.loss.state_dict().items()}
    if trainer.where is not None:
        found |= {f"where.{k}": v for k, v in trainer.where.state_dict().items()}
    for n, optimiser in enumerate(trainer.optimisers):
        for k, moments in optimiser.state_dict()["state"].items():
            found |= {f"optimiser.{n}.{k}.{name}": value for name, value in moments.items()}
    return found


def _put(trainer: Trainer, found: dict[str, Tensor], step: int) -> None:
    """All or, where something is missing or of another shape, nothing."""
    mine = {k: v.shape for k, v in tensors(trainer).items() if not k.startswith("optimiser.")}
    if mine != {k: v.shape for k, v in found.items() if not k.startswith("optimiser.")}:
        raise KeyError("weights are missing")
    moments = [
        _moments(optimiser, _part(found, f"optimiser.{n}."), step) for n, optimiser in enumerate(trainer.optimisers)
    ]
    for name in ("network", "average", "loss", "where"):
        module = getattr(trainer, name)
        if module is not None:
            module.load_state_dict(_part(found, f"{name}."), strict=True)
    for optimiser, loaded in zip(trainer.optimisers, moments, strict=True):
        optimiser.load_state_dict(loaded)


def _part(found: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}


def _moments(optimiser: torch.optim.Optimizer, found: dict[str, Tensor], step: int) -> dict[str, Any]:
    """An optimiser's state dictionary with its moments by parameter."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in found.items():
        index, name = key.split(".")
        moments.setdefault(int(index), {})[name] = value
    full: dict[str, Any] = optimiser.state_dict()
    moved = [k for k in range(sum(len(g["params"]) for g in full["param_groups"])) if k in moments]
    expected = sum(p.requires_grad for g in optimiser.param_groups for p in g["params"])
    parameters = [p for g in optimiser.param_groups for p in g["params"]]
    if step > 0 and len(moved) != expected:
        raise KeyError("an optimiser's moments are missing")
    if len(moved) != len(moments):
        raise KeyError("moments of a parameter that there is not")
    for k, values in moments.items():  # in each parameter's own memory layout, which the fused optimiser of a GPU wants
        for name, value in values.items():  # and none in the file's: an open file cannot be replaced on every system
            mine = torch.empty_like(parameters[k]) if value.shape == parameters[k].shape else torch.empty_like(value)
            values[name] = mine.copy_(value)
    return full | {"state": moments}


def _read(path: Path, tensors: bool = True) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a state."""
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise TrainingError(f"{path}: not a training state; remove it, or write to another place", "out")
            if metadata.get("version") != VERSION:
                raise TrainingError(
                    f"{path}: a training state of another version of siame-se3; go on with that one, or remove the file to start again"
                )
            return metadata, {key: file.get_tensor(key) for key in file.keys()} if tensors else {}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError):
        raise _damaged(path) from None


def _damaged(path: Path) -> TrainingError:
    return TrainingError(f"{path}: a damaged training state; remove it to start again")
