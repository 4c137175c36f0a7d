"""Reliefs under a training's photos: what is drawn, how it is rendered, and where in another view what a cell sees is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.relief import Relief
from siame_se3.scenes.render import render

_CLEARANCE = (
    0.2  # of the distance: a scene's views are at least as far above its relief, which is lower where they are low
)
_STEP = 0.02  # of the depth: what is nearer by more hides, and neighbours that differ by more are of two surfaces


def draw_reliefs(
    T_wc: Float[Tensor, "s n 4 4"], relief: float, rate: float, distance: float, generator: torch.Generator
) -> tuple[tuple[float, int], ...]:
    """Height [m] and seed of the relief of each scene, of which T_wc are the views; a height of 0 is a flat one.

    Args:
        relief: the highest, as a share of the distance.
        rate: share of the scenes that have one.
        distance: usual one of cameras to the scene [m].
    """
    s = len(T_wc)
    has = torch.rand(s, generator=generator) < rate
    height = relief * distance * torch.rand(s, generator=generator, dtype=torch.float64) * has
    lowest = -T_wc[..., 2, 3].amax(1) - _CLEARANCE * distance
    seeds = torch.randint(2**62, (s,), generator=generator)
    return tuple(zip(height.minimum(lowest).clamp(min=0).tolist(), seeds.tolist(), strict=True))


@dataclass(frozen=True)
class Surface:
    """What a batch's views see, where it is not flat.

    Attributes:
        camera: of all views.
        T_wc: their poses.
        inverse: 1/Z at each pixel's centre [1/m], 0 where there is nothing; of views of flat scenes all 0.
        raised: which views are of a relief.
    """

    camera: Camera
    T_wc: Float[Tensor, "n 4 4"]
    inverse: Float[Tensor, "n h w"]
    raised: Bool[Tensor, "n"]

    def seen_in_desired(
        self, pixels: Float[Tensor, "p k 3"], current: Tensor, desired: Tensor
    ) -> tuple[Float[Tensor, "p k 3"], Bool[Tensor, "p k"]]:
        """Of pairs of views of reliefs: homogeneous pixels of the desired view where what pixels (u, v, 1) of the current one see is, and
        whether these see anything that is in front of the desired camera and, where it is in its image, not hidden there."""
        K = self.camera.K.to(pixels)
        T_dc = lie.inverse(self.T_wc[desired]) @ self.T_wc[current]
        q = self._inverse_at(current, pixels[..., :2])
        # the point's distance cancels: K (R r + q t) is where a point r / q is seen
        mapped = (pixels @ torch.linalg.inv(K).T @ T_dc[:, :3, :3].mT + q[..., None] * T_dc[:, None, :3, 3]) @ K.T
        z = mapped[..., 2]
        front = (q > 0) & (z > 1e-6)
        at = mapped[..., :2] / torch.where(front, z, 1.0)[..., None]
        nearest = self._inverse_at(desired, at)
        inverse = q / torch.where(front, z, 1.0)
        return mapped, front & (nearest <= (1 + _STEP) * inverse)

    def _inverse_at(self, views: Tensor, pixels: Float[Tensor, "p k 2"]) -> Float[Tensor, "p k"]:
        """1/Z at places of the views' images, between the four pixels around where these are of one surface, else that of the nearest pixel; 0
        outside the image."""
        h, w = self.inverse.shape[1:]
        u, v = pixels.unbind(-1)
        inside = (u > -0.5) & (u < w - 0.5) & (v > -0.5) & (v < h - 0.5)
        u, v = (torch.where(inside, x, 0.0).clamp(0, n - 1) for x, n in ((u, w), (v, h)))
        left, top = u.long().clamp(max=w - 2), v.long().clamp(max=h - 2)
        first = (views[:, None] * h + top) * w + left
        around = self.inverse.reshape(-1)[first[..., None] + first.new_tensor([0, 1, w, w + 1])].to(pixels.dtype)
        x, y = u - left, v - top
        shares = torch.stack(((1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y), -1)
        nearest = around.gather(-1, shares.argmax(-1, keepdim=True))[..., 0]
        one_surface = around.amax(-1) <= (1 + _STEP) * around.amin(-1)
        return torch.where(one_surface, (shares * around).sum(-1), nearest) * inside


def render_reliefs(
    scenes: Sequence[Scene], reliefs: Sequence[tuple[float, int]], camera: Camera, T_wc: Float[Tensor, "n 4 4"]
) -> tuple[Float[Tensor, "n 3 h w"], Bool[Tensor, "n h w"], Surface]:
    """Images of photos with a relief each (`draw_reliefs`), which share the views out evenly, in their order; which pixels see the photo; and what
    they see."""
    images, masks, inverse = [], [], []
    for photo, (tallest, seed), poses in zip(scenes, reliefs, T_wc.chunk(len(scenes)), strict=True):
        if tallest > 0:
            image, mask, q = Relief.varied(photo, tallest, seed).with_depth(camera, poses)
        else:
            (image, mask), q = render(photo, camera, poses), torch.zeros(len(poses), *camera.size, device=poses.device)
        images.append(image)
        masks.append(mask)
        inverse.append(q)
    raised = torch.tensor([tallest > 0 for tallest, _ in reliefs], device=T_wc.device)
    raised = raised.repeat_interleave(len(T_wc) // len(scenes))
    return torch.cat(images), torch.cat(masks), Surface(camera, T_wc, torch.cat(inverse), raised)
