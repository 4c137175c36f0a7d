"""Networks whose backbone is one convolution, and few rounds of fits: what exporters take time for is the graph's length."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from checkpoint_helpers import CARD
from siame_se3.geometry.camera import Camera
from siame_se3.networks.checkpoint import Model, save
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.part_configs import FitConfig, HomographyConfig, MatchingConfig
from siame_se3.networks.siamese import SiameseNetwork

Lean = Callable[..., SiameseNetwork]


@pytest.fixture(scope="session", autouse=True)
def timm_is_there() -> None:
    """Imported once for all: that takes seconds, which are no test's own."""
    importlib.import_module("timm")


@pytest.fixture(scope="session")
def lean(tiny: NetworkConfig) -> Lean:
    """`tiny` with changes, in training mode, as a training has it."""
    few = {
        "homography": HomographyConfig(fit=FitConfig(rounds=1)),
        "matching": MatchingConfig(fit=FitConfig(rounds=1, prior=1.0, stiffness=(1.0, 10.0))),
    }

    def build(**changes: Any) -> SiameseNetwork:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = SiameseNetwork(replace(tiny, **(few | changes)))
            stride = 8 if network.config.pooling == "average" else network.config.stride
            layers = nn.Conv2d(3, network.channels, stride, stride), nn.BatchNorm2d(network.channels), nn.ReLU()
            average = (nn.AdaptiveAvgPool2d(1), nn.Flatten()) if network.config.pooling == "average" else ()
            network.backbone = nn.Sequential(*layers, *average)
        return network

    return build


@pytest.fixture(scope="module")
def model(tiny: NetworkConfig, camera: Camera) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SiameseNetwork(tiny).eval()
    generator = torch.Generator().manual_seed(1)
    for name, buffer in network.named_buffers():  # as after a training: no longer 0 and 1
        if name.endswith("running_mean"):
            buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
        elif name.endswith("running_var"):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return Model(network, camera, 0.6, 0.8, CARD)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "good.safetensors"
    save(model, path)
    return path
