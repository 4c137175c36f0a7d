"""The centred square of an image, and its size for a network."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from siame_se3.geometry.crop import square_box


def centred_square(pixels: np.ndarray) -> np.ndarray:
    """The largest centred square of (height, width, 3)."""
    top, left, side = square_box(*pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def network_images(image: Float[Tensor, "*B 3 h w"], size: int) -> Float[Tensor, "n 3 s s"]:
    """Images as the network takes them: the largest centred square, area-resized to `size` px; leading axes flattened."""
    top, left, side = square_box(*image.shape[-2:])
    flat = image[..., top : top + side, left : left + side].reshape(-1, 3, side, side)
    if side == size:
        return flat
    if side > size:
        return F.interpolate(flat, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(flat, size=(size, size), mode="bilinear", align_corners=False)
