"""Contrast: of a whole image, and local contrast, which slow light changes leave as it is."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

_SAMPLES = 2048  # pixels that an image's contrast is taken from
# Of the R2 sequence (Roberts 2018): it fills a square evenly, in no rows or columns.
_TURN = (0.7548776662466927, 0.5698402909980532)


@lru_cache(maxsize=8)
def _places(h: int, w: int) -> Int[Tensor, "p"]:
    """Pixels spread evenly over an image, in no regular pattern that stripes could be in step with; all of them in a small image."""
    if h * w <= _SAMPLES:
        return torch.arange(h * w)
    k = torch.arange(1, _SAMPLES + 1, dtype=torch.float64)
    rows, columns = (((k * turn) % 1.0 * n).long() for turn, n in zip(_TURN, (h, w), strict=True))
    return rows * w + columns


def contrast(image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n"]:
    """Of each image, the largest standard deviation of a channel, from some 2000 of its pixels; on the CPU."""
    some = image.detach().flatten(2)[..., _places(*image.shape[2:]).to(image.device)]
    some = some if some.dtype == torch.float64 else some.float()
    return some.std(2, correction=0).amax(1).cpu()


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
