"""The train command's options: what is trained, and for how long."""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cli_helpers import Siame
from siame_se3.analysis.metrics import Row, Summary, summary
from siame_se3.cli import program, train
from siame_se3.cli.output import Output
from siame_se3.cli.train import Train
from siame_se3.errors import InputError, SiameError
from siame_se3.experiments import evaluation
from siame_se3.experiments.evaluation import engine_on
from siame_se3.geometry.camera import default_camera
from siame_se3.networks import checkpoint
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.scenes.planar import Scene
from siame_se3.training import driver, state
from siame_se3.training.driver import Progress
from siame_se3.training.recipe import MINUTES, Recipe, TrainConfig, for_photos
from siame_se3.training.trainer import Trainer
from training_helpers import few_views, network_of

PHOTO = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
TINY = Train((PHOTO,), network=network_of(), data=few_views(), eval_runs=0)


@pytest.mark.parametrize("steps", [1000, 7])
def test_train_steps_are_steps_and_say_so(steps: int, capsys: pytest.CaptureFixture[str]) -> None:
    """1000 was taken for the default, and so for five minutes."""
    recipe, given = Train((PHOTO,), train=replace(for_photos().train, steps=steps)).recipe()
    assert given
    assert recipe.train.steps == steps
    assert recipe.budget is None
    assert "--steps" in capsys.readouterr().err
    assert Train((PHOTO,), steps=steps).recipe() == (recipe, True)
    assert capsys.readouterr().err == ""


def test_two_budgets_are_refused() -> None:
    for options in (
        Train((PHOTO,), steps=7, train=TrainConfig(steps=8)),
        Train((PHOTO,), minutes=1.0, train=TrainConfig(steps=8)),
        Train((PHOTO,), minutes=1.0, steps=8),
    ):
        with pytest.raises(InputError, match="give one of them"):
            options.recipe()


def test_minutes_are_five_unless_given() -> None:
    recipe, given = Train((PHOTO,)).recipe()
    assert (recipe.budget, given) == (MINUTES, False)
    recipe, given = Train((PHOTO,), minutes=1.5).recipe()
    assert (recipe.budget, given) == (1.5, True)


def test_the_relief_is_that_of_the_training() -> None:
    recipe, _ = Train((PHOTO,), relief=0.2).recipe()
    assert recipe.data == replace(for_photos().data, relief=0.2)
    with pytest.raises(InputError, match="give the relief as --relief"):
        Train((PHOTO,), data=replace(few_views(), relief=0.2)).recipe()
    for relief in (-0.1, 0.7, float("nan")):
        with pytest.raises(InputError, match="share of the distance"):
            Train((PHOTO,), relief=relief).recipe()


def test_the_command_trains_for_other_pictures_of_the_place() -> None:
    recipe, _ = Train((PHOTO,)).recipe()
    assert recipe.data == for_photos().data
    assert recipe.network == for_photos().network
    assert recipe.train == for_photos().train


def test_what_is_done_about_a_photos_noise_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace(TINY, out=tmp_path / "m.safetensors", steps=1, data=few_views(denoise=True))()
    assert capsys.readouterr().out.splitlines()[1].startswith("photo coffee: noise ")


def test_views_scale_with_the_distance() -> None:
    recipe, _ = Train((PHOTO,), distance=1.2, seed=4, init=Path("coffee")).recipe()
    assert recipe.workspace.distance == 1.2
    assert recipe.workspace.offset_t == pytest.approx(2 * Recipe().workspace.offset_t)
    assert recipe.network.output_scale == pytest.approx((0.2, 0.2, 0.2, 0.2, 0.2, 0.2))
    assert (recipe.seen_by, recipe.seed, recipe.init) == (default_camera(112), 4, "coffee")


def test_another_time_for_an_interrupted_training_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was ignored."""
    command = replace(TINY, out=tmp_path / "m.safetensors", minutes=1.0)

    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(driver, "steps_in", lambda *rest: (2, None))
        patch.setattr(driver, "run", stopped)
        with pytest.raises(KeyboardInterrupt):
            command()
    monkeypatch.setattr(driver, "steps_in", None)  # the steps that were measured are kept
    for other in (replace(command, minutes=2.0), replace(command, minutes=None, steps=5)):
        with pytest.raises(SiameError, match=r"of 2 steps \(1 min\), 0 of them made; now (2 min|5 steps)"):
            other()
    replace(command, minutes=None)()
    assert "after 2 steps" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_training_on_the_cpu_is_evaluated_there_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda module, *rest: pytest.fail("moved to the GPU"))
    network = SiameseNetwork(network_of())
    engine = engine_on(network)
    images = torch.rand(2, 3, 32, 32)
    assert engine.step(images, engine.embed(images)).device.type == "cpu"
    assert next(network.parameters()).device.type == "cpu"
    assert Train((PHOTO,), device="cpu")._device().type == "cpu"


FAST = replace(TINY, steps=3, train=TrainConfig(evaluations=0, precision="f32", log_every=1))


def print_beside(tmp_path: Path) -> Path:
    """The same picture by another name."""
    other = tmp_path / "other.png"
    other.write_bytes(PHOTO.read_bytes())
    return other


def test_a_finished_model_of_another_photo_is_not_replaced_unasked(tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    replace(FAST, out=out)()
    before = out.read_bytes()
    other = replace(FAST, photos=(print_beside(tmp_path),), out=out)
    with pytest.raises(InputError, match="a finished model of coffee, and this one is of other") as caught:
        other()
    assert caught.value.settings == ("out", "force")
    assert out.read_bytes() == before
    assert not out.with_name("m.safetensors.state").exists()
    replace(FAST, out=out, seed=1)()  # of the same photo
    replace(other, force=True)()
    assert checkpoint.load(out).card["photo"] == ["other"]


def test_a_file_that_is_no_model_is_not_replaced_unasked(tmp_path: Path) -> None:
    """--out photo.png cost the photo."""
    other = print_beside(tmp_path)
    with pytest.raises(InputError, match="no model"):
        replace(FAST, out=other)()
    assert other.read_bytes() == PHOTO.read_bytes()


def test_models_have_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    """They had 0600, and nobody else could read them."""
    before = os.umask(0o027)
    try:
        replace(FAST, out=tmp_path / "m.safetensors")()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "m.safetensors").stat().st_mode) == 0o640


def test_a_training_says_at_once_what_it_does_and_on_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was silent for 14 s."""
    monkeypatch.setattr(Trainer, "advance", lambda trainer: pytest.fail("a step before a word"))
    with pytest.raises(pytest.fail.Exception):
        replace(FAST, out=tmp_path / "m.safetensors", steps=None, minutes=1.0)()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("training on coffee, on the CPU (")
    assert lines[1] == "measuring the speed of a step"


@pytest.mark.slow
def test_ctrl_c_is_said_after_the_state_is_saved(siame: Siame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "parse", lambda arguments: replace(FAST, out=tmp_path / "m.safetensors"))
    report = train._TrainLog.report

    def pressed(log: object, p: Progress) -> None:
        report(log, p)  # type: ignore[arg-type]  # it is one
        if p.step == 2:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(train._TrainLog, "report", pressed)
        status, _, err = siame("train")
    place = tmp_path / "m.safetensors.state"
    assert status == 130
    assert err.endswith(
        f"siame: stopped at step 2 of 3, saved in {place}; the same command goes on from what is saved\n"
    )
    begun = state.begun(place)
    assert begun is not None
    assert begun.done == 2
    status, out, _ = siame("train")
    assert status == 0
    assert f"resumed at step 2 of 3, from {place}" in out


@pytest.mark.slow
def test_evaluations_before_an_interruption_stay_in_the_card(
    siame: Siame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was made just before Ctrl-C too; none is made twice."""
    made: list[int] = []

    def loop(*arguments: object, **more: object) -> Summary:
        made.append(len(made))
        if len(made) == 1:
            signal.raise_signal(signal.SIGINT)
        return summary([Row(0, 0.1, 10.0, 0.1, 10.0, 0.0, 0.0, 5, 0, 1.0)])

    monkeypatch.setattr(evaluation, "closed_loop", loop)
    place = tmp_path / "m.safetensors"
    asked = replace(FAST, steps=4, out=place, eval_runs=4, train=replace(FAST.train, evaluations=2))
    monkeypatch.setattr(program, "parse", lambda arguments: asked)
    assert siame("train")[0] == 130
    assert siame("train")[0] == 0
    closed_loop = checkpoint.load(place).card["closed_loop"]
    assert [result["step"] for result in closed_loop] == [2, 4]
    assert len(made) == 2


def test_evaluations_take_a_third_of_the_minutes_at_most(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The last one is made in any case."""
    clock = [0.0]
    monkeypatch.setattr(train.time, "monotonic", lambda: clock[0])

    def loop(*arguments: object, **more: object) -> Summary:
        clock[0] += 14.0
        return summary([Row(0, 0.1, 10.0, 0.1, 10.0, 0.0, 0.0, 5, 0, 1.0)])

    monkeypatch.setattr(evaluation, "closed_loop", loop)
    for minutes, made in ((1.0, [8]), (2.0, [2, 8]), (10.0, [2, 4, 6, 8])):
        command = replace(TINY, minutes=minutes, eval_runs=4)
        log = train._TrainLog(command, [Scene.from_photo(PHOTO)], command.recipe()[0], Output())
        assert log.rehearse(None) == 14.0  # type: ignore[arg-type]  # no network is run
        for step in (2, 4, 6, 8):
            log.evaluate(None, Progress(step, 8, 1.0, {}, 1.0, 10.0, 1))  # type: ignore[arg-type]  # no network is run
        log.close()
        assert [result["step"] for result in log.results] == made


def test_the_result_as_json(siame: Siame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "parse", lambda arguments: replace(FAST, out=tmp_path / "m.safetensors", json=True))
    status, out, err = siame("train")
    assert status == 0
    result = json.loads(out)
    assert (result["steps"], result["written"], result["card"]["photo"]) == (
        3,
        [str(tmp_path / "m.safetensors")],
        ["coffee"],
    )
    assert "saved " in err


def test_the_next_command_can_be_copied(siame: Siame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Phones put spaces and brackets into the names of photos."""
    photo = tmp_path / "Image at 10.12.05 (1).png"
    photo.write_bytes(PHOTO.read_bytes())
    command = replace(FAST, photos=(photo,), out=tmp_path / "my model.safetensors", steps=1)
    monkeypatch.setattr(program, "parse", lambda arguments: command)
    status, out, _ = siame("train")
    assert status == 0
    words = shlex.split(out.splitlines()[-1].removeprefix("next: "))
    assert words[:6] == ["siame", "servo", "--model", str(command.out), "--scene", str(photo)]


@pytest.mark.parametrize(("converged", "said"), [(16.0, True), (97.0, False)])
def test_a_training_that_reached_little_says_what_to_do(
    converged: float, said: bool, siame: Siame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = replace(summary([Row(0, 0.1, 10.0, 0.1, 10.0, 0.0, 0.0, 5, 0, 1.0)]), converged_percent=converged)
    monkeypatch.setattr(evaluation, "closed_loop", lambda *args, **options: ended)
    asked = replace(FAST, out=tmp_path / "m.safetensors", eval_runs=4, train=replace(FAST.train, evaluations=1))
    monkeypatch.setattr(program, "parse", lambda arguments: asked)
    status, out, err = siame("train")
    assert status == 0
    assert (f"{converged:.0f} % of its own starts converge, which is little" in out + err) == said
    assert ("--steps 6" in out + err) == said
