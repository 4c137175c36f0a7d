from __future__ import annotations

from collections.abc import Iterator

import pytest

from page_helpers import setup
from siame_se3.geometry.camera import Camera
from siame_se3.page.simulation import Simulation
from siame_se3.scenes.planar import Scene


@pytest.fixture
def simulation(scene: Scene, camera: Camera) -> Iterator[Simulation]:
    """One camera that goes home as fast as it is computed."""
    show = Simulation(setup(scene, camera))
    yield show
    show.close()
