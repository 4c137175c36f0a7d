"""Reliefs under a photo, drawn at random: boxes, cylinders, steps and hills for experiments (`drawn_parts`), and a wider variety for training
(`varied_parts`). Heights are above the table [m]."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from siame_se3.scenes.planar import Scene
from siame_se3.scenes.relief_mesh import Mesh, Walls, box_outline, heights, round_outline, solid, table

Kind = Literal["box", "cylinder", "step", "hills"]
KINDS: tuple[Kind, ...] = ("box", "cylinder", "step", "hills")

_GROUND_CELLS = 32  # of training's uneven ground along the longer side: its mesh is most of a relief's triangles
_OCTAVES = 4


def drawn_parts(photo: Scene, tallest: float, generator: torch.Generator, kinds: Sequence[Kind]) -> list[Mesh]:
    """A table, or hills, and four to nine solids on it, the first of them `tallest` [m] high."""
    draw = _uniform(generator)
    solids = [kind for kind in kinds if kind != "hills"]
    hilly = "hills" in kinds and (not solids or draw(0, 1) < 0.4)
    parts = (
        [heights(photo, tallest * (1.0 if not solids else draw(0.3, 0.8)) * _hills(generator), 64)]
        if hilly
        else [table(photo)]
    )
    if not solids or tallest == 0:
        return parts
    for k in range(4 + int(6 * draw(0, 1))):
        kind = solids[int(len(solids) * draw(0, 1))]
        x, y = photo.width * draw(-0.4, 0.4), photo.height * draw(-0.4, 0.4)
        top = tallest * (1.0 if k == 0 else draw(0.2, 1.0))
        parts.append(solid(photo, _outline(kind, x, y, photo, draw), top))
    return parts


def varied_parts(photo: Scene, tallest: float, generator: torch.Generator) -> list[Mesh]:
    """What a network is trained over: a table or uneven ground (smooth hills, or rough ground of several octaves), and up to eight boxes, cylinders
    and steps on it, the highest `tallest` [m] high. A top shows the photo as the table under it would. Walls show its edge,
    stretched, or one colour of it: nothing is seen twice.
    """
    draw = _uniform(generator)
    ground, many = draw(0, 1), int(9 * draw(0, 1))
    if ground < 0.5:
        parts, many = [table(photo)], max(many, 2)
    else:
        share = draw(0.2, 1.0) if many else 1.0
        levels = _hills(generator) if ground < 0.7 else _rough(generator, draw(0.3, 0.6))
        parts = [heights(photo, share * tallest * levels, _GROUND_CELLS)]
    for k in range(many):
        kind = KINDS[int(3 * draw(0, 1))]
        x, y = photo.width * draw(-0.45, 0.45), photo.height * draw(-0.45, 0.45)
        top = tallest * (1.0 if k == 0 else draw(0.1, 1.0))
        walls: Walls = "edge" if draw(0, 1) < 0.5 else "colour"
        parts.append(solid(photo, _outline(kind, x, y, photo, draw), top, walls=walls))
    return parts


def _uniform(generator: torch.Generator) -> Callable[[float, float], float]:
    """Draws a number between two others."""

    def draw(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand(1, generator=generator))

    return draw


def _outline(
    kind: Kind, x: float, y: float, photo: Scene, draw: Callable[[float, float], float]
) -> Float[Tensor, "k 2"]:
    """A solid's, around (x, y) [m]."""
    size = min(photo.width, photo.height)
    if kind == "cylinder":
        return round_outline(x, y, size * draw(0.05, 0.15))
    if kind == "box":
        return box_outline(x, y, size * draw(0.1, 0.4), size * draw(0.1, 0.4), draw(0, math.pi))
    # a step: from one side of the photo to the other
    return box_outline(x, y, 1.5 * (photo.width + photo.height), size * draw(0.1, 0.4), draw(0, math.pi))


def _hills(generator: torch.Generator) -> Float[Tensor, "h w"]:
    """Smooth heights between 0 and 1, both of which they reach."""
    return _levelled(_smooth(5, 6, generator))


def _rough(generator: torch.Generator, persistence: float) -> Float[Tensor, "h w"]:
    """Heights between 0 and 1: smooth ones of several octaves, each finer by half and `persistence` as high as the one before."""
    octaves = [persistence**k * _smooth(2 + 2**k, 2 + 2**k, generator) for k in range(_OCTAVES)]
    return _levelled(torch.stack(octaves).sum(0))


def _smooth(rows: int, columns: int, generator: torch.Generator) -> Float[Tensor, "h w"]:
    coarse = torch.rand(1, 1, rows, columns, generator=generator, dtype=torch.float64)
    return F.interpolate(coarse, size=(48, 64), mode="bicubic", align_corners=True)[0, 0]


def _levelled(levels: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    return (levels - levels.min()) / (levels.max() - levels.min())
