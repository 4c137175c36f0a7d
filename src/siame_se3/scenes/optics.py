"""What a camera does to an image besides its noise: vignetting, motion blur, its tone curve, JPEG. On batches of images (n, 3, h, w) in [0, 1]."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_MOST_MOTION = 33  # length of the longest motion blur [px]
_BLOCK = 8  # side of JPEG's blocks [px]
_STEPS = (
    12.0,
    100.0,
)  # [grey levels] by which JPEG rounds the slowest and the fastest wave at strength 1, about its quality 50


def vignetted(images: Float[Tensor, "n 3 h w"], fall_off: Float[Tensor, "n"]) -> Float[Tensor, "n 3 h w"]:
    """Darker by `fall_off` in the corners, with the square of the distance from the middle."""
    h, w = images.shape[-2:]
    y, x = (torch.linspace(-1, 1, size, device=images.device) for size in (h, w))
    r2 = (y[:, None].square() + x.square()) / 2
    return images * (1 - fall_off[:, None, None, None] * r2)


def motion_blurred(
    images: Float[Tensor, "n 3 h w"], length: Float[Tensor, "n"], angle: Float[Tensor, "n"]
) -> Float[Tensor, "n 3 h w"]:
    """The mean along a line of so many pixels, in the direction of an angle [rad]; a pixel or less is no blur."""
    moved = (length > 1).nonzero()[:, 0]
    if len(moved) < len(images):  # a convolution for each image by itself takes long
        if not len(moved):
            return images
        part = motion_blurred(images[moved], length[moved], angle[moved])
        return images.index_copy(0, moved, part)
    n, _, h, w = images.shape
    half = math.ceil((min(float(length.max()), _MOST_MOTION) - 1) / 2)
    at = torch.arange(-half, half + 1, device=images.device, dtype=images.dtype)
    y, x = at[:, None], at[None]
    c, s = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along, across = x * c + y * s, y * c - x * s
    reach = (length.clamp(1, _MOST_MOTION)[:, None, None] - 1) / 2
    kernel = (reach + 1 - along.abs()).clamp(0, 1) * (1 - across.abs()).clamp(min=0)
    kernel = kernel / kernel.sum((1, 2), keepdim=True)
    padded = F.pad(images, (half,) * 4, mode="replicate").reshape(1, 3 * n, h + 2 * half, w + 2 * half)
    weight = kernel.repeat_interleave(3, 0)[:, None].to(images)
    return F.conv2d(padded, weight, groups=3 * n).reshape(n, 3, h, w)


def toned(images: Float[Tensor, "n 3 h w"], gamma: Float[Tensor, "n"]) -> Float[Tensor, "n 3 h w"]:
    """Raised to a power: another tone curve than the goal's camera had."""
    return images.clamp(min=1e-4).pow(gamma[:, None, None, None])


def jpeg(images: Float[Tensor, "n 3 h w"], strength: Float[Tensor, "n"]) -> Float[Tensor, "n 3 h w"]:
    """Cosine waves of blocks of 8 x 8 pixels, rounded to steps that grow with their frequency; strength 1 is about quality 50, 0 none.

    Each colour by itself, at full resolution: without JPEG's coarser chroma.
    """
    n, _, h, w = images.shape
    padded = F.pad(images, (0, -w % _BLOCK, 0, -h % _BLOCK), mode="replicate")
    rows, columns = padded.shape[-2] // _BLOCK, padded.shape[-1] // _BLOCK
    waves, steps = (x.to(images) for x in _cosines())
    # The last axis times an 8 x 8 matrix is one large product; many products of small blocks are slow.
    blocks = padded.reshape(n, 3, rows, _BLOCK, columns, _BLOCK).transpose(3, 4)
    found = _both(blocks, waves.T)
    step = (steps.T * strength[:, None, None]).clamp(min=1e-5)[:, None, None, None]
    rounded = _both((found / step).round() * step, waves)
    return rounded.transpose(3, 4).reshape(padded.shape)[..., :h, :w]


def _both(blocks: Tensor, matrix: Tensor) -> Tensor:
    """matrix^T B matrix of blocks B, with its axes swapped."""
    return (blocks @ matrix).transpose(-1, -2).contiguous() @ matrix


@lru_cache(maxsize=1)
def _cosines() -> tuple[Tensor, Tensor]:
    """The orthonormal cosine transform of 8 numbers (8, 8), and the steps of its waves in two dimensions (8, 8)."""
    k = torch.arange(_BLOCK, dtype=torch.float32)
    waves = torch.cos(math.pi * (k[None] + 0.5) * k[:, None] / _BLOCK) * math.sqrt(2 / _BLOCK)
    waves[0] = math.sqrt(1 / _BLOCK)
    share = (k[:, None] + k[None]) / (2 * (_BLOCK - 1))
    low, high = _STEPS
    return waves, (low + (high - low) * share) / 255
