"""Whether the truth is within three standard deviations where goal and world are two simulated pictures of one photo.

    python -m siame_se3.experiments.certainty_photos [--poses 4] [--seed 2] [--photos moon.png coins.png ...]

Goal and world are made from one photo as by two cameras: other exposure, gamma, white balance, vignetting, sharpness, noise and resampling ('look'),
lenses whose distortion is not known, a part that stands out by some millimetres, and pictures whose poses were read from a board 20 cm wide with
errors of 0.3 mm at its corners. `dvs-light` starts at the goal's pose and ends where it takes the goal to be: that is its error. Photos are those
of the package scikit-image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.experiments.script import median, parser, run_script, skimage_photo, table
from siame_se3.geometry import lie
from siame_se3.geometry.camera import default_camera
from siame_se3.images.decode import as_image, read_picture, to_bytes
from siame_se3.laws.certainty import Certain, sigmas
from siame_se3.laws.light import LightDVS
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.conditions import NONE
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, draw_starts
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo

PHOTOS = (
    *("camera.png", "grass.png", "moon.png", "motorcycle_left.png", "coins.png", "text.png"),
    *("motorcycle_right.png", "clock_motion.png"),
)
_SIZE = 1000, 750  # of a photo [px]...
_PRINT = 0.8, 0.6  # ...which is so large [m]
_TAKEN = 640, 480  # of a picture [px]
_GREY = (0.4, 0.4, 0.4)


@dataclass(frozen=True)
class Kind:
    """How the two pictures differ.

    Attributes:
        warps: of WARPS, of which the goal's is half as large.
        blur: of the world's picture, standard deviation [px]; None where both are the photo itself.
        taken: noise in both pictures; live: noise of both cameras in each frame.
    """

    warps: tuple[str, ...] = ()
    blur: float | None = 0.6
    taken: float = 0.01
    live: float = 0.01


KINDS = {
    "noise 0.01": Kind(blur=None),
    "noise 0.05": Kind(blur=None, live=0.05),
    "look": Kind(),
    "look, blur 1.5 px": Kind(blur=1.5, taken=0.02),
    "look, lens": Kind(("lens",)),
    "look, relief": Kind(("relief",)),
    "look, pose": Kind(("pose",)),
    "look, lens, relief, pose": Kind(("lens", "relief", "pose")),
}


def photo(name: str) -> np.ndarray:
    """The middle of a photo, 4 : 3 (h, w, 3) uint8."""
    rgb = to_bytes(read_picture(skimage_photo(name)))
    h, w = rgb.shape[:2]
    s = min(w / 4, h / 3)
    rgb = rgb[int(h / 2 - 1.5 * s) : int(h / 2 + 1.5 * s), int(w / 2 - 2 * s) : int(w / 2 + 2 * s)]
    return cv2.resize(rgb, _SIZE, interpolation=cv2.INTER_AREA if s > 250 else cv2.INTER_CUBIC)


def lens(X: np.ndarray, Y: np.ndarray, rng: np.random.Generator, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Displacements [m] by a distortion of 1 to 4 % at 0.6 m from a middle that is not the print's."""
    c = rng.normal(0, 0.1, 2)
    k = share * rng.choice([-1, 1]) * rng.uniform(0.01, 0.04)
    a, b = X - c[0], Y - c[1]
    r2 = (a * a + b * b) / 0.6**2
    return k * r2 * a, k * r2 * b


def relief(X: np.ndarray, Y: np.ndarray, rng: np.random.Generator, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Displacements [m] of all but a middle part, which stands out by 1 to 5 mm, seen from 25 deg aside."""
    d = rng.normal(0, 1, 2)
    d /= np.linalg.norm(d)
    cx, cy = rng.uniform(-0.2, 0.2, 2)
    outside = ~((np.abs(X - cx) < 0.15) & (np.abs(Y - cy) < 0.12))
    z = share * rng.uniform(0.001, 0.005) * math.tan(math.radians(25))
    return outside * z * d[0], outside * z * d[1]


def pose(X: np.ndarray, Y: np.ndarray, rng: np.random.Generator, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Displacements [m] by the homography of a board whose corners are wrong by 0.3 mm."""
    board = np.array([[-0.1, -0.1], [0.1, -0.1], [0.1, 0.1], [-0.1, 0.1]], np.float32)
    H = cv2.getPerspectiveTransform(board, (board + rng.normal(0, share * 0.0003, (4, 2))).astype(np.float32))
    q = np.stack((X, Y, np.ones_like(X)), -1) @ H.T
    return q[..., 0] / q[..., 2] - X, q[..., 1] / q[..., 2] - Y


WARPS: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {"lens": lens, "relief": relief, "pose": pose}


def warped(rgb: np.ndarray, warps: tuple[str, ...], rng: np.random.Generator, share: float) -> np.ndarray:
    """A photo with these displacements."""
    h, w = rgb.shape[:2]
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    X, Y = (x - w / 2) / w * _PRINT[0], (y - h / 2) / w * _PRINT[0]
    moved = [WARPS[name](X, Y, rng, share) for name in warps]
    u, v = (
        ((along + sum(m[k] for m in moved)) / _PRINT[0] * w + middle).astype(np.float32)
        for k, (along, middle) in enumerate(((X, w / 2), (Y, h / 2)))
    )
    return cv2.remap(rgb, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def taken(rgb: np.ndarray, rng: np.random.Generator, noise: float, blur: float) -> np.ndarray:
    """A photo as a camera takes it: smaller, blurred, with a gamma, vignetting, exposure and white balance of its own, noisy; and enlarged again."""
    w, h = _TAKEN
    image = cv2.GaussianBlur(
        cv2.resize(rgb, _TAKEN, interpolation=cv2.INTER_AREA).astype(np.float32) / 255, (0, 0), blur
    )
    image = image ** rng.uniform(0.85, 1.2)
    y, x = np.mgrid[0:h, 0:w]
    r2 = ((x - w / 2 + rng.normal(0, 40)) ** 2 + (y - h / 2 + rng.normal(0, 40)) ** 2) / (w / 2) ** 2
    image = image * (1 - rng.uniform(0, 0.25) * r2)[..., None] * rng.uniform(0.7, 1.0) * rng.uniform(0.95, 1.05, 3)
    image = np.clip(image + rng.normal(0, noise, image.shape), 0, 1)
    return cv2.resize((image * 255).astype(np.uint8), rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def pictures(rgb: np.ndarray, kind: Kind, rng: np.random.Generator) -> tuple[Scene, Scene]:
    """The goal's scene and the world's."""
    goal, world = rgb, rgb
    if kind.warps:
        goal, world = warped(rgb, kind.warps, rng, 0.5), warped(rgb, kind.warps, rng, 1.0)
    if kind.blur is not None:
        goal, world = taken(goal, rng, kind.taken, 0.3), taken(world, rng, kind.taken, kind.blur)
    here, there = (Scene(as_image(picture), *_PRINT, "print", _GREY) for picture in (goal, world))
    return here, there


def ends(
    goal: Scene, world: Scene, T_wd: Tensor, noise: float, size: int, seed: int, first_run: int
) -> tuple[Tensor, Tensor]:
    """Errors (n, 6) of the poses that the law ends at, and their covariances.

    Args:
        seed: of the live images' noise, of which each run has its own. first_run: the first run's number.
    """
    camera, grainy = default_camera(size), replace(NONE, noise=noise, least=1.0)

    def cameras(scene: Scene, k: int) -> FlyingCameras:
        return FlyingCameras(scene, camera, conditions=grainy, seed=3 * seed + k, first_run=first_run)

    target, plant = cameras(goal, 0).reset(T_wd), cameras(world, 1)
    end = servo(plant, LightDVS(), target, T_wd.clone(), ServoConfig(gain=10, max_iterations=25)).T_wc[-1]
    view = cameras(world, 2).reset(end)
    law, state = LightDVS().aim(target)
    assert isinstance(law, Certain)
    error = lie.vector_from_pose(lie.inverse(end) @ T_wd) - law(view, state)[0].v
    return error, law.covariance(view, state)


def row(name: str, photos: tuple[str, ...], poses: int, seed: int, size: int) -> dict[str, Any]:
    """One kind of difference, over all photos."""
    kind = KINDS[name]
    found = []
    for k, each in enumerate(photos):
        rng = np.random.default_rng([seed, k, list(KINDS).index(name)])
        goal, world = pictures(photo(each), kind, rng)
        T_wd, _ = draw_starts("table1", poses, goal, default_camera(size), Workspace(), 1000 * seed + k)
        found.append(ends(goal, world, T_wd, kind.live, size, seed, k * poses))
    error, C = (torch.cat(x) for x in zip(*found, strict=True))
    known = C.isfinite().all(-1).all(-1)
    error, C = error[known], C[known]
    t, r = sigmas(C)
    ratio = torch.maximum(error[:, :3].norm(dim=1) / t, error[:, 3:].norm(dim=1) / r)
    apart = (error * torch.linalg.solve(C, error)).sum(1).sqrt()
    return {
        "difference": name,
        "runs": len(known),
        "known": int(known.sum()),
        "within three [%]": f"{100 * float((ratio <= 3).double().mean()):.0f}",
        "Mahalanobis within three [%]": f"{100 * float((apart <= 3).double().mean()):.0f}",
        "true [mm]": f"{1e3 * median(error[:, :3].norm(dim=1)):.2g}",
        "sigma [mm]": f"{1e3 * median(t):.2g}",
    }


def main() -> None:
    """The table."""
    options = parser(__doc__)
    options.add_argument("--poses", type=int, default=4)
    options.add_argument("--seed", type=int, default=2)
    options.add_argument("--size", type=int, default=224)
    options.add_argument("--photos", nargs="+", default=PHOTOS)
    given = options.parse_args()
    for name in given.photos:
        if not skimage_photo(name).is_file():
            raise InputError(f"photo {name}: scikit-image's package has none of this name")
    numbers = (tuple(given.photos), given.poses, given.seed, given.size)
    table(given, {name: partial(row, name, *numbers) for name in KINDS})


if __name__ == "__main__":
    run_script(main)
