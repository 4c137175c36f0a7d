"""What is beyond a photo is not known: in training views it is something else each time. On batches of images (n, 3, h, w) in [0, 1]."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

_LINE = (0.2, 1.4)  # of the line from the middle, nearest and farthest, in half images: the corners are at 1.41
_CELLS = 8  # along a side of the coarse colours


def draw_surroundings(
    n: int, share: float, generator: torch.Generator
) -> tuple[Float[Tensor, "n 3 g g"], Float[Tensor, "n 3"]]:
    """For n views colours beyond the photo, on a coarse grid: one colour, with blots of any strength on it; below 0 in all views but a
    share of them. And a line (a, b, c) beyond which it is so too: a u + b v > c, u and v in [-1, 1] over the image. Nothing is drawn, and g is 0, where
    the share is 0.
    """
    if not share:
        return torch.zeros(n, 3, 0, 0), torch.zeros(n, 3)
    colour = torch.rand(n, 3, 1, 1, generator=generator)
    strength = torch.rand(n, 1, 1, 1, generator=generator).square()
    blots = torch.rand(n, 3, _CELLS, _CELLS, generator=generator)
    has, turn, place = torch.rand(3, n, generator=generator)
    around = torch.where((has < share)[:, None, None, None], colour.lerp(blots, strength), -1.0)
    angle, (nearest, farthest) = 2 * math.pi * turn, _LINE
    return around, torch.stack((angle.cos(), angle.sin(), nearest + (farthest - nearest) * place), 1)


def surrounded(
    images: Float[Tensor, "n 3 h w"],
    around: Float[Tensor, "n 3 g g"],
    line: Float[Tensor, "n 3"],
    mask: Bool[Tensor, "n h w"] | None,
) -> Float[Tensor, "n 3 h w"]:
    """Images with these colours where they do not see the photo (the mask; None: all of them does), and beyond the line."""
    h, w = images.shape[-2:]
    views = (around[:, 0, 0, 0] >= 0).nonzero()[:, 0]
    v, u = (torch.linspace(-1, 1, size, device=images.device) for size in (h, w))
    a, b, limit = line[views, :, None, None].unbind(1)
    seen = a * u + b * v[:, None] <= limit
    seen = seen if mask is None else seen & mask[views]
    beyond = F.interpolate(around[views], size=(h, w), mode="bilinear", align_corners=True)
    return images.index_copy(0, views, torch.where(seen[:, None], images[views], beyond))
