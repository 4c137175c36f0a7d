"""What all tests share: limits on time, one thread, a DDS domain, a print to look at, a camera, a network that takes milliseconds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
import torch.nn.functional as F

from time_limit import (  # noqa: F401  # pytest finds them here
    pytest_runtest_call,
    pytest_runtest_makereport,
    pytest_terminal_summary,
)

if os.environ.get("SIAME_CHECK_TYPES") == "1":
    import typecheck

    typecheck.install()  # first: it checks what is imported after it

from siame_se3.geometry.camera import Camera
from siame_se3.networks.config import NetworkConfig
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.training.batches import BatchSource
from siame_se3.training.data import DataConfig


def pytest_configure(config: pytest.Config) -> None:
    """A DDS domain for each worker, also for the programs that tests start: never one that a robot here may listen to by its ROS_DOMAIN_ID.

    SIAME_DDS_DOMAIN is the first worker's; without it, each takes one by its process's number.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = os.environ.get("SIAME_DDS_DOMAIN")
    domain = 10 + os.getpid() % 200 if first is None else int(first) + worker
    os.environ["ROS_DOMAIN_ID"] = str(domain)


@pytest.fixture(scope="session")
def dds_domain() -> int:
    """This worker's DDS domain."""
    return int(os.environ["ROS_DOMAIN_ID"])


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Two workers have a core each, and results do not depend on the machine."""
    threads, opencv = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    torch.set_num_threads(threads)
    cv2.setNumThreads(opencv)


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
