"""A scene with depth, ray-cast: textured boxes that stand on a textured plane. Slow and exact; none of the package's renderers has a part in it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_image, read_picture


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes on the plane z = 0 (a camera sees its front from z < 0): middles (k, 2), half sizes along x and y (k, 2), heights (k,), turns about z (k,)."""

    texture: Tensor  # (3, H, W)
    middle: Tensor
    half: Tensor
    height: Tensor
    turn: Tensor
    width: float = 1.2
    name: str = "boxes"

    @property
    def extent(self) -> float:
        return self.width

    @staticmethod
    def random(seed: int, photo: str, count: int = 10, height: float = 0.12, spread: float = 0.2) -> Boxes:
        """Boxes of up to that height [m], within that distance of the middle [m]."""
        g = torch.Generator().manual_seed(seed)
        texture = as_image(read_picture(photo))
        r = torch.rand(count, 6, generator=g, dtype=torch.float64)
        return Boxes(
            texture,
            (2 * r[:, :2] - 1) * spread,
            0.02 + 0.04 * r[:, 2:4],
            height * (0.3 + 0.7 * r[:, 4]),
            6.28 * r[:, 5],
        )

    def _cast(self, camera: Camera, T_wc: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """Colour and z-depth of each ray, `scale` x `scale` rays a pixel."""
        h, w = camera.size
        v, u = torch.meshgrid(torch.arange(h * scale), torch.arange(w * scale), indexing="ij")
        u, v = ((z.double() + 0.5) / scale - 0.5 for z in (u, v))
        ray = torch.stack(((u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, torch.ones_like(u)), -1)
        d = (ray.reshape(-1, 3) @ T_wc[:3, :3].T).float()
        o = T_wc[:3, 3].float()
        t = torch.where(d[:, 2] > 1e-6, -o[2] / d[:, 2], torch.inf)
        X = o + t[:, None].nan_to_num(0, 0, 0) * d
        place = X[:, :2] / self.width
        for k in range(len(self.height)):
            c, s = float(self.turn[k].cos()), float(self.turn[k].sin())
            R = torch.tensor([[c, s, 0], [-s, c, 0], [0, 0, 1]])
            size = torch.tensor([*self.half[k].tolist(), float(self.height[k]) / 2])
            middle = torch.tensor([*self.middle[k].tolist(), -float(self.height[k]) / 2])
            a, b = (o - middle) @ R.T, d @ R.T
            b = torch.where(b.abs() < 1e-9, 1e-9, b)
            near, far = torch.minimum((-size - a) / b, (size - a) / b), torch.maximum((-size - a) / b, (size - a) / b)
            enter, axis = near.max(1)
            hit = (enter < far.min(1).values) & (enter > 0) & (enter < t)
            t = torch.where(hit, enter, t)
            P = a + enter[:, None] * b
            others = torch.tensor([[1, 2], [0, 2], [0, 1]])[axis]
            on_face = P.gather(1, others) / 0.5 + 0.17 * k + 0.31 * axis[:, None]
            place = torch.where(hit[:, None], on_face, place)
        grid = 2 * (place - place.floor()) - 1
        colour = F.grid_sample(self.texture[None], grid[None, None], padding_mode="border", align_corners=False)[
            0, :, 0
        ]
        z = torch.where(t.isfinite(), t, torch.nan)  # the ray's z is 1: its parameter is the depth
        return colour.reshape(3, h * scale, w * scale), z.reshape(h * scale, w * scale)

    def render(self, camera: Camera, T_wc: Tensor, antialias: bool = True) -> tuple[Tensor, Tensor]:
        flat = T_wc.reshape(-1, 4, 4)
        images = torch.stack([F.avg_pool2d(self._cast(camera, T, 3)[0], 3) for T in flat])
        mask = torch.ones(len(flat), *camera.size, dtype=torch.bool)
        return images.reshape(*T_wc.shape[:-2], 3, *camera.size), mask.reshape(*T_wc.shape[:-2], *camera.size)

    def depth(self, camera: Camera, T_wc: Tensor) -> Tensor:
        flat = T_wc.reshape(-1, 4, 4)
        found = torch.stack([self._cast(camera, T, 1)[1] for T in flat])
        return found.reshape(*T_wc.shape[:-2], *camera.size)

    def distance(self, T_wc: Tensor) -> Tensor:
        return -T_wc[..., 2, 3] / T_wc[..., 2, 2]

    @property
    def height_m(self) -> float:
        return float(self.height.max())
