"""The budgeted ladder: what each of our changes to the paper's training is worth, against images seen and against hours.

Each row of `ladder` is trained for its number of images, and measured in closed loop at some marks on the way. paper/rows/ROW.json holds
a row's marks; curves.csv is made from all that are there after each mark; table.csv, paper.png and report.md after each row. A row that is done is not
trained again, one that was stopped goes on from its state, and any number of processes may share the rows out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import torch

from siame_se3.errors import ModelError, TrainingError
from siame_se3.experiments import imagenet, paper_page
from siame_se3.experiments.evaluation import closed_loop
from siame_se3.experiments.ladder import STEPS, Row
from siame_se3.experiments.paper_page import Mark
from siame_se3.experiments.paper_setup import Setup, check, ended, finished, kept, what_of
from siame_se3.experiments.runner import write_facts
from siame_se3.networks import checkpoint
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.servo.simulation import Task
from siame_se3.training import state
from siame_se3.training.driver import Callbacks, Paused, Progress, fit

MARKS = (0.1, 0.25, 0.5, 1.0)  # shares of a row's images
SAY_SECONDS = 15.0  # between lines of progress
_REHEARSED = 1, 3  # iterations of two short marks, by which a whole one is estimated
MARGIN = 10.0  # [s] for the last step, a state's writing and the page


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
        InputError: a row that is there was made with other options; before any is trained.
    """
    shown = rows if shown is None else shown
    check(setup, (*rows, *shown))
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

    def measure(network: SiameseNetwork, step: int, seconds: float, precision: str) -> None:
        mark = _measured(setup, row, network, step, seconds, precision)
        marks[:] = [*(m for m in marks if m.step != step), mark]
        write_facts(setup.path(row), {"what": what_of(setup, row), "marks": [vars(m) for m in marks]})
        setup.say(f"{row.name}: {paper_page.in_words(marks[-1])}")
        changed()

    if not model.is_file():
        setup.say(f"{row.name}: {STEPS[row.rung]}; {row.steps} steps of {row.recipe.data.views} images")
        _train(setup, row, marks, measure)
    if not ended(row, marks):  # stopped between the training's end and its last mark
        done = finished(setup, row)
        if setup.deadline.left() < _time_for_a_mark(setup, row, marks):
            raise Paused
        trained = done.card.get("recipe", {}).get("train", {})
        measure(
            *(done.network.to(setup.device), row.steps, float(done.card["seconds"])), str(trained.get("precision", ""))
        )
    return marks


def _time_for_a_mark(setup: Setup, row: Row, marks: Sequence[Mark]) -> float:
    """What has to be left when one is begun [s]: by the longest of those that are there, or else by some iterations of one; 0 without a deadline."""
    if math.isinf(setup.deadline.left()):
        return 0.0
    longest = max(m.evaluation_seconds for m in marks) if marks else _rehearsed(setup, row)
    return MARGIN + 1.5 * longest


def _rehearsed(setup: Setup, row: Row) -> float:
    """How long a mark takes [s] at most, from the first iterations of two, of an untrained network, whose runs do not settle."""
    with torch.random.fork_rng(devices=[]):
        network = SiameseNetwork(replace(row.recipe.network, pretrained=False)).eval().to(setup.device)
    task, times = _task(setup, row), [setup.deadline.now()]
    for iterations in _REHEARSED:
        closed_loop(network, task, iterations)
        times.append(setup.deadline.now())
    first, second = (b - a for a, b in pairwise(times))
    each = max(0.0, second - first) / (_REHEARSED[1] - _REHEARSED[0])
    takes = first + max(0, setup.iterations - _REHEARSED[0]) * each
    setup.say(
        f"  {row.name}: a mark takes about {takes:.0f} s; no step is made with less than {MARGIN + 1.5 * takes:.0f} s left"
    )
    return takes


def _train(
    setup: Setup, row: Row, marks: list[Mark], measure: Callable[[SiameseNetwork, int, float, str], None]
) -> None:
    """Train a row's network, or go on with it, and keep it in half precision."""
    said, rehearsed = time.monotonic(), 0.0 if marks else _time_for_a_mark(setup, row, marks)
    begun = state.as_begun(row.recipe, state.path_of(setup.model(row)))
    precision = begun.on(torch.device(setup.device)).train.precision

    def report(p: Progress) -> None:
        nonlocal said
        if time.monotonic() - said > SAY_SECONDS:
            said = time.monotonic()
            rate = p.images / max(p.seconds, 1e-9)
            setup.say(f"  {row.name}: step {p.step} of {p.steps}, loss {p.loss:.3f}, {rate:.0f} images/s")

    def evaluate(network: SiameseNetwork, p: Progress) -> None:
        measure(network, p.step, p.seconds, precision)

    def pause() -> bool:
        return setup.deadline.left() < (_time_for_a_mark(setup, row, marks) if marks else rehearsed)

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


def _task(setup: Setup, row: Row) -> Task:
    """The runs of a mark."""
    return Task(setup.scene, row.recipe.seen_by, runs=setup.runs, seed=1000 + setup.seed)


def _measured(setup: Setup, row: Row, network: SiameseNetwork, step: int, seconds: float, precision: str) -> Mark:
    """A network in closed loop, on its own device."""
    began = setup.deadline.now()
    s = closed_loop(network.float(), _task(setup, row), setup.iterations)
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
        evaluation_seconds=round(setup.deadline.now() - began, 1),
        precision=precision,
    )


def _finite(value: float) -> float | None:
    """None for NaN, which JSON does not have."""
    return None if math.isnan(value) else value
