from __future__ import annotations

from pathlib import Path

import pytest

from guard_helpers import CAMERA, PHOTO
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from trajectory_helpers import trajectory_of


@pytest.fixture(scope="module")
def plant() -> FlyingCameras:
    return FlyingCameras(Scene.from_photo(PHOTO), CAMERA)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trajectory's file: three runs."""
    path = tmp_path_factory.mktemp("view") / "good.npz"
    trajectory_of(3).save(path)
    return path


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests write what is no such file, or a changed one."""
    return tmp_path_factory.mktemp("view") / "bad.npz"
