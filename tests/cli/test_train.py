"""The train command's options: what is trained, and for how long."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from siame_se3.cli.train import Train
from siame_se3.errors import InputError, SiameError
from siame_se3.experiments.evaluation import engine_on
from siame_se3.geometry.camera import default_camera
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.training import driver
from siame_se3.training.recipe import MINUTES, Recipe, TrainConfig, for_photos
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


def test_the_command_trains_for_other_pictures_of_the_place() -> None:
    recipe, _ = Train((PHOTO,)).recipe()
    assert recipe.data == for_photos().data
    assert recipe.network == for_photos().network
    assert recipe.train == for_photos().train


def test_what_is_done_about_a_photos_noise_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace(TINY, out=tmp_path / "m.safetensors", steps=1, data=few_views(denoise=True))()
    assert capsys.readouterr().out.startswith("photo coffee: noise ")


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
        patch.setattr(driver, "steps_in", lambda *rest: 2)
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
