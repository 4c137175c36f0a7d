"""A photo that a visitor drops into the page: from bytes to a scene."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import cv2

from siame_se3.errors import SceneError, SiameError
from siame_se3.images.decode import decode, to_bytes
from siame_se3.images.encode import write_picture
from siame_se3.scenes.planar import Scene

MOST_BYTES = 60_000_000
_LONGEST = 1600  # pixels of its longer side that are kept: a camera of 224 px sees no more


def scene_of(name: str, data: bytes, width: float) -> Scene:
    """The scene of a photo.

    Args:
        name: of its file, as the browser gives it.
        data: the file.
        width: of the scene [m].

    Raises:
        SceneError: no photo, or one that a camera cannot be guided by.
    """
    name = _shown(name)
    if len(data) > MOST_BYTES:
        raise too_large(name, len(data))
    pixels = to_bytes(decode(data, name, upright=True))
    h, w = pixels.shape[:2]
    scale = _LONGEST / max(h, w)
    if scale < 1:
        pixels = cv2.resize(pixels, (max(1, round(w * scale)), max(1, round(h * scale))), interpolation=cv2.INTER_AREA)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{Path(name).stem}.png"
        write_picture(path, pixels)
        try:
            return Scene.from_photo(path, width, fill="mean")
        except SiameError as error:
            raise SceneError(str(error).replace(str(path), name)) from None


def too_large(name: str, size: int) -> SceneError:
    """What is said of a file of more than `MOST_BYTES`.

    Args:
        name: as the browser gives it.
        size: [bytes].
    """
    return SceneError(f"{_shown(name)}: {size / 1e6:.0f} MB; drop a photo of at most {MOST_BYTES / 1e6:.0f} MB")


def _shown(name: str) -> str:
    """A file's name without folders and odd characters."""
    return re.sub(r"[^\w .()-]", "_", Path(name.replace("\\", "/")).name).strip(" .")[-80:] or "photo"
