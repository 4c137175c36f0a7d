"""The bundled model for photos that no training has seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import smooth_scene
from siame_se3.analysis import metrics
from siame_se3.cli.servo import Servo
from siame_se3.errors import SiameError
from siame_se3.experiments import any_scene_pictures, photos
from siame_se3.files import BUNDLED_MODELS, bundled, model_file
from siame_se3.laws.registry import controller_for
from siame_se3.networks import checkpoint
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.simulation import Task, simulate
from siame_se3.servo.trajectory import Trajectory


def test_bundled_models_go_by_name_unless_there_is_such_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_file(None) == model_file(Path("coffee")) == bundled("coffee.safetensors")
    assert model_file(Path("any-scene")) == bundled("any-scene.safetensors")
    (tmp_path / "mine.safetensors").touch()
    assert model_file(Path("mine.safetensors")) == Path("mine.safetensors")
    (tmp_path / "any-scene").mkdir()
    assert model_file(Path("any-scene")) == bundled("any-scene.safetensors")
    (tmp_path / "any-scene").rmdir()
    (tmp_path / "any-scene").touch()
    assert model_file(Path("any-scene")) == Path("any-scene")


@pytest.mark.parametrize("name", BUNDLED_MODELS)
def test_bundled_models_are_small_and_have_a_card(name: str) -> None:
    path = model_file(Path(name))
    assert path.stat().st_size < 12e6
    assert (path.parent / f"{path.stem}.md").is_file()
    assert path.name in (path.parent / "SOURCES.md").read_text(encoding="utf-8")
    assert checkpoint.load(path).card["date"]


def test_its_pictures_are_others_than_those_it_is_measured_on() -> None:
    model = checkpoint.load(model_file(Path("any-scene")))
    assert model.network.config.fusion == "plane"
    taught, unseen = any_scene_pictures.pictures(), photos.listed("unseen")
    assert len(taught) > 900
    assert len(unseen) == 40
    assert not {(p.package, p.name) for p in taught} & {(p.package, p.name) for p in unseen}


@pytest.mark.slow
def test_a_print_that_no_training_has_seen() -> None:
    model = checkpoint.load(model_file(Path("any-scene")))
    law = controller_for("handoff", model, "torch")
    task = Task(smooth_scene(5), model.camera, runs=12, seed=3)
    trajectory, _, _ = simulate(law, task, ServoConfig(gain=10.0, max_iterations=120), quiet=True)
    s = metrics.summary(metrics.rows(trajectory))
    assert s.converged_percent > 80
    assert s.median_end_t_m < 1e-4


def test_it_needs_a_photo() -> None:
    with pytest.raises(SiameError, match="model any-scene: give a photo of its scene too"):
        Servo(model=Path("any-scene"), runs=2)()


def test_a_wrong_name_is_answered_with_the_right_ones() -> None:
    with pytest.raises(SiameError, match=r"any_scene: no such file; .* coffee, any-scene"):
        Servo(model=Path("any_scene"), scene=Path("photo.png"), runs=2)()


def test_coffee_is_the_default_and_runs_say_which_model(tmp_path: Path) -> None:
    few = ServoConfig(max_iterations=2)
    for law, model, said in (
        ("neural", Path("coffee"), "coffee"),
        ("neural", None, "coffee.safetensors"),
        ("dvs", None, None),
    ):
        Servo(model=model, law=law, runs=2, engine="torch", servo=few, save=tmp_path / "runs.npz")()
        assert Trajectory.load(tmp_path / "runs.npz").settings["model"] == said
