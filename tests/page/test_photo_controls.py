"""The controls of a photo of one's own, without a browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from siame_se3.page import photo_controls
from siame_se3.page.photo_controls import PhotoControls, file_name
from siame_se3.page.simulation import Simulation
from siame_se3.scenes.planar import Scene


def test_a_models_file_is_of_one_photo_width_and_distance(scene: Scene, scenes: list[Scene]) -> None:
    """Phones call every photo image.jpg: the second training replaced the first one's model."""
    photo = replace(scene, name="image")
    others = [replace(scenes[1], name="image"), replace(photo, width=0.4, height=0.3)]
    names = {file_name(one, 0.6) for one in (photo, *others)} | {file_name(photo, 0.5)}
    assert len(names) == 4
    assert all(name.startswith("image-") for name in names)
    assert file_name(replace(photo, name="../a b"), 0.6).startswith("___a_b-")
    assert file_name(photo, 0.6) == file_name(replace(photo), 0.6)


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
