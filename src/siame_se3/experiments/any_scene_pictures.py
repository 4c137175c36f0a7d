"""Collects the pictures that the bundled network for any scene was trained on (any_scene_pictures.txt), as small JPEG files in one folder.

    python -m siame_se3.experiments.any_scene_pictures pictures --photos-root debs

Debian's packages are unpacked below --photos-root (`apt download PACKAGE; dpkg -x PACKAGE.deb debs`); scikit-image's and mvtb-data's are installed.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np

from siame_se3.errors import InputError
from siame_se3.experiments.photos import Photo
from siame_se3.experiments.script import add_photos_root, run_script

_SIDES = {"photo": 1000, "texture": 512}  # longest side of a copy [px]
_QUALITY = 88
_BEHIND = 128  # grey level behind what is transparent


def pictures() -> list[Photo]:
    """All of the list, in its order; the split is the kind."""
    text = (files("siame_se3.experiments") / "any_scene_pictures.txt").read_text(encoding="utf-8")
    return [Photo(*line.split(maxsplit=2)) for line in text.splitlines() if line and not line.startswith("#")]


def copy_of(path: Path, side: int) -> np.ndarray:
    """A picture, BGR uint8, opaque, at most `side` pixels long.

    Raises:
        InputError: it cannot be decoded.
    """
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise InputError(f"{path}: cannot be decoded; install its package again")
    if image.dtype != np.uint8:
        image = (image / 256).astype(np.uint8)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 4:
        share = image[..., 3:].astype(np.float32) / 255
        image = (image[..., :3] * share + _BEHIND * (1 - share)).astype(np.uint8)
    h, w = image.shape[:2]
    scale = min(1.0, side / max(h, w))
    size = round(w * scale), round(h * scale)
    return image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def main() -> None:
    """Copy them all; those of packages that are missing are said, and left out."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    add_photos_root(options)
    given = options.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    missing: dict[str, str] = {}
    count = 0
    for number, picture in enumerate(pictures()):
        try:
            path = picture.file(given.photos_root)
        except InputError as error:
            missing[picture.package] = str(error)
            continue
        ok = cv2.imwrite(
            str(given.folder / f"{number:04d}.jpg"),
            copy_of(path, _SIDES[picture.split]),
            [cv2.IMWRITE_JPEG_QUALITY, _QUALITY],
        )
        if not ok:
            raise InputError(f"{given.folder}: cannot be written; give another folder")
        count += 1
    print(f"{given.folder}: {count} pictures")
    for reason in missing.values():
        print(reason)


if __name__ == "__main__":
    run_script(main)
