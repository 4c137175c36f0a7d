"""Pictures to files: whole or not at all, in the format that the name says."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from siame_se3.errors import InputError
from siame_se3.files import atomically


def write_picture(path: str | Path, pixels: np.ndarray, dpi: float | None = None) -> None:
    """Write a picture.

    Args:
        path: ends in .png, .jpg, .bmp or another format of OpenCV's.
        pixels: (h, w) grey or (h, w, 3) RGB, 8 bit.
        dpi: the size at which a PNG is printed [pixels an inch]; None says nothing about it.

    Raises:
        InputError: the name's ending is no such format, or the file cannot be written.
    """
    import cv2

    path = Path(path)
    if not path.suffix or not cv2.haveImageWriter(path.name):
        raise InputError(f"{path}: no format of pictures; give a name that ends in .png")
    done, data = cv2.imencode(path.suffix, pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    if not done:
        raise InputError(f"{path}: OpenCV cannot make such a picture; give a name that ends in .png")
    content = data.tobytes()
    if dpi is not None and path.suffix.lower() == ".png":
        content = _with_size(content, dpi)
    atomically(path, lambda partial: partial.write_bytes(content))


def millimetres(depth: np.ndarray) -> np.ndarray:
    """A depth map [m], NaN where it is not known, as depth pictures have it: whole millimetres of 16 bits, 0 where it is not known or too far."""
    mm = np.nan_to_num(1000 * depth, nan=0, posinf=0, neginf=0).round()
    kept: np.ndarray = np.where((mm > 0) & (mm < 65535), mm, 0).astype(np.uint16)
    return kept


def _with_size(png: bytes, dpi: float) -> bytes:
    """A PNG that says how large it is: with a pHYs chunk (pixels a metre along x and y) before its first IDAT."""
    density = round(dpi / 0.0254)
    body = b"pHYs" + struct.pack(">IIB", density, density, 1)
    first = png.index(b"IDAT") - 4
    return png[:first] + struct.pack(">I", 9) + body + struct.pack(">I", zlib.crc32(body)) + png[first:]
