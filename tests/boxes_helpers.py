"""A room with depth: textured boxes on a floor before a wall, ray by ray; and folders of its pictures as the public formats have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera

ROOM = (
    (-1.5, -1.2, -1.0),
    (1.5, 0.45, 1.6),
)  # y points down: the floor is y = 0.45 m, the wall before the camera z = 1.6 m
BOXES = (
    ((-0.35, 0.15, 0.75), (-0.1, 0.45, 0.95)),
    ((0.05, 0.25, 0.6), (0.3, 0.45, 0.8)),
    ((-0.15, 0.05, 1.1), (0.2, 0.45, 1.3)),
    ((0.35, -0.1, 1.0), (0.55, 0.45, 1.2)),
)


def print_of(seed: int, size: int = 256, things: int = 150) -> np.ndarray:
    """A texture (size, size, 3) of rectangles of all sizes over smooth colours."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(60, 195, (5, 5, 3)).astype(np.float32)
    texture = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    for _ in range(things):
        x, y = rng.integers(0, size, 2)
        w, h = np.exp(rng.uniform(np.log(2), np.log(size / 6), 2)).astype(int)
        texture[y : y + h, x : x + w] = rng.uniform(0, 255, 3)
    return np.clip(texture, 0, 255)


@dataclass(frozen=True)
class Room:
    """What there is to see.

    Attributes:
        boxes: opposite corners, along the axes [m]; the first is the room itself, seen from within.
        plain: surfaces (box, axis) without texture.
        texels: of a texture's side.
    """

    boxes: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = (ROOM, *BOXES)
    plain: frozenset[tuple[int, int]] = frozenset()
    texels: int = 256
    prints: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    def look(self, camera: Camera, T_wc: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """RGB uint8 (h, w, 3) and depth along z (h, w) [m] of a pinhole at T_wc."""
        T = T_wc.double().numpy()
        rays = camera.rays(camera.pixel_grid()).numpy() @ T[:3, :3].T
        origin = T[:3, 3]
        depth = np.full(camera.size, np.inf)
        rgb = np.zeros((*camera.size, 3), np.float32)
        for k, corners in enumerate(self.boxes):
            low, high = np.array(corners)
            with np.errstate(divide="ignore", invalid="ignore"):
                first, last = (
                    np.sort(np.stack(((low - origin) / rays, (high - origin) / rays)), axis=0)[j] for j in (0, 1)
                )
            z = (
                last.min(-1)
                if k == 0
                else np.where((last.min(-1) > first.max(-1)) & (first.max(-1) > 0), first.max(-1), np.inf)
            )
            axis = last.argmin(-1) if k == 0 else first.argmax(-1)
            for a in range(3):
                here = (axis == a) & (z < depth)
                if here.any():
                    X = origin + rays[here] * z[here, None]
                    rgb[here] = self._colours(k, a, np.delete(X, a, axis=1))
                    depth[here] = z[here]
        return np.rint(rgb).astype(np.uint8), depth

    def _colours(self, box: int, axis: int, at: np.ndarray) -> np.ndarray:
        """Of points (n, 2) of a surface [m]."""
        if (box, axis) in self.plain:
            return np.full((len(at), 3), 150.0, np.float32)
        if (box, axis) not in self.prints:
            self.prints[box, axis] = print_of(10 * box + axis, self.texels).astype(np.float32)
        texture = self.prints[box, axis]
        low, high = (np.delete(corner, axis) for corner in self.boxes[box])
        pixels = (at - low) / (high - low).max() * (len(texture) - 1)
        first = np.floor(pixels).astype(np.int64)
        (x, y), (a, b) = first.T, (pixels - first).astype(np.float32).T[..., None]
        x0, x1, y0, y1 = (k % len(texture) for k in (x, x + 1, y, y + 1))
        upper = (1 - a) * texture[y0, x0] + a * texture[y0, x1]
        colours: np.ndarray = (1 - b) * upper + b * ((1 - a) * texture[y1, x0] + a * texture[y1, x1])
        return colours


def poses(n: int, seed: int = 0, step: float = 0.05, turn: float = 0.06) -> Tensor:
    """A camera that goes around before the boxes and looks at them: T_wc (n, 4, 4), a random walk; fewer poses are the first of more."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(0, 1, (n, 12)) * np.tile([step] * 3 + [turn] * 3, 2)
    walk = np.cumsum(0.7 * drawn[:, :6], 0) + drawn[:, 6:] / 2
    start = lie.pose_from_vector(torch.tensor([0.05, -0.15, 0.0, -0.15, 0.0, 0.0], dtype=torch.float64))
    return start @ lie.pose_from_vector(torch.from_numpy(walk - walk[:1]))


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels)


def quaternion(T: Tensor) -> list[float]:
    """x, y, z, w."""
    theta_u = lie.so3_log(T[:3, :3])
    angle = float(theta_u.norm())
    axis = theta_u / angle if angle > 1e-12 else theta_u
    return [*(axis * np.sin(angle / 2)).tolist(), float(np.cos(angle / 2))]


def write_tum(folder: Path, views: Sequence[tuple[np.ndarray, np.ndarray]], T_wc: Tensor, late: float = 0.008) -> None:
    """A sequence as TUM has them: 30 Hz, depth later than its picture, poses at 100 Hz, 1/5000 m, 0 where nothing is known."""
    rgb, depth, truth = (
        ["# color images"],
        ["# depth maps"],
        ["# ground truth trajectory", "# timestamp tx ty tz qx qy qz qw"],
    )
    for k, (pixels, Z) in enumerate(views):
        at = 1305031102.1753 + k / 30
        save(folder / "rgb" / f"{at:.6f}.png", pixels)
        save(
            folder / "depth" / f"{at + late:.6f}.png",
            np.where(np.isfinite(Z), np.rint(5000 * np.nan_to_num(Z)), 0).astype(np.uint16),
        )
        rgb.append(f"{at:.6f} rgb/{at:.6f}.png")
        depth.append(f"{at + late:.6f} depth/{at + late:.6f}.png")
        truth.append(" ".join(f"{x:.6f}" for x in [at, *T_wc[k, :3, 3].tolist(), *quaternion(T_wc[k])]))
    for name, lines in (("rgb.txt", rgb), ("depth.txt", depth), ("groundtruth.txt", truth)):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_seven_scenes(folder: Path, colours: Sequence[np.ndarray], depths: Sequence[np.ndarray], T_wc: Tensor) -> None:
    """A sequence as 7-Scenes has them: mm, 65535 where nothing is known."""
    folder.mkdir(parents=True)
    for k, (pixels, Z) in enumerate(zip(colours, depths, strict=True)):
        save(folder / f"frame-{k:06d}.color.png", pixels)
        save(
            folder / f"frame-{k:06d}.depth.png",
            np.where(np.isfinite(Z), np.rint(1000 * np.nan_to_num(Z)), 65535).astype(np.uint16),
        )
        lines = ["\t ".join(f"{x: .7e}" for x in row) + "\t " for row in T_wc[k].tolist()]
        (folder / f"frame-{k:06d}.pose.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
