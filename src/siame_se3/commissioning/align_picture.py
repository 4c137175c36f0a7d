"""A picture to be compared with another one: its grey levels, and the camera that took it, as far as that is known.

The camera is that of a calibration, of a field of view, of what the picture's EXIF says of its lens, or else a usual one; how well each is known
goes into how sure an alignment is (`align_views.Lens`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from siame_se3.commissioning.align_exif import ASPECT, GUESSED, Focal, focal_by_exif
from siame_se3.commissioning.align_views import Lens
from siame_se3.errors import CameraError, InputError
from siame_se3.files import require_types
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import orientation_of, read_picture

SIDE = 640  # of the longer side of pictures that are compared, at most [px]
_USUAL = 300 / 224  # focal length over the shorter side, where nothing is known: 41 deg across it, the paper's
_LEAST_SIDE = 16  # of the shorter side of pictures [px]
# Standard deviations: of the focal length as a share of it, of the distortion that is left.
_CALIBRATED, _WITHOUT_DISTORTION, _GIVEN = (0.003, 0.005), (0.003, 0.02), (0.02, 0.03)
_DISTORTED = 0.03  # of lenses that nobody gave
_STRETCHED = 0.1, 99.9  # percentiles of pixels of more than 8 bits that become black and white
_MEASURED = 1000  # pixels a side that these are measured by, about
_QUARTERS = {3: 2, 4: 2, 5: 1, 6: 1, 7: 3, 8: 3}  # by EXIF's orientation; its mirrors do not move a camera


@dataclass(frozen=True)
class Optics:
    """What is known of a camera beforehand: a calibration, or a field of view, or nothing.

    Attributes:
        camera: calibrated; pictures are then taken as their sensor's raster and rectified.
        fov: horizontal field of view of the whole picture [rad].
        rectified: pictures are rectified already.
    """

    camera: Camera | None = None
    fov: float | None = None
    rectified: bool = False

    def __post_init__(self) -> None:
        require_types(self, "optics", CameraError)
        if self.fov is not None and not 0 < self.fov < math.pi:
            raise CameraError(f"field of view {math.degrees(self.fov):g} deg: give one between 0 and 180", "fov")

    @staticmethod
    def given(path: Path | None, degrees: float | None, camera: str = "camera", fov: str = "fov") -> Optics:
        """Of a camera_info YAML, or a field of view, or of neither; `camera` and `fov` are their names, for errors.

        Raises:
            InputError: both, or a field of view that no camera has. Others: as `Camera.from_yaml`.
        """
        if path is not None and degrees is not None:
            raise InputError("a camera's file has its field of view in it; give one of them", camera, fov)
        if degrees is not None and not 1 <= degrees <= 170:
            raise InputError(f"field of view {degrees:g}: give degrees across the picture, from 1 to 170", fov)
        return Optics(Camera.from_yaml(path) if path else None, math.radians(degrees) if degrees else None)


@dataclass(frozen=True, eq=False)
class Picture:
    """Ready to be compared.

    Attributes:
        grey: (h, w), float32 in [0, 1], `SIDE` px at most.
        lens: that took it, at this size.
        size: of the whole picture (height, width) [px].
        known: where the lens is known from, in words.
        guessed: it is not: the lens is a usual one.
        pixels: in colour, (h, w, 3) or (h, w), uint8; `SIDE` px at most, rectified as the grey levels are.
        quarters: clockwise quarter turns by which its raster is turned to be upright, as its camera was held.
        rectifies: camera by which its distortion was taken out, at the whole picture's size; None where that was not done.
    """

    grey: np.ndarray
    lens: Lens
    size: tuple[int, int]
    known: str
    guessed: bool
    pixels: np.ndarray
    quarters: int = 0
    rectifies: Camera | None = None

    @staticmethod
    def of(
        rgb: np.ndarray, optics: Optics, exif: Focal | None = None, where: str = "picture", quarters: int = 0
    ) -> Picture:
        """Of pixels (h, w, 3) or (h, w), uint8.

        Args:
            rgb: the pixels: in the sensor's raster where the optics have a calibration, else upright.
            optics: what is known of the camera.
            exif: what the file says of the focal length, for optics that say nothing.
            where: the picture's name, for errors.
            quarters: see the class.

        Raises:
            CameraError: a calibration of another format.
            InputError: next to no pixels.
        """
        h, w = rgb.shape[:2]
        if min(h, w) < _LEAST_SIDE:
            raise InputError(f"{where}: {w} x {h} px, too small to be compared; give a larger picture")
        camera, known, spread = _camera(h, w, optics, exif, where)
        rectifies = camera if any(camera.distortion) and not optics.rectified else None
        if rectifies is not None:
            rgb = rectifies.rectify(np.ascontiguousarray(rgb))
        scale = min(1.0, SIDE / max(h, w))
        size = max(8, round(w * scale)), max(8, round(h * scale))
        small = rgb if scale == 1 else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        grey = small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        camera = camera.resized(*size)
        zoom = exif.zoom if exif is not None else 1.0
        lens = Lens(camera.fx, camera.fy, camera.cx, camera.cy, *size, *spread, zoom)
        guessed = spread[0] >= GUESSED
        return Picture(grey.astype(np.float32) / 255, lens, (h, w), known, guessed, small, quarters % 4, rectifies)

    def upright(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels of its raster (h, w, ...) as the person behind its camera sees them."""
        return np.ascontiguousarray(turned(pixels, self.quarters))

    def like(self, other: Picture) -> bool:
        """Whether the ratio of the sides is that of another one."""
        (h, w), (k, m) = self.size, other.size
        return abs(w * k / (h * m) - 1) <= ASPECT

    def reduced(self, side: int) -> Picture:
        """The same with a longer side of `side` px at most, its colours as they are."""
        h, w = self.grey.shape
        scale = side / max(h, w)
        if scale >= 1:
            return self
        size = max(8, round(w * scale)), max(8, round(h * scale))
        lens = self.lens.resized(*size)
        return replace(self, grey=cv2.resize(self.grey, size, interpolation=cv2.INTER_AREA), lens=lens)

    @staticmethod
    def read(path: Path, optics: Optics) -> Picture:
        """Of a file.

        Raises:
            InputError: no picture.
            CameraError: a calibration of another format.
        """
        if optics.camera is not None:
            rgb, quarters = raster_of(path)
            return Picture.of(rgb, optics, None, str(path), quarters)
        rgb = _bytes(read_picture(path, upright=True))
        exif = focal_by_exif(path.read_bytes(), rgb.shape[:2]) if optics.fov is None else None
        return Picture.of(rgb, optics, exif, str(path))


def raster_of(path: Path) -> tuple[np.ndarray, int]:
    """A file's pixels (h, w, 3), uint8, in its sensor's raster, and the clockwise quarter turns that make them upright.

    Raises:
        InputError: no picture.
    """
    rgb = _bytes(read_picture(path))
    return rgb, _QUARTERS.get(orientation_of(path.read_bytes()), 0)


def turned(pixels: np.ndarray, quarters: int) -> np.ndarray:
    """Pixels (h, w, ...) by clockwise quarter turns."""
    return np.rot90(pixels, -quarters)


def _bytes(pixels: np.ndarray) -> np.ndarray:
    """uint8 of uint8, or of float32, whose grey levels are spread over all of it: what a deep picture has may be a small part of its range."""
    if pixels.dtype == np.uint8:
        return pixels
    h, w = pixels.shape[:2]
    low, high = np.percentile(pixels[:: max(1, h // _MEASURED), :: max(1, w // _MEASURED)], _STRETCHED)
    spread = (pixels - np.float32(low)) * np.float32(255 / max(float(high - low), 1e-9))
    return np.rint(np.clip(spread, 0, 255)).astype(np.uint8)


def _camera(h: int, w: int, optics: Optics, exif: Focal | None, where: str) -> tuple[Camera, str, tuple[float, float]]:
    """The camera of a picture, where it is known from, and how well."""
    if optics.camera is not None:
        camera = optics.camera
        if abs(w / h / (camera.width / camera.height) - 1) > ASPECT:
            raise CameraError(
                f"{where}: {w} x {h} px, the camera is calibrated for {camera.width} x {camera.height}; give a picture as it comes from "
                "that camera, or its own calibration",
                *("camera", "reference_camera"),
            )
        straight = any(camera.distortion) or optics.rectified
        return camera.resized(w, h), "calibrated", _CALIBRATED if straight else _WITHOUT_DISTORTION
    if optics.fov is not None:
        return Camera.from_fov(optics.fov, w, h), f"field of view {math.degrees(optics.fov):.3g} deg as given", _GIVEN
    if exif is not None:
        camera = Camera.from_focal(exif.share * math.hypot(w, h), w, h)
        return camera, f"field of view {_across(camera):.0f} deg by {exif.known}", (exif.spread, _DISTORTED)
    camera = Camera.from_focal(_USUAL * min(w, h), w, h)
    return camera, f"field of view not known, {_across(camera):.0f} deg assumed", (GUESSED, _DISTORTED)


def _across(camera: Camera) -> float:
    return math.degrees(2 * math.atan(camera.width / 2 / camera.fx))
