"""Photometric visual servoing that fits the light along with the motion (`--law dvs-light`): what ends a hand-off.

The scene under another light is taken to be, in each colour channel c of the image,

    I_c(x) = (a(x) + k_c) I*_c(x + dx) + b_c,

a smooth gain a (lamps, shadows; a polynomial in x and y), a gain k_c and a bias b_c of each channel (exposure, white balance, ambient
light); compare Silveira and Malis 2007, "Real-time visual tracking under arbitrary illumination changes". The velocity and these
numbers are the solution of one weighted linear least-squares problem, v = -xi of

    min sum w (e - L xi - I* (a + k_c) - b_c)^2,   e = I - I*,   L the mean of both images' luminance matrices (see `luminance`).

Where the current image is blurred (focus, a smeared lens), I* is blurred alike first; see `blur`.

Pixels that the sensor has clipped have next to no weight, and those that the light alone does not explain (an occluding hand) are
weighed down by a biweight of what a neighbourhood does not explain. As in `luminance`, all of it comes from moments of products of images: L is never made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError, require_number
from siame_se3.files import require_types
from siame_se3.geometry.camera import Camera
from siame_se3.images.blur import BlurScale, gaussian_blur
from siame_se3.images.contrast import contrast
from siame_se3.images.gradients import gradient
from siame_se3.laws.certainty import AGREED, agreement, motion_field, pose_covariance, unknown
from siame_se3.laws.goal_depth import GoalDepth
from siame_se3.laws.light_model import LightModel
from siame_se3.laws.luminance import desired_images, solve
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.laws.validity import image_faults, images_of, standing_still

_TOGETHER = 4  # runs at a time: their numbers then stay in the processor's caches
_CLIPPED = 1e-3  # weight of a clipped pixel, so that an image of nothing else still gives a direction
_AGREE = 6  # rounds of re-weighting


@dataclass(frozen=True)
class LightDVS:
    """Photometric visual servoing with the light fitted (`--law dvs-light`): Gauss-Newton, mean L, three colour channels.

    Attributes:
        degree: of the gain a(x, y).
        robust: weigh pixels down that the light does not explain.
        border: pixels left out on each side; 3 at least.
        Z: depth of the desired view's middle [m], where that view does not know it. A desired view with a map of depths has its own at each pixel,
            and those whose depth is not to be relied on (holes, edges of what lies in front) have no weight.
        blur: most of the current image's blur (standard deviation) that is estimated and matched [px]; 0 for not at all.
    """

    degree: int = 4
    robust: bool = True
    border: int = 10
    Z: float = 0.6
    blur: float = 5.0
    needs = frozenset({"image"})

    def __post_init__(self) -> None:
        require_types(self, "dvs-light")
        require_number(self, "Z", 0, open_low=True)
        for name in ("border", "degree"):
            require_number(self, name, whole=True)
        if self.border < 3:
            raise InputError(f"dvs-light: a border of {self.border} px; the gradient needs 3 or more", "light.border")
        if not 0 <= self.degree <= 8:
            raise InputError(f"dvs-light: degree {self.degree}; give 0 to 8", "light.degree")
        if not 0 <= self.blur <= 20:
            raise InputError(f"dvs-light: a blur of {self.blur} px; give 0 to 20", "light.blur")

    def aim(self, target: View) -> tuple[Law, LightState]:
        """Keeps the desired images."""
        # The light is fitted on 4 x 4 pixels and more.
        camera, images, depth_known = desired_images(target, "dvs-light", self.border + 2)
        Z = torch.full((len(images),), self.Z) if depth_known is None else depth_known
        images = images.float().cpu()
        scale = BlurScale.of(images.mean(1), self.border, self.blur) if self.blur else None
        depth = GoalDepth.of(target, "dvs-light")
        inverse_Z = 1 / Z.clamp(min=1e-3).double()
        return _LightLaw(self, camera), LightState(inverse_Z, images, contrast(images), scale, depth)


@dataclass(frozen=True, eq=False)
class LightState(State):
    """Of each run: 1/Z [1/m], the goal image, its contrast, the scale that the current image's blur is read on (None to leave it), and the depth of
    its pixels (None for a plane square to the view)."""

    inverse_Z: Float[Tensor, "n"]
    desired: Float[Tensor, "n 3 h w"]
    contrast: Float[Tensor, "n"]
    scale: BlurScale | None
    depth: GoalDepth | None = None
    FIXED: ClassVar[frozenset[str]] = frozenset({"inverse_Z", "desired", "contrast", "scale", "depth"})


@dataclass(frozen=True)
class _LightLaw:
    """See `LightDVS`."""

    controller: LightDVS
    camera: Camera

    def __call__(self, view: View, state: LightState) -> tuple[Output, LightState]:
        """v at gain 1; cost: the weighted mean square of what the light does not explain [grey levels^2]."""
        images = images_of(view, "dvs-light", self.camera, len(state.desired)).float().cpu()
        faults = image_faults(images, desired=state.contrast)
        if any(faults):
            images = images.nan_to_num(0.0, 0.0, 0.0)
        starts = range(0, len(images), _TOGETHER)
        parts = [self._some(images[k : k + _TOGETHER], state[k : k + _TOGETHER]) for k in starts]
        v, singular, cost = (torch.cat(x) for x in zip(*parts, strict=True))
        faults = tuple(
            f or ("the image's pixels do not determine the motion" if bad else "")
            for f, bad in zip(faults, singular.tolist(), strict=True)
        )
        v, faults = standing_still(v, faults)
        return Output.of(v, faults, cost), state

    def _some(self, images: Float[Tensor, "n 3 h w"], state: LightState) -> tuple[Tensor, Tensor, Tensor]:
        """v, which are singular, and costs of some runs."""
        found = self._compared(images, state)
        cost = 255**2 * (found.weight * found.rest.square_()).mean((1, 2, 3)).double()
        velocity, singular = solve(*found.equations(state))
        return velocity, singular, cost

    def covariance(self, view: View, state: LightState) -> Float[Tensor, "n 6 6"]:
        """See `certainty`; NaN where the image cannot be used, its pixels do not determine the motion, or it shows another place than the goal's."""
        images = images_of(view, "dvs-light", self.camera, len(state.desired)).float().cpu()
        usable = [k for k, fault in enumerate(image_faults(images, desired=state.contrast)) if not fault]
        found = unknown(len(images))
        for first in range(0, len(usable), _TOGETHER):
            k = torch.tensor(usable[first : first + _TOGETHER])
            found[k] = self._certain(images[k], state[k])
        return found

    def _certain(self, images: Float[Tensor, "n 3 h w"], state: LightState) -> Float[Tensor, "n 6 6"]:
        c = self.controller
        found = self._compared(images, state)
        H, g = found.equations(state)
        velocity, singular = solve(H, g)
        # what neither the motion that is still asked for nor the light explains: e - L xi = e - grad^T L_point v
        q = state.inverse_Z if found.q is None else found.q[:, 0]
        du, dv = motion_field(velocity, q, self.camera, c.border).float()[:, :, None].unbind(1)
        rest = found.e - found.u * du - found.v * dv
        rest = rest - found.light.fit(rest, found.desired, found.weight)
        C = pose_covariance((found.u, found.v), rest, found.weight, H, q, self.camera, c.border)
        elsewhere = agreement(found.desired + rest, found.desired) < AGREED
        return torch.where((singular | elsewhere)[:, None, None], torch.nan, C)

    def _compared(self, images: Float[Tensor, "n 3 h w"], state: LightState) -> _Compared:
        """The images beside the goal's, of some runs."""
        c, b, (h, w) = self.controller, self.controller.border, self.camera.size
        desired = _as_sharp(images, state)
        inner = (..., slice(b, h - b), slice(b, w - b))
        s, d = images[inner].contiguous(), desired[inner].contiguous()
        unclipped, q = _unclipped(images, b), None
        if state.depth is not None:
            inverse, trust = state.depth.inner(b)
            unclipped, q = unclipped * trust.clamp(min=_CLIPPED**2)[:, None], inverse[:, None].contiguous()
        light = LightModel(self.camera, b, c.degree)
        trusted = unclipped
        if c.robust:  # before the lamps: they could be bent around an occlusion
            ratio, shift = _most_agreed(s, d, unclipped)
            trusted = unclipped * _trusted((s * ratio).add_(shift).sub_(d), unclipped, w, 1.5)
        ratio, shift = _exposure(s, d, trusted)
        # The current image at the desired one's mean and contrast, so that the mean of their gradients is one of like things.
        u, v = gradient((images * ratio).add_(shift).add_(desired).mul_(0.5), b)
        e = (s * ratio).add_(shift).sub_(d)
        noise = ratio.square()  # the sensor's is of one size before this
        rest = e - light.fit(e, d, _level(trusted / noise))
        weight = _level((unclipped * _trusted(rest, unclipped, w) if c.robust else unclipped) / noise)
        return _Compared(light, e, d, u, v, rest, weight, q)


@dataclass(frozen=True, eq=False)
class _Compared:
    """Images beside their goals, at one exposure: inside the border, (n, 3, y, x).

    Attributes:
        light: the model of it.
        e: I - I*. desired: I*.
        u, v: dI/du, dI/dv, of the mean of both.
        rest: of e, what the light does not explain.
        weight: of the pixels.
        q: 1/Z of the pixels (n, 1, y, x) [1/m]; None for one number a run.
    """

    light: LightModel
    e: Tensor
    desired: Tensor
    u: Tensor
    v: Tensor
    rest: Tensor
    weight: Tensor
    q: Tensor | None

    def equations(self, state: LightState) -> tuple[Float[Tensor, "n 6 6"], Float[Tensor, "n 6"]]:
        """L^T W L and L^T W e, the light eliminated."""
        if self.q is not None:
            return self.light.eliminated_by_pixel(self.e, self.desired, self.u, self.v, self.weight, self.q)
        q = state.inverse_Z[:, None].repeat(1, 3)
        scale = torch.cat((q, torch.ones_like(q)), 1)
        return self.light.eliminated(self.e, self.desired, self.u, self.v, self.weight, scale)


def _as_sharp(images: Float[Tensor, "n 3 h w"], state: LightState) -> Float[Tensor, "n 3 h w"]:
    """Goal images, as blurred as these are."""
    desired = state.desired
    if state.scale is None:
        return desired
    sigma = state.scale.read(images.mean(1))
    if not bool((sigma > 0).any()):
        return desired
    return torch.where(sigma[:, None, None, None] > 0, gaussian_blur(desired, sigma), desired)


def _exposure(s: Tensor, d: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and bias (n, c, 1, 1) of each channel that give s the weighted mean and contrast of d."""
    mean, spread = _statistics(s, weight)
    wanted, wanted_spread = _statistics(d, weight)
    ratio = torch.where(wanted_spread > 1e-4, wanted_spread / spread.clamp(min=1e-4), 1.0).clamp(1e-3, 1e3)
    return ratio, wanted - mean * ratio


def _most_agreed(s: Tensor, d: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """As `_exposure`, by least absolute differences (re-weighted least squares of s = g d + o, on means of 4 x 4 pixels): what most of the image
    agrees on, whatever a part of it shows."""
    s, d, weight = (F.avg_pool2d(z, 4).flatten(2) for z in (s, d, weight))
    share = torch.ones_like(weight)
    for _ in range(_AGREE):
        w = weight * share
        total = w.sum(2, keepdim=True)
        s_mean, d_mean = (w * s).sum(2, keepdim=True) / total, (w * d).sum(2, keepdim=True) / total
        ds, dd = s - s_mean, d - d_mean
        gain = ((w * ds * dd).sum(2, keepdim=True) / ((w * dd * dd).sum(2, keepdim=True) + 1e-9)).clamp(0.05, 20)
        square = weight * (ds - gain * dd).square()
        share = (square.sum(1, keepdim=True) / weight.sum(1, keepdim=True)).add(1e-5).rsqrt()
    return (1 / gain)[..., None], (d_mean - s_mean / gain)[..., None]


def _level(weight: Float[Tensor, "n 3 y x"]) -> Float[Tensor, "n 3 y x"]:
    """With a mean of 1."""
    return weight / weight.mean((1, 2, 3), keepdim=True).clamp(min=1e-12)


def _trusted(
    rest: Float[Tensor, "n 3 y x"], unclipped: Float[Tensor, "n 3 y x"], width: int, patience: float = 1.0
) -> Float[Tensor, "n 3 y x"]:
    """Weights (1 - (r / (3 patience m))^2)^2, 0 beyond, with r the root mean square of what is not explained around a pixel (a 16th of the image's
    width, all channels that are not clipped), and m its median, one grey level at least. An occlusion is a thing, not a pixel: some of its pixels
    are as they should be."""
    side = 2 * (width // 32) + 1
    square, count = _box((unclipped * rest.square()).sum(1), side), _box(unclipped.sum(1), side)
    around = (square / count)[:, None]
    middle = around[..., ::2, ::2].flatten(1).median(1).values[:, None, None, None].clamp(min=1 / 255**2)
    return (1 - around / (9 * patience**2 * middle)).clamp(min=0).square().expand_as(rest)


def _box(images: Float[Tensor, "n y x"], side: int) -> Float[Tensor, "n y x"]:
    """Sums of windows, by OpenCV: in as many operations whatever the window's size."""
    found = [
        cv2.boxFilter(x, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT) for x in images.numpy()
    ]
    return torch.from_numpy(np.stack(found))


def _unclipped(images: Float[Tensor, "n 3 h w"], border: int) -> Float[Tensor, "n 3 y x"]:
    """1 where at most 2 of 25 pixels around (with noise, not all pixels at the limit show it) are at the sensor's limits."""
    h, w = images.shape[-2:]
    clipped = ((images <= 0) | (images >= 1))[..., border - 2 : h - border + 2, border - 2 : w - border + 2].float()
    rows = sum((clipped[..., k : h - 2 * border + k, :] for k in range(1, 5)), clipped[..., : h - 2 * border, :])
    count = sum((rows[..., k : w - 2 * border + k] for k in range(1, 5)), rows[..., : w - 2 * border])
    return (count < 3).float().clamp_(min=_CLIPPED)


def _statistics(z: Float[Tensor, "n 3 y x"], weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation of each channel, (n, c, 1, 1)."""
    z, weight = z.flatten(2), weight.flatten(2)
    wz, total = weight * z, weight.sum(2)
    mean = wz.sum(2) / total
    variance = torch.linalg.vecdot(wz, z) / total - mean.square()
    return mean[..., None, None], variance.clamp(min=0).sqrt()[..., None, None]
