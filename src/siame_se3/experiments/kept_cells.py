"""What kept cells were made with: written beside each, and compared before any cell is run (see `runner`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siame_se3.errors import InputError
from siame_se3.experiments import networks, photos
from siame_se3.experiments.laws import LAWS
from siame_se3.files import read_json
from siame_se3.networks import checkpoint
from siame_se3.networks.checkpoint import Model
from siame_se3.training.recipe import difference

if TYPE_CHECKING:
    from siame_se3.experiments.runner import Cell, Setup

_ADVICE = "write to another place, or remove the row and its .json to run it again"


def what_of(cell: Cell, setup: Setup) -> dict[str, Any]:
    """A cell's runs, and the recipe of its network if it is trained here; as JSON has it."""
    law, bundled = LAWS[cell.law], setup.taken(cell.needs) in networks.BUNDLED
    what = {
        "law": cell.law,
        "image side": law.size,
        "gain": law.gain,
        "iterations": law.iterations,
        "starts": cell.starts,
        "runs": cell.runs,
        "seed": cell.seed,
        "scene": setup.scene.name,
        "disturbance": None if cell.disturbance is None else vars(cell.disturbance),
        "mismatch": None if cell.mismatch is None else vars(cell.mismatch),
        "scenes": [cell.split, *photos.names(cell.split, setup.photos)[: cell.scenes]] if cell.split else [],
        "network": cell.needs,
        "recipe": None if bundled or not cell.needs else networks.recipe_of(cell.needs).in_card(),
    }
    plain: dict[str, Any] = json.loads(json.dumps(what))
    return plain


def made_by(taken: str, model: Model) -> dict[str, Any]:
    """The network that a cell is made with: the name of the one that is taken, the digest of its weights, and the budget that it was trained with [min]
    (None for a bundled one)."""
    minutes = None if taken in networks.BUNDLED else networks.minutes_of(model)
    return {"name": taken, "weights": networks.digest(model), "minutes": minutes}


def check(setup: Setup, cells: Mapping[Path, Cell]) -> None:
    """Refuse cells (by their CSVs) that are kept and were made otherwise than these would be, and networks that are not theirs; before any cell is run.

    Cells of versions that did not write which network made them are taken for those of the one that is there.

    Raises:
        InputError: it names the file, and what is otherwise.
    """
    by = {path: _checked(path, cell, setup) for path, cell in cells.items() if path.is_file()}
    there = check_networks(setup, (cell.needs for cell in cells.values()))
    for name in dict.fromkeys(cell.needs for cell in cells.values()):
        mine = [path for path, cell in cells.items() if cell.needs == name]
        made = {path: by[path]["weights"] for path in mine if by.get(path)}
        if not made:
            continue
        first, missing = next(iter(made)), [path for path in mine if path not in by]
        bundled, model = setup.taken(name) in networks.BUNDLED, there.get(name)
        if missing and model is None and not bundled:
            raise InputError(
                f"{first}: its network is not in {setup.folder / 'networks'} any more, and {missing[0].stem} needs it; put it back, or {_ADVICE}",
                "out",
            )
        if bundled:
            model = checkpoint.load(setup.taken(name))
        now = made[first] if model is None else networks.digest(model)
        if other := [path for path, weights in made.items() if weights != now]:
            raise InputError(
                f"{other[0]}: made with another network '{name}' than {first if other[0] != first else 'the one that is there'}; {_ADVICE}",
                "out",
            )


def check_networks(setup: Setup, names: Iterable[str]) -> dict[str, Model | None]:
    """The networks of these names that are there, None for one that would be trained; and those that the latter would start from. Bundled ones are left out.

    Raises:
        InputError: one is not what would be trained.
    """
    found: dict[str, Model | None] = {}
    asked = [name for name in names if name]
    for name in asked:  # which grows
        if name in found or setup.taken(name) in networks.BUNDLED:
            continue
        count = networks.recipe_of(name).scenes
        scenes = photos.names("train", setup.photos)[:count] if count else [setup.scene.name]
        found[name] = networks.kept(name, scenes, setup.folder, setup.minutes, setup.instead)
        if found[name] is None and (first := networks.recipe_of(name).init):
            asked.append(first)
    return found


def _checked(path: Path, cell: Cell, setup: Setup) -> dict[str, Any]:
    """Refuse a CSV that was made with other runs, seed or scene, or with another kind of network; what its network is, empty where that was not written."""
    try:
        facts = read_json(path.with_suffix(".json"))
        was, by = facts["what"], facts.get("network") or {}
        minutes = by.get("minutes") or setup.minutes
        sound = (
            isinstance(was, dict) and isinstance(was.get("recipe"), dict | None) and isinstance(minutes, float | int)
        )
        sound = sound and (not by or {"name", "weights"} <= set(by))
    except (InputError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise InputError(f"{path}: its .json is missing or damaged; remove both to run it again")
    wanted = what_of(cell, setup)
    kept_recipe, recipe = was.pop("recipe", None), wanted.pop("recipe")
    if kept_recipe and recipe and (field := difference(kept_recipe, recipe)):
        raise InputError(f"{path}: made with a network of another recipe ({field}); write to another place", "out")
    if other := [name for name in wanted if wanted[name] != was.get(name)]:
        raise InputError(
            f"{path}: made with another {other[0]} ({was.get(other[0])!s:.60}, now {wanted[other[0]]!s:.60}); write to another place",
            "out",
        )
    if by and by["name"] != setup.taken(cell.needs):
        raise InputError(f"{path}: made with the network {by['name']}, now {setup.taken(cell.needs)}; {_ADVICE}", "out")
    if minutes < setup.minutes:
        raise InputError(
            f"{path}: made with a network trained for {minutes:g} minutes, and {setup.minutes:g} are asked for; {_ADVICE}",
            *("out", "minutes"),
        )
    return dict(by)


def budgets(setup: Setup, cells: Mapping[Path, Cell]) -> list[float]:
    """The budgets of the networks that kept cells were made with [min], each once, rising; those of the bundled ones left out."""
    found = set()
    for path, cell in cells.items():
        by = read_json(path.with_suffix(".json")).get("network")
        if (
            by is None and cell.needs and setup.taken(cell.needs) not in networks.BUNDLED
        ):  # of a version before it was written
            place = networks.path_of(setup.folder, cell.needs)
            by = {"minutes": networks.minutes_of(checkpoint.load(place)) if place.is_file() else None}
        if by and by["minutes"] is not None:
            found.add(float(by["minutes"]))
    return sorted(found)
