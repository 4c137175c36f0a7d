"""What several test files share: one thread, a print to look at, a camera, a network that takes milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import typecheck  # noqa: F401  # first: it checks shapes and types in what is imported after it
from siame_se3.geometry.camera import Camera
from siame_se3.networks.config import NetworkConfig
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.training.batches import BatchSource, DataConfig


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def smooth_scene(seed: int = 0) -> Scene:
    """Random colours at 6 x 8 points and smooth in between, as a print of 0.8 x 0.6 m."""
    coarse = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(seed))
    texture = F.interpolate(coarse, size=(60, 80), mode="bicubic", align_corners=False).clamp(0, 1)[0]
    return Scene(texture.contiguous(), 0.8, 0.6, name=f"print-{seed}")


@pytest.fixture(scope="session")
def scene() -> Scene:
    return smooth_scene()


@pytest.fixture(scope="session")
def photo() -> Scene:
    """ViSP's coffee."""
    return Scene.from_photo(Path(__file__).parent / "data" / "visp" / "coffee.png")


@pytest.fixture(scope="session")
def scenes() -> list[Scene]:
    return [smooth_scene(seed) for seed in range(4)]


@pytest.fixture(scope="session")
def camera() -> Camera:
    """The paper's field of view at 32 px."""
    return Camera.from_focal(300, 224).resized(32)


@pytest.fixture(scope="session")
def tiny() -> NetworkConfig:
    """108,000 weights; a step on 8 views takes some 20 ms."""
    return NetworkConfig(
        "test_resnet", 32, local_contrast=0.0, pooling="spatial", stride=16, squeeze=8, embedding=32, head=(32,)
    )


@pytest.fixture(scope="session")
def few_views() -> DataConfig:
    return DataConfig(views=8, augmentation=replace(Augmentation(), blur=0.5))


@pytest.fixture
def source(scene: Scene, camera: Camera, few_views: DataConfig) -> BatchSource:
    return BatchSource([scene], camera, Workspace(), few_views, seed=3)
