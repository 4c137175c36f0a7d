"""Contrast: of a whole image, and local contrast, which slow light changes leave as it is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def contrast(image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n"]:
    """Of each image, the largest standard deviation of a channel, over all its pixels; on the CPU."""
    flat = image.detach().flatten(2)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    return (flat - flat.mean(2, keepdim=True)).square().mean(2).sqrt().amax(1).cpu()


def local_contrast(
    x: Float[Tensor, "n c h w"], side: int, floor: float = 0.02, cells: int = 5
) -> Float[Tensor, "n c h w"]:
    """Each pixel less the mean of its neighbourhood, over the contrast there (all channels' together).

    A slow gain and bias, as lamps and exposure make them, cancel. Means are taken on a coarse grid and interpolated: they are smooth,
    and it is quick.

    Args:
        x: images in [0, 1].
        side: of the neighbourhood, about [px].
        floor: contrasts under it, which are noise, stay small [share of the range].
        cells: of the coarse grid, along a neighbourhood's side.
    """
    k = max(1, round(side / cells))

    def mean(z: Tensor) -> Tensor:
        coarse = F.avg_pool2d(F.avg_pool2d(z, k, ceil_mode=True), cells, 1, cells // 2, count_include_pad=False)
        smooth = F.interpolate(coarse, scale_factor=float(k), mode="bilinear", align_corners=False)
        return smooth[..., : z.shape[-2], : z.shape[-1]]

    x = x - mean(x)
    return x * torch.rsqrt(mean(x.square().mean(1, keepdim=True)) + floor**2)
