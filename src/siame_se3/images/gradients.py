"""Image gradients, as ViSP takes them."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

_TAPS = (2047 / 8418, 913 / 8418, 112 / 8418)  # ViSP's one-dimensional derivative, 1, 2 and 3 pixels away


def gradient(grey: Float[Tensor, "*B h w"], border: int) -> tuple[Float[Tensor, "*B y x"], Float[Tensor, "*B y x"]]:
    """dI/du and dI/dv [grey levels per pixel], `border` pixels (3 or more) left out on each side."""
    b, (h, w) = border, grey.shape[-2:]
    rows, columns = grey[..., b : h - b, :], grey[..., :, b : w - b]
    du = dv = None
    for k, tap in enumerate(_TAPS, 1):
        right = rows[..., b + k : w - b + k] - rows[..., b - k : w - b - k]
        down = columns[..., b + k : h - b + k, :] - columns[..., b - k : h - b - k, :]
        du = right * tap if du is None else du.add_(right, alpha=tap)
        dv = down * tap if dv is None else dv.add_(down, alpha=tap)
    assert du is not None
    assert dv is not None
    return du, dv
