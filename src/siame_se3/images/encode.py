"""Pictures to files: whole or not at all, in the format that the name says."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from siame_se3.errors import InputError
from siame_se3.files import atomically


def write_picture(path: str | Path, pixels: np.ndarray) -> None:
    """Write a picture.

    Args:
        path: ends in .png, .jpg, .bmp or another format of OpenCV's.
        pixels: (h, w) grey or (h, w, 3) RGB, 8 bit.

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
    atomically(path, lambda partial: partial.write_bytes(data.tobytes()))
