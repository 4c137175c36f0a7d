"""ResNet-10-T without timm: the default backbone, with timm's names, initial weights and numbers.

He et al. 2016, "Deep residual learning for image recognition"; the stem of three small convolutions and the averaging shortcuts are of
He et al. 2019, "Bag of tricks". The same as timm's 'resnet10t' (a test compares the two bit for bit), so that the bundled models run
without timm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STRIDES, CHANNELS = (2, 4, 8, 16, 32), (64, 64, 128, 256, 512)


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is averaged and projected where the stride or the channels change."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        downsample = None
        if stride != 1 or channels != out:
            average = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False) if stride > 1 else nn.Identity()
            downsample = nn.Sequential(average, nn.Conv2d(channels, out, 1, bias=False), nn.BatchNorm2d(out))
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu_(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return torch.relu_(y)


class ResNet10T(nn.Module):
    """Images (n, channels, h, w) -> the feature map of a stride, (n, c, h / stride, w / stride); with stride None the last one's mean, (n, 512).

    Args:
        channels: of the images.
        stride: one of `STRIDES` [px of input per cell], or None.
        classes: of a classifier that is drawn and thrown away, as timm does with its feature extractors: a seed gives the same weights.
    """

    def __init__(self, channels: int = 3, stride: int | None = None, classes: int = 0) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            *(nn.Conv2d(channels, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(inplace=True)),
            *(nn.Conv2d(24, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True)),
            nn.Conv2d(32, 64, 3, 1, 1, bias=False),
        )
        self.bn1 = nn.BatchNorm2d(64)
        for n, (before, out) in enumerate(zip((64, *CHANNELS[1:]), CHANNELS[1:], strict=False), 1):
            self.add_module(f"layer{n}", nn.Sequential(Block(before, out, 1 if n == 1 else 2)))
        if classes:
            nn.Linear(CHANNELS[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, Block):
                nn.init.zeros_(module.bn2.weight)
        self.pooled = stride is None
        self.last = len(STRIDES) - 1 if stride is None else STRIDES.index(stride)
        for n in range(self.last + 1, len(STRIDES)):
            delattr(self, f"layer{n}")

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.bn1(self.conv1(x)))
        if self.last > 0:
            x = nn.functional.max_pool2d(x, 3, 2, 1)
        for n in range(1, self.last + 1):
            x = self.get_submodule(f"layer{n}")(x)
        return nn.functional.adaptive_avg_pool2d(x, 1).flatten(1) if self.pooled else x
