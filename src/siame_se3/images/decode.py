"""Pixels and image tensors: from one to the other."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def as_image(frame: np.ndarray) -> Float[Tensor, "3 h w"]:
    """RGB uint8 (h, w, 3) as the house has images."""
    return torch.from_numpy(np.array(frame)).permute(2, 0, 1).float().div_(255)


def as_pixels(image: Float[Tensor, "3 h w"]) -> np.ndarray:
    """An image of the house as RGB uint8 (h, w, 3)."""
    return (255 * image.clamp(0, 1)).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
