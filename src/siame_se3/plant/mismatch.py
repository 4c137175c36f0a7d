"""What a law was told of its camera and scene, and what they are: the errors of a real set-up, for the simulator."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from siame_se3 import lie
from siame_se3.camera import Camera
from siame_se3.errors import SiameError
from siame_se3.render import plane_from_pixel, render
from siame_se3.scene import Scene


@dataclass(frozen=True)
class Mismatch:
    """How the set-up differs from what the law is told. The desired view is taken with the same camera, of the same scene.

    Attributes:
        focal: true focal length over the one told.
        size: true size and distance of the scene over those told: depths are wrong by as much. Poses and twists that are told and
            recorded are in the told metres; the camera moves by the commanded one over this.
        tilt_deg: the print is tilted by this about an axis through its middle, in a direction that each run draws [deg].
        card: height above the print [m] at which a part of it stands out, of `card_size` (width, height) [m], at a place that
            each run draws in the print's middle half.
        exposure: the shutter is open for this long before each image [s]: motion blur.
    """

    focal: float = 1.0
    size: float = 1.0
    tilt_deg: float = 0.0
    card: float = 0.0
    card_size: tuple[float, float] = (0.2, 0.15)
    exposure: float = 0.0

    def __post_init__(self) -> None:
        if not (self.focal > 0 and self.size > 0 and self.exposure >= 0 and self.card >= 0):
            raise SiameError("mismatch: focal and size are above 0, card and exposure not below it")
        if not abs(self.tilt_deg) < 60:
            raise SiameError(f"mismatch: a print tilted by {self.tilt_deg} deg; give less than 60")


SHUTTER_SAMPLES = 5


def images(
    mismatch: Mismatch,
    scene: Scene,
    camera: Camera,
    T_wc: Float[Tensor, "n 4 4"],
    runs: Int[Tensor, "n"],
    seed: int,
    twist: Float[Tensor, "n 6"] | None = None,
) -> tuple[Float[Tensor, "n 3 h w"], Float[Tensor, "n 3 3"]]:
    """What the cameras of some runs see in truth, and the homographies plane_from_pixel of that.

    Args:
        camera: as told. T_wc: as told.
        seed: with the run's number, of its tilt and its card.
        twist: with which each camera has arrived [m/s, rad/s], for the shutter; None for cameras at rest.
    """
    m = mismatch
    camera = replace(camera, fx=camera.fx * m.focal, fy=camera.fy * m.focal)
    axis, place = _drawn(runs, seed)
    tilt = torch.zeros(len(runs), 6, dtype=torch.float64)
    tilt[:, 3:5] = math.radians(m.tilt_deg) * axis
    T = lie.exp(tilt).to(T_wc) @ T_wc

    def look(T: Tensor) -> Tensor:
        seen, _ = render(scene, camera, T)
        return seen if m.card == 0 else _with_card(m, scene, camera, T, place.to(T), seen)

    homography = plane_from_pixel(camera, T)
    if twist is None or m.exposure == 0:
        return look(T), homography
    shutter = torch.linspace(0, m.exposure, SHUTTER_SAMPLES, dtype=torch.float64)
    return torch.stack([look(T @ lie.exp(-t * twist).to(T)) for t in shutter]).mean(0), homography


def _drawn(runs: Int[Tensor, "n"], seed: int) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n 2"]]:
    """Of each run: the direction of its tilt's axis, and the place of its card, in -1 to 1."""
    axes, places = [], []
    for run in runs.tolist():
        generator = torch.Generator().manual_seed(seed * 1_000_003 + run)
        angle, x, y = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
        axes.append([math.cos(math.tau * angle), math.sin(math.tau * angle)])
        places.append([2 * x - 1, 2 * y - 1])
    return torch.tensor(axes, dtype=torch.float64), torch.tensor(places, dtype=torch.float64)


def _with_card(
    m: Mismatch, scene: Scene, camera: Camera, T: Tensor, place: Float[Tensor, "n 2"], seen: Tensor
) -> Tensor:
    """The part of the print that stands out, over the rest."""
    lifted = T.clone()
    lifted[:, 2, 3] += m.card  # as from a camera that is nearer by as much
    above, _ = render(scene, camera, lifted)
    h, w = camera.size
    pixels = torch.cat((camera.pixel_grid(T.dtype).to(T.device), T.new_ones(h, w, 1)), -1).reshape(-1, 3)
    mapped = pixels @ plane_from_pixel(camera, lifted).mT
    z = mapped[..., 2]
    middle = place * T.new_tensor([scene.width / 4, scene.height / 4])
    off = (mapped[..., :2] / torch.where(z > 1e-9, z, 1.0)[..., None] - middle[:, None]).abs()
    on = (z > 1e-9) & (off < off.new_tensor(m.card_size) / 2).all(-1) & (lifted[:, 2, 3] < 0)[:, None]
    return torch.where(on.reshape(-1, 1, h, w), above, seen)
