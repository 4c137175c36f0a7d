"""Disturbances of a simulated camera's images, each on or off while it runs."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import plane_from_pixel
from siame_se3.scenes.conditions import Augmentation, apply, draw

KINDS = ("light", "occlusion", "noise", "blur")
_STRENGTH = Augmentation(lamp_gain=0.45, gain=0.3, noise=0.04, occlusion=0.15, occlusion_rate=1.0, blur=1.5, least=0.8)


class Disturbances:
    """Of one camera: spots of light that lie on the scene, an occluding patch, the sensor's noise, and blur.

    Args:
        size: of the scene (width, height) [m].
        seed: of what is drawn.
    """

    def __init__(self, size: tuple[float, float], seed: int = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._drawn = draw(1, _STRENGTH, size, torch.Generator().manual_seed(seed))
        self.on: frozenset[str] = frozenset()

    def __call__(
        self, image: Float[Tensor, "3 h w"], camera: Camera, T_wc: Float[Tensor, "4 4"]
    ) -> Float[Tensor, "3 h w"]:
        """An image as it is with what is on; the noise is new each time."""
        if not self.on:
            return image
        c, off = self._drawn, torch.zeros_like
        if "light" not in self.on:
            c = replace(c, lamp_gain=off(c.lamp_gain), gain=torch.ones_like(c.gain), bias=off(c.bias))
        if "occlusion" not in self.on:
            c = replace(c, patch=off(c.patch))
        c = replace(
            c,
            noise=c.noise if "noise" in self.on else off(c.noise),
            blur=c.blur if "blur" in self.on else off(c.blur),
        )
        return apply(image[None], c, plane_from_pixel(camera, T_wc[None]), [self._generator])[0]
