"""Photos of the multi-scene experiments: a fixed list and split of pictures that packages bring (photos.txt), or a user's own folder."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import torch.nn.functional as F

from siame_se3.errors import InputError
from siame_se3.scenes.planar import Scene, photos_in

WIDTH, HEIGHT, TEXELS = 0.8, 0.6, 800  # of every scene: size [m], and pixels along the width
UNSEEN = 12  # scenes of the list that are in no training
ON_PYPI = {"scikit-image": "skimage", "mvtb-data": "mvtbdata"}


@dataclass(frozen=True)
class Photo:
    """A line of photos.txt."""

    split: str  # train or unseen
    package: str
    path: str  # below site-packages, or below the root of the file system

    @property
    def name(self) -> str:
        """The file's, or that of the wallpaper it is a size of."""
        folder, _, size = self.path.partition("/contents/images/")
        return Path(folder if size else self.path).stem

    def file(self, root: Path) -> Path:
        """Where it is.

        Raises:
            InputError: its package is not installed.
        """
        if self.package in ON_PYPI:
            spec = importlib.util.find_spec(ON_PYPI[self.package])
            if spec is None or spec.origin is None:
                raise InputError(
                    f"photos of '{self.package}' are missing; pip install {self.package}, or give a folder of your own",
                    "scenes",
                )
            return Path(spec.origin).parent.parent / self.path
        path = root / self.path
        if not path.is_file():
            raise InputError(
                f"{path}: no such file; apt install {self.package} (or 'apt download' it, 'dpkg -x' it to a folder, and give that as the "
                "photos' root), or give a folder of your own",
                *("photos_root", "scenes"),
            )
        return path


def listed(split: str) -> list[Photo]:
    """All photos of a split, in their fixed order."""
    text = (files("siame_se3.experiments") / "photos.txt").read_text(encoding="utf-8")
    lines = [line.split(maxsplit=2) for line in text.splitlines() if line and not line.startswith("#")]
    return [Photo(*line) for line in lines if line[0] == split]


def as_print(scene: Scene) -> Scene:
    """The picture's middle as a print of 0.8 x 0.6 m, 800 x 600 texels: all scenes of one size, and small."""
    texture = scene.texture
    _, h, w = texture.shape
    height, width = min(h, round(w * HEIGHT / WIDTH)), min(w, round(h * WIDTH / HEIGHT))
    top, left = (h - height) // 2, (w - width) // 2
    cut = texture[None, :, top : top + height, left : left + width]
    size = (round(TEXELS * HEIGHT / WIDTH), TEXELS)
    texture = F.interpolate(cut, size=size, mode="bilinear", antialias=True, align_corners=False)[0].clamp(0, 1)
    return Scene(texture.contiguous(), WIDTH, HEIGHT, scene.name, scene.fill)


def resized(scene: Scene, width: float) -> Scene:
    """The same picture on paper of another width [m]."""
    return (
        scene if width == scene.width else Scene(scene.texture, width, width * HEIGHT / WIDTH, scene.name, scene.fill)
    )


def names(split: str, folder: Path | None = None) -> list[str]:
    """Of all scenes of a split: of the list's, or of a user's photos in name order, the last 12 of which (a fifth at most) are the unseen ones."""
    if folder is None:
        return [photo.name for photo in listed(split)]
    return [path.stem for path in _own(split, folder)]


def _own(split: str, folder: Path) -> list[Path]:
    everything = photos_in(folder)
    known = len(everything) - min(UNSEEN, len(everything) // 5)
    return everything[:known] if split == "train" else everything[known:]


@lru_cache(maxsize=16)
def scenes(split: str, count: int, folder: Path | None = None, root: Path = Path("/")) -> list[Scene]:
    """The first `count` scenes of a split.

    Args:
        folder: a user's photos instead of the list's.
        root: where Debian's packages are unpacked.

    Raises:
        InputError: there are not as many, or a package is missing.
    """
    if folder is None:
        found = listed(split)
        if count > len(found):
            raise InputError(
                f"{count} '{split}' scenes: the list has {len(found)}; give fewer, or a folder of your own",
                "counts",
                "scenes",
            )
        return [
            replace(as_print(Scene.from_photo(photo.file(root), WIDTH)), name=photo.name) for photo in found[:count]
        ]
    mine = _own(split, folder)
    if count > len(mine):
        raise InputError(
            f"{folder}: {len(mine)} '{split}' photos in it, {count} wanted; add some, or give smaller counts",
            "scenes",
            "counts",
        )
    return [as_print(Scene.from_photo(path, WIDTH)) for path in mine[:count]]
