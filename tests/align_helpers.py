"""What the tests of siame align share: a plane seen by a camera, before and after a motion."""

from __future__ import annotations

import io
import math
from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from siame_se3.commissioning.align import Alignment, Reference
from siame_se3.commissioning.align_picture import Optics, Picture
from siame_se3.files import bundled
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_image, as_pixels
from siame_se3.scenes.planar import Scene

CAMERA = Camera.from_focal(320, 320, 240)
DEPTH = 0.6  # [m]
PIXEL = DEPTH / CAMERA.fx  # [m] that a pixel is at the scene
OPTICS = Optics(fov=2 * math.atan(CAMERA.width / 2 / CAMERA.fx))


@lru_cache
def scene(name: str = "coffee.jpg") -> Scene:
    """A print that fills the view."""
    return Scene.from_photo(bundled(name), 1.4, 1.1)


def dots() -> Scene:
    """A print that looks like itself, moved by 4 cm either way."""
    y, x = np.mgrid[0:800, 0:800]
    grey = np.where((y % 32 - 16) ** 2 + (x % 32 - 16) ** 2 < 80, 40, 230).astype(np.uint8)
    return Scene(as_image(np.repeat(grey[..., None], 3, 2)), 1.0, 1.0, "dots")


def blobs(seed: int) -> Scene:
    """A print of random blobs."""
    coarse = torch.rand(1, 3, 24, 30, generator=torch.Generator().manual_seed(seed))
    return Scene(torch.nn.functional.interpolate(coarse, (440, 560), mode="bicubic").clamp(0, 1)[0], 1.4, 1.1, "blobs")


def motion(*vector: float) -> np.ndarray:
    """T_dc of (tx, ty, tz, theta u) [m, rad]."""
    return lie.pose_from_vector(torch.tensor(vector, dtype=torch.float64)).numpy()


def seen(
    T_dc: np.ndarray | None = None, of: Scene | None = None, camera: Camera = CAMERA, tilt: float = 0.0
) -> np.ndarray:
    """Pixels of a camera that has moved from the reference's pose, which is square to the print, or turned by `tilt` [rad]."""
    turn = lie.so3_exp(torch.tensor([0.0, tilt, 0.0], dtype=torch.float64))
    T_wd = lie.pose(turn, -DEPTH * turn[:, 2])
    T_wc = T_wd if T_dc is None else T_wd @ torch.from_numpy(T_dc)
    return as_pixels((of or scene()).render(camera, T_wc)[0])


def noisy(pixels: np.ndarray, sigma: float, gain: float = 1.0, bias: float = 0.0, seed: int = 0) -> np.ndarray:
    """Under another exposure, with noise [share of the range]."""
    values = pixels / 255 * gain + bias + sigma * np.random.default_rng(seed).standard_normal(pixels.shape)
    return np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)


@lru_cache
def reference(tilt: float = 0.0) -> Reference:
    """Of the bundled photo, at `DEPTH`."""
    return Reference.of(Picture.of(seen(tilt=tilt), OPTICS), DEPTH)


def errors(found: Alignment, T_dc: np.ndarray) -> tuple[float, float]:
    """From the true motion [mm, deg]."""
    assert found.T_cd is not None, found.doubt
    T = torch.from_numpy(np.linalg.inv(found.T_cd) @ np.linalg.inv(T_dc))
    t, r = lie.error_norms(T)
    return 1e3 * float(t), math.degrees(float(r))


def jpeg(size: tuple[int, int], orientation: int = 1, **tags: object) -> bytes:
    """A photo of (width, height) with EXIF tags by their numbers ('x920A')."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8769).update({int(name[1:], 16): value for name, value in tags.items()})
    ramp = np.linspace(0, 255, size[0] * size[1]).astype(np.uint8).reshape(size[1], size[0])
    stream = io.BytesIO()
    Image.fromarray(ramp).convert("RGB").save(stream, "jpeg", exif=exif)
    return stream.getvalue()
