"""What all figures share: colours, panels, axes, and the way to a file. Nothing is shown, nothing global is changed.

Colours are Okabe and Ito's, which colour-blind readers distinguish.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.files import atomically

BLUE, ORANGE, GREEN, RED, SKY, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
GREY, NOTE = "#8a8f98", "#555555"
_FORMATS = (".png", ".pdf", ".svg")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure [inch] with a canvas of its own: no window, no pyplot."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure, whole or not at all; the format follows the name (.png, .pdf, .svg).

    Raises:
        InputError: a name of another format.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in _FORMATS:
        raise InputError(f"{path}: unknown figure format; give a name that ends in .png, .pdf or .svg")
    with np.errstate(over="ignore"):  # matplotlib projects vertices that it has not filled, and masks them after that
        atomically(path, lambda partial: figure.savefig(partial, dpi=130, format=kind[1:]))


def show_image(axes: Any, image: Float[Tensor, "3 h w"], title: str) -> None:
    """An image as it is, pixel by pixel, without axes."""
    axes.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])


def difference(a: Float[Tensor, "3 h w"], b: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """Grey where equal, as the field prints it: (a - b)/2 + 1/2."""
    return (a - b) / 2 + 0.5


def tidy(axes: Any, alpha: float = 0.25) -> None:
    """A light grid, no box above and on the right."""
    axes.grid(alpha=alpha)
    axes.spines[["top", "right"]].set_visible(False)
