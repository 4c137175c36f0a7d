"""Cells: runs of one law under one condition. A cell is one CSV; what is there is not run again, and any number of processes may
share cells out. Each depends on its own seed alone, so shards put in one folder are what one process would have made."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from siame_se3.analysis import metrics, report
from siame_se3.analysis.metrics import Row
from siame_se3.errors import InputError
from siame_se3.experiments import kept_cells, networks, photos
from siame_se3.experiments.laws import LAWS
from siame_se3.files import hardware, read_json, write_text
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.laws.types import Controller
from siame_se3.networks.checkpoint import Model
from siame_se3.plants.mismatch import Mismatch
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.simulation import Task, simulate


@dataclass(frozen=True)
class Cell:
    """One law under one condition.

    Attributes:
        law: of `laws.LAWS`.
        condition: its name, part of the file's; '' for none.
        starts: 'table1', 'wide' or a CSV.
        runs, seed: of the starts and the conditions.
        disturbance: of the current images; None for none.
        mismatch: how camera and scene differ from what the law assumes; None for not at all.
        split, scenes: the runs are shared out to this many photos of 'train' or 'unseen' (see `photos`); '' for the setup's scene.
        network: instead of the law's own (see `networks`).
    """

    law: str
    condition: str
    starts: str
    runs: int
    seed: int
    disturbance: Augmentation | None = None
    mismatch: Mismatch | None = None
    split: str = ""
    scenes: int = 1
    network: str = ""

    @property
    def needs(self) -> str:
        """The network that it takes, '' for none."""
        return self.network or LAWS[self.law].network

    @property
    def name(self) -> str:
        """Of its file, without suffix."""
        law = self.law.replace("(", "").replace(")", "")
        return f"{law}.{_plain(self.condition)}" if self.condition else law


def _plain(text: str) -> str:
    """For file names."""
    return re.sub("[^a-z0-9.+-]+", "-", text.lower().replace("%", "")).strip("-")


@dataclass(frozen=True)
class Setup:
    """What all cells of an experiment share.

    Attributes:
        folder: of the CSVs, networks and the report.
        scene: the print.
        minutes: budget of each network's training.
        seed: of the trainings.
        say: progress, a line at a time.
        photos: a user's folder of photos, instead of the list's.
        root: where Debian's packages of photos are unpacked.
        instead: bundled networks that are taken for others, by the others' names.
    """

    folder: Path
    scene: Scene
    minutes: float
    seed: int
    say: Callable[[str], None]
    photos: Path | None = None
    root: Path = Path("/")
    instead: Mapping[str, str] = field(default_factory=dict)

    def taken(self, network: str) -> str:
        """The network that is taken for one: itself, or a bundled one."""
        return self.instead.get(network, network)

    def photos_of(self, split: str, count: int) -> list[Scene]:
        """The first `count` photos of a split."""
        return photos.scenes(split, count, self.photos, self.root)


def shard_of(text: str) -> tuple[int, int]:
    """'k/n' as (k, n): the k-th (from 0) of n shares.

    Raises:
        InputError: it is not of that form.
    """
    k, _, n = text.partition("/")
    if not (k.isdecimal() and n.isdecimal() and int(k) < int(n)):
        raise InputError(f"shard {text}: give k/n with k from 0 to n - 1, such as 0/4", "shard")
    return int(k), int(n)


def csv_of(setup: Setup, experiment: str, cell: Cell) -> Path:
    """Where a cell's runs are kept."""
    return setup.folder / experiment / f"{cell.name}.csv"


def run(setup: Setup, experiment: str, cells: list[Cell], shard: tuple[int, int] = (0, 1)) -> None:
    """Run the cells of a shard (its number, how many) that are not there yet. Laws that share a network share a shard, also those whose networks
    start from one and the same, so that no two processes train the same one.

    Raises:
        InputError: before the first is run; see `check`.
        KeyboardInterrupt: Ctrl-C; it says in which row, and where the others are kept.
    """
    check(setup, experiment, cells)
    mine, shards = shard
    groups = list(dict.fromkeys(map(_group, cells)))
    for cell in cells:
        path = csv_of(setup, experiment, cell)
        if groups.index(_group(cell)) % shards != mine:
            continue
        if path.is_file():
            setup.say(f"{experiment} {cell.name}: there already")
            continue
        try:
            _run(setup, experiment, cell)
        except KeyboardInterrupt as stop:
            kept = sum(csv_of(setup, experiment, other).is_file() for other in cells)
            at = f"{stop}; " if str(stop) else ""
            raise KeyboardInterrupt(
                f"{at}row {cell.name} of {experiment}; {kept} of {report.counted(len(cells), 'row')} kept in {path.parent}"
            ) from None


def _group(cell: Cell) -> str:
    """Cells of one are of one shard."""
    return networks.root(cell.needs) if cell.needs else cell.law


def _run(setup: Setup, experiment: str, cell: Cell) -> None:
    """Run a cell, and write it."""
    path = csv_of(setup, experiment, cell)
    model = obtain(setup, cell.needs) if cell.needs else None
    began = time.perf_counter()
    camera = default_camera(max(LAWS[cell.law].size, model.network.config.image_size if cell.network and model else 0))
    table = _rows(setup, cell, LAWS[cell.law].make(model), camera)
    facts = {
        "what": kept_cells.what_of(cell, setup),
        "network": None if model is None else kept_cells.made_by(setup.taken(cell.needs), model),
        "seconds": round(time.perf_counter() - began, 1),
        "hardware": hardware(),
        "date": time.strftime("%Y-%m-%d"),
    }
    write_facts(path.with_suffix(".json"), facts)
    metrics.write_csv(table, path)  # last: a cell is there when its CSV is
    s = metrics.summary(table)
    setup.say(
        f"{experiment} {cell.name}: {s.converged_percent:.1f} % of {s.runs} converged, median end "
        f"{report.small(1e3 * s.median_end_t_m)} mm, {facts['seconds']} s"
    )


def write_facts(path: Path, facts: dict[str, Any]) -> None:
    """A JSON file, whole or not at all."""
    write_text(path, json.dumps(facts, indent=1) + "\n")


def obtain(setup: Setup, name: str) -> Model:
    """A network by its name, trained on its scenes if it is not there."""
    return networks.obtain(
        *(name, scenes_of(setup, name), setup.folder, setup.minutes, setup.seed, setup.say), instead=setup.instead
    )


def scenes_of(setup: Setup, network: str) -> list[Scene]:
    """What a network is for: the setup's print, or photos of the list as prints of the recipe's width."""
    if setup.taken(network) in networks.BUNDLED:
        return [setup.scene]
    recipe = networks.recipe_of(network)
    if not recipe.scenes:
        return [setup.scene]
    return [photos.resized(scene, recipe.width) for scene in setup.photos_of("train", recipe.scenes)]


def scene_runs(runs: int, scenes: int) -> list[range]:
    """The numbers of each scene's runs: they are shared out evenly, in the scenes' order."""
    return [range(k * runs // scenes, (k + 1) * runs // scenes) for k in range(scenes)]


def shared_out(controller: Controller, tasks: Iterable[Task], config: ServoConfig, quiet: bool = False) -> list[Row]:
    """All runs of several tasks, numbered through."""
    table: list[Row] = []
    for task in tasks:
        trajectory, _, _ = simulate(controller, task, config, quiet=quiet)
        table += [replace(row, run=len(table) + row.run) for row in metrics.rows(trajectory)]
    return table


def _rows(setup: Setup, cell: Cell, controller: Controller, camera: Camera) -> list[Row]:
    """All runs of a cell, scene by scene, each with a seed of its own."""
    law = LAWS[cell.law]
    scenes = setup.photos_of(cell.split, cell.scenes) if cell.split else [setup.scene]
    tasks = [
        Task(
            *(scene, camera, cell.starts, len(part), cell.seed + k),
            disturbance=cell.disturbance,
            mismatch=cell.mismatch,
        )
        for k, (scene, part) in enumerate(zip(scenes, scene_runs(cell.runs, len(scenes)), strict=True))
        if len(part)
    ]
    return shared_out(controller, tasks, law.config)


def check(setup: Setup, experiment: str, cells: Iterable[Cell]) -> None:
    """Refuse kept cells and networks that are not those of these cells, before any is run.

    Raises:
        InputError: see `kept_cells.check`.
    """
    kept_cells.check(setup, {csv_of(setup, experiment, cell): cell for cell in cells})


def budgets(setup: Setup, experiment: str, cells: Iterable[Cell]) -> list[float]:
    """What the networks of kept cells were trained for [min], see `kept_cells.budgets`."""
    return kept_cells.budgets(setup, {csv_of(setup, experiment, cell): cell for cell in cells})


def results(setup: Setup, experiment: str, cells: list[Cell]) -> dict[Cell, list[Row]]:
    """The runs of all cells that are there."""
    paths = {cell: csv_of(setup, experiment, cell) for cell in cells}
    return {cell: metrics.read_csv(path) for cell, path in paths.items() if path.is_file()}


def facts_of(setup: Setup, experiment: str, cell: Cell) -> dict[str, object]:
    """Seconds, hardware and date of a cell."""
    found: dict[str, object] = read_json(csv_of(setup, experiment, cell).with_suffix(".json"))
    return found
