"""What the tests of real pictures of a plane share."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from poses_helpers import frontal
from siame_se3.experiments.real.pictures import Picture
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import pixel_from_plane
from siame_se3.images.decode import as_pixels
from siame_se3.scenes.planar import Scene

# the field of view that is taken for pictures without a calibration, and how far from a plane of 0.8 m such a camera is then
CAMERA = Camera.from_focal(300 / 224 * 240, 320, 240)


FAR = 0.8 * CAMERA.fx / 320


def poses(n: int = 3) -> Tensor:
    """The first one square to the plane's middle, others up to 15 cm and 15 deg away."""
    p = torch.tensor(
        [[0, 0, 0, 0, 0, 0], [0.05, -0.04, 0.06, 0.1, -0.12, 0.2], [-0.08, 0.03, -0.1, -0.15, 0.05, -0.1]],
        dtype=torch.float64,
    )
    return frontal(FAR) @ lie.pose_from_vector(p[:n])


def pixels_at(scene: Scene, T_wc: Tensor) -> list[np.ndarray]:
    return [as_pixels(image) for image in scene.render(CAMERA, T_wc)[0]]


def save(path: Path, rgb: np.ndarray) -> None:
    assert cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def through_lens(rgb: np.ndarray, camera: Camera) -> np.ndarray:
    """What a lens makes of a straight picture: where each of its pixels is without the distortion, by OpenCV's iteration."""
    grid = camera.pixel_grid().reshape(-1, 1, 2).numpy()
    K = camera.K.numpy()
    straight = cv2.undistortPoints(grid, K, np.asarray(camera.distortion), P=K).reshape(*camera.size, 2)
    return cv2.remap(rgb, straight.astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def write_ours(folder: Path, scene: Scene, camera: Camera = CAMERA, T_wc: Tensor | None = None) -> Tensor:
    """A folder of our own format; some pictures are in images/."""
    T_wc = poses() if T_wc is None else T_wc
    (folder / "images").mkdir(parents=True)
    camera.to_yaml(folder / "camera.yaml")
    lines = [["picture", "x", "y", "z", "rx", "ry", "rz"]]
    for k, rgb in enumerate(pixels_at(scene, T_wc)):
        save(
            folder / ("images" if k % 2 else ".") / f"{k}.png", through_lens(rgb, camera) if camera.distortion else rgb
        )
        lines.append([f"{k}.png", *(repr(x) for x in lie.vector_from_pose(T_wc[k]).tolist())])
    (folder / "poses.csv").write_text("".join(",".join(line) + "\n" for line in lines), encoding="utf-8")
    return T_wc


def picture(T_wc: Tensor, rgb: np.ndarray | None = None, name: str = "") -> Picture:
    rgb = np.zeros((*CAMERA.size, 3), np.uint8) if rgb is None else rgb
    return Picture(name, rgb, CAMERA, T_wc, pixel_from_plane(CAMERA, T_wc).numpy())


def beside(x: float, y: float = 0.0, distance: float = FAR) -> Tensor:
    T = frontal(distance)
    T[0, 3], T[1, 3] = x, y
    return T
