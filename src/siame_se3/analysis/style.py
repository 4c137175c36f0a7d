"""What all figures share: colours, panels, axes, and the way to a file. Nothing is shown, nothing global is changed.

Colours are Okabe and Ito's, which colour-blind readers distinguish.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager, get_font
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
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
    give_glyphs(figure)
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


def legend_above(axes: Any, ncols: int = 3, fontsize: float = 8) -> None:
    """The legend over the axes, where no curve is."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=ncols,
        fontsize=fontsize,
        frameon=False,
        borderaxespad=0.2,
        handlelength=1.6,
        columnspacing=1.2,
    )


def times(count: int, dt: float) -> np.ndarray:
    """Of so many iterations, from 0 on [s]."""
    return dt * np.arange(count)


def give_glyphs(figure: Figure) -> None:
    """Give each text of a figure fonts that have its characters, such as those of a path; '?' stands for those that no font here has."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        words = text.get_text()
        missing = {c for c in words if not c.isspace() and not _is_in(_default_font(), c)}
        if not missing:
            continue
        fonts, nowhere = _fonts_with(frozenset(missing))
        text.set_text("".join("?" if c in nowhere else c for c in words))
        if fonts:
            text.set_fontfamily([_default_font().family_name, *fonts])


@cache
def _default_font() -> FT2Font:
    return get_font(fontManager.findfont("DejaVu Sans"))


def _is_in(font: FT2Font, character: str) -> bool:
    return ord(character) in font.get_charmap()


@lru_cache(maxsize=32)
def _fonts_with(characters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Families of fonts on this machine that have some characters, fewest first found; and the characters that none has."""
    families: list[str] = []
    left = set(characters)
    for entry in fontManager.ttflist:
        if not left:
            break
        if "resort" in entry.name.lower():  # matplotlib's own, whose glyphs are boxes
            continue
        font = get_font(entry.fname)
        if found := {c for c in left if _is_in(font, c)}:
            families.append(entry.name)
            left -= found
    return tuple(families), frozenset(left)
