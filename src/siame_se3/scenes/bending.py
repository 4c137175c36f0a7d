"""Views that are not quite those of a flat scene by a pinhole camera: smooth displacements, as by a lens's distortion or a surface that bulges.

On batches of images (n, 3, h, w) in [0, 1].
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

KNOTS = 5  # points along a side of an image whose displacements are drawn; between them it is smooth


def draw_bends(n: int, most: float, generator: torch.Generator) -> Float[Tensor, "n 2 m m"]:
    """Displacements at KNOTS x KNOTS points for n views, of a standard deviation that each view draws up to `most` [share of the image]; nothing
    is drawn, and k is 0, where that is 0."""
    if not most:
        return torch.zeros(n, 2, 0, 0)
    strength = most * torch.rand(n, 1, 1, 1, generator=generator)
    return strength * bends(torch.randn(n, 2, KNOTS, KNOTS, generator=generator))


def bends(values: Float[Tensor, "n 2 m m"]) -> Float[Tensor, "n 2 k k"]:
    """Displacements at evenly spaced points of the image without what a homography would do: what is left is not the camera's motion."""
    keep = _no_homography(values.shape[-1]).to(values)
    return (values.flatten(1) @ keep).reshape(values.shape)


@lru_cache(maxsize=4)
def _no_homography(k: int) -> Float[Tensor, "m m"]:
    """Projection of the displacements of k x k points (2 k^2 numbers) onto those that are orthogonal to all small homographies'."""
    at = torch.linspace(-1, 1, k, dtype=torch.float64)
    v, u = (x.flatten() for x in torch.meshgrid(at, at, indexing="ij"))
    one, zero = torch.ones_like(u), torch.zeros_like(u)
    linear = [torch.cat(pair) for x in (one, u, v) for pair in ((x, zero), (zero, x))]
    small = torch.stack((*linear, torch.cat((u * u, u * v)), torch.cat((u * v, v * v))), 1)
    basis, _ = torch.linalg.qr(small)
    return torch.eye(2 * k * k, dtype=torch.float64) - basis @ basis.T


def displacement(bend: Float[Tensor, "n 2 m m"], h: int, w: int) -> Float[Tensor, "n 2 h w"]:
    """Smooth displacements in x and y [px] through those at evenly spaced points [share of the image], the outer ones in its corners."""
    return F.interpolate(bend * bend.new_tensor([w, h])[:, None, None], size=(h, w), mode="bicubic", align_corners=True)


def bent(images: Float[Tensor, "n 3 h w"], moved: Float[Tensor, "n 2 h w"]) -> Float[Tensor, "n 3 h w"]:
    """Images whose pixels show what is at the place displaced by so much [px]."""
    h, w = images.shape[-2:]
    v, u = (torch.arange(size, device=images.device) for size in (h, w))
    at = torch.stack(((u + moved[:, 0] + 0.5) * (2 / w) - 1, (v[:, None] + moved[:, 1] + 0.5) * (2 / h) - 1), -1)
    return F.grid_sample(images, at, mode="bilinear", padding_mode="border", align_corners=False)
