"""How much of a scene, or of another camera's view, a camera sees."""

from __future__ import annotations

import torch
from jaxtyping import Float

from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import pixel_from_plane, points_on_plane
from siame_se3.scenes.types import Scene

_GRID = 16  # both are counted on a grid of 16 x 16 pixels


def _coarse_grid(camera: Camera) -> Float[Tensor, "p 2"]:
    """Pixels (u, v) of a coarse grid over the whole image."""
    u = (torch.arange(_GRID, dtype=torch.float64) + 0.5) / _GRID
    v, u = torch.meshgrid(u * camera.height - 0.5, u * camera.width - 0.5, indexing="ij")
    return torch.stack((u, v), -1).reshape(-1, 2)


def visible(scene: Scene, camera: Camera, T_wc: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B"]:
    """Share of each image that shows the print, 0 to 1."""
    xy, hit = points_on_plane(camera, T_wc, _coarse_grid(camera))
    inside = (xy[..., 0].abs() <= scene.width / 2) & (xy[..., 1].abs() <= scene.height / 2)
    return (inside & hit).double().mean(-1)


def overlap(
    camera: Camera, T_wd: Float[Tensor, "*B 4 4"], T_wc: Float[Tensor, "*B 4 4"], scene: Scene | None = None
) -> Float[Tensor, "*B"]:
    """Share of the desired view that the current camera sees too, 0 to 1; with a scene, only what shows the print counts."""
    xy, hit = points_on_plane(camera, T_wd, _coarse_grid(camera))
    if scene is not None:
        hit = hit & (xy[..., 0].abs() <= scene.width / 2) & (xy[..., 1].abs() <= scene.height / 2)
    points = torch.cat((xy, torch.ones_like(xy[..., :1])), -1)
    mapped = points @ pixel_from_plane(camera, T_wc).mT
    z = mapped[..., 2]
    u, v = mapped[..., 0] / z, mapped[..., 1] / z
    seen = (z > 0) & (u >= -0.5) & (u <= camera.width - 0.5) & (v >= -0.5) & (v <= camera.height - 0.5)
    return (seen & hit).double().mean(-1)
