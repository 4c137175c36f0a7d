from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from browser import wait_for
from siame_se3.cli import parse
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.networks.checkpoint import Model
from siame_se3.networks.config import NetworkConfig
from siame_se3.page.training import Training, recipe_for
from siame_se3.scenes.planar import Scene
from siame_se3.training.data import DataConfig
from siame_se3.training.driver import fit
from siame_se3.training.recipe import Recipe, TrainConfig, difference


@pytest.fixture(scope="module")
def recipe(tiny: NetworkConfig, few_views: DataConfig, camera: Camera, scene: Scene) -> Recipe:
    """Of two steps; the first training of a process, which imports for seconds, is made here."""
    train = TrainConfig(steps=2, log_every=1, evaluations=0)
    recipe = Recipe(network=tiny, data=few_views, camera=camera, scenes=1, train=train)
    fit(recipe, [scene])
    return recipe


def test_a_training_ends_with_a_model_and_its_file(recipe: Recipe, scene: Scene, tmp_path: Path) -> None:
    done: list[Model] = []
    training = Training(scene, recipe, tmp_path / "print.safetensors", done.append)
    training.join(60)
    assert training.share == 1
    assert training.text.startswith("done: ")
    assert (tmp_path / "print.safetensors").is_file()
    assert done[0].card["scenes"] == [scene.name]


def test_a_stopped_training_goes_on_where_it_was(recipe: Recipe, scene: Scene, tmp_path: Path) -> None:
    long = replace(recipe, train=replace(recipe.train, steps=100_000))
    out = tmp_path / "print.safetensors"
    done: list[Model] = []
    first = Training(scene, long, out, done.append)
    wait_for(lambda: first.share > 0, 60)
    assert "of 100000" in first.text
    first.stop()
    first.join(60)
    assert "goes on from there" in first.text
    second = Training(scene, long, out, done.append)
    wait_for(lambda: second.share > first.share, 60)
    second.stop()
    second.join(60)
    assert done == []


def test_what_cannot_be_trained_is_said(recipe: Recipe, scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    training = Training(scene, recipe, tmp_path / "file" / "print.safetensors", lambda model: None)
    training.join(60)
    assert not training.alive
    assert "file" in training.text
    assert not training.text.startswith("done")


def test_the_recipe_is_that_of_the_train_command() -> None:
    """It was the one of the experiments, made for its own photo alone."""
    of_page = recipe_for(default_camera(224), 1.2, 2.0, 3.0)
    options = ("--width", "2", "--distance", "1.2", "--minutes", "3")
    of_command, _ = parse(["train", "photo.jpg", *options]).recipe()
    assert difference(of_page.in_card(), replace(of_command, scenes=1).in_card()) == ""


def test_the_recipe_is_that_of_the_page_s_camera_and_distance() -> None:
    recipe = recipe_for(default_camera(224), 1.2, 2.0, 3.0)
    assert recipe.seen_by == default_camera(224).square(recipe.network.image_size)
    assert recipe.workspace.distance == 1.2
    assert recipe.network.output_scale[0] == pytest.approx(2 * NetworkConfig().output_scale[0])
    assert recipe.network.output_scale[3:] == NetworkConfig().output_scale[3:]
    assert (recipe.width, recipe.minutes) == (2.0, 3.0)
