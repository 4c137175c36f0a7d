"""Poolings: how a feature map becomes S(I). A class each; `Pooling.of` builds one from a config.

A new pooling is a class here, its name in `POOLINGS` and in `config.PoolingName`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from siame_se3.errors import ModelError
from siame_se3.networks.attention import Layer, places
from siame_se3.networks.homography import HomographyFit
from siame_se3.networks.part_configs import MOST_CELLS, AttentionConfig, HomographyConfig

if TYPE_CHECKING:
    from siame_se3.networks.config import NetworkConfig


class Pooling(nn.Module, ABC):
    """Features of an image -> S(I).

    Attributes:
        size: numbers of S(I).
        takes_map: whether it takes the feature map of a stride; else the backbone's own pooled vector.
    """

    size: int
    takes_map: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def of(cls, config: NetworkConfig, channels: int) -> Self:
        """The pooling of a network whose feature maps have so many channels."""

    @classmethod
    def check(cls, config: NetworkConfig) -> None:
        """Refuse what it cannot use.

        Raises:
            ModelError: more cells than memory is for.
        """
        if cls.takes_map and config.side > MOST_CELLS:
            raise ModelError(
                f"network: {config.side} x {config.side} cells; give a stride of {-(-config.image_size // MOST_CELLS)} px or more",
                "network.stride",
            )

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """S(I), (n, size)."""


class VectorPooling(Pooling, ABC):
    """S(I) is one vector, which the layers of a head can read."""


class AveragePool(VectorPooling):
    """The mean over the last map (the paper's); the backbone takes it itself."""

    takes_map = False

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.size = channels

    @classmethod
    def of(cls, config: NetworkConfig, channels: int) -> Self:
        return cls(channels)

    def forward(self, features: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        return features


class SpatialPool(VectorPooling):
    """A vector that keeps the places: 1x1 convolution, flatten, linear."""

    def __init__(self, channels: int, side: int, squeeze: int, embedding: int) -> None:
        super().__init__()
        self.size = embedding
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.project = nn.Linear(squeeze * side * side, embedding)

    @classmethod
    def of(cls, config: NetworkConfig, channels: int) -> Self:
        return cls(channels, config.side, config.squeeze, config.embedding)

    def forward(self, features: Float[Tensor, "n c y x"]) -> Float[Tensor, "n d"]:
        return self.project(torch.relu(self.squeeze(features)).flatten(1))


class CellPoints(nn.Module):
    """Scene coordinates of each cell of a feature map: x, y in half widths of the scene, and the log of their scale of error."""

    def __init__(self, channels: int, config: HomographyConfig | None = None) -> None:
        super().__init__()
        config = config or HomographyConfig()
        self.log_scale = config.log_scale
        self.layers = nn.Sequential(nn.Conv2d(channels, config.hidden, 1), nn.ReLU(), nn.Conv2d(config.hidden, 3, 1))
        last = self.layers[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        with torch.no_grad():
            last.weight[2].zero_()

    def forward(self, features: Float[Tensor, "n c y x"]) -> tuple[Float[Tensor, "n 2 y x"], Float[Tensor, "n y x"]]:
        """Points, and log b of their Laplace scale b (by default kept between 0.02 and 2.7 half widths)."""
        y = self.layers(features)
        return y[:, :2], y[:, 2].clamp(*self.log_scale)


class HomographyPool(HomographyFit, VectorPooling):
    """S(I) = the homography from the image to the scene that fits the cells' points best: 8 numbers.

    Points are in half widths of the scene. The prior is a camera straight above.
    """

    def __init__(self, channels: int, side: int, config: HomographyConfig | None = None) -> None:
        config = config or HomographyConfig()
        super().__init__(side, config.fit)
        self.points = CellPoints(channels, config)

    @classmethod
    def of(cls, config: NetworkConfig, channels: int) -> Self:
        return cls(channels, config.side, config.homography)

    def forward(self, features: Float[Tensor, "n c y x"]) -> Float[Tensor, "n 8"]:
        return self.fit(*self.points(features))


class DescriptorPool(Pooling):
    """S(I) = for each cell of the feature map a unit vector that distinguishes it from others, and half as many numbers on what moves within it;
    (3 length / 2, y, x) flattened. For fusion 'matching'."""

    def __init__(self, channels: int, side: int, length: int) -> None:
        super().__init__()
        self.length = length
        self.size = (length + length // 2) * side * side
        self.project = nn.Conv2d(channels, length + length // 2, 1)

    @classmethod
    def of(cls, config: NetworkConfig, channels: int) -> Self:
        return cls(channels, config.side, config.squeeze)

    @classmethod
    def check(cls, config: NetworkConfig) -> None:
        super().check(config)
        if config.squeeze < 2:
            raise ModelError("network: squeeze is 1; give 2 or more with descriptors", "network.squeeze")

    def forward(self, features: Float[Tensor, "n c y x"]) -> Float[Tensor, "n d"]:
        x = self.project(features)
        return torch.cat((F.normalize(x[:, : self.length], dim=1), x[:, self.length :]), 1).flatten(1)


class ContextPool(Pooling):
    """S(I) = for each cell of the feature map what it shows, in the context of the whole image: (y x, width) flattened. For fusion 'plane'."""

    places: Tensor

    def __init__(self, channels: int, side: int, config: AttentionConfig) -> None:
        super().__init__()
        self.size = config.width * side * side
        self.project = nn.Conv2d(channels, config.width, 1)
        self.register_buffer("places", places(side, config.width), persistent=False)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.own))

    @classmethod
    def of(cls, config: NetworkConfig, channels: int) -> Self:
        return cls(channels, config.side, config.attention)

    def forward(self, features: Float[Tensor, "n c y x"]) -> Float[Tensor, "n d"]:
        cells = self.project(features).flatten(2).transpose(1, 2) + self.places
        for layer in self.layers:
            cells = layer(cells, cells)
        return cells.flatten(1)


POOLINGS: dict[str, type[Pooling]] = {
    "average": AveragePool,
    "spatial": SpatialPool,
    "homography": HomographyPool,
    "descriptors": DescriptorPool,
    "context": ContextPool,
}
