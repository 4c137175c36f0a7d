"""A track on the page: goal, current and difference as one image, so that they belong together, and what the track does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from siame_se3.analysis.style import difference
from siame_se3.images.decode import as_pixels
from siame_se3.page import style
from siame_se3.page.track import Now, Track

_BORDER = 4  # around each image [px]
_EMPTY = (138, 143, 152)  # where there is no goal yet


def strip(
    goal: Float[Tensor, "3 _ _"] | None, image: Float[Tensor, "3 h w"], colour: str
) -> UInt8[np.ndarray, "H W 3"]:
    """Goal, current and difference side by side, each in a frame of its colour."""
    last = difference(image, goal) if goal is not None and goal.shape == image.shape else None
    parts = ((goal, style.GOAL), (image, colour), (last, style.GREY))
    return np.concatenate([_framed(part, image, frame) for part, frame in parts], 1)


def _framed(image: Tensor | None, like: Tensor, colour: str) -> np.ndarray:
    h, w = like.shape[-2:]
    framed = np.empty((h + 2 * _BORDER, w + 2 * _BORDER, 3), np.uint8)
    framed[:] = style.rgb(colour)
    inside = np.full((h, w, 3), _EMPTY, np.uint8) if image is None or image.shape != like.shape else as_pixels(image)
    framed[_BORDER:-_BORDER, _BORDER:-_BORDER] = inside
    return framed


def small(image: Float[Tensor, "3 h w"], side: int = 112) -> UInt8[np.ndarray, "h w 3"]:
    """For a frustum, which is small on the page."""
    step = max(1, image.shape[-1] // side)
    return as_pixels(torch.nn.functional.avg_pool2d(image[None], step)[0])


@dataclass
class _Row:
    """Of one track: viser's elements, and what they show."""

    names: Any
    image: Any
    state: Any
    drawn: tuple[float, int]
    said: tuple[str, str] = ("", "")


class ImageView:
    """Rows of tracks in the panel of controls.

    Args:
        server: viser's.
        after: the element that they follow.
    """

    def __init__(self, server: Any, after: Any) -> None:
        self._gui, self._order = server.gui, after.order
        self._rows: list[_Row] = []
        self.sent = 0  # images until now

    def update(self, tracks: tuple[Track, ...], nows: list[Now]) -> None:
        """Send images that are new."""
        for k, (track, now) in enumerate(zip(tracks, nows, strict=True)):
            if now.image is None:
                continue
            target = track.session.target
            drawn = now.stamp, id(target)
            if k < len(self._rows) and self._rows[k].drawn == drawn:
                continue
            goal = None if target is None or target.image is None else target.image[0]
            pixels = strip(goal, now.image, style.TRACKS[k])
            self.sent += 1
            if k < len(self._rows):
                self._rows[k].image.image, self._rows[k].drawn = pixels, drawn
            else:
                self._add(pixels, drawn)
        while len(self._rows) > len(tracks):
            row = self._rows.pop()
            for element in (row.names, row.image, row.state):
                element.remove()

    def say(self, tracks: tuple[Track, ...], nows: list[Now], paused: bool) -> None:
        """What each track does, where it is another thing than before."""
        for k, (row, track, now) in enumerate(zip(self._rows, tracks, nows, strict=False)):
            colour = style.TRACKS[k]
            said = style.names_of(track, colour), style.state_of(track, now, colour, paused)
            for element, new, old in zip((row.names, row.state), said, row.said, strict=True):
                if new != old:
                    element.content = new
            row.said = said

    def _add(self, pixels: np.ndarray, drawn: tuple[float, int]) -> None:
        at = self._order + 0.1 * (1 + len(self._rows))
        names = self._gui.add_html("", order=at)
        image = self._gui.add_image(pixels, format="jpeg", jpeg_quality=85, order=at + 0.01)
        self._rows.append(_Row(names, image, self._gui.add_html("", order=at + 0.02), drawn))
