"""The law 'auto' without a network, over a print: where cameras are, and how far what they see is from its place."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import homography
from siame_se3.laws.auto import Auto
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, draw_starts

LAW = Auto(None)


def square_on(*shape: int) -> Tensor:
    T = torch.eye(4, dtype=torch.float64).repeat(*shape, 1, 1)
    T[..., 2, 3] = -0.6
    return T


def offset(*p: float) -> Tensor:
    return lie.pose_from_vector(torch.tensor(p, dtype=torch.float64))


def starts(n: int, plant: FlyingCameras, seed: int = 3) -> tuple[Tensor, Tensor]:
    return draw_starts("table1", n, plant.scene, plant.camera, Workspace(), seed)  # type: ignore[arg-type]  # a print


def apart(camera: Camera, T_wd: Tensor, T_wc: Tensor, T_wo: Tensor | None = None) -> Tensor:
    """How far what the desired camera sees, and another one too, is in an image from its place, on average [px]."""
    grid = camera.pixel_grid()[::16, ::16].reshape(-1, 2)
    pixels = torch.cat((grid, torch.ones(len(grid), 1, dtype=torch.float64)), 1)

    def seen_by(T: Tensor) -> Tensor:
        mapped = pixels @ homography(camera, T, T_wd).mT
        return mapped[..., :2] / mapped[..., 2:]

    other = seen_by(T_wc if T_wo is None else T_wo)
    shown = ((other > 0) & (other < camera.width - 1)).all(-1)
    return ((seen_by(T_wc) - grid).norm(dim=-1) * shown).sum(-1) / shown.sum(-1)


def dots(mark: bool) -> Scene:
    """A grid of dots, the same upside down; with `mark`, a stripe beside it tells which side is up."""
    y, x = np.mgrid[0:400, 0:400]
    inside = (np.abs(x - 199.5) < 150) & (np.abs(y - 199.5) < 150)
    dot = np.hypot((x - 199.5) % 50 - 25, (y - 199.5) % 50 - 25) < 12
    grey = np.where(inside & dot, 0.1, 0.8)
    if mark:
        stripe = np.random.default_rng(0).random((10, 80)) < 0.5
        grey[5:45] = np.kron(stripe[:8], np.ones((5, 5)))
    return Scene(torch.from_numpy(grey).float().expand(3, -1, -1).contiguous(), 0.5, 0.5, "dots")
