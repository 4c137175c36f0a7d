"""A print and cameras over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from auto_helpers import offset, square_on
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene


@pytest.fixture(scope="module")
def plant() -> FlyingCameras:
    photo = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
    return FlyingCameras(Scene.from_photo(photo, 1.0), Camera.from_focal(300, 224))


@pytest.fixture(scope="module")
def goal(plant: FlyingCameras) -> View:
    return plant.look(square_on(1))


@pytest.fixture(scope="module")
def here(plant: FlyingCameras) -> View:
    return plant.look(square_on(1) @ offset(0.02, -0.02, 0.02, 0.03, 0.03, 0.1))
