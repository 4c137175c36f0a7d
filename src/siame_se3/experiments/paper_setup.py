"""What the rows of `siame bench paper` share, and what is kept of them: paper/rows/ROW.json, models/ROW.safetensors."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siame_se3.errors import InputError, ModelError
from siame_se3.experiments.ladder import Row
from siame_se3.experiments.paper_page import Mark
from siame_se3.files import hardware, read_json
from siame_se3.networks import checkpoint
from siame_se3.networks.checkpoint import Model
from siame_se3.scenes.planar import Scene
from siame_se3.training.recipe import difference

RUNS, ITERATIONS = 200, 100


class Deadline:
    """A limit of wall time from now on.

    Args:
        seconds: until it [s]; None for no limit.
        clock: in seconds, from any moment.
    """

    def __init__(self, seconds: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = math.inf if seconds is None else clock() + seconds

    def now(self) -> float:
        """Of its clock [s]."""
        return self._clock()

    def left(self) -> float:
        """Time to it [s]."""
        return self._end - self._clock()


@dataclass(frozen=True)
class Setup:
    """What all rows share.

    Attributes:
        folder: of everything: paper/, and models/ with a file each row.
        scene: the print.
        runs, iterations: of a mark.
        seed: of the trainings; the starts' is 1000 more.
        device: 'cpu' or 'cuda'.
        processes: that work on the device at a time; recorded beside it, since hours mean little where others ran beside them.
        deadline: when to stop.
        say: progress, a line at a time.
    """

    folder: Path
    scene: Scene
    runs: int = RUNS
    iterations: int = ITERATIONS
    seed: int = 42
    device: str = "cpu"
    processes: int = 1
    deadline: Deadline = field(default_factory=Deadline)
    say: Callable[[str], None] = lambda line: None

    @property
    def machine(self) -> str:
        """The device in words."""
        return hardware(self.device) + (f", 1 of {self.processes} processes" if self.processes > 1 else "")

    def path(self, row: Row) -> Path:
        """Of a row's marks."""
        return self.folder / "paper" / "rows" / f"{row.name}.json"

    def model(self, row: Row) -> Path:
        """Of its network."""
        return self.folder / "models" / f"{row.name}.safetensors"


def check(setup: Setup, rows: Sequence[Row]) -> None:
    """Refuse rows that are there and are not these.

    Raises:
        InputError: marks or a network were made with other options, or marks are damaged.
    """
    for row in dict.fromkeys(rows):
        if not ended(row, kept(setup, row)) and setup.model(row).is_file():
            with contextlib.suppress(ModelError):  # a damaged one: its row alone is left out
                finished(setup, row)


def ended(row: Row, marks: Sequence[Mark]) -> bool:
    """Whether the last mark is there."""
    return any(m.step == row.steps for m in marks)


def finished(setup: Setup, row: Row) -> Model:
    """The network of a row that is trained.

    Raises:
        InputError: it was trained by another recipe, for another number of images or from another seed.
    """
    path = setup.model(row)
    done = checkpoint.load(path)
    if other := _other_recipe(done.card.get("recipe", {}), row.recipe.in_card()):
        raise InputError(f"{path}: trained by another recipe ({other}); write to another place", "out")
    return done


def what_of(setup: Setup, row: Row) -> dict[str, Any]:
    """What a row is made with."""
    made: dict[str, Any] = {"runs": setup.runs, "iterations": setup.iterations, "seed": setup.seed}
    made |= {
        "scene": setup.scene.name,
        "pixels": list(setup.scene.texture.shape),
        "mean": setup.scene.texture.double().mean((1, 2)).tolist(),
    }
    return {"recipe": row.recipe.in_card(), "first weights": row.backbone.start, **made}


def _other_recipe(was: dict[str, Any], now: dict[str, Any]) -> str:
    """The first option that a row's recipe has otherwise, '' for none; how it runs makes no difference, its length and seed do."""
    if field := difference(was, now):
        return field
    for name, a, b in (
        ("steps", was.get("train", {}).get("steps"), now["train"]["steps"]),
        ("seed", was.get("seed"), now["seed"]),
    ):
        if a != b:
            return f"{name} {a}, now {b}"
    return ""


def kept(setup: Setup, row: Row) -> list[Mark]:
    """The marks of a row that are there already.

    Raises:
        InputError: they were made with other options, or the file is damaged.
    """
    path = setup.path(row)
    if not path.is_file():
        return []
    hint = "remove it to make the row again"
    found = read_json(path, hint=hint)
    try:
        was = dict(found["what"])
        precision = was["recipe"]["train"].get("precision", "")  # of marks of a version that had no other
        marks = [Mark(**{"precision": "" if precision == "auto" else precision, **mark}) for mark in found["marks"]]
        other = _other_recipe(was.pop("recipe"), row.recipe.in_card())
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f"{path}: damaged; {hint}") from None
    now = what_of(setup, row)
    now.pop("recipe")
    names = [*([f"recipe ({other})"] if other else []), *(name for name in now if was.get(name) != now[name])]
    if names:
        raise InputError(
            f"{path}: made with another {names[0]}; give the same options, or write to another place", "out"
        )
    return sorted(marks, key=lambda m: m.step)
