"""A picture to be compared with another one: its grey levels, and the camera that took it, as far as that is known.

The camera is that of a calibration, of a field of view, of what the picture's EXIF says of its lens, or else a usual one; how well each is known
goes into how sure an alignment is (`align_views.Lens`).
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from siame_se3.commissioning.align_views import Lens
from siame_se3.errors import CameraError, InputError
from siame_se3.files import require_types
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import read_picture, to_bytes

SIDE = 640  # of the longer side of pictures that are compared, at most [px]
_USUAL = 300 / 224  # focal length over the shorter side, where nothing is known: 41 deg across it, the paper's
_DIAGONAL = math.hypot(36, 24)  # of a 35 mm film's frame [mm]
_LEAST_SIDE = 16  # of the shorter side of pictures [px]
_ASPECT = 0.01  # by which the ratio of sides may differ from the calibrated one
# Standard deviations: of the focal length as a share of it, of the distortion that is left.
_CALIBRATED, _WITHOUT_DISTORTION, _GIVEN, _EXIF, _GUESSED = (
    (0.003, 0.005),
    (0.003, 0.02),
    (0.02, 0.03),
    (0.03, 0.03),
    (0.25, 0.03),
)


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
    """

    grey: np.ndarray
    lens: Lens
    size: tuple[int, int]
    known: str
    guessed: bool
    pixels: np.ndarray

    @staticmethod
    def of(rgb: np.ndarray, optics: Optics, exif: tuple[float, str] | None = None, where: str = "picture") -> Picture:
        """Of pixels (h, w, 3) or (h, w), uint8.

        Args:
            rgb: the pixels: in the sensor's raster where the optics have a calibration, else upright.
            optics: what is known of the camera.
            exif: focal length over the picture's diagonal, and where it is from, for optics that say nothing.
            where: the picture's name, for errors.

        Raises:
            CameraError: a calibration of another format.
            InputError: next to no pixels.
        """
        h, w = rgb.shape[:2]
        if min(h, w) < _LEAST_SIDE:
            raise InputError(f"{where}: {w} x {h} px, too small to be compared; give a larger picture")
        camera, known, spread = _camera(h, w, optics, exif, where)
        if any(camera.distortion) and not optics.rectified:
            rgb = camera.rectify(np.ascontiguousarray(rgb))
        scale = min(1.0, SIDE / max(h, w))
        size = max(8, round(w * scale)), max(8, round(h * scale))
        small = rgb if scale == 1 else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        grey = small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        camera = camera.resized(*size)
        lens = Lens(camera.fx, camera.fy, camera.cx, camera.cy, *size, *spread)
        return Picture(grey.astype(np.float32) / 255, lens, (h, w), known, spread is _GUESSED, small)

    def like(self, other: Picture) -> bool:
        """Whether the ratio of the sides is that of another one."""
        (h, w), (k, m) = self.size, other.size
        return abs(w * k / (h * m) - 1) <= _ASPECT

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
        rgb = to_bytes(read_picture(path, upright=optics.camera is None))
        exif = None
        if optics.camera is None and optics.fov is None:
            exif = focal_by_exif(path.read_bytes(), rgb.shape[:2])
        return Picture.of(rgb, optics, exif, str(path))


def _camera(
    h: int, w: int, optics: Optics, exif: tuple[float, str] | None, where: str
) -> tuple[Camera, str, tuple[float, float]]:
    """The camera of a picture, where it is known from, and how well."""
    if optics.camera is not None:
        camera = optics.camera
        if abs(w / h / (camera.width / camera.height) - 1) > _ASPECT:
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
        camera = Camera.from_focal(exif[0] * math.hypot(w, h), w, h)
        return camera, f"field of view {_across(camera):.0f} deg by {exif[1]}", _EXIF
    camera = Camera.from_focal(_USUAL * min(w, h), w, h)
    return camera, f"field of view not known, {_across(camera):.0f} deg assumed", _GUESSED


def _across(camera: Camera) -> float:
    return math.degrees(2 * math.atan(camera.width / 2 / camera.fx))


def focal_by_exif(data: bytes, size: tuple[int, ...]) -> tuple[float, str] | None:
    """Focal length over the picture's diagonal, and which entries say so; None where none does, or the picture was cropped since.

    Args:
        data: the file.
        size: of the picture (height, width), upright or not [px].
    """
    import warnings

    from PIL import Image

    from siame_se3.images.headers import PILLOW_FORMATS

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as picture:
            tags = picture.getexif().get_ifd(0x8769)
            number = {name: _number(tags.get(tag)) for name, tag in _TAGS.items()}
    except Exception:  # EXIF may hold anything, and Pillow's readers raise what they like: the lens is not known then
        return None
    sides = sorted((number["width"], number["height"]))
    if sides[0] > 0 and abs(sides[1] / sides[0] / (max(size) / min(size)) - 1) > _ASPECT:
        return None  # cropped after it was taken
    film, focal, resolution = number["film"], number["focal"], number["resolution"]
    found = film / _DIAGONAL, "EXIF"
    if film <= 0 and min(focal, resolution, sides[0]) > 0:
        per_mm = resolution / {3.0: 10.0, 4.0: 1.0}.get(number["unit"], 25.4)
        found = focal * per_mm / math.hypot(*sides), "EXIF"
    return found if 0.1 < found[0] < 50 else None


_TAGS = {
    "film": 0xA405,  # FocalLengthIn35mmFilm
    "focal": 0x920A,
    "resolution": 0xA20E,  # FocalPlaneXResolution
    "unit": 0xA210,
    "width": 0xA002,  # PixelXDimension
    "height": 0xA003,
}


def _number(value: object) -> float:
    """Of an EXIF entry; 0 for none."""
    try:
        found = float(value)  # type: ignore[arg-type]  # Pillow gives int, a rational, bytes or what the file says
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return found if math.isfinite(found) else 0.0


@dataclass(frozen=True)
class Region:
    """A rectangle of a picture: left, top, width, height, each a number and whether it is in percent of that side (else in pixels)."""

    values: tuple[tuple[float, bool], ...]
    text: str

    @staticmethod
    def parse(text: str, setting: str) -> Region:
        """Of 'left,top,width,height'.

        Raises:
            InputError: something else.
        """
        try:
            values = tuple(
                (float(part.strip().removesuffix("%")), part.strip().endswith("%")) for part in text.split(",")
            )
        except ValueError:
            values = ()
        fits = len(values) == 4 and all(math.isfinite(v) and v >= 0 for v, _ in values)
        if not fits or not (values[2][0] > 0 and values[3][0] > 0):
            raise InputError(
                f"region {text}: give left,top,width,height in pixels, or each in %, as 10%,0,50%,480", setting
            )
        return Region(values, text)

    def fill(self, mask: np.ndarray, value: float, size: tuple[int, int], setting: str) -> None:
        """Set it in a mask (h, w) of a picture of `size` (height, width).

        Raises:
            InputError: it is outside the picture.
        """
        h, w = size
        left, top, width, height = (
            v * n / 100 if percent else v for (v, percent), n in zip(self.values, (w, h, w, h), strict=True)
        )
        x, y = mask.shape[1] / w, mask.shape[0] / h
        if left >= w or top >= h:
            raise InputError(f"region {self.text}: outside the reference of {w} x {h} px; give one inside", setting)
        rows = slice(round(top * y), max(round(top * y) + 1, round((top + height) * y)))
        mask[rows, round(left * x) : max(round(left * x) + 1, round((left + width) * x))] = value


def counting(picture: Picture, roi: tuple[Region, ...] = (), ignore: tuple[Region, ...] = ()) -> np.ndarray:
    """1 where a picture counts, 0 where it does not (h, w), float32: inside any of `roi` (everywhere where there is none), outside all of `ignore`.

    Raises:
        InputError: regions outside the picture, or too little of it left.
    """
    mask = np.full(picture.grey.shape, 0.0 if roi else 1.0, np.float32)
    for region in roi:
        region.fill(mask, 1.0, picture.size, "roi")
    for region in ignore:
        region.fill(mask, 0.0, picture.size, "ignore")
    if float(mask.mean()) < 0.02:
        raise InputError("reference: the regions leave next to nothing of it; give larger ones", "roi", "ignore")
    return mask
