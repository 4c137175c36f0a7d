"""The laws of `siame bench real`, and its two tables as CSV files: rows that are there are not run again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siame_se3.errors import InputError
from siame_se3.experiments import networks
from siame_se3.experiments.real.pictures import Picture
from siame_se3.experiments.real.planes import common, scene_of
from siame_se3.experiments.runner import Setup
from siame_se3.files import MOST_OWN, exclusive, model_file, read_csv_rows, read_json, shown, write_csv_rows, write_text
from siame_se3.laws.handoff import Handoff
from siame_se3.laws.light import LightDVS
from siame_se3.laws.registry import controller_for
from siame_se3.laws.types import Controller
from siame_se3.networks import checkpoint
from siame_se3.networks.checkpoint import Model

LAWS = ("auto", "auto+light", "any-scene", "any-scene+light", "pbvs-sift", "pbvs-sift+light", "pbvs-orb")
QUICK = ("auto+light", "any-scene+light")
OTHERS = ("ibvs-sift", "ibvs-orb", "dvs", "dvs-light", "dct")  # by their names only
TRAINED = ("trained", "trained+light")  # a network for each goal picture, trained on it
_WAIT = 60.0  # for another process that writes the same table [s]


@dataclass(frozen=True)
class Settings:
    """What all rows of a folder of results share.

    Attributes:
        out: where real/ is.
        runs: starts a pair. seed: of them.
        laws: of LAWS, OTHERS and TRAINED.
        engine: that runs networks.
        model_of: a network trained on a goal picture; None where no law asks for one.
        say: progress, a line at a time.
        shard: number of this share of the goals, and how many there are.
    """

    out: Path
    runs: int
    seed: int
    laws: tuple[str, ...]
    engine: str = "auto"
    model_of: Callable[[str, Picture], Model] | None = None
    say: Callable[[str], None] = print
    shard: tuple[int, int] = (0, 1)


def trained(setup: Setup) -> Callable[[str, Picture], Model]:
    """Networks trained on goal pictures, with the budget of a setup: made when they are asked for, and kept.

    Raises:
        InputError: the one that is there was trained by another recipe, for less time, or on another picture.
    """

    def model_of(folder: str, goal: Picture) -> Model:
        scene = scene_of(goal, common(goal, goal))
        place = setup.folder / "real" / "trained" / folder / _without_ending(goal.name)
        model = networks.obtain("photo", [scene], place, setup.minutes, setup.seed, setup.say)
        if (of := model.card.get("scenes", [goal.name])) != [goal.name]:
            raise InputError(
                f"{place}: a network of {shown(of)}, not of {shown(goal.name)}; write to another place", "out"
            )
        return model

    return model_of


def _without_ending(name: str) -> str:
    """A picture's name as one of a folder: of one in a folder of its own with that, and nowhere else than here."""
    return "-".join(part for part in Path(name).with_suffix("").parts if part.strip("./\\"))


def controller(law: str, settings: Settings, folder: str, goal: Picture) -> Controller:
    """A law by its name here; NAME+light is handed off to the photometric law."""
    name, _, fine = law.partition("+")
    if name == "trained":
        assert settings.model_of is not None
        coarse = controller_for("neural", settings.model_of(folder, goal), settings.engine)
    elif name == "any-scene":
        coarse = controller_for("neural", checkpoint.load(model_file(Path("any-scene"))), settings.engine)
    else:
        coarse = controller_for(name, None, settings.engine)
    return Handoff(coarse, LightDVS()) if fine else coarse


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Hold a file while it is read and written again; another process that does so is waited for.

    Raises:
        InputError: it is held for long, or its place cannot be written.
    """
    until = time.monotonic() + _WAIT
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(exclusive(path))
                break
            except InputError as error:
                if time.monotonic() > until or not isinstance(error.__context__, BlockingIOError):
                    raise  # it cannot be written
                time.sleep(0.02)
        yield


class Table:
    """Rows of one kind in a CSV file, beside a JSON file of what they were made with. Several processes may add rows to it.

    Args:
        path: of the CSV.
        columns: their names.
        key: those that say which rows belong together and are added together.
        made: what all rows share: another folder of results is needed for another.

    Raises:
        InputError: a file that is damaged, or was made with something else.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], key: tuple[str, ...], made: dict[str, Any]) -> None:
        self.path, self._columns, self._key, self._made = path, columns, key, made
        self.rows: list[dict[str, str]] = []
        self._there: set[tuple[str, ...]] = set()
        self._seen = self._state()
        if self._seen:
            self._read()
        else:
            self._note()

    def _state(self) -> tuple[int, ...]:
        """What changes with the file; nothing where there is none."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return ()
        return now.st_ino, now.st_mtime_ns, now.st_size

    def _note(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path.with_suffix(".json"), json.dumps(self._made, indent=1) + "\n")

    def _read(self) -> None:
        path, facts, columns = self.path, self.path.with_suffix(".json"), self._columns
        if not facts.is_file() or read_json(facts) != json.loads(json.dumps(self._made)):
            raise InputError(f"{path}: made with other options ({facts.name} has them); write to another place", "out")
        header, *found = [row for _, row in read_csv_rows(path, MOST_OWN)] or [[]]
        if tuple(header) != columns or any(len(row) != len(columns) for row in found):
            raise InputError(
                f"{path}: has other columns than {', '.join(columns)}; remove it, or write to another place", "out"
            )
        self.rows = [dict(zip(columns, row, strict=True)) for row in found]
        self._there = set(map(self._key_of, self.rows))

    def _key_of(self, row: dict[str, str]) -> tuple[str, ...]:
        return tuple(row[c] for c in self._key)

    def has(self, *key: str) -> bool:
        """Whether rows with this key are there."""
        return key in self._there

    def add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """More rows; the file is written again, whole or not at all, with what other processes have added meanwhile. Theirs count where both have
        made the same."""
        made = [dict(zip(self._columns, map(_text, row), strict=True)) for row in rows]
        with turn(self.path):
            now = self._state()
            if not now:
                self._note()
            elif now != self._seen:
                self._read()
            self.rows += [row for row in made if self._key_of(row) not in self._there]
            self._there |= set(map(self._key_of, made))
            write_csv_rows(self.path, list(self._columns), [list(row.values()) for row in self.rows])
            self._seen = self._state()

    def of(self, law: str) -> list[dict[str, str]]:
        """A law's."""
        return [row for row in self.rows if row["law"] == law]


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
