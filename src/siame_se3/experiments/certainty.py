"""How well `dvs-light` knows the pose over a plane, by lens and distance, and whether the truth is within three of its standard deviations
in the draws where it knows the pose at all.

    python -m siame_se3.experiments.certainty [--draws 40] [--seed 3] [--size 224] [--displacement 0.3]

The bundled photo, always as large as a fifth more than the view. Each draw looks at the goal from the goal's pose, so what the law asks for is its
error. Both images have noise of 0.01; in the second half of the columns neighbourhoods of the current image are displaced besides, smoothly, as
two photos of one place differ by their lenses and by relief.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from siame_se3.experiments.script import bundled_print, median, parser, run_script, table
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.certainty import Certain, least_known, sigmas
from siame_se3.laws.light import LightDVS
from siame_se3.laws.types import View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.conditions import NONE

NOISE = replace(NONE, noise=0.01, least=1.0)
_COARSE = 4  # points a side of the displacements that are drawn


@dataclass(frozen=True)
class Place:
    """A goal, square to the plane: field of view across the image [deg], and distance [m]."""

    fov: float = 41.0
    distance: float = 0.6


PLACES = {
    "as everywhere here": Place(),
    "longer lens": Place(fov=20),
    "wider lens": Place(fov=60),
    "wide lens": Place(fov=80),
    "half as far": Place(distance=0.3),
    "twice as far": Place(distance=1.2),
}


def views(place: Place, draws: int, seed: int, size: int) -> tuple[View, View]:
    """Of the goal, and of the goal again, with noise of their own."""
    camera = Camera.from_fov(math.radians(place.fov), size)
    photo = bundled_print()
    across = 2.4 * place.distance * math.tan(math.radians(place.fov) / 2)
    scene = replace(photo, width=across * photo.width / photo.height, height=across)
    poses = torch.zeros(draws, 6, dtype=torch.float64)
    poses[:, 2] = -place.distance
    poses[:, 5] = 2 * math.pi * torch.rand(draws, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    T_wc = lie.pose_from_vector(poses)
    goal, now = (FlyingCameras(scene, camera, conditions=NOISE, seed=seed + k).reset(T_wc) for k in (0, 1))
    return goal, now


def displaced(images: Float[Tensor, "n 3 h w"], size: float, seed: int) -> Float[Tensor, "n 3 h w"]:
    """Each image with its parts displaced, smoothly, by `size` on average along either axis (standard deviation) [px]."""
    n, _, h, w = images.shape
    coarse = size * torch.randn(n, 2, _COARSE, _COARSE, generator=torch.Generator().manual_seed(seed))
    shift = F.interpolate(coarse, size=(h, w), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    grid = torch.stack((x, y), -1) + 2 * shift / torch.tensor([w - 1.0, h - 1.0])
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=True)


def row(name: str, place: Place, draws: int, seed: int, size: int, displacement: float) -> dict[str, Any]:
    """What one place gives."""
    goal, now = views(place, draws, seed, size)
    assert now.image is not None
    law, state = LightDVS().aim(replace(goal, T_wc=None))
    assert isinstance(law, Certain)
    found: dict[str, Any] = {"goal": name}
    for kind, image in (("noise", now.image), ("two photos", displaced(now.image, displacement, seed))):
        view = replace(now, image=image)
        C, v = law.covariance(view, state), law(view, state)[0].v
        (t, r), known = sigmas(C), C.isfinite().all(-1).all(-1)
        distance, angle = v[:, :3].norm(dim=1), v[:, 3:].norm(dim=1)
        within = ((distance <= 3 * t) & (angle <= 3 * r))[known]
        some = bool(known.any())
        found[f"{kind}: true [mm]"] = f"{1e3 * median(distance):.2g}"
        found[f"{kind}: known"] = f"{int(known.sum())} of {draws}"
        found[f"{kind}: sigma [mm]"] = f"{1e3 * median(t[known]):.2g}" if some else "-"
        found[f"{kind}: sigma [deg]"] = f"{math.degrees(median(r[known])):.2g}" if some else "-"
        found[f"{kind}: within three [%]"] = f"{100 * float(within.double().mean()):.0f}" if some else "-"
        found[f"{kind}: least along"] = least_known(C[known].mean(0)) if some else "-"
    return found


def main() -> None:
    """The table."""
    options = parser(__doc__)
    options.add_argument("--draws", type=int, default=40)
    options.add_argument("--seed", type=int, default=3)
    options.add_argument("--size", type=int, default=224)
    options.add_argument("--displacement", type=float, default=0.3)
    given = options.parse_args()
    numbers = (given.draws, given.seed, given.size, given.displacement)
    table(given, {name: partial(row, name, place, *numbers) for name, place in PLACES.items()})


if __name__ == "__main__":
    run_script(main)
