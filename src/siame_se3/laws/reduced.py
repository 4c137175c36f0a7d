"""Laws over cameras of many pixels: the same law on smaller images of the same views."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import require_number
from siame_se3.images.registration import resized
from siame_se3.laws.certainty import Certain
from siame_se3.laws.types import Controller, Law, Output, View

PIXELS = 480  # of the shorter side: a step of `auto` takes a few hundredths of a second, and photometric laws end as near as on 1080
LEAST = 32  # [px] of it


def reduced(controller: Controller, pixels: int = PIXELS) -> Controller:
    """The same controller over smaller images.

    Args:
        controller: another.
        pixels: of the shorter side, at most; 0 for images as they are.

    Raises:
        InputError: fewer than LEAST pixels, or no whole number.
    """
    return Reduced(controller, pixels) if pixels else controller


@dataclass(frozen=True)
class Reduced:
    """Another controller, whose views and targets have at most so many pixels on the shorter side; smaller ones stay as they are.

    A velocity in the camera's frame does not depend on the number of pixels: intrinsics and depth maps are those of the smaller image.

    Args:
        controller: the other one.
        image_size: of the shorter side, at most [px].
    """

    controller: Controller
    image_size: int = PIXELS

    def __post_init__(self) -> None:
        require_number(self, "image_size", LEAST, whole=True, what="image size (0: as they come)")

    @property
    def needs(self) -> frozenset[str]:
        """As the other's."""
        return self.controller.needs

    def aim(self, target: View) -> tuple[Law, Any]:
        """As the other's, over the smaller image of the target."""
        law, state = self.controller.aim(smaller(target, self.image_size))
        return (_CertainLaw if isinstance(law, Certain) else _ReducedLaw)(law, self.image_size), state


@dataclass(frozen=True)
class _ReducedLaw:
    """See `Reduced`."""

    law: Any
    pixels: int

    def __call__(self, view: View, state: Any) -> tuple[Output, Any]:
        """The other law's answer to the smaller image."""
        return self.law(smaller(view, self.pixels), state)


class _CertainLaw(_ReducedLaw):
    """Of a law that knows how sure it is of the pose."""

    def covariance(self, view: View, state: Any) -> Float[Tensor, "n 6 6"]:
        """See `Certain`."""
        return self.law.covariance(smaller(view, self.pixels), state)


def smaller(view: View, pixels: int) -> View:
    """The view with `pixels` on the shorter side of its image, an average of those that it had; itself where it has no more."""
    if view.image is None or min(view.image.shape[-2:]) <= pixels:
        return view
    h, w = view.image.shape[-2:]
    height, width = (round(side * pixels / min(h, w)) for side in (h, w))
    flat = view.image.reshape(-1, *view.image.shape[-3:])
    image = F.interpolate(flat, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
    map_ = view.depth_map
    return replace(
        view,
        image=image.reshape(*view.image.shape[:-2], height, width),
        depth=view.depth if map_ is None else resized(map_, height, width),
        camera=None if view.camera is None else view.camera.resized(width, height),
    )
