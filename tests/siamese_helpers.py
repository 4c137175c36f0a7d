"""A network with random weights, and random numbers for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.siamese import SiameseNetwork


def network(config: NetworkConfig, **changes: Any) -> SiameseNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SiameseNetwork(replace(config, **changes)).eval().requires_grad_(False)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
