"""Cells of images that look at each other (Vaswani et al. 2017; between two images as Sarlin et al. 2020 and Sun et al. 2021, LoFTR, do).

A dot on a board of dots looks like all others; which one it is follows from where it is among them. So each cell's descriptor takes in the whole
image, and then the other image.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siame_se3.networks.matching import Matches, Matching
from siame_se3.networks.part_configs import AttentionConfig, MatchingConfig


class Layer(nn.Module):
    """A transformer's layer: attention of cells (n, k, d) to cells (n, j, d), then an MLP of each cell; both beside a shortcut, normalised before."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        d, self.heads = config.width, config.heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(d), nn.LayerNorm(d)
        self.query, self.key, self.value, self.project = (nn.Linear(d, d) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        last = self.mlp[-1]
        assert isinstance(last, nn.Linear)
        for start in (self.project, last):  # at first each layer hands on what it gets
            nn.init.normal_(start.weight, std=0.02 / math.sqrt(d / 64))
            nn.init.zeros_(start.bias)

    def _by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def forward(self, cells: Tensor, others: Tensor) -> Tensor:
        theirs = self.norm_attention(others)
        q, k, v = self.query(self.norm_attention(cells)), self.key(theirs), self.value(theirs)
        seen = F.scaled_dot_product_attention(self._by_head(q), self._by_head(k), self._by_head(v))
        cells = cells + self.project(seen.transpose(1, 2).flatten(2))
        return cells + self.mlp(self.norm_mlp(cells))


def places(side: int, width: int) -> Tensor:
    """(side^2, width): sines and cosines of each cell's column and row, of wavelengths from two cells to four images."""
    quarter = width // 4
    rate = torch.exp(torch.linspace(math.log(math.pi), math.log(math.pi / (2 * side)), quarter))
    at = torch.arange(side, dtype=torch.float32)[:, None] * rate
    one = torch.cat((at.sin(), at.cos()), 1)  # (side, width / 2)
    column, row = one.expand(side, -1, -1), one[:, None].expand(-1, side, -1)
    return torch.cat((column, row), 2).flatten(0, 1)


class PairMatching(Matching):
    """`Matching` of cells that have looked at the other image before.

    It takes what pooling 'context' gives: the cells (n, k d) of both images.
    """

    def __init__(self, side: int, length: int, attention: AttentionConfig, config: MatchingConfig) -> None:
        super().__init__(length, side, config)
        self.width = attention.width
        self.cross_attention = nn.ModuleList(Layer(attention) for _ in range(attention.rounds))
        self.self_attention = nn.ModuleList(Layer(attention) for _ in range(attention.rounds))
        self.describe = nn.Sequential(nn.LayerNorm(self.width), nn.Linear(self.width, self.length + self.more))

    def match(self, s: Tensor, s_desired: Tensor) -> Matches:
        """Where the cells of current images are in the desired ones."""
        both = torch.stack((s, s_desired)).unflatten(2, (-1, self.width))  # (2, n, k, d)
        for cross, own in zip(self.cross_attention, self.self_attention, strict=True):
            x = cross(both.flatten(0, 1), both.flip(0).flatten(0, 1))
            both = own(x, x).unflatten(0, (2, -1))
        x = self.describe(both).transpose(2, 3).float()  # (2, n, length + more, k)
        x = torch.cat((F.normalize(x[:, :, : self.length], dim=2), x[:, :, self.length :]), 2).flatten(2)
        with torch.autocast(s.device.type, enabled=False):
            return super().match(x[0], x[1])
