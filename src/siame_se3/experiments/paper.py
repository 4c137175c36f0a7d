"""The budgeted ladder: what each of our changes to the paper's training is worth, against images seen and against hours.

Each row of `ladder` is trained for its number of images, and measured in closed loop at some marks on the way. paper/rows/ROW.json holds
a row's marks; curves.csv is made from all that are there after each mark; table.csv, paper.png and report.md after each row. A row that is done is not
trained again, one that was stopped goes on from its state, and any number of processes may share the rows out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siame_se3.errors import InputError, ModelError, TrainingError
from siame_se3.experiments import imagenet, paper_page
from siame_se3.experiments.evaluation import closed_loop
from siame_se3.experiments.ladder import STEPS, Row
from siame_se3.experiments.paper_page import Mark
from siame_se3.experiments.runner import write_facts
from siame_se3.files import hardware, read_json
from siame_se3.networks import checkpoint
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.scenes.planar import Scene
from siame_se3.servo.simulation import Task
from siame_se3.training.driver import Callbacks, Paused, Progress, fit
from siame_se3.training.recipe import difference

MARKS = (0.1, 0.25, 0.5, 1.0)  # shares of a row's images
RUNS, ITERATIONS = 200, 100
SAY_SECONDS = 15.0  # between lines of progress
MARGIN = 10.0  # [s] for the last step, a state's writing and the page


class Deadline:
    """A limit of wall time from now on.

    Args:
        seconds: until it [s]; None for no limit.
        clock: in seconds, from any moment.
    """

    def __init__(self, seconds: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = math.inf if seconds is None else clock() + seconds

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


def run(
    setup: Setup, rows: Sequence[Row], shard: tuple[int, int], command: str, shown: Sequence[Row] | None = None
) -> str:
    """Train and measure a shard's rows in their order, until all are done or the deadline comes; the table of all rows as text.

    A row whose weights or backbone cannot be had here, or whose training fails, is said and left out.

    Args:
        shard: its number (from 0), and how many there are.
        command: for the report.
        shown: rows of the pages, also those made another time; None for `rows`.

    Raises:
        InputError: a row that is there was made with other options.
    """
    shown = rows if shown is None else shown
    for row in rows[shard[0] :: shard[1]]:
        if setup.deadline.left() < MARGIN:
            setup.say(f"{row.name}: no time left; the same command goes on")
            break
        try:
            climb(setup, row, lambda: paper_page.write_curves(setup.folder / "paper", _all_kept(setup, shown)))
            write_page(setup, shown, command)
        except Paused:
            setup.say(f"{row.name}: stopped before the time was over, its state is kept; the same command goes on")
            break
        except (ModelError, TrainingError) as error:
            setup.say(f"{row.name}: left out: {error}")
    return write_page(setup, shown, command)


def write_page(setup: Setup, rows: Sequence[Row], command: str) -> str:
    """The tables, the figure and the report of all rows that are there; the table as text."""
    note = f"{setup.scene.name}, {setup.runs} Table I starts a mark, {setup.iterations} iterations, seed {setup.seed}"
    return paper_page.write(setup.folder / "paper", _all_kept(setup, rows), note, command)


def _all_kept(setup: Setup, rows: Sequence[Row]) -> dict[Row, list[Mark]]:
    """The marks of the rows that have some."""
    found = {row: kept(setup, row) for row in rows}
    return {row: marks for row, marks in found.items() if marks}


def climb(setup: Setup, row: Row, changed: Callable[[], object] = lambda: None) -> list[Mark]:
    """Train a row and measure it at its marks, or what is missing of that.

    Args:
        changed: called after each mark.

    Raises:
        Paused: the deadline is near.
        InputError: a row of that name was made with other options.
        ModelError: its first weights cannot be had.
        TrainingError: see `fit`.
    """
    marks = kept(setup, row)
    model = setup.model(row)

    def measure(network: SiameseNetwork, step: int, seconds: float) -> None:
        marks[:] = [*(m for m in marks if m.step != step), _measured(setup, row, network, step, seconds)]
        write_facts(setup.path(row), {"what": _what(setup, row), "marks": [vars(m) for m in marks]})
        setup.say(f"{row.name}: {paper_page.in_words(marks[-1])}")
        changed()

    if not model.is_file():
        setup.say(f"{row.name}: {STEPS[row.rung]}; {row.steps} steps of {row.recipe.data.views} images")
        _train(setup, row, marks, measure)
    if not any(m.step == row.steps for m in marks):  # stopped between the training's end and its last mark
        done = checkpoint.load(model)
        if other := difference(done.card.get("recipe", {}), row.recipe.in_card()):
            raise InputError(f"{model}: trained by another recipe ({other}); write to another place", "out")
        measure(done.network.to(setup.device), row.steps, float(done.card["seconds"]))
    return marks


def _train(setup: Setup, row: Row, marks: list[Mark], measure: Callable[[SiameseNetwork, int, float], None]) -> None:
    """Train a row's network, or go on with it, and keep it in half precision."""
    said = time.monotonic()

    def report(p: Progress) -> None:
        nonlocal said
        if time.monotonic() - said > SAY_SECONDS:
            said = time.monotonic()
            rate = p.images / max(p.seconds, 1e-9)
            setup.say(f"  {row.name}: step {p.step} of {p.steps}, loss {p.loss:.3f}, {rate:.0f} images/s")

    def evaluate(network: SiameseNetwork, p: Progress) -> None:
        measure(network, p.step, p.seconds)

    def pause() -> bool:
        longest = max((m.evaluation_seconds for m in marks), default=0.0)
        return setup.deadline.left() < MARGIN + 1.5 * longest

    card = {"row": row.name, "what": STEPS[row.rung], "first weights": row.backbone.weights}
    callbacks = Callbacks(report, evaluate, MARKS, pause=pause, card=lambda: card | {"curve": [vars(m) for m in marks]})
    initial = (
        imagenet.start_from_lite0(row.recipe.network, row.recipe.seed) if row.backbone.start == "package" else None
    )
    try:
        fitted = fit(row.recipe, [setup.scene], setup.model(row), callbacks, initial, setup.device)
    except OSError as error:  # a hub that cannot be reached
        if row.backbone.start != "hub":
            raise
        raise ModelError(f"its ImageNet weights cannot be had ({type(error).__name__})") from error
    try:
        checkpoint.save(fitted.model, setup.model(row), half=True)
    except ModelError as error:
        setup.say(f"{row.name}: kept in single precision: {error}")


def _measured(setup: Setup, row: Row, network: SiameseNetwork, step: int, seconds: float) -> Mark:
    """A network in closed loop, on its own device."""
    began = time.perf_counter()
    task = Task(setup.scene, row.recipe.seen_by, runs=setup.runs, seed=1000 + setup.seed)
    s = closed_loop(network.float(), task, setup.iterations)
    return Mark(
        step=step,
        images=row.images(step),
        train_seconds=round(seconds, 1),
        device=setup.machine,
        date=time.strftime("%Y-%m-%d"),
        weights=sum(w.numel() for w in network.parameters()),
        converged=s.converged_percent,
        median_end_t_mm=1e3 * s.median_end_t_m,
        median_end_r_deg=s.median_end_r_deg,
        mean_end_t_mm=_finite(1e3 * s.end_t_converged_m[0]),
        mean_end_r_deg=_finite(s.end_r_converged_deg[0]),
        evaluation_seconds=round(time.perf_counter() - began, 1),
    )


def _finite(value: float) -> float | None:
    """None for NaN, which JSON does not have."""
    return None if math.isnan(value) else value


def _what(setup: Setup, row: Row) -> dict[str, Any]:
    """What a row is made with. How it runs makes no difference."""
    card = row.recipe.in_card()
    for name in ("fast", "checkpoint_seconds", "log_every", "evaluations"):
        card["train"].pop(name)
    made: dict[str, Any] = {"runs": setup.runs, "iterations": setup.iterations, "seed": setup.seed}
    made |= {
        "scene": setup.scene.name,
        "pixels": list(setup.scene.texture.shape),
        "mean": setup.scene.texture.double().mean((1, 2)).tolist(),
    }
    return {"recipe": card, "first weights": row.backbone.start, **made}


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
        was, marks = dict(found["what"]), [Mark(**mark) for mark in found["marks"]]
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}: damaged; {hint}") from None
    for name, now in _what(setup, row).items():
        if was.get(name) != now:
            raise InputError(
                f"{path}: made with another {name}; give the same options, or write to another place", "out"
            )
    return sorted(marks, key=lambda m: m.step)
