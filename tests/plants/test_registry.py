from __future__ import annotations

from pathlib import Path

import pytest
import torch

from siame_se3.errors import InputError
from siame_se3.geometry.camera import Camera
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.registry import REGISTRY, plant_for
from siame_se3.scenes.planar import Scene


def test_our_plants(scene: Scene, camera: Camera) -> None:
    assert REGISTRY.names()[:2] == ("flying", "arm")
    plant = plant_for("flying", scene, camera)
    assert isinstance(plant, FlyingCameras)
    start = torch.eye(4, dtype=torch.float64)[None]
    start[:, 2, 3] = -0.6
    assert plant.reset(start).image is not None


def test_a_plant_of_another_module(
    scene: Scene, camera: Camera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_plants.py").write_text(
        "from siame_se3.plants.flying import FlyingCameras\n\n"
        "class Slow(FlyingCameras):\n    def __init__(self, scene, camera):\n        super().__init__(scene, camera, dt=0.1)\n\n"
        "def none(scene, camera):\n    return 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert plant_for("my_plants:Slow", scene, camera).dt == 0.1
    with pytest.raises(InputError, match="int is not a plant"):
        plant_for("my_plants:none", scene, camera)


def test_no_such_plant(scene: Scene, camera: Camera) -> None:
    with pytest.raises(InputError, match="did you mean flying") as error:
        plant_for("fling", scene, camera)
    assert error.value.settings == ("plant",)
