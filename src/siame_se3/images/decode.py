"""Pictures in files, and pixels as image tensors: one decoder for photos, calibration pictures and goal images.

A camera's pictures keep the sensor's raster, whatever their EXIF tag says of how the camera was held; photos that people take are turned
upright. Messages are in `messages`.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.images.headers import PILLOW_FORMATS, Header, header_of, without_orientation

_LOG = logging.getLogger(__name__)
_ORIENTATION = 0x0112  # EXIF's tag
_MOST_BYTES = 700_000_000  # of a file


def as_image(frame: np.ndarray) -> Float[Tensor, "3 h w"]:
    """RGB (h, w, 3), uint8 or float32 in [0, 1], as the house has images."""
    pixels = torch.from_numpy(np.array(frame)).permute(2, 0, 1)
    return pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels.contiguous()


def as_pixels(image: Float[Tensor, "3 h w"]) -> np.ndarray:
    """An image of the house as RGB uint8 (h, w, 3)."""
    return (255 * image.clamp(0, 1)).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()


def read_picture(path: str | Path, upright: bool = False) -> np.ndarray:
    """A picture in a file.

    Args:
        path: JPEG, PNG, TIFF, BMP, WebP, GIF or PPM.
        upright: obey the EXIF orientation (photos of a scene); else the sensor's raster counts (pictures of a camera that is calibrated).

    Returns:
        RGB (h, w, 3): uint8, or float32 in [0, 1] where the file has more than 8 bits.

    Raises:
        InputError: no such file, not a picture, or one that claims more pixels than is sane.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: {'a folder, no such file' if path.is_dir() else 'no such file'}; give a picture")
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{path}: {path.stat().st_size / 1e6:.0f} MB are too many for a picture; give a smaller one")
    return decode(path.read_bytes(), str(path), upright)


def read_grey(path: str | Path) -> np.ndarray:
    """The grey levels (h, w) uint8 of a camera's picture, in its sensor's raster.

    Raises:
        InputError: as `read_picture`.
    """
    import cv2

    return cv2.cvtColor(to_bytes(read_picture(path)), cv2.COLOR_RGB2GRAY)


def decode(data: bytes, where: str, upright: bool = False) -> np.ndarray:
    """A picture's file as it lies in memory; see `read_picture`.

    Raises:
        InputError: not a picture, or one that claims more pixels than is sane.
    """
    import warnings

    from PIL import Image

    header = header_of(data, where)
    orientation = orientation_of(data) if upright else 1
    data = without_orientation(data, header)
    unreadable = InputError(f"{where}: not an image that can be read; give a JPEG, PNG or TIFF")
    if header.samples > 1 and (header.bits > 8 or header.floating):  # which Pillow would cut to 8 bits, or not read
        samples = _opencv(data)
        if samples is None:
            raise unreadable
        return _in_unit_range(_turned(samples, orientation), header, where)
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as picture:
            deep = picture.mode.startswith(("I", "F"))  # convert() would cut them
            samples = np.asarray(picture if deep else picture.convert("RGB"))
    except Exception:  # Pillow's decoders raise what they like: RuntimeError, NotImplementedError, struct.error
        raise unreadable from None
    samples = np.ascontiguousarray(_turned(samples, orientation))
    return _in_unit_range(samples[..., None], header, where) if deep else samples


def to_bytes(pixels: np.ndarray) -> np.ndarray:
    """uint8 of uint8, or of float32 in [0, 1]."""
    return pixels if pixels.dtype == np.uint8 else np.rint(255 * pixels).astype(np.uint8)


def _opencv(data: bytes) -> np.ndarray | None:
    """Samples of any depth (h, w, channels), RGB, in the raster; None where OpenCV cannot."""
    import cv2

    try:
        samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if samples is None:
        return None
    return samples[..., None] if samples.ndim == 2 else samples[..., 2::-1]


def orientation_of(data: bytes) -> int:
    """EXIF's orientation of a file as it lies in memory, 1 to 8; 1 where there is none, or no picture that is one.

    Raises:
        InputError: not a picture, or one that claims more pixels than is sane.
    """
    import struct
    import warnings

    from PIL import Image

    header = header_of(data, "picture")
    if header.kind == "TIFF":  # which Pillow may not know
        at = header.orientation_at
        return struct.unpack("<H" if data[:2] == b"II" else ">H", data[at : at + 2])[0] if at else 1
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as picture:
            return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # a picture that cannot be read: said when it is decoded
        return 1


def _turned(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Upright, by the EXIF orientation."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples


def _in_unit_range(samples: np.ndarray, header: Header, where: str) -> np.ndarray:
    """Samples of more than 8 bits (h, w, 1 or 3) as float32 RGB in [0, 1]."""
    full = full_scale(samples, header.significant, where)
    rgb = np.clip(samples.astype(np.float32) / np.float32(full), 0, 1)
    return np.repeat(rgb, 3, -1) if rgb.shape[-1] == 1 else np.ascontiguousarray(rgb)


def full_scale(samples: np.ndarray, significant: int, where: str) -> float:
    """The value that means white.

    What the format says (`significant` bits), or else what the largest value seen says, which is noted in the log: 12 bits in 16, 0 to 255
    or 0 to 65535 in floating-point numbers. 10 bits in 16 cannot be distinguished from a dark image of 12, and are taken for that: all images of one
    source stay comparable, at a quarter of their brightness, where a guess of 1023 would make one image four times as bright as the next.

    Raises:
        InputError: samples below 0, or not finite.
    """
    if samples.dtype == np.uint8:
        return 255.0
    low, most = float(samples.min()), float(samples.max())
    if not (np.isfinite(low) and np.isfinite(most)) or low < 0:
        raise InputError(f"{where}: its samples go from {low:g} to {most:g}, which is no picture; give another")
    if samples.dtype.kind == "f":
        if most <= 1:
            return 1.0
        full = next((value for value in (255.0, 65535.0) if value / 16 < most <= value), most)
    else:
        if 8 < significant <= 16:
            return float(2**significant - 1)
        if 4095 < most <= 65535:
            return 65535.0
        full = 4095.0 if most <= 4095 else most
    dark = samples.dtype.kind != "f" and most <= 1023
    hint = " (a camera of 10 bits gives dark images so: have its driver send 8 or 16)" if dark else ""
    _LOG.warning("%s: samples up to %g; %g is taken for white%s", where, most, full, hint)
    return full
