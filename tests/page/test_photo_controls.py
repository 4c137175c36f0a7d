"""The controls of a photo of one's own, without a browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import cv2
import numpy as np
import pytest

from page_helpers import PNG
from siame_se3.cli import parse
from siame_se3.errors import SiameError
from siame_se3.networks.checkpoint import Model
from siame_se3.page import photo_controls
from siame_se3.page.photo_controls import PhotoControls, file_name
from siame_se3.page.simulation import Simulation
from siame_se3.page.uploads import refuse_large
from siame_se3.scenes.planar import Scene
from siame_se3.training.recipe import Recipe, difference


def test_a_models_file_is_of_one_photo_width_and_distance(scene: Scene, scenes: list[Scene]) -> None:
    """Phones call every photo image.jpg: the second training replaced the first one's model."""
    photo = replace(scene, name="image")
    others = [replace(scenes[1], name="image"), replace(photo, width=0.4, height=0.3)]
    names = {file_name(one, 0.6) for one in (photo, *others)} | {file_name(photo, 0.5)}
    assert len(names) == 4
    assert all(name.startswith("image-") for name in names)
    assert file_name(replace(photo, name="../a b"), 0.6).startswith("___a_b-")
    assert file_name(photo, 0.6) == file_name(replace(photo), 0.6)


def blank_middle() -> bytes:
    """A photo with an edge of noise."""
    pixels = np.full((240, 320, 3), 128, np.uint8)
    pixels[:6] = np.random.default_rng(0).integers(0, 255, (6, 320, 3))
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.fixture
def controls(simulation: Simulation, tmp_path: Path) -> PhotoControls:
    """Whose calls are made at once."""
    server = MagicMock()
    server.gui.add_number.return_value = SimpleNamespace(value=0.8, on_update=lambda function: function)
    server.gui.add_slider.return_value = SimpleNamespace(value=5.0)
    calls: Any = MagicMock()
    calls.post.side_effect = lambda name, call: call()
    return PhotoControls(server, simulation, lambda name, call, visitor: call(), calls, tmp_path)


class Trained:
    """A training that has not ended."""

    alive, stopped = True, False

    def __init__(self, scene: Scene, recipe: Recipe, out: Path, done: Callable[[Model], None]) -> None:
        self.recipe, self.done = recipe, done

    def stop(self) -> None:
        self.stopped = True


@pytest.mark.parametrize(("data", "line"), [(b"Dear camera,", "not an image"), (blank_middle(), "sees nothing")])
def test_a_file_that_cannot_be_used_leaves_photo_and_training(
    controls: PhotoControls, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, data: bytes, line: str
) -> None:
    """It ended the training of the photo before."""
    monkeypatch.setattr(photo_controls, "Training", Trained)
    controls.take("wall.png", PNG)
    shown = simulation.worlds[0].scene
    controls._begin_or_stop()
    training: Any = controls._training
    with pytest.raises(SiameError, match=line):
        controls.take("letter.png", data)
    assert simulation.worlds[0].scene is shown
    assert controls._dropped is shown
    assert not training.stopped
    controls.take("floor.png", PNG)
    assert training.stopped


def test_it_trains_as_the_train_command_does(controls: PhotoControls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_controls, "Training", Trained)
    controls.take("wall.png", PNG)
    controls._begin_or_stop()
    training: Any = controls._training
    of_command, _ = parse(["train", "wall.png", "--width", "0.8", "--distance", "0.6", "--minutes", "5"]).recipe()
    assert difference(training.recipe.in_card(), replace(of_command, scenes=1).in_card()) == ""
    assert training.recipe.minutes == 5


def test_a_viser_that_takes_files_in_another_way_is_left_as_it_is() -> None:
    other: Any = SimpleNamespace(gui=SimpleNamespace())
    refuse_large(other, 1, lambda name, size, visitor: None)
    refused = MagicMock()
    other.gui._handle_file_transfer_start = other._websock_server = refused
    refused.unregister_handler.side_effect = ValueError("not in list")
    refuse_large(other, 1, lambda name, size, visitor: None)
    assert not refused.register_handler.called


def test_a_model_of_another_photo_is_not_taken(
    controls: PhotoControls, simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended while the call of another photo was being made, and was taken after that."""
    monkeypatch.setattr(photo_controls, "Training", Trained)
    waiting: list[Callable[[], None]] = []
    monkeypatch.setattr(controls._calls, "post", lambda name, call: waiting.append(call))
    taken: list[Model] = []
    monkeypatch.setattr(simulation, "take", taken.append)
    controls.take("wall.png", PNG)
    controls._begin_or_stop()
    training: Any = controls._training
    model: Any = object()
    training.done(model)
    waiting.pop()()
    assert taken == [None, model], "its own is"
    training.done(model)
    controls.take("floor.png", PNG)
    waiting.pop()()
    assert taken == [None, model, None]


def test_its_width_counts_also_after_the_drop(
    simulation: Simulation, scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = MagicMock()
    server.gui.add_number.return_value = width = SimpleNamespace(value=0.8, on_update=lambda function: function)
    calls: Any = MagicMock()
    controls = PhotoControls(server, simulation, lambda name, call, visitor: call(), calls, tmp_path)
    monkeypatch.setattr(
        photo_controls, "scene_of", lambda name, data, width: replace(scene, width=width, height=0.75 * width)
    )
    controls.take("a.jpg", b"")
    assert simulation.worlds[0].scene.width == 0.8
    width.value = 1.6
    controls.resize()
    assert (simulation.worlds[0].scene.width, simulation.worlds[0].scene.height) == pytest.approx((1.6, 1.2))
