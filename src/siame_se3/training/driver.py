"""The driver of every training: `fit` makes a model of a recipe and scenes, or goes on where it was stopped. `run` is its loop."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from siame_se3.errors import TrainingError
from siame_se3.files import exclusive, hardware
from siame_se3.networks import checkpoint
from siame_se3.networks.checkpoint import Model
from siame_se3.scenes.planar import Scene
from siame_se3.training import state
from siame_se3.training.batches import BatchSource
from siame_se3.training.callbacks import Callbacks, Fitted, Paused, Progress
from siame_se3.training.interrupt import Interrupted, Interrupts
from siame_se3.training.photo_noise import all_cleaned
from siame_se3.training.processes import first_process_says, world
from siame_se3.training.recipe import Recipe
from siame_se3.training.schedule import Pace
from siame_se3.training.trainer import Trainer

_TRIAL = 1000  # steps of the learning rate's cycle while the time of a step is measured; the time does not depend on it


def fit(
    recipe: Recipe,
    scenes: Sequence[Scene],
    out: str | Path | None = None,
    callbacks: Callbacks | None = None,
    initial: Mapping[str, Tensor] | None = None,
    device: torch.device | str = "cpu",
    given: bool = True,
) -> Fitted:
    """Train a network by a recipe and save it with its card; an interrupted training goes on from the state beside `out`.

    Where the recipe has steps, the training ends with the same weights however often it is stopped. Where it has minutes, their number is measured, kept in the
    state, and planned again on the way where steps take another time than they did (`schedule`).

    Args:
        scenes: what the network learns.
        out: the model's file; its state stands beside it until it is done. None: nothing is saved.
        callbacks: reports and evaluations on the way.
        initial: weights to start from, see `Trainer`.
        given: False where nobody asked for this budget: an interrupted training then goes on with its own.

    Raises:
        InputError: another training is writing to `out`.
        TrainingError: the state beside `out` is damaged, of another training or another budget; the loss is not finite.
        Paused: a callback asked for it.
        Interrupted: Ctrl-C; the state is saved first.
    """
    out = None if out is None else Path(out)
    with contextlib.ExitStack() as held:
        if out is not None and world()[0] == 0:  # the first process writes for all
            held.enter_context(exclusive(out))
        return _fit(recipe, list(scenes), out, callbacks or Callbacks(), initial, device, given)


def _fit(
    recipe: Recipe,
    scenes: list[Scene],
    out: Path | None,
    callbacks: Callbacks,
    initial: Mapping[str, Tensor] | None,
    device: torch.device | str,
    given: bool,
) -> Fitted:
    """See `fit`."""
    place = None if out is None else state.path_of(out)
    if world()[0] > 0:
        callbacks = replace(callbacks, say=lambda line: None)
    recipe = state.as_begun(recipe, place) if place is not None else recipe
    noise: dict[str, Any] = {}
    if recipe.data.denoise:
        scenes, levels = all_cleaned(scenes, recipe.seen_by, recipe.workspace.distance, callbacks.say)
        noise = {"noise": levels}
    source = BatchSource(
        scenes, recipe.seen_by, recipe.workspace, recipe.data, recipe.seed, recipe.network.output, device
    )
    recipe = recipe.on(source.device)
    steps, minutes, seconds = _planned(recipe, source, place, given, initial, callbacks)
    trainer = Trainer(recipe.network, recipe.loss, source, replace(recipe.train, steps=steps), initial)
    trainer.plan(replace(trainer.schedule, seconds=seconds))
    if place is not None and place.is_file():
        callbacks.kept.update(state.load(trainer, place))
        callbacks.say(f"resumed at step {trainer.step} of {trainer.steps}, from {place}")
    elif place is not None and world()[0] == 0:
        state.save(
            trainer, place, minutes
        )  # so that a training that is stopped early goes on with the same number of steps
    run(trainer, place, callbacks, minutes)
    card = {
        "recipe": recipe.of_steps(trainer.steps).in_card(),
        "scenes": [scene.name for scene in scenes],
        "seed": recipe.seed,
        "steps": trainer.step,
        "images": _images(trainer),
        "seconds": round(trainer.seconds, 1),
        "hardware": hardware(source.device.type),
        "date": time.strftime("%Y-%m-%d"),
        **noise,
        **callbacks.card(),
    }
    model = Model(trainer.result().float().cpu(), source.camera, recipe.workspace.distance, scenes[0].width, card)
    if out is not None and place is not None and world()[0] == 0:
        checkpoint.save(model, out)
        place.unlink(missing_ok=True)
    return Fitted(model, trainer.step, trainer.seconds)


def _planned(
    recipe: Recipe,
    source: BatchSource,
    place: Path | None,
    given: bool,
    initial: Mapping[str, Tensor] | None,
    callbacks: Callbacks,
) -> tuple[int, float | None, float | None]:
    """The number of steps, the minutes that it was measured for, those of the interrupted training, else the recipe's; and how long the steps of a new
    training are to take [s]."""
    begun = state.begun(place) if place is not None else None
    minutes, steps = recipe.budget, recipe.train.steps
    if begun is None:
        if steps is not None:
            return steps, None, None
        steps, seconds = steps_in(recipe, source, initial, callbacks)
        return steps, minutes, seconds
    if given and (begun.minutes != minutes or (steps is not None and steps != begun.steps)):
        was = f"{begun.steps} steps" + (f" ({begun.minutes:g} min)" if begun.minutes is not None else "")
        now = f"{steps} steps" if steps is not None else f"{minutes:g} min"
        raise TrainingError(
            f"{place}: state of an interrupted training of {was}, {begun.done} of them made; now {now} are asked for. The learning rate "
            "follows the whole length, so it cannot be changed on the way: give the same budget or none to go on, or remove the file to start again",
            *("minutes", "steps"),
        )
    return begun.steps, begun.minutes, None  # the state has its own


def steps_in(
    recipe: Recipe,
    source: BatchSource,
    initial: Mapping[str, Tensor] | None = None,
    callbacks: Callbacks | None = None,
) -> tuple[int, float]:
    """How many steps fit into a recipe's minutes, by the median of some steps of a throw-away trainer, rounded down to tens; and how long they may take [s].

    What measuring takes, and the evaluations where `Callbacks.rehearse` says how long one takes, is part of the minutes; see `affordable`.
    """
    callbacks, began = callbacks or Callbacks(), time.monotonic()
    callbacks.say("measuring the speed of a step")
    trial = Trainer(recipe.network, recipe.loss, source, replace(recipe.train, steps=_TRIAL), initial)
    times = []
    for _ in range(12):
        before = trial.seconds
        trial.advance()
        times.append(trial.seconds - before)
    typical = statistics.median(times[3:])
    whole = recipe.minutes * recipe.times * 60
    count, each = len(_shares(callbacks, recipe.train.evaluations)), 0.0
    if callbacks.evaluate is not None and callbacks.rehearse is not None and count and world()[0] == 0:
        each = callbacks.rehearse(trial.result())
        count = affordable(count, each, whole)
    left = whole if callbacks.rehearse is None else max(whole / 2, whole - count * each - (time.monotonic() - began))
    steps = first_process_says(max(20, int(left / typical) // 10 * 10), source.device)
    callbacks.say(
        f"{steps} steps of {1e3 * typical:.0f} ms" + (f"; {count} x {each:.0f} s of evaluations" if each else "")
    )
    return steps, max(left, 0.0)


def affordable(count: int, each: float, whole: float) -> int:
    """How many of `count` evaluations of `each` [s] a third of the `whole` time [s] has room for; the last one is made in any case."""
    return min(count, max(1, int(whole / 3 / each))) if each > 0 else count


def _shares(callbacks: Callbacks, evaluations: int) -> tuple[float, ...]:
    """When to evaluate, as shares of the steps."""
    if callbacks.at is not None:
        return callbacks.at
    return tuple((k + 1) / evaluations for k in range(max(0, evaluations)))


def run(
    trainer: Trainer, place: Path | None = None, callbacks: Callbacks | None = None, minutes: float | None = None
) -> None:
    """Advance a trainer to its last step, or until an evaluation says that it is enough.

    Args:
        place: where the state is saved now and then (by the first process), None for nowhere.
        minutes: that the number of steps was measured for; kept in the state.

    Raises:
        TrainingError: the loss is not finite.
        Paused: a callback asked for it.
        Interrupted: Ctrl-C; the state is saved first.
    """
    with Interrupts() as interrupts:
        _run(trainer, place, callbacks or Callbacks(), minutes, interrupts)


def _run(
    trainer: Trainer, place: Path | None, callbacks: Callbacks, minutes: float | None, interrupts: Interrupts
) -> None:
    """See `run`."""
    c, first = trainer.config, world()[0] == 0
    marks = {round(trainer.schedule.length * share) for share in _shares(callbacks, c.evaluations)}
    saved, pace = time.monotonic(), Pace()
    enough = _due(trainer, marks) and _evaluated(trainer, callbacks, _progress(trainer, math.nan, {}))
    while trainer.step < trainer.steps and not enough:
        if first_process_says(int(first and (interrupts.asked or callbacks.pause())), trainer.data.device):
            if first and place is not None:
                state.save(trainer, place, minutes, callbacks.kept)
            if not interrupts.asked:
                raise Paused
            kept = "nothing is saved" if place is None else f"saved in {place}"
            raise Interrupted(f"step {trainer.step} of {trainer.steps}, {kept}")
        began = trainer.seconds
        loss, errors = trainer.advance()
        if not math.isfinite(loss):
            raise TrainingError(
                f"training: the loss is {loss} at step {trainer.step}; take a lower learning rate (now {c.lr})",
                "train.lr",
            )
        if stood := pace.took(trainer.seconds - began):
            trainer.seconds -= stood
            callbacks.say(f"the training stood still for {stood:.0f} s, which is not counted")
        done, due = trainer.step == trainer.steps, _due(trainer, marks)
        progress = _progress(trainer, loss, errors)
        if first and (trainer.step % c.log_every == 0 or done):
            callbacks.report(progress)
        if first and place is not None and (time.monotonic() - saved > c.checkpoint_seconds or done or due):
            state.save(trainer, place, minutes, callbacks.kept)
            saved = time.monotonic()
        enough = due and _evaluated(trainer, callbacks, progress)
        if pace.due(trainer.step, trainer.schedule):
            _replan(trainer, pace, callbacks)


def _due(trainer: Trainer, marks: set[int]) -> bool:
    """Whether the step that was made last is to be evaluated, and has not been: a training may have been stopped in the evaluation."""
    if trainer.step == trainer.evaluated:
        return False
    before, now = (trainer.schedule.position(step) for step in (trainer.step - 1, trainer.step))
    return any(before < mark <= now for mark in marks)


def _evaluated(trainer: Trainer, callbacks: Callbacks, progress: Progress) -> bool:
    """Evaluate; whether it is enough."""
    said = world()[0] == 0 and callbacks.evaluate is not None and callbacks.evaluate(trainer.result(), progress)
    trainer.evaluated = trainer.step
    return bool(first_process_says(int(bool(said)), trainer.data.device))


def _replan(trainer: Trainer, pace: Pace, callbacks: Callbacks) -> None:
    """As many steps as the time is worth, where they take another time than they did: a machine that was busy is free, or the other way round."""
    before = trainer.steps
    steps = first_process_says(pace.fits(trainer.step, trainer.seconds, trainer.schedule), trainer.data.device)
    if steps != before:
        trainer.plan(trainer.schedule.planned(trainer.step, steps))
        callbacks.say(f"a step takes {1e3 * pace.median:.0f} ms now: {trainer.steps} steps in place of {before}")


def _images(trainer: Trainer) -> int:
    return trainer.step * trainer.data.config.groups * trainer.data.config.views


def _progress(trainer: Trainer, loss: float, errors: dict[str, float]) -> Progress:
    spent = max(trainer.seconds, 1e-9)
    shares = {name: seconds / spent for name, seconds in trainer.shares.items()}
    return Progress(trainer.step, trainer.steps, loss, errors, trainer.lr(), trainer.seconds, _images(trainer), shares)
