"""What `--quick` takes in place of what would have to be downloaded: pictures that come with the package or are made here."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from siame_se3.files import BUNDLED_PHOTO, atomically, bundled
from siame_se3.images.encode import write_picture
from siame_se3.scenes.procedural import KINDS

_MADE = (
    "polygons",
    "text",
    "clouds",
) * 3  # kinds of textures; the last two pictures are those that no network is trained on
_SEED = 770_000  # far from those of any training
_SIZE = (480, 640)


def pictures(folder: Path) -> Path:
    """Fill a folder with ten pictures, the bundled photo and textures made by a program; those that are there are kept."""
    photo = folder / f"0-{BUNDLED_PHOTO}"
    if not photo.is_file():
        atomically(photo, lambda partial: shutil.copyfile(bundled(BUNDLED_PHOTO), partial))
    for k, kind in enumerate(_MADE, 1):
        place = folder / f"{k}-{kind}.png"
        if not place.is_file():
            texture = KINDS[kind](np.random.default_rng(_SEED + k), *_SIZE)
            write_picture(place, np.clip(texture, 0, 255).astype(np.uint8))
    return folder
