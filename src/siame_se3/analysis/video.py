"""A run as a video: current image, goal and difference, and below them the errors as they fall. MP4 by OpenCV, GIF by Pillow."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.analysis.style import BLUE, GREEN, GREY, ORANGE, difference
from siame_se3.errors import InputError
from siame_se3.files import atomically
from siame_se3.images.decode import as_pixels
from siame_se3.servo.trajectory import Trajectory

FORMATS = (".mp4", ".gif")
"""Endings of videos."""

_PANEL, _GAP, _TOP, _CHART = 240, 12, 30, 136  # [px]
_INK, _PAPER = (29, 35, 48), (255, 255, 255)
_CODECS = ("vp09", "avc1", "mp4v")  # VP9 and H.264 play in browsers; which of them OpenCV has differs
_LEAST, _HOLD = 1e-6, 1.5  # of errors on a logarithmic axis [mm, deg]; how long the end is shown [s]
_MOST = 300  # views that are shown of a run: of a longer one every second, third, ...


def frames(
    images: Iterable[Float[Tensor, "3 h w"]], goal: Float[Tensor, "3 h w"], trajectory: Trajectory, run: int, title: str
) -> Iterator[np.ndarray]:
    """The pictures of a run's video (h, w, 3) uint8: one a view, of long runs every second or so (`shown_views`).

    Args:
        images: what the camera saw, from the start on.
        goal: the desired image.
        trajectory: of all runs. run: number of this one.
        title: written above.
    """
    last = int(trajectory.iterations[run])
    t, r = (x[: last + 1, run] for x in trajectory.error_norms)
    series = (("distance [mm]", (1000 * t).tolist(), BLUE), ("angle [deg]", torch.rad2deg(r).tolist(), ORANGE))
    desired, wanted = _panel(goal), shown_views(last + 1)
    for k, image in enumerate(images):
        if k not in wanted:
            continue
        canvas = np.full((_TOP + _PANEL + 24 + _CHART + 2 * _GAP, 3 * _PANEL + 4 * _GAP, 3), _PAPER, np.uint8)
        for j, pixels in enumerate((_panel(image), desired, _panel(difference(image, goal)))):
            left = _GAP + j * (_PANEL + _GAP)
            canvas[_TOP : _TOP + _PANEL, left : left + _PANEL] = pixels
        stage = int(trajectory.stage[min(k, last - 1), run]) if last else 0
        draw = _Drawing(canvas)
        draw.text(canvas.shape[1] - _GAP, 8, f"{k * trajectory.dt:.2f} s", 15, anchor="ra")
        draw.text(_GAP, 8, draw.shortened(title, 15, canvas.shape[1] - 8 * _GAP), 15)
        colours = {"current": _INK, "goal": GREEN, "difference (grey: equal)": _INK}
        for j, (name, colour) in enumerate(colours.items()):
            what = f"{name}, part {stage + 1} of the law" if j == 0 and stage > 0 else name
            draw.text(_GAP + j * (_PANEL + _GAP), _TOP + _PANEL + 4, what, 13, colour)
        width = (canvas.shape[1] - 3 * _GAP) // 2
        for j, (name, values, colour) in enumerate(series):
            box = (_GAP + j * (width + _GAP), _TOP + _PANEL + 24 + _GAP, width, _CHART - _GAP)
            draw.chart(box, name, values, k, trajectory.dt, colour)
        yield draw.pixels()


def shown_views(count: int) -> set[int]:
    """Which of so many views are shown: every n-th, and the last."""
    return {*range(0, count, math.ceil(count / _MOST)), count - 1}


def write_video(path: Path, pictures: Iterable[np.ndarray], rate: float) -> int:
    """Write a video, whole or not at all; its last picture stays for a while. The number of its frames.

    Args:
        path: ends in .mp4 or .gif.
        pictures: of one size (h, w, 3) uint8; both sides even.
        rate: pictures a second.

    Raises:
        InputError: another ending, no picture, a name that OpenCV does not take, or a file that cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise InputError(f"{path}: no format of videos; give a name that ends in {' or '.join(FORMATS)}", "video")
    if kind == ".mp4" and not _is_utf8(path):
        raise InputError(f"{path}: OpenCV writes videos under names in UTF-8 only; give another name, or .gif", "video")
    count = 0

    def held() -> Iterator[np.ndarray]:
        nonlocal count
        picture = None
        for picture in pictures:
            count += 1
            yield picture
        if picture is None:
            raise InputError(f"{path}: there is no picture to show; give a run with images", "video")
        for _ in range(round(_HOLD * rate)):
            count += 1
            yield picture

    write = _gif if kind == ".gif" else _mp4
    atomically(path, lambda partial: write(partial, held(), rate))
    return count


def _is_utf8(path: Path) -> bool:
    """Whether the system's name of a file is text: OpenCV ends the program where it is not."""
    try:
        str(path.absolute()).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _mp4(path: Path, pictures: Iterator[np.ndarray], rate: float) -> bool:
    writer: Any = None
    for picture in pictures:
        if writer is None:
            writer = _opened(path, picture.shape[1], picture.shape[0], rate)
            if writer is None:
                return False
        writer.write(np.ascontiguousarray(picture[..., ::-1]))
    writer.release()
    return path.stat().st_size > 0


def _opened(path: Path, width: int, height: int, rate: float) -> Any:
    """OpenCV's writer, with the first codec that it has; None where it has none."""
    for codec in _CODECS:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, (width, height))
        if writer.isOpened():
            return writer
        writer.release()
    return None


def _gif(path: Path, pictures: Iterator[np.ndarray], rate: float) -> None:
    from PIL import Image

    palette = None
    made = []
    for picture in pictures:
        image = Image.fromarray(picture)
        palette = palette or image.quantize(255, Image.Quantize.MEDIANCUT)
        made.append(image.quantize(palette=palette, dither=Image.Dither.NONE))
    made[0].save(path, save_all=True, append_images=made[1:], duration=round(1000 / rate), loop=0, optimize=True)


def _panel(image: Float[Tensor, "3 h w"]) -> np.ndarray:
    """An image on the panel's square, grey where it has another shape."""
    pixels = as_pixels(image)
    scale = _PANEL / max(pixels.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(
        pixels, (max(1, round(scale * pixels.shape[1])), max(1, round(scale * pixels.shape[0]))), interpolation=how
    )
    square = np.full((_PANEL, _PANEL, 3), 235, np.uint8)
    top, left = (_PANEL - small.shape[0]) // 2, (_PANEL - small.shape[1]) // 2
    square[top : top + small.shape[0], left : left + small.shape[1]] = small
    return square


class _Drawing:
    """Text and curves on a picture."""

    def __init__(self, canvas: np.ndarray) -> None:
        from PIL import Image, ImageDraw

        self._image = Image.fromarray(canvas)
        self._draw = ImageDraw.Draw(self._image)

    def pixels(self) -> np.ndarray:
        """As it is now."""
        return np.asarray(self._image)

    def text(self, x: float, y: float, words: str, size: int, colour: Any = _INK, anchor: str = "la") -> None:
        """A line."""
        self._draw.text((x, y), words, fill=colour, font=_font(size), anchor=anchor)

    def shortened(self, words: str, size: int, width: float) -> str:
        """The beginning of a line, as much as fits."""
        shown = words
        while words and self._draw.textlength(shown, font=_font(size)) > width:
            words = words[:-1]
            shown = words.rstrip() + "..."
        return shown

    def chart(
        self, box: tuple[int, int, int, int], name: str, values: list[float], k: int, dt: float, colour: str
    ) -> None:
        """A curve over time, up to its k-th value, on a logarithmic axis of all its values."""
        x0, y0, width, height = box
        levels = [math.log10(max(_LEAST, v)) for v in values]
        low, high = math.floor(min(levels)), max(math.ceil(max(levels)), math.floor(min(levels)) + 1)
        left, top, bottom = x0 + 40, y0 + 18, y0 + height - 20

        def point(i: int) -> tuple[float, float]:
            across = left + (width - 48) * i / max(1, len(levels) - 1)
            return across, bottom - (bottom - top) * (levels[i] - low) / (high - low)

        for decade in range(low, high + 1, max(1, math.ceil((high - low) / 4))):
            y = bottom - (bottom - top) * (decade - low) / (high - low)
            self._draw.line((left, y, x0 + width - 8, y), fill=(225, 229, 235))
            self.text(left - 5, y, f"{10.0**decade:g}", 11, GREY, "rm")
        last = len(levels) - 1
        for i in {0, last // 2, last}:
            self.text(point(i)[0], bottom + 4, f"{i * dt:.3g} s" if i else "0", 11, GREY, "ma" if i < last else "ra")
        if k:
            self._draw.line([point(i) for i in range(k + 1)], fill=colour, width=2, joint="curve")
        x, y = point(k)
        self._draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
        self.text(x0, y0, f"{name}: {values[k]:.3g}", 13, colour)


@functools.cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
