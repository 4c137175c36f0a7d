from __future__ import annotations

import pytest

from guard_helpers import CAMERA, PHOTO
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene


@pytest.fixture(scope="module")
def plant() -> FlyingCameras:
    return FlyingCameras(Scene.from_photo(PHOTO), CAMERA)
