from __future__ import annotations

import dataclasses
import math
from dataclasses import replace
from typing import Any

import pytest

from siame_se3.errors import InputError
from siame_se3.files import from_dict
from siame_se3.geometry.camera import default_camera
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import LossConfig
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.poses import Workspace
from siame_se3.training.data import DataConfig
from siame_se3.training.recipe import Recipe, TrainConfig, difference, for_photos

ODD = Recipe(
    NetworkConfig(head=(7,)),
    data=DataConfig(augmentation=Augmentation(blur=0.5), spread=(0.5, 1.0)),
    camera=default_camera(48),
    train=TrainConfig(steps=12, lr=1e-3),
)


@pytest.mark.parametrize("recipe", [Recipe(), for_photos(), ODD], ids=["default", "photos", "other"])
def test_a_recipe_is_what_its_card_says(recipe: Recipe) -> None:
    card = recipe.in_card()
    assert from_dict(Recipe, card, "card") == recipe


def test_the_default_camera_is_of_the_networks_size() -> None:
    assert Recipe(NetworkConfig(image_size=48)).seen_by == default_camera(48)
    assert ODD.seen_by is ODD.camera


def test_the_budget_is_steps_or_minutes() -> None:
    assert Recipe(minutes=3.0, times=2.0).budget == 6.0
    assert Recipe(minutes=3.0).of_steps(7).budget is None
    assert Recipe().of_steps(7).train.steps == 7


@pytest.mark.parametrize(
    ("kept", "wanted", "named"),
    [
        (Recipe(minutes=9.0, seed=4), Recipe(), ""),
        (ODD.of_steps(99), ODD, ""),
        (Recipe(train=TrainConfig(precision="bf16")), Recipe(), ""),
        (replace(ODD, train=replace(ODD.train, fast=True, evaluations=0)), ODD, ""),
        (Recipe(train=TrainConfig(lr=1e-3)), Recipe(), "train.lr 0.001, now 0.003"),
        (Recipe(data=DataConfig(views=8)), Recipe(), "data.views 8, now 64"),
        (Recipe(camera=default_camera(48)), Recipe(), "camera "),
        (Recipe(times=4.0), Recipe(), "times 4.0, now 1.0"),
    ],
    ids=["minutes and seed", "steps", "precision", "how it ran", "learning rate", "views", "camera", "times"],
)
def test_a_difference_is_one_of_what_makes_the_network(kept: Recipe, wanted: Recipe, named: str) -> None:
    found = difference(kept.in_card(), wanted.in_card())
    assert found.startswith(named)
    assert bool(found) == bool(named)


@pytest.mark.parametrize("gone", ["train", "camera", "minutes", "data", "scenes"])
def test_cards_from_before_an_option_had_its_default(gone: str) -> None:
    kept = {name: value for name, value in Recipe().in_card().items() if name != gone}
    assert difference(kept, Recipe().in_card()) == ""
    assert difference(kept, Recipe().tuned().in_card()) == ("" if gone == "train" else "train.lr 0.003, now 0.001")


@pytest.mark.parametrize(
    "changes",
    [{"steps": 0}, {"log_every": 0}, {"lr": 0.0}, {"lr": math.nan}, {"lr_muon": math.inf}, {"average": 1.0}],
    ids=str,
)
def test_options_that_train_nothing_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        TrainConfig(**changes)
    assert caught.value.settings
    assert "--" not in str(caught.value)


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.inf, math.nan])
def test_a_budget_of_nothing_is_refused(minutes: float) -> None:
    with pytest.raises(InputError, match="min; give"):
        Recipe(minutes=minutes)


NUMBERS = [
    (settings, field.name)
    for settings in (TrainConfig, LossConfig, Workspace, Augmentation, DataConfig)
    for field in dataclasses.fields(settings)
    if field.type == "float"
]


@pytest.mark.parametrize(("settings", "name"), NUMBERS, ids=lambda x: getattr(x, "__name__", x))
@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_settings_that_are_no_such_numbers_are_refused_by_name(settings: Any, name: str, value: float) -> None:
    with pytest.raises(InputError) as error:
        settings(**{name: value})
    assert name in str(error.value) or any(name in flag for flag in error.value.settings)


def test_training_for_photos_has_a_cameras_disturbances_and_cleans_them() -> None:
    data = for_photos().data
    assert data.denoise
    usual = Augmentation()
    for name in ("colour", "noise", "blur", "vignetting", "surroundings", "bend"):
        assert getattr(data.augmentation, name) > getattr(usual, name)
    assert difference(Recipe().in_card(), for_photos().in_card())


def test_a_card_from_before_photos_were_cleaned_is_of_a_training_without_it() -> None:
    kept = Recipe().in_card()
    del kept["data"]["denoise"], kept["data"]["augmentation"]["bend"], kept["data"]["augmentation"]["surroundings"]
    assert difference(kept, Recipe().in_card()) == ""
    cleaned = replace(Recipe(), data=replace(Recipe().data, denoise=True))
    assert difference(kept, cleaned.in_card()) == "data.denoise False, now True"
