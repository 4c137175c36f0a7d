"""How near `siame align` comes to the truth, and how often it is not sure: a drift of 37 px on photos, and pictures that a real camera took.

    python -m siame_se3.experiments.align [PHOTO ...] [--folder FOLDER] [--draws 2] [--seed 0]

Each photo is a plane at 0.6 m, square on or turned by 20 deg; the reference is rendered from it, and what the camera sees after a drift, under each condition.
A folder is one of `siame bench real` with true poses: every ordered pair, or of pictures with depth those of its one step. 'wrong': more than 5 mm or
0.5 deg from the truth, and sure. What is not found counts as infinitely far in the column 'all'.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.align import Alignment, Reference
from siame_se3.commissioning.align_picture import Optics, Picture
from siame_se3.commissioning.align_words import Judge, Tolerance, Verdict
from siame_se3.errors import InputError
from siame_se3.experiments.real.folders import read_folder
from siame_se3.experiments.real.pictures import Picture as Pictured
from siame_se3.experiments.script import parser, run_script, skimage_photo, table
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_pixels
from siame_se3.scenes.planar import Scene

PHOTOS = (
    *("coffee.png", "astronaut.png", "brick.png", "page.png", "moon.png", "camera.png"),
    *("chelsea.png", "rocket.jpg", "grass.png", "gravel.png", "coins.png"),
)
CAMERA = Camera.from_focal(300 / 224 * 480, 640, 480)
DEPTH, DRIFT = 0.6, 37.0  # [m], [px]
_ABOUT = 9  # side of the part in a depth map's middle [px]
JUDGE = Judge(Tolerance(2e-3, math.radians(0.2)), Tolerance(5e-3, math.radians(0.5)))
Pixels = np.ndarray


def _lamps(image: Pixels) -> Pixels:
    return image * np.linspace(0.5, 1.3, image.shape[1], dtype=np.float32)[None, :, None]


def _occluded(image: Pixels) -> Pixels:
    image = image.copy()
    image[200:420, 80:300] = (0.8, 0.6, 0.5)
    return image


CONDITIONS: dict[str, tuple[Callable[[Pixels], Pixels], float]] = {  # what is done to the picture, and the noise
    "none": (lambda image: image, 0.0),
    "noise of 3 %": (lambda image: image, 0.03),
    "exposure": (lambda image: (0.6 * image) ** 0.8 + 0.03, 0.005),
    "overexposed": (lambda image: 1.5 * image, 0.005),
    "blur of 1.5 px": (lambda image: cv2.GaussianBlur(image, (0, 0), 1.5), 0.005),
    "occlusion": (_occluded, 0.005),
    "lamps, exposure, noise": (lambda image: (0.6 * _lamps(image)) ** 0.8 + 0.03, 0.03),
}


def drifts(rng: np.random.Generator) -> Iterator[Float[Tensor, "4 4"]]:
    """Motions T_dc: a shift, a part of a pixel, a turn, all at once."""
    size = DRIFT / CAMERA.fx
    way = rng.normal(size=(4, 3)) * (1, 1, 0.3)
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    nothing = np.zeros(3)
    turn = 0.04 * rng.normal(size=3)
    for t, r in (
        (size * DEPTH * way[0], nothing),
        (0.4 / DRIFT * size * DEPTH * way[1], nothing),
        (nothing, size * way[2]),
        (0.8 * size * DEPTH * way[3], turn),
    ):
        yield lie.pose_from_vector(torch.from_numpy(np.r_[t, r]))


def outcome(found: Alignment, T_dc: Float[Tensor, "4 4"]) -> tuple[float, float, bool, float]:
    """Errors [mm, deg], whether it is sure, and the standard deviation of the distance [mm]."""
    if found.T_cd is None:
        return math.nan, math.nan, False, math.nan
    t, r = lie.error_norms(lie.inverse(torch.from_numpy(found.T_cd)) @ lie.inverse(T_dc))
    sure = JUDGE.verdict(found)[0] is not Verdict.NOT_SURE
    return 1e3 * float(t), math.degrees(float(r)), sure, 1e3 * found.sigmas[0]


def drifted(name: str, photos: list[Path], draws: int, seed: int) -> dict[str, Any]:
    """All photos under a condition."""
    rng = np.random.default_rng(seed)
    optics = Optics(replace(CAMERA, distortion=(1e-12, 0.0, 0.0, 0.0, 0.0)), rectified=True)  # known to be straight
    change, noise = CONDITIONS[name]
    results = []
    for photo in photos:
        scene = Scene.from_photo(photo, 1.6, 1.6)
        for tilt in (0.0, math.radians(20)):
            turn = lie.so3_exp(torch.tensor([0.0, tilt, 0.0], dtype=torch.float64))
            T_wd = lie.pose(turn, -DEPTH * turn[:, 2])
            goal = Picture.of(as_pixels(scene.render(CAMERA, T_wd)[0]), optics)
            reference = Reference.of(goal, DEPTH)
            for T_dc in (T for _ in range(draws) for T in drifts(rng)):
                image = scene.render(CAMERA, T_wd @ T_dc)[0].permute(1, 2, 0).numpy()
                seen = change(image) + noise * rng.standard_normal(image.shape, np.float32)
                now = Picture.of(np.rint(255 * seen.clip(0, 1)).astype(np.uint8), optics)
                results.append(outcome(reference.locate(now), T_dc))
    return row(name, results)


def pairs(folder: Path) -> dict[str, Any]:
    """Every ordered pair of pictures of a plane with true poses; of pictures with depth those pairs that `siame bench real` takes, whose goals' depth is
    known in the middle."""
    found = read_folder(folder)
    results = []
    for k in found.goals:
        a = found.pictures[k]
        if math.isnan(Z := distance(a)):
            continue
        reference = Reference.of(Picture.of(a.rgb, Optics(a.camera)), Z)
        for b in (found.pictures[j] for i, j in (found.worlds if a.depth is None else found.pairs) if i == k != j):
            results.append(outcome(reference.locate(Picture.of(b.rgb, Optics(b.camera))), lie.inverse(a.T_wc) @ b.T_wc))
    if not results:
        raise InputError(f"{folder}: no goal's depth is known in the middle of its picture; give another folder")
    return row(found.name, results)


def distance(picture: Pictured) -> float:
    """Depth of what is in a picture's middle [m]: of its plane, or the median of what its depth map knows there; NaN where that is nothing."""
    h, w = picture.rgb.shape[:2]
    if picture.depth is None:
        along = (picture.T_wc[:3, :3] @ picture.camera.rays(torch.tensor([(w - 1) / 2, (h - 1) / 2]).double()))[2]
        return float(-picture.T_wc[2, 3] / along)
    about = picture.depth[(h - _ABOUT) // 2 : (h + _ABOUT) // 2, (w - _ABOUT) // 2 : (w + _ABOUT) // 2]
    known = about[np.isfinite(about)]
    return float(np.median(known)) if len(known) else math.nan


def row(name: str, results: list[tuple[float, float, bool, float]]) -> dict[str, Any]:
    """Of a table; what is not found is infinitely far from the truth."""
    t, r, sure, sigma = map(np.array, zip(*results, strict=True))
    wrong = sure & ((t > 5) | (r > 0.5))
    lost = np.isnan(t)

    def shown(values: np.ndarray) -> str:
        return f"{np.median(values):.2g}, {values.max():.2g}" if len(values) else "-"

    return {
        "pictures": name,
        "pairs": len(results),
        "wrong": int(wrong.sum()),
        "not found": int(lost.sum()),
        "not sure": f"{100 * (1 - sure.mean()):.0f} %",
        "sure: median, worst [mm]": shown(t[sure]),
        "sure: median, worst [deg]": shown(r[sure]),
        "all: median, worst [mm]": shown(np.where(lost, math.inf, t)),
        "median sigma [mm]": "-" if lost.all() else f"{np.nanmedian(sigma):.2g}",
    }


def main() -> None:
    """The table."""
    options = parser(__doc__)
    options.add_argument("photos", nargs="*", type=Path, help="default: photos that scikit-image carries")
    options.add_argument("--folder", type=Path, help="of pictures with true poses, as for siame bench real")
    options.add_argument("--draws", type=int, default=2, help="of four drifts, a photo and condition")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    photos = given.photos or [skimage_photo(name) for name in PHOTOS]
    rows: dict[str, Callable[[], dict[str, Any]]] = {
        name: partial(drifted, name, photos, given.draws, given.seed) for name in CONDITIONS
    }
    if given.folder is not None:
        rows[str(given.folder)] = partial(pairs, given.folder)
    table(given, rows)


if __name__ == "__main__":
    run_script(main)
