from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from siame_se3.errors import InputError, TrainingError
from siame_se3.files import exclusive
from siame_se3.networks import checkpoint
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.training import driver, state
from siame_se3.training.driver import Callbacks, Paused, Progress, fit, run, steps_in
from siame_se3.training.interrupt import Interrupted
from siame_se3.training.recipe import Recipe, TrainConfig
from siame_se3.training.trainer import Trainer
from training_helpers import assert_bit_equal, few_views, network_of, print_of_colours, state_of, trainer_of


@pytest.mark.parametrize("average", [0.0, 0.99])
def test_evaluations_do_not_disturb_the_training(tmp_path: Path, average: float) -> None:
    seen: list[int] = []

    def look(network: SiameseNetwork, p: Progress) -> None:
        assert not network.training
        assert next(network.parameters()).device.type == "cpu"
        seen.append(p.step)
        network.to("meta").train()  # as an engine does that takes the network to another device

    disturbed, alone = (trainer_of(8, average=average, evaluations=4) for _ in range(2))
    run(disturbed, callbacks=Callbacks(evaluate=look))
    run(alone)
    assert seen == [2, 4, 6, 8]
    assert_bit_equal(state_of(disturbed, tmp_path), state_of(alone, tmp_path))


def test_train_goes_on_from_its_state_and_reports(tmp_path: Path) -> None:
    path = tmp_path / "model.state"
    whole = trainer_of(6, log_every=2)
    reports: list[Progress] = []
    run(whole, path, Callbacks(reports.append))
    assert [p.step for p in reports] == [2, 4, 6]
    assert [p.images for p in reports] == [16, 32, 48]
    assert reports[0].steps == 6
    assert 0 < sum(reports[-1].shares.values()) < 1
    assert 0 < reports[0].seconds < reports[-1].seconds
    finished = trainer_of(6, log_every=2)
    again: list[Progress] = []
    state.load(finished, path)
    run(finished, path, Callbacks(again.append))
    assert not again
    assert_bit_equal(state_of(finished, tmp_path), state_of(whole, tmp_path))


def test_a_pause_of_the_program_ends_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-Z, an hour, fg: the steps are those of the time that it had."""
    trainer = trainer_of(40, evaluations=0)
    trainer.plan(replace(trainer.schedule, seconds=40.0))
    clock = {"step": 1.0}
    advance = trainer.advance

    def slow() -> tuple[float, dict[str, float]]:
        before = trainer.seconds
        result = advance()
        trainer.seconds = before + (3600.0 if trainer.step == 20 else clock["step"])
        return result

    monkeypatch.setattr(trainer, "advance", slow)
    said: list[str] = []
    run(trainer, callbacks=Callbacks(say=said.append))
    assert said == ["the training stood still for 3599 s, which is not counted"]
    assert (trainer.step, trainer.seconds) == (40, pytest.approx(40.0))


@pytest.mark.parametrize("killed_at", [4, 8], ids=["on the way", "at the end"])
def test_a_training_that_is_killed_in_an_evaluation_makes_it_again(tmp_path: Path, killed_at: int) -> None:
    path, seen = tmp_path / "model.state", []

    def look(network: SiameseNetwork, p: Progress) -> None:
        if p.step == killed_at and killed_at not in seen:
            seen.append(p.step)
            raise KeyboardInterrupt
        seen.append(p.step)

    with pytest.raises(KeyboardInterrupt):
        run(trainer_of(8, evaluations=4), path, Callbacks(evaluate=look))
    again = trainer_of(8, evaluations=4)
    state.load(again, path)
    assert again.step == killed_at
    run(again, path, Callbacks(evaluate=look))
    assert seen == sorted([2, 4, 6, 8, killed_at])
    once_more = trainer_of(8, evaluations=4)
    state.load(once_more, path)
    assert once_more.step == 8


def test_a_paused_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    path = tmp_path / "model.state"
    whole, paused, again = (trainer_of(6, checkpoint_seconds=1e9) for _ in range(3))
    run(whole)
    asked = iter([False, False, False, True])
    with pytest.raises(Paused):
        run(paused, path, Callbacks(pause=lambda: next(asked)))
    assert paused.step == 3
    state.load(again, path)
    run(again, path)
    assert_bit_equal(state_of(again, tmp_path), state_of(whole, tmp_path))


@pytest.mark.parametrize(("minutes", "steps"), [(1.004, 1200), (0.12, 140), (0.0001, 20)])
def test_steps_in_is_the_time_over_the_median_step(monkeypatch: pytest.MonkeyPatch, minutes: float, steps: int) -> None:
    durations = iter([9.0, 1.0, 1.0, *[0.05] * 5, 3.0, 0.05, 7.0, 0.01])

    def advance(self: Trainer) -> None:
        self.seconds += next(durations)

    monkeypatch.setattr(Trainer, "advance", advance)
    trainer = trainer_of()
    assert steps_in(Recipe(network_of(), minutes=minutes), trainer.data) == (steps, pytest.approx(60 * minutes))
    durations = iter([9.0, 1.0, 1.0, *[0.05] * 9])
    assert steps_in(Recipe(network_of(), minutes=minutes / 4, times=4.0), trainer.data)[0] == steps


def test_evaluations_count_as_part_of_the_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of two minutes took five: its evaluations came on top."""

    def advance(self: Trainer) -> None:
        self.seconds += 0.05

    monkeypatch.setattr(Trainer, "advance", advance)
    monkeypatch.setattr(driver.time, "monotonic", lambda: 0.0)
    data, recipe = trainer_of().data, Recipe(network_of(), train=TrainConfig(evaluations=4), minutes=2.0)
    said: list[str] = []
    for seconds, at, steps in (
        (0.0, None, 2400),
        (5.0, None, 2000),
        (5.0, (1.0,), 2300),
        (15.0, None, 1800),
        (100.0, None, 1200),
    ):
        callbacks = Callbacks(
            evaluate=lambda network, p: None, at=at, rehearse=lambda network, s=seconds: s, say=said.append
        )
        found, left = steps_in(recipe, data, None, callbacks)
        assert found == steps
        assert steps <= left / 0.05 < steps + 10
    assert said[2:4] == ["measuring the speed of a step", "2000 steps of 50 ms; 4 x 5 s of evaluations"]


def test_ctrl_c_saves_the_state_and_says_where(tmp_path: Path) -> None:
    """It was said that the training goes on, and what had been made since the last state was lost."""
    path = tmp_path / "model.state"
    whole, stopped, again = (trainer_of(6, checkpoint_seconds=1e9, log_every=1) for _ in range(3))
    run(whole)

    def press(p: Progress) -> None:
        if p.step == 4:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=r"step 4 of 6, saved in .*model\.state"):
        run(stopped, path, Callbacks(press))
    assert signal.getsignal(signal.SIGINT) is before
    begun = state.begun(path)
    assert begun is not None
    assert begun.done == 4
    state.load(again, path)
    run(again, path)
    assert_bit_equal(state_of(again, tmp_path), state_of(whole, tmp_path))


def test_a_second_ctrl_c_stops_at_once() -> None:
    def press_twice(p: Progress) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        run(trainer_of(6, log_every=1), callbacks=Callbacks(press_twice))
    assert not isinstance(caught.value, Interrupted)


def test_a_training_says_where_it_goes_on(tmp_path: Path) -> None:
    recipe = Recipe(network_of(), data=few_views(), train=TrainConfig(steps=3, precision="f32", evaluations=0))
    asked = iter([False, False, True])
    with pytest.raises(Paused):
        fit(recipe, [print_of_colours()], tmp_path / "m", Callbacks(pause=lambda: next(asked)))
    said: list[str] = []
    fit(recipe, [print_of_colours()], tmp_path / "m", Callbacks(say=said.append))
    assert said == [f"resumed at step 2 of 3, from {tmp_path / 'm'}.state"]


def test_a_loss_that_is_not_finite_names_the_learning_rate(tmp_path: Path) -> None:
    trainer = trainer_of(20, optimiser="adamw", lr=1e30, warmup=0.0)
    with pytest.raises(TrainingError, match=r"loss is (nan|inf).*learning rate") as caught:
        run(trainer)
    assert "\n" not in str(caught.value)
    assert caught.value.settings == ("train.lr",)


def recipe_of(minutes: float = 2.0, steps: int | None = None) -> Recipe:
    train = TrainConfig(steps=steps, precision="f32", checkpoint_seconds=0.0, evaluations=0, log_every=1)
    return Recipe(network_of(), data=few_views(), train=train, minutes=minutes, seed=3)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Minutes that were measured; each is worth two steps."""
    asked: list[float] = []

    def steps(recipe: Recipe, *rest: object) -> tuple[int, None]:
        asked.append(recipe.minutes * recipe.times)
        return round(2 * asked[-1]), None

    monkeypatch.setattr(driver, "steps_in", steps)
    return asked


def stopped_at(step: int) -> Callbacks:
    """Ctrl-C after a step."""

    def report(p: Progress) -> None:
        if p.step == step:
            raise KeyboardInterrupt

    return Callbacks(report)


def stop(recipe: Recipe, out: Path, step: int = 2) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, [print_of_colours()], out, stopped_at(step))


def test_a_model_of_a_recipe_is_saved_with_it(tmp_path: Path, measured: list[float]) -> None:
    out = tmp_path / "model.safetensors"
    fitted = fit(recipe_of(), [print_of_colours()], out, Callbacks(card=lambda: {"command": "x"}))
    assert (fitted.steps, measured) == (4, [2.0])
    assert [p.name for p in tmp_path.iterdir()] == [out.name]
    model = checkpoint.load(out)
    card = model.card
    assert card["recipe"] == recipe_of().of_steps(4).in_card()
    assert (card["steps"], card["images"], card["seed"], card["command"]) == (4, 32, 3, "x")
    whole = trainer_of(4, checkpoint_seconds=0.0, evaluations=0, log_every=1, where=3.0)
    run(whole)
    weights = model.network.state_dict()
    assert_bit_equal(weights, fitted.model.network.state_dict())
    assert_bit_equal({k: v.cpu() for k, v in whole.result().state_dict().items()}, weights)


@pytest.mark.parametrize("step", [0, 2])
def test_an_interrupted_training_goes_on_with_its_number_of_steps(
    tmp_path: Path, measured: list[float], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Also where it was stopped before its first step, after the steps were measured."""
    out, scenes = tmp_path / "model.safetensors", [print_of_colours()]
    whole = fit(recipe_of(), scenes).model.network.state_dict()
    with monkeypatch.context() as patch:
        if step == 0:

            def interrupted(*arguments: object) -> None:
                raise KeyboardInterrupt

            patch.setattr(driver, "run", interrupted)
        stop(recipe_of(), out, step)
    monkeypatch.setattr(driver, "steps_in", None)
    fitted = fit(recipe_of(), scenes, out)
    assert fitted.steps == 4
    assert_bit_equal(fitted.model.network.state_dict(), whole)
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize(
    ("begun", "now", "says"),
    [
        (recipe_of(2.0), recipe_of(3.0), r"of 4 steps \(2 min\), 1 of them made; now 3 min"),
        (recipe_of(2.0), recipe_of(steps=8), "now 8 steps"),
        (recipe_of(steps=4), recipe_of(2.0), "of 4 steps, 1 of them made; now 2 min"),
        (recipe_of(steps=4), recipe_of(steps=5), "now 5 steps"),
    ],
    ids=["minutes", "steps for minutes", "minutes for steps", "steps"],
)
def test_another_budget_is_refused_and_none_goes_on(
    tmp_path: Path, measured: list[float], begun: Recipe, now: Recipe, says: str
) -> None:
    out = tmp_path / "model.safetensors"
    stop(begun, out)
    before = state.path_of(out).read_bytes()
    with pytest.raises(TrainingError, match=says) as caught:
        fit(now, [print_of_colours()], out)
    assert "\n" not in str(caught.value)
    assert "minutes" in caught.value.settings
    assert state.path_of(out).read_bytes() == before
    assert fit(recipe_of(), [print_of_colours()], out, given=False).steps == 4


def test_an_evaluation_may_end_the_training() -> None:
    seen: list[int] = []

    def enough(network: SiameseNetwork, p: Progress) -> bool:
        seen.append(p.step)
        return len(seen) == 2

    fitted = fit(recipe_of(steps=10), [print_of_colours()], callbacks=Callbacks(evaluate=enough, at=(0.1, 0.3, 0.9)))
    assert seen == [1, 3]
    assert fitted.steps == fitted.model.card["steps"] == 3


def test_a_second_training_of_the_same_file_is_refused(tmp_path: Path) -> None:
    with exclusive(tmp_path / "m.safetensors"), pytest.raises(InputError, match="is writing it; wait for that to end"):
        fit(recipe_of(), [print_of_colours()], tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def timed(monkeypatch: pytest.MonkeyPatch, step_seconds: Callable[[int], float]) -> None:
    """Steps take what is said of them [s]."""
    advance = Trainer.advance

    def as_long(self: Trainer) -> tuple[float, dict[str, float]]:
        before = self.seconds
        result = advance(self)
        self.seconds = before + step_seconds(self.step)
        return result

    monkeypatch.setattr(Trainer, "advance", as_long)


@pytest.mark.parametrize(
    ("first", "later", "low", "high"), [(1.0, 0.2, 24, 50), (0.2, 1.0, 11, 17), (0.5, 0.52, 20, 20)]
)
def test_minutes_are_kept_where_steps_take_another_time_than_was_measured(
    monkeypatch: pytest.MonkeyPatch, first: float, later: float, low: int, high: int
) -> None:
    """On a machine that was busy while the speed was measured, two minutes were 20 steps."""
    busy = 4  # steps, and the trial's
    monkeypatch.setattr(driver, "steps_in", lambda *rest: (round(10 / first), 10.0))
    timed(monkeypatch, lambda step: first if step <= busy else later)
    said: list[str] = []
    rates: list[float] = []
    seen: list[int] = []

    def evaluated(network: SiameseNetwork, p: Progress) -> bool:
        seen.append(p.step)
        return False

    callbacks = Callbacks(lambda p: rates.append(p.lr), evaluate=evaluated, at=(0.5, 1.0), say=said.append)
    fitted = fit(recipe_of(), [print_of_colours()], callbacks=callbacks)
    assert low <= fitted.steps <= high
    assert fitted.seconds == pytest.approx(10.0, rel=0.15)
    assert len(seen) == 2
    assert seen[1] == fitted.steps  # the last one is of the whole training
    assert any("a step takes" in line for line in said) == (first != 0.5)
    assert max(abs(a - b) for a, b in pairwise(rates)) < 0.6  # no jump of the learning rate...
    assert rates[-1] < 0.01  # ...which falls to nothing all the same


def test_a_plan_of_the_way_outlives_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "steps_in", lambda *rest: (8, 8.0))
    timed(monkeypatch, lambda step: 0.25)
    out = tmp_path / "model.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(recipe_of(), [print_of_colours()], out, stopped_at(7))
    said: list[str] = []
    fitted = fit(recipe_of(), [print_of_colours()], out, Callbacks(say=said.append))
    assert any(line.startswith("resumed at step 6 of ") and " of 8," not in line for line in said), said
    assert fitted.seconds == pytest.approx(8.0, rel=0.15)
