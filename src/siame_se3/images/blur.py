"""How blurred an image is beside another one of the same scene: what a photometric law needs to compare like with like.

Focus, a smeared lens or a cheap zoom blur the current image; against the sharp desired one each edge then is a residual, which light that is
fitted takes for shadow. How blurred it is can be measured before the camera stands right: of all motions near the goal, the ratio

    r(I) = log (mean |grad (g_fine * I)|^2 / mean |grad (g_coarse * I)|^2),     g Gaussians of 0.7 and 2 px,

depends on the texture and the blur, and not on a gain or a bias; lamps are too slow to be in it. The blur of the current image is that sigma at
which the desired one, blurred by it, has the same r.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

FINE, COARSE = 0.7, 2.0  # [px]
LEAST = 0.6  # another view of the same scene differs by 0.4 px at most; less than this is taken for none [px]...
FULL = 0.8  # ...and this much for what it is, so that there is no step between
STEP = 0.25  # of the blurs that the desired image is tried with [px]


def gaussian_blur(images: Float[Tensor, "n c h w"], sigma: Float[Tensor, "n"]) -> Float[Tensor, "n c h w"]:
    """Images under a blur of their own each: a Gaussian's standard deviation [px]. Edges go on beyond the image."""
    n, channels, h, w = images.shape
    radius = int(3 * float(sigma.max()) + 0.999)
    x = torch.arange(-radius, radius + 1, device=images.device)
    kernel = torch.exp(-(x**2) / (2 * sigma[:, None].clamp(min=1e-3) ** 2))
    kernel = kernel * (x.abs() <= (3 * sigma[:, None] + 0.999).floor())
    kernel = kernel / kernel.sum(1, keepdim=True)
    if (
        images.device.type == "cuda"
    ):  # where large matrices are fast, and a convolution of each channel by itself is slow
        return _as_matrix(kernel, h) @ images @ _as_matrix(kernel, w).transpose(-1, -2)
    kernel = kernel.repeat_interleave(channels, 0)
    flat = images.reshape(1, n * channels, h, w)
    for shape, pad in (
        ((-1, 1, 1, 2 * radius + 1), (radius, radius, 0, 0)),
        ((-1, 1, 2 * radius + 1, 1), (0, 0, radius, radius)),
    ):
        flat = F.conv2d(F.pad(flat, pad, mode="replicate"), kernel.reshape(shape), groups=n * channels)
    return flat.reshape(n, channels, h, w)


def _as_matrix(kernel: Float[Tensor, "n k"], size: int) -> Float[Tensor, "n 1 size size"]:
    """What a line of so many pixels, which go on beyond its ends, is multiplied by for each blur."""
    n, taps = kernel.shape
    at = torch.arange(size, device=kernel.device)
    seen = (at[:, None] + torch.arange(taps, device=kernel.device) - taps // 2).clamp(0, size - 1)
    matrix = torch.zeros(n, size, size, device=kernel.device, dtype=kernel.dtype)
    return matrix.scatter_add_(2, seen.expand(n, -1, -1), kernel[:, None].expand(-1, size, -1))[:, None]


def detail(grey: Float[Tensor, "n h w"], border: int) -> Float[Tensor, "n"]:
    """r of images; see this module's head."""
    h, w = grey.shape[-2:]
    energies = []
    for sigma in (FINE, COARSE):
        y = gaussian_blur(grey[None], torch.full((1,), sigma))[0, :, border : h - border, border : w - border]
        energies.append(y.diff(dim=1).square().mean((1, 2)) + y.diff(dim=2).square().mean((1, 2)))
    return ((energies[0] + 1e-12) / (energies[1] + 1e-12)).log()


@dataclass(frozen=True, eq=False)
class BlurScale:
    """r of desired images under a growing blur: made once, then read for each current image."""

    r: Float[Tensor, "n k"]  # falls with k, the blur being k STEP
    border: int

    @staticmethod
    def of(grey: Float[Tensor, "n h w"], border: int, most: float) -> BlurScale:
        """Of desired images, up to a blur of `most` [px]."""
        count = max(2, math.ceil(most / STEP) + 1)
        r = torch.stack(
            [detail(gaussian_blur(grey[None], torch.tensor([k * STEP]))[0], border) for k in range(count)], 1
        )
        return BlurScale(r.cummin(1).values, border)

    def __getitem__(self, index: Tensor | slice) -> BlurScale:
        return BlurScale(self.r[index], self.border)

    def read(self, grey: Float[Tensor, "n h w"]) -> Float[Tensor, "n"]:
        """How much more blurred than its desired image each current one is [px]; 0 where that is less than LEAST, and less than it is up to FULL."""
        r = detail(grey, self.border)
        table = self.r
        place = (table > r[:, None]).sum(1).clamp(1, table.shape[1] - 1)  # the first that is not above r
        low, high = (table.gather(1, k[:, None])[:, 0] for k in (place - 1, place))
        share = ((low - r) / (low - high).clamp(min=1e-6)).clamp(0, 1)
        sigma = (place - 1 + share) * STEP
        return sigma * ((sigma - LEAST) / (FULL - LEAST)).clamp(0, 1)
