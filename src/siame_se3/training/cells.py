"""What the cells of feature maps should say: the simulator knows which point of the plane each of them sees, and where in another image that is.

Over a relief the points that cells match are those that they see, wherever these are. Points of the plane are where their rays meet it, over a relief
too: the homography of those is the camera's pose, whatever stands between.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from siame_se3.scenes.bending import displacement
from siame_se3.training.batches import Batch


def _cell_pixels(batch: Batch, rows: int, columns: int, dtype: torch.dtype) -> Float[Tensor, "cells 3"]:
    """Homogeneous pixels (u, v, 1) of the middle of each cell of a feature map, row by row."""
    (h, w), device = batch.images.shape[-2:], batch.images.device
    v = (torch.arange(rows, device=device, dtype=dtype) + 0.5) * (h / rows) - 0.5
    u = (torch.arange(columns, device=device, dtype=dtype) + 0.5) * (w / columns) - 0.5
    v, u = torch.meshgrid(v, u, indexing="ij")
    return torch.stack((u, v, torch.ones_like(u)), -1).reshape(-1, 3)


def _shown(batch: Batch, rows: int, columns: int, dtype: torch.dtype) -> Float[Tensor, "#n cells 3"]:
    """Homogeneous pixels whose plane points the cells show: their middles, or in views that are bent where these are displaced to."""
    pixels = _cell_pixels(batch, rows, columns, dtype)[None]
    if not batch.bend.shape[-1]:
        return pixels
    moved = F.adaptive_avg_pool2d(displacement(batch.bend, *batch.images.shape[-2:]), (rows, columns))
    return pixels + F.pad(moved.flatten(2).mT, (0, 1)).to(dtype)


def cell_points(batch: Batch, rows: int, columns: int) -> tuple[Float[Tensor, "n 2 y x"], Float[Tensor, "n y x"]]:
    """Plane point seen at the middle of each cell of a feature map, in half widths of the scene, and 1 where it is less
    than two half widths from the middle (beyond, a point says nothing)."""
    H = batch.homography.float()
    mapped = _shown(batch, rows, columns, H.dtype) @ H.mT
    z = mapped[..., 2]
    points = mapped[..., :2] / torch.where(z > 1e-6, z, 1.0)[..., None] / (batch.scene.width / 2)
    known = (z > 1e-6) & (points.abs() < 2).all(-1)
    n = len(H)
    return points.clamp(-2, 2).mT.reshape(n, 2, rows, columns), known.float().reshape(n, rows, columns)


def cell_matches(batch: Batch, rows: int, columns: int) -> tuple[Float[Tensor, "p 2 y x"], Float[Tensor, "p y x"]]:
    """Of each pair: where in the desired image, in [-1, 1]^2, what each cell of the current one's feature map sees is, and 1 where that is less
    than a quarter beyond the image; over a relief 0 too where something hides it there, and where the cell sees nothing."""
    h, w = batch.images.shape[-2:]
    H = batch.homography.double()
    G = torch.linalg.inv(H)[batch.desired] @ H[batch.current]
    pixels = _shown(batch, rows, columns, H.dtype).expand(len(H), -1, -1)[batch.current]
    mapped = pixels @ G.mT
    # In front of the desired camera, where the ray from the current one meets the plane at all (see `plane.plane_from_pixel`).
    z = torch.minimum(mapped[..., 2], (pixels @ H[batch.current].mT)[..., 2])
    if batch.surface is not None:
        raised = batch.surface.raised[batch.current]
        pair = batch.current[raised], batch.desired[raised]
        mapped[raised], seen = batch.surface.seen_in_desired(pixels[raised], *pair)
        z[raised] = torch.where(seen, mapped[raised][..., 2], 0.0)
    size = torch.tensor([w, h], device=H.device, dtype=H.dtype)
    points = 2 * (mapped[..., :2] / torch.where(z > 1e-6, mapped[..., 2], 1.0)[..., None] + 0.5) / size - 1
    if batch.bend.shape[-1]:  # the desired image shows at x what the homography has at x + d(x): x is about y - d(y)
        moved = displacement(batch.bend, h, w)[batch.desired]
        there = F.grid_sample(moved, points[:, None].float(), padding_mode="border", align_corners=False)[:, :, 0]
        points = points - 2 * there.mT / size
    known = (z > 1e-6) & (points.abs() < 1.5).all(-1)
    n = len(G)
    return points.clamp(-1.5, 1.5).float().mT.reshape(n, 2, rows, columns), known.float().reshape(n, rows, columns)
