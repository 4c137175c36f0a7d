"""How noisy a photo is, and the photo without its noise: what a sensor adds is not there when another picture of the place is taken."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_BLOCK = 8  # side of the blocks that the noise is measured in [px]
_MOST_BLOCKS = 40_000  # that are looked at: a large photo's are taken evenly
_FLATTEST = 0.02  # share of the blocks under whose deviation the noise's is read...
_CORRECTION = 0.84  # ...which for noise alone would be this much of it: (1 - 2.05 / sqrt(2 x 58)), and 1 for a photo half full of texture
_CLIPPED = 4 / 255  # this near to black and white a sensor's noise is cut off
_LEAST_BLOCKS = 50  # that can tell noise from texture
_ROUNDING = 1 / 255  # of 8-bit colours
_STRENGTH = 2.0  # of the non-local means, over the noise's deviation
_PATCH, _SEARCH = 5, 15  # sides of what is compared, and of where the like is looked for [px]


def noise_level(image: Float[Tensor, "3 h w"], beyond: Float[Tensor, "3"] | None = None) -> Float[Tensor, "3"]:
    """Standard deviation of each colour's noise, in the image's units, from its flattest parts.

    Blocks of 8 x 8 pixels, each less the quadratic surface that fits it best: what is left of the flattest ones is noise, also where a camera
    has smoothed it. A photo with no flat part at all (gravel, grass) gives an upper bound: its finest texture.

    Args:
        image: RGB in [0, 1]; smaller than a few blocks it has no noise that could be distinguished from texture, and the result is 0.
        beyond: a colour that fills what no camera has seen, in a picture that was rectified; blocks of it do not count.
    """
    h, w = image.shape[-2:]
    rows, columns = h // _BLOCK, w // _BLOCK
    blocks = image[:, : rows * _BLOCK, : columns * _BLOCK].unflatten(1, (rows, _BLOCK)).unflatten(3, (columns, _BLOCK))
    blocks = blocks.permute(0, 1, 3, 2, 4).reshape(3, rows * columns, _BLOCK**2).double()
    blocks = blocks[:, torch.linspace(0, rows * columns - 1, min(rows * columns, _MOST_BLOCKS)).long()]
    if beyond is not None:
        filled = (blocks - beyond[:, None, None]).abs().amax((0, 2)) < _ROUNDING
        blocks = blocks[:, ~filled]
    if blocks.shape[1] < _LEAST_BLOCKS:
        return torch.zeros(3)
    surface = _surface()
    found = []
    for values in blocks:
        clear = (values.amin(1) > _CLIPPED) & (values.amax(1) < 1 - _CLIPPED)
        values = values[clear] if int(clear.sum()) >= _LEAST_BLOCKS else values
        rest = values - values @ surface @ surface.T
        deviation = (rest.square().sum(1) / (_BLOCK**2 - surface.shape[1])).sqrt()
        found.append(torch.quantile(deviation, _FLATTEST) / _CORRECTION)
    return torch.stack(found).float()


def _surface() -> Float[Tensor, "64 6"]:
    """Orthonormal basis of the quadratic surfaces over a block."""
    at = torch.arange(_BLOCK, dtype=torch.float64) - (_BLOCK - 1) / 2
    v, u = (x.flatten() for x in torch.meshgrid(at, at, indexing="ij"))
    basis, _ = torch.linalg.qr(torch.stack((torch.ones_like(u), u, v, u * v, u * u, v * v), 1))
    return basis


def without_noise(image: Float[Tensor, "3 h w"], level: Float[Tensor, "3"]) -> Float[Tensor, "3 h w"]:
    """The image with noise of this standard deviation taken out, edges kept: non-local means (Buades et al. 2005) of 8-bit values.

    Args:
        image: RGB in [0, 1].
        level: of each colour, as `noise_level` gives it.
    """
    import cv2

    plain = np.ascontiguousarray((image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())
    strength = [max(1e-3, _STRENGTH * 255 * sigma) for sigma in level.tolist()]
    smooth = cv2.fastNlMeansDenoising(
        plain, h=strength, templateWindowSize=_PATCH, searchWindowSize=_SEARCH, normType=cv2.NORM_L2
    )
    return torch.from_numpy(smooth).permute(2, 0, 1).to(image) / 255
