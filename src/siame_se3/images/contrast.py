"""Contrast: of a whole image, and local contrast, which slow light changes leave as it is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def contrast(image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n"]:
    """Of each image, the largest standard deviation of a channel, from every 31st pixel; on the CPU."""
    some = image.detach().flatten(2)[..., ::31]
    some = some if some.dtype == torch.float64 else some.float()
    return some.std(2, correction=0).amax(1).cpu()


def local_contrast(x: Float[Tensor, "n c h w"], side: int) -> Float[Tensor, "n c h w"]:
    """Each pixel less the mean of its neighbourhood (about side x side), over the contrast there (all channels' together).

    A slow gain and bias, as lamps and exposure make them, cancel; contrasts under 2 % of the range, which are noise, stay
    small. Means are taken on a fifth of the neighbourhood's resolution and interpolated: they are smooth, and it is quick.
    """
    k = max(1, round(side / 5))

    def mean(z: Tensor) -> Tensor:
        cells = F.avg_pool2d(F.avg_pool2d(z, k, ceil_mode=True), 5, 1, 2, count_include_pad=False)
        smooth = F.interpolate(cells, scale_factor=float(k), mode="bilinear", align_corners=False)
        return smooth[..., : z.shape[-2], : z.shape[-1]]

    x = x - mean(x)
    return x * torch.rsqrt(mean(x.square().mean(1, keepdim=True)) + 0.02**2)
