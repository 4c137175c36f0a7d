"""Textured boxes on a textured table, ray-cast: images and depths without a mesh, a rasteriser, or anything of the package that is tested."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor

from siame_se3.geometry.camera import Camera

_TEXELS = 1500  # a metre


@dataclass(frozen=True)
class Box:
    """An upright box on the table: its middle x, y, size [m], and turn about the table's normal [rad]."""

    x: float
    y: float
    size: tuple[float, float, float]
    turn: float = 0.0


BOXES = (
    Box(-0.09, -0.06, (0.12, 0.10, 0.12), 0.3),
    Box(0.10, -0.05, (0.09, 0.13, 0.06), -0.5),
    Box(0.02, 0.09, (0.16, 0.07, 0.18), 0.1),
)


@dataclass
class Boxes:
    """A scene: the table is z = 0 of the world, boxes reach up to z = -height; cameras look along +z.

    Attributes:
        boxes: on the table.
        contrast: standard deviation of the texture, about, as a share of the range.
        samples: rays a pixel, along each axis.
    """

    boxes: tuple[Box, ...] = BOXES
    contrast: float = 0.12
    samples: int = 2
    seed: int = 0
    name: str = "boxes"
    width: float = 1.0
    height: float = 1.0
    _textures: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        sizes = [(1.6, 1.6)] + [(0.5, 0.5)] * len(self.boxes)
        self._textures = [_texture(rng, w, h, self.contrast) for w, h in sizes]

    def render(self, camera: Camera, T_wc: Tensor, antialias: bool = True) -> tuple[Tensor, Tensor]:
        flat = T_wc.reshape(-1, 4, 4).double().numpy()
        images = torch.from_numpy(np.stack([self._image(camera, T) for T in flat]))
        mask = torch.ones(len(flat), *camera.size, dtype=torch.bool)
        return images.reshape(*T_wc.shape[:-2], 3, *camera.size), mask.reshape(*T_wc.shape[:-2], *camera.size)

    def distance(self, T_wc: Tensor) -> Tensor:
        return -T_wc[..., 2, 3] / T_wc[..., 2, 2]

    def depth(self, camera: Camera, T_wc: Tensor) -> Tensor:
        flat = T_wc.reshape(-1, 4, 4).double().numpy()
        maps = [self._cast(T, _rays(camera, 0.0, 0.0))[0] for T in flat]
        return torch.from_numpy(np.stack(maps).astype(np.float32)).reshape(*T_wc.shape[:-2], *camera.size)

    def _image(self, camera: Camera, T: np.ndarray) -> np.ndarray:
        total = np.zeros((*camera.size, 3), np.float32)
        offsets = (np.arange(self.samples) + 0.5) / self.samples - 0.5
        for dv in offsets:
            for du in offsets:
                _, colours = self._cast(T, _rays(camera, du, dv), True)
                total += colours
        return np.ascontiguousarray((total / self.samples**2).clip(0, 1).transpose(2, 0, 1))

    def _cast(self, T: np.ndarray, rays: np.ndarray, colours: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Depth along the camera's z of each ray's first hit, and the colour there."""
        directions, origin = rays @ T[:3, :3].T, T[:3, 3]  # a ray's third component in the camera's frame is 1
        depth = np.where(directions[..., 2] > 1e-9, -origin[2] / directions[..., 2], np.nan)
        points = origin + depth[..., None] * directions
        seen = _sampled(self._textures[0], points[..., 0], points[..., 1]) if colours else np.zeros(0)
        for box, texture in zip(self.boxes, self._textures[1:], strict=True):
            c, s = np.cos(box.turn), np.sin(box.turn)
            R = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
            o = R @ (origin - np.array([box.x, box.y, -box.size[2] / 2]))
            d = directions @ R.T
            half = np.array(box.size) / 2
            with np.errstate(divide="ignore", invalid="ignore"):
                near, far = (-np.sign(d) * half - o) / d, (np.sign(d) * half - o) / d
            enter, leave = near.max(-1), far.min(-1)
            hit = (enter < leave) & (enter > 0) & (enter < depth)
            if colours and hit.any():
                local, axis = o + enter[hit, None] * d[hit], near[hit].argmax(-1)
                x, y = (np.choose(axis, [local[:, i] for i in order]) for order in ((1, 0, 0), (2, 2, 1)))
                shade = np.choose(axis, [0.75, 0.85, 1.0])[:, None]
                seen[hit] = shade * _sampled(texture, x + 0.03 * axis, y + 0.05 * axis)
            depth = np.where(hit, enter, depth)
        return depth, seen


def _rays(camera: Camera, du: float, dv: float) -> np.ndarray:
    u, v = np.meshgrid(np.arange(camera.width) + du, np.arange(camera.height) + dv)
    return np.stack(((u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)), -1)


def _texture(rng: np.random.Generator, width: float, height: float, contrast: float) -> np.ndarray:
    """Noise of several sizes, (h, w, 3) about a colour; a metre has `_TEXELS` texels."""
    w, h = int(width * _TEXELS), int(height * _TEXELS)
    total = np.zeros((h, w, 3), np.float32)
    for period in (8, 16, 40, 120):  # texels: 5 mm to 8 cm
        coarse = rng.standard_normal((h // period + 2, w // period + 2, 3)).astype(np.float32)
        total += cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
    colour = rng.uniform(0.35, 0.65, 3).astype(np.float32)
    return (colour + contrast * total / total.std()).clip(0.02, 0.98)


def _sampled(texture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear at metres from the middle."""
    h, w = texture.shape[:2]
    u, v = (x * _TEXELS + (w - 1) / 2).astype(np.float32), (y * _TEXELS + (h - 1) / 2).astype(np.float32)
    shape = (*x.shape, 3)
    out = cv2.remap(
        texture,
        np.nan_to_num(u).reshape(len(u), -1),
        np.nan_to_num(v).reshape(len(v), -1),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return out.reshape(shape)
