"""Textures made by a program: boards of dots, grids, text, stripes, polygons, lines, clouds. What photos of nature show seldom, and workshops often:
things that repeat themselves, edges, much plain surface."""

from __future__ import annotations

import string
from collections.abc import Callable

import cv2
import numpy as np

Colour = tuple[float, float, float]
KINDS: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {}


def procedural(seed: int, height: int = 480, width: int = 640) -> np.ndarray:
    """A texture (h, w, 3), uint8, of a kind that the seed draws."""
    rng = np.random.default_rng(seed)
    make = KINDS[list(KINDS)[int(rng.integers(len(KINDS)))]]
    image = make(rng, height, width).astype(np.float32)
    if rng.random() < 0.5:  # paper and paint are not quite even
        image += rng.uniform(4, 25) * clouds(rng, height, width)[..., :1] / 128 - 10
    if rng.random() < 0.5:
        image += rng.normal(0, rng.uniform(1, 6), image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def _kind(make: Callable[[np.random.Generator, int, int], np.ndarray]) -> Callable[..., np.ndarray]:
    KINDS[make.__name__] = make
    return make


def _colour(rng: np.random.Generator) -> Colour:
    level = rng.uniform(0, 255)
    red, green, blue = (float(np.clip(level + x, 0, 255)) for x in rng.normal(0, 40, 3))
    return red, green, blue


def _two(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Colours that differ."""
    while True:
        a, b = _colour(rng), _colour(rng)
        if abs(sum(a) - sum(b)) > 90:
            return a, b


def _canvas(rng: np.random.Generator, h: int, w: int, colour: Colour) -> np.ndarray:
    return np.full((h, w, 3), colour, np.uint8)


@_kind
def clouds(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Noise of all sizes, as plaster, stone or dirt has it."""
    slope = rng.uniform(0.6, 2.2)
    fy, fx = np.fft.fftfreq(h)[:, None] * h, np.fft.rfftfreq(w)[None] * w
    amplitude = 1 / np.maximum(1, np.hypot(fx, fy)) ** slope
    layers = []
    for _ in range(3):
        phase = rng.uniform(0, 2 * np.pi, amplitude.shape)
        layers.append(np.fft.irfft2(amplitude * np.exp(1j * phase), (h, w)))
    image = np.stack(layers, -1)
    image = image / image.std() * rng.uniform(15, 50)
    grey = image.mean(-1, keepdims=True)
    return np.clip(grey + rng.uniform(0, 1) * (image - grey) + 128, 0, 255)


@_kind
def dots(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """A board of dots on a dark or light mat, some of them missing or larger."""
    mat, board = _two(rng)
    image = _canvas(rng, h, w, mat)
    x0, y0 = rng.uniform(0, 0.3, 2) * (w, h)
    x1, y1 = (w, h) - rng.uniform(0, 0.3, 2) * (w, h)
    cv2.rectangle(image, (int(x0), int(y0)), (int(x1), int(y1)), board, -1)
    ink = _two(rng)[0]
    step = rng.uniform(18, 60)
    radius = step * rng.uniform(0.12, 0.4)
    for y in np.arange(y0 + step, y1 - step / 2, step):
        for x in np.arange(x0 + step, x1 - step / 2, step):
            if rng.random() > 0.04:
                size = radius * (1.6 if rng.random() < 0.04 else 1.0)
                cv2.circle(image, (int(16 * x), int(16 * y)), int(16 * size), ink, -1, cv2.LINE_AA, 4)
    return image


@_kind
def grid(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Tiles or a checkerboard, with some that differ."""
    a, b = _two(rng)
    image = _canvas(rng, h, w, a)
    step, gap = rng.uniform(16, 90), int(rng.integers(1, 8))
    checker = rng.random() < 0.5
    for j, y in enumerate(np.arange(0, h, step)):
        for i, x in enumerate(np.arange(0, w, step)):
            colour = b if not checker or (i + j) % 2 else a
            colour = _colour(rng) if rng.random() < 0.06 else colour
            far = (int(x + step) - (0 if checker else gap), int(y + step) - (0 if checker else gap))
            cv2.rectangle(image, (int(x), int(y)), far, colour, -1)
    return image


@_kind
def text(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Lines of letters and digits."""
    paper, ink = _two(rng)
    image = _canvas(rng, h, w, paper)
    y = 10.0
    letters = np.array(list(string.ascii_letters + string.digits + "    .,:-/"))
    while y < h:
        scale = rng.uniform(0.35, 1.6)
        y += 32 * scale
        line = "".join(rng.choice(letters, 60))
        font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_DUPLEX]))
        if rng.random() < 0.8:
            cv2.putText(
                image, line, (int(rng.integers(0, 60)), int(y)), font, scale, ink, int(rng.integers(1, 3)), cv2.LINE_AA
            )
    return image


@_kind
def stripes(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Bands of many widths, as boards, blinds or corrugated sheet have."""
    a, b = _two(rng)
    edges = np.cumsum(rng.uniform(4, 60, 400))
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[:h, :w]
    along = np.abs(x * np.cos(angle) + y * np.sin(angle) + rng.uniform(0, 200))
    number = np.searchsorted(edges, along)
    shade = rng.uniform(0, 1, edges.size + 1)[number][..., None]
    return np.array(a) * shade + np.array(b) * (1 - shade)


@_kind
def polygons(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Plain shapes over each other, few or many."""
    image = _canvas(rng, h, w, _colour(rng))
    for _ in range(int(rng.choice([4, 8, 20, 60]))):
        middle, size = rng.uniform(0, 1, 2) * (w, h), rng.uniform(0.03, 0.35) * h
        if rng.random() < 0.3:
            cv2.circle(image, tuple(middle.astype(int).tolist()), int(size / 2), _colour(rng), -1, cv2.LINE_AA)
            continue
        turns = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
        corners = middle + size * np.stack((np.cos(turns), np.sin(turns)), 1)
        cv2.fillPoly(image, [corners.astype(np.int32)], _colour(rng), cv2.LINE_AA)
    return image


@_kind
def lines(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Thin lines and holes on a plain surface, as sheet metal or a drawing has."""
    ground, ink = _two(rng)
    image = _canvas(rng, h, w, ground)
    for _ in range(int(rng.integers(6, 60))):
        a, b = (rng.uniform(0, 1, 2) * (w, h) for _ in range(2))
        if rng.random() < 0.5:
            b = np.where(rng.random() < 0.5, (a[0], b[1]), (b[0], a[1]))
        cv2.line(image, a.astype(int).tolist(), b.astype(int).tolist(), ink, int(rng.integers(1, 5)), cv2.LINE_AA)
        if rng.random() < 0.4:
            cv2.circle(
                image, b.astype(int).tolist(), int(rng.integers(3, 16)), ink, int(rng.choice([-1, 2])), cv2.LINE_AA
            )
    return image
