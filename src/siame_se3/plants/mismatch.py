"""Errors of the model: how the true camera and scene differ from those that a law assumes, for the simulator."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from siame_se3.errors import InputError, require_number, require_numbers
from siame_se3.files import require_types
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import plane_from_pixel, points_on_plane
from siame_se3.scenes.render import render
from siame_se3.scenes.types import Scene


@dataclass(frozen=True)
class Mismatch:
    """How the true set-up differs from the assumed one. The goal image is taken with the same camera, of the same scene.

    Attributes:
        focal: true focal length over the assumed one.
        size: true size and distance of the scene over the assumed ones: depths are wrong by as much. Poses and twists that are reported
            and recorded are in the assumed metres; the camera moves by the commanded twist over this.
        tilt_deg: the print is tilted by this about an axis through its middle, in a direction that each run draws [deg].
        card: height above the print [m] at which a part of it stands out, of `card_size` (width, height) [m], at a place that
            each run draws in the print's middle half.
        exposure: the shutter is open for this long before each image [s]: motion blur.
        gloss: brightness of a highlight's middle, added, that the print mirrors of each of two lamps a metre or so above it, at places
            that each run draws: highlights move over the print as the camera does.

    Raises:
        InputError: a value that no set-up has.
    """

    focal: float = 1.0
    size: float = 1.0
    tilt_deg: float = 0.0
    card: float = 0.0
    card_size: tuple[float, float] = (0.2, 0.15)
    exposure: float = 0.0
    gloss: float = 0.0

    def __post_init__(self) -> None:
        require_types(self, "mismatch")
        for name in ("focal", "size"):
            require_number(self, name, 0, open_low=True)
        for name in ("exposure", "card", "gloss"):
            require_number(self, name, 0)
        require_numbers(self, "card_size", 2)
        if not abs(self.tilt_deg) < 60:
            raise InputError(f"mismatch: a print tilted by {self.tilt_deg} deg; give less than 60")


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
    """What the true cameras of some runs see, and their homographies `plane_from_pixel`.

    Args:
        camera: the assumed intrinsics.
        T_wc: the assumed poses.
        runs: number of each run; with the seed it decides the run's tilt, card and lamps.
        seed: of the draws.
        twist: with which each camera has arrived [m/s, rad/s], for the shutter; None for cameras at rest.
    """
    m = mismatch
    camera = replace(camera, fx=camera.fx * m.focal, fy=camera.fy * m.focal)
    axis, place, lamps = _drawn(runs, seed)
    tilt = torch.zeros(len(runs), 6, dtype=torch.float64)
    tilt[:, 3:5] = math.radians(m.tilt_deg) * axis
    T = lie.exp(tilt).to(T_wc) @ T_wc

    def look(T: Tensor) -> Tensor:
        seen, _ = render(scene, camera, T)
        if m.card > 0:
            seen = _with_card(m, scene, camera, T, place.to(T), seen)
        return seen if m.gloss == 0 else (seen + m.gloss * highlights(camera, T, lamps.to(T))).clamp_(0, 1)

    homography = plane_from_pixel(camera, T)
    if twist is None or m.exposure == 0:
        return look(T), homography
    shutter = torch.linspace(0, m.exposure, SHUTTER_SAMPLES, dtype=torch.float64)
    return torch.stack([look(T @ lie.exp(-t * twist).to(T)) for t in shutter]).mean(0), homography


def _drawn(
    runs: Int[Tensor, "n"], seed: int
) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n 2"], Float[Tensor, "n 2 3"]]:
    """For each run: the direction of its tilt's axis, the place of its card (-1 to 1), and where its lamps are [m]."""
    axes, places, lamps = [], [], []
    for run in runs.tolist():
        generator = torch.Generator().manual_seed(seed * 1_000_003 + run)
        angle, *at = torch.rand(9, generator=generator, dtype=torch.float64).tolist()
        axes.append([math.cos(math.tau * angle), math.sin(math.tau * angle)])
        places.append([2 * at[0] - 1, 2 * at[1] - 1])
        lamps.append([[at[k] - 0.5, at[k + 1] - 0.5, -1 - at[k + 2] / 2] for k in (2, 5)])
    drawn = [torch.tensor(values, dtype=torch.float64) for values in (axes, places, lamps)]
    return drawn[0], drawn[1], drawn[2]


def _seen_points(camera: Camera, T_wc: Tensor) -> tuple[Float[Tensor, "n p 2"], Bool[Tensor, "n p"]]:
    """Points of the plane [m] at each pixel, row by row, and where it is seen."""
    return points_on_plane(camera, T_wc, camera.pixel_grid(T_wc.dtype).to(T_wc.device).reshape(-1, 2))


def highlights(camera: Camera, T: Tensor, lamps: Float[Tensor, "n k 3"]) -> Float[Tensor, "n 1 h w"]:
    """Sum of the lamps' highlights, 1 in the middle of each and 5 cm wide (standard deviation): around the point that mirrors the lamp, where
    the line from the camera to the lamp's image behind the plane meets the plane.

    Args:
        lamps: positions of each view's k lamps [m], z < 0 on the cameras' side.
    """
    viewer, mirrored = T[:, None, :3, 3], lamps * lamps.new_tensor([1.0, 1.0, -1.0])
    share = (-viewer[..., 2:] / (mirrored[..., 2:] - viewer[..., 2:])).clamp(0, 1)
    middle = (viewer + share * (mirrored - viewer))[..., :2]
    points, seen = _seen_points(camera, T)
    d2 = (points[:, None] - middle[:, :, None]).square().sum(-1)
    light = torch.exp(-d2 / (2 * 0.05**2)).sum(1) * seen
    return light.reshape(-1, 1, *camera.size).float()


def _with_card(
    m: Mismatch, scene: Scene, camera: Camera, T: Tensor, place: Float[Tensor, "n 2"], seen: Tensor
) -> Tensor:
    """The part of the print that stands out, over the rest."""
    lifted = T.clone()
    lifted[:, 2, 3] += m.card  # as from a camera that is nearer by as much
    above, _ = render(scene, camera, lifted)
    points, on_print = _seen_points(camera, lifted)
    middle = place * T.new_tensor([scene.width / 4, scene.height / 4])
    off = (points - middle[:, None]).abs()
    inside = on_print & (off < off.new_tensor(m.card_size) / 2).all(-1)
    return torch.where(inside.reshape(-1, 1, *camera.size), above, seen)
