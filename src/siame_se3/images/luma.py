"""Grey levels (ITU-R 601), whose weights are known here alone."""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # weights of R, G and B


@lru_cache(maxsize=8)
def _luma_weights(dtype: torch.dtype, device: torch.device) -> Float[Tensor, "1 3"]:
    return torch.tensor([[255 * weight for weight in LUMA]], dtype=dtype, device=device)


def luma(images: Float[Tensor, "*B 3 h w"], dtype: torch.dtype) -> Float[Tensor, "*B h w"]:
    """Grey levels, 0 to 255 (ITU-R 601), on the images' device."""
    return (_luma_weights(dtype, images.device) @ images.to(dtype).flatten(-2)).reshape(
        *images.shape[:-3], *images.shape[-2:]
    )
