"""What several commands do with their options."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siame_se3.errors import SiameError

if TYPE_CHECKING:
    from siame_se3.geometry.camera import Camera


def fill_of(text: str) -> Any:
    """--fill as `Scene.from_photo` takes it."""
    if text in ("mean", "edge"):
        return text
    try:
        values = tuple(float(x) for x in text.split(","))
    except ValueError:
        raise SiameError(
            f"--fill {text}: give a grey level (0 to 1), three of them (r,g,b), 'mean' or 'edge'"
        ) from None
    if len(values) not in (1, 3) or not all(0 <= x <= 1 for x in values):
        raise SiameError(f"--fill {text}: give a grey level (0 to 1), three of them (r,g,b), 'mean' or 'edge'")
    return values[0] if len(values) == 1 else values


def camera_of(yaml: Path | None, fov: float | None, default: Camera) -> Camera:
    """--camera or --fov, else the default."""
    from siame_se3.geometry.camera import Camera

    if yaml is not None and fov is not None:
        raise SiameError("--camera and --fov: give one of them; the file has the field of view in it")
    if fov is not None and not 1 <= fov <= 170:
        raise SiameError(f"--fov {fov}: give the field of view across the image in degrees, from 1 to 170")
    if fov is not None:
        return Camera.from_fov(math.radians(fov), default.width, default.height)
    return Camera.from_yaml(yaml) if yaml is not None else default


def check_writable(path: Path | None, option: str) -> None:
    """Say now, not after hours of work, that a result cannot be written."""
    if path is None or (path.exists() and not path.is_file() and not path.is_dir()):  # a device or a FIFO is written to
        return
    if path.is_dir():
        raise SiameError(f"{option} {path}: a folder; give a file name")
    if path.exists() and not os.access(path, os.W_OK):
        raise SiameError(f"{option} {path}: that file cannot be written; give another place")
    folder = Path(os.path.realpath(path)).parent  # what a link points to is written
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SiameError(f"{option} {path}: {error.strerror}; give a place that can be written") from None
    if not os.access(folder, os.W_OK):
        raise SiameError(f"{option} {path}: that folder cannot be written; give another place")
