"""Lighting, occlusion, noise and blur, on batches of images; all randomness from an explicit generator.

A draw is split from its use: `draw` gives one set of conditions a view (or a run), `apply` puts them on images. So a
benchmark run keeps its lamps and its occluding patch while the camera moves, and only the sensor's noise is new.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from siame_se3.errors import require_number
from siame_se3.files import require_types
from siame_se3.images.blur import gaussian_blur
from siame_se3.images.luma import LUMA
from siame_se3.scenes.bending import bent, displacement, draw_bends
from siame_se3.scenes.optics import jpeg, motion_blurred, toned, vignetted
from siame_se3.scenes.surroundings import draw_surroundings, surrounded

_LIGHT_GRID = 15  # lamps vary slowly: their gain is computed on 15 x 15 points and interpolated


@dataclass(frozen=True)
class Augmentation:
    """How far conditions vary; each field 0 for none.

    Attributes:
        lamps: light spots a view, at most; each view draws 0 to this many.
        lamp_gain: standard deviation of a spot's gain.
        lamp_width: size of a spot (its standard deviation) as a share of the scene's width, mean.
        lamp_width_spread: standard deviation of that size.
        gain: standard deviation of the image's gain around 1.
        bias: standard deviation of the image's bias (grey levels in [0, 1]).
        colour: standard deviation of each channel's own gain around 1.
        noise: standard deviation of sensor noise, at most; each view draws its own up to this.
        occlusion: area of the occluding patch as a share of the image, at most.
        occlusion_rate: share of the views that have a patch.
        blur: standard deviation of the blur [px], at most.
        least: noise, blur and the patch's area are drawn from this share of their most upwards.
        brightness: a factor uniform in 1 +- this...
        contrast: ...a contrast about the image's mean likewise...
        saturation: ...and colours about their grey; as photo editors do it.
        each_frame: a run's patch is drawn again in each frame; else it stays.
        vignetting: share by which the corners are darker, at most.
        motion: length of the motion blur [px], at most, in any direction; a third of the views has one.
        gamma: standard deviation of the logarithm of the tone curve's power.
        jpeg: strength of JPEG's rounding, at most; 1 is about quality 50.
        surroundings: share of the views that see other things beyond the photo than the scene's fill, and beyond a straight line anywhere:
            random colours, as what is there is not known, and another picture of the place ends elsewhere.
        bend: displacement of what a view shows against the view of a flat scene by a pinhole camera, standard deviation, at most [share of
            the image]: smooth, as by a lens's distortion and a surface that is not quite flat.
    """

    lamps: int = 4
    lamp_gain: float = 0.2
    lamp_width: float = 0.5
    lamp_width_spread: float = 0.2
    gain: float = 0.2
    bias: float = 0.1
    colour: float = 0.05
    noise: float = 0.02
    occlusion: float = 0.15
    occlusion_rate: float = 0.8
    blur: float = 0.0
    least: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    each_frame: bool = False
    vignetting: float = 0.0
    motion: float = 0.0
    gamma: float = 0.0
    jpeg: float = 0.0
    surroundings: float = 0.0
    bend: float = 0.0

    def __post_init__(self) -> None:
        require_types(self)
        require_number(self, "lamps", 0, whole=True)
        for name in ("occlusion", "occlusion_rate", "least", "surroundings"):
            require_number(self, name, 0, 1)
        for name in ("lamp_gain", "lamp_width", "lamp_width_spread", "gain", "bias", "colour", "noise", "blur"):
            require_number(self, name, 0)
        for name in ("brightness", "contrast", "saturation", "motion", "gamma", "jpeg", "bend"):
            require_number(self, name, 0)
        require_number(self, "vignetting", 0, 1)

    def scaled(self, strength: float) -> Augmentation:
        """The same kinds at a share of their strength, as the curriculum raises it."""
        s = strength
        return replace(
            self,
            lamp_gain=self.lamp_gain * s,
            gain=self.gain * s,
            bias=self.bias * s,
            colour=self.colour * s,
            noise=self.noise * s,
            occlusion=self.occlusion * s,
            blur=self.blur * s,
            brightness=self.brightness * s,
            contrast=self.contrast * s,
            saturation=self.saturation * s,
            vignetting=self.vignetting * s,
            motion=self.motion * s,
            gamma=self.gamma * s,
            jpeg=self.jpeg * s,
            surroundings=min(1.0, self.surroundings * s),
            bend=self.bend * s,
        )


NONE = Augmentation(lamps=0, gain=0, bias=0, colour=0, noise=0, occlusion=0, occlusion_rate=0, blur=0)


@dataclass(frozen=True)
class Conditions:
    """One draw for n views. Lamps are fixed on the plane, the patch in the image."""

    lamp_xy: Float[Tensor, "n k 2"]  # middle of each spot on the plane [m]
    lamp_width: Float[Tensor, "n k"]  # [m]
    lamp_gain: Float[Tensor, "n k"]
    gain: Float[Tensor, "n 3"]
    bias: Float[Tensor, "n"]
    noise: Float[Tensor, "n"]
    patch: Float[Tensor, "n 4"]  # left, top, right, bottom, shares of the image; empty where there is none
    patch_colour: Float[Tensor, "n 3"]
    blur: Float[Tensor, "n"]  # [px]
    jitter: Float[Tensor, "n 3"]  # factors of brightness, contrast and saturation
    optics: Float[Tensor, "n 5"]  # vignetting, length [px] and angle [rad] of the motion blur, gamma, strength of JPEG
    around: Float[Tensor, "n 3 g g"]  # colours beyond the photo and a line; see `draw_surroundings`
    line: Float[Tensor, "n 3"]
    bend: Float[Tensor, "n 2 m m"]  # displacements in x and y [share of the image]; see `draw_bends`

    def __getitem__(self, index: Tensor) -> Conditions:
        return Conditions(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def to(self, device: torch.device) -> Conditions:
        """The same on another device."""
        return Conditions(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def draw(n: int, augmentation: Augmentation, size: tuple[float, float], generator: torch.Generator) -> Conditions:
    """Draw the conditions of n views of a scene of `size` (width, height) [m]."""
    a = augmentation
    width, height = size

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    k = a.lamps
    strengths = [a.brightness, a.contrast, a.saturation]
    on = (torch.arange(k) < (uniform(n, 1) * (k + 1)).floor()).float()
    patch = draw_patches(n, a, generator)
    drawn = Conditions(
        lamp_xy=(uniform(n, k, 2) - 0.5) * torch.tensor([width, height]),
        lamp_width=(a.lamp_width + a.lamp_width_spread * normal(n, k)).abs().clamp(min=0.05) * width,
        lamp_gain=a.lamp_gain * normal(n, k) * on,
        gain=(1 + a.gain * normal(n, 1)).clamp(min=0.2) * (1 + a.colour * normal(n, 3)).clamp(min=0.2),
        bias=a.bias * normal(n),
        noise=a.noise * (a.least + (1 - a.least) * uniform(n)),
        patch=patch,
        patch_colour=uniform(n, 3),
        blur=a.blur * (a.least + (1 - a.least) * uniform(n)),
        jitter=1 + (2 * uniform(n, 3) - 1) * torch.tensor(strengths) if any(strengths) else torch.ones(n, 3),
        optics=_draw_optics(n, a, generator),
        around=torch.zeros(n, 3, 0, 0),
        line=torch.zeros(n, 3),
        bend=torch.zeros(n, 2, 0, 0),
    )
    # Last, so that seeds of before give what they gave.
    around, line = draw_surroundings(n, a.surroundings, generator)
    return replace(drawn, around=around, line=line, bend=draw_bends(n, a.bend, generator))


_PLAIN = (0.0, 0.0, 0.0, 1.0, 0.0)  # optics that leave an image as it is


def _draw_optics(n: int, a: Augmentation, generator: torch.Generator) -> Float[Tensor, "n 5"]:
    """As `Conditions.optics`; nothing is drawn where there is none, so that seeds of before give what they gave."""
    if not any((a.vignetting, a.motion, a.gamma, a.jpeg)):
        return torch.tensor(_PLAIN).repeat(n, 1)
    share = torch.rand(n, 4, generator=generator)
    gamma = torch.exp(a.gamma * torch.randn(n, generator=generator))
    parts = (
        share[:, 0] * a.vignetting,
        (3 * share[:, 1] - 2).clamp(min=0) * a.motion,
        share[:, 2] * math.pi,
        gamma,
        share[:, 3] * a.jpeg,
    )
    return torch.stack(parts, 1)


def draw_patches(n: int, augmentation: Augmentation, generator: torch.Generator) -> Float[Tensor, "n 4"]:
    """An occluding rectangle for each of n views, as `Conditions.patch`."""
    a = augmentation

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    area = a.occlusion * (a.least + (1 - a.least) * uniform(n))
    aspect = torch.exp((2 * uniform(n) - 1) * 0.7)
    w, h = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    left, top = uniform(n) * (1 - w), uniform(n) * (1 - h)
    has_patch = (uniform(n) < a.occlusion_rate).float()
    return torch.stack((left, top, left + w * has_patch, top + h * has_patch), 1)


def _lamps(c: Conditions, plane_from_pixel: Tensor, h: int, w: int) -> Tensor:
    """Gain of the light spots, (n, 1, h, w): 1 + sum of Gaussians on the plane."""
    device = plane_from_pixel.device
    v, u = torch.meshgrid(
        torch.linspace(0, h - 1, _LIGHT_GRID, device=device),
        torch.linspace(0, w - 1, _LIGHT_GRID, device=device),
        indexing="ij",
    )
    pixels = torch.stack((u, v, torch.ones_like(u)), -1).reshape(-1, 3)
    mapped = pixels @ plane_from_pixel.float().mT
    z = mapped[..., 2:]
    xy = mapped[..., :2] / torch.where(z.abs() < 1e-9, torch.full_like(z, 1e-9), z)
    d2 = ((xy[:, :, None] - c.lamp_xy[:, None]) ** 2).sum(-1)
    gain = 1 + (c.lamp_gain[:, None] * torch.exp(-d2 / (2 * c.lamp_width[:, None] ** 2))).sum(-1)
    gain = gain.clamp(min=0.1).reshape(-1, 1, _LIGHT_GRID, _LIGHT_GRID)
    return F.interpolate(gain, size=(h, w), mode="bilinear", align_corners=True)


def _jitter(images: Tensor, factors: Float[Tensor, "n 3"]) -> Tensor:
    """Brightness, then contrast about the image's mean grey, then saturation about each pixel's; clamped after each, as editors do."""
    brightness, contrast, saturation = factors[:, :, None, None, None].unbind(1)
    weights = images.new_tensor(LUMA)[:, None, None]

    def grey(z: Tensor) -> Tensor:
        return (z * weights).sum(1, keepdim=True)

    images = (images * brightness).clamp_(0, 1)
    images = grey(images).mean((2, 3), keepdim=True).lerp(images, contrast).clamp_(0, 1)
    return grey(images).lerp(images, saturation).clamp_(0, 1)


def apply(
    images: Float[Tensor, "n 3 h w"],
    conditions: Conditions,
    plane_from_pixel: Float[Tensor, "n 3 3"],
    generators: torch.Generator | list[torch.Generator] | None,
    mask: Bool[Tensor, "n h w"] | None = None,
) -> Float[Tensor, "n 3 h w"]:
    """Images under the conditions: surroundings, bend, blur, lamps, gain and bias, jitter, patch, noise, then clamped to [0, 1] as a sensor
    does; the lens's vignetting is before the patch, the camera's tone curve and JPEG after the noise.

    Args:
        generators: for the noise: one for the batch, or one an image (so that a run's noise does not depend on the
            batch that it is in), or None for no noise.
        mask: pixels that see the photo; where the conditions have something else beyond it, the others show that. None: all do.
    """
    c, (h, w) = conditions, images.shape[-2:]
    if c.around.shape[-1]:
        images = surrounded(images, c.around, c.line, mask)
    if c.bend.shape[-1]:
        images = bent(images, displacement(c.bend, h, w))
    if bool((c.blur > 0.05).any()):
        images = gaussian_blur(images, c.blur)
    gain = c.gain[:, :, None, None]
    if c.lamp_gain.shape[1] and bool((c.lamp_gain != 0).any()):
        gain = gain * _lamps(c, plane_from_pixel, h, w)
    images = torch.addcmul(c.bias[:, None, None, None].to(images), images, gain)
    if bool((c.jitter != 1).any()):
        images = _jitter(images, c.jitter)
    optics = bool((c.optics != c.optics.new_tensor(_PLAIN)).any())
    if optics:
        images = vignetted(motion_blurred(images, c.optics[:, 1], c.optics[:, 2]), c.optics[:, 0])
    left, top, right, bottom = (c.patch * c.patch.new_tensor([w, h, w, h])).unbind(1)
    u, v = torch.arange(w, device=images.device) + 0.5, torch.arange(h, device=images.device) + 0.5
    columns = (u >= left[:, None]) & (u < right[:, None])
    rows = (v >= top[:, None]) & (v < bottom[:, None])
    covered = (rows[:, :, None] & columns[:, None, :])[:, None]
    images = torch.where(covered, c.patch_colour[:, :, None, None], images)
    if generators is not None and bool((c.noise > 0).any()):
        if isinstance(generators, torch.Generator):
            noise = torch.randn(images.shape, generator=generators, device=generators.device).to(images.device)
        else:
            noise = torch.stack([torch.randn(images.shape[1:], generator=g) for g in generators]).to(images.device)
        images = images + noise * c.noise[:, None, None, None]
    if optics:
        images = images.clamp(0, 1)
        images = toned(images, c.optics[:, 3]) if bool((c.optics[:, 3] != 1).any()) else images
        images = jpeg(images, c.optics[:, 4]) if bool((c.optics[:, 4] > 0).any()) else images
    return images.clamp_(0, 1)
