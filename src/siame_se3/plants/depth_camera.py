"""What a depth camera makes of true depths: noise that grows with Z^2, holes at edges, where a stereo pair's second camera does not see, and out of range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from siame_se3.errors import InputError, require_number
from siame_se3.files import require_types
from siame_se3.geometry.camera import Camera
from siame_se3.images.blur import gaussian_blur


@dataclass(frozen=True)
class DepthCamera:
    """A depth camera whose map is registered to the image; the defaults are those of active stereo of 5 cm baseline.

    Attributes:
        noise: standard deviation of a depth of 1 m [m]; that of Z is Z^2 as large, as of triangulated ones.
        grain: size of the noise's patches [px] (standard deviation of a Gaussian): matching windows make neighbours err alike.
        nearest, farthest: range [m]; nothing is known of what is outside.
        edge: nothing is known within this of an edge [px].
        jump: that is an edge, from a pixel to the next, as a share of the depth.
        baseline: of the stereo pair [m]: nothing is known of what only one of the two sees; 0 for none.
        specks: share of pixels without a depth for no reason that could be seen.
        step: depths are whole multiples of this [m]; 0 for none.

    Raises:
        InputError: a value that no camera has.
    """

    noise: float = 0.0015
    grain: float = 1.5
    nearest: float = 0.3
    farthest: float = 4.0
    edge: int = 2
    jump: float = 0.02
    baseline: float = 0.05
    specks: float = 0.005
    step: float = 0.001

    def __post_init__(self) -> None:
        require_types(self, "depth camera")
        for name in ("noise", "grain", "nearest", "baseline", "step"):
            require_number(self, name, 0)
        require_number(self, "edge", 0, 64, whole=True)
        require_number(self, "jump", 0, open_low=True)
        require_number(self, "specks", 0, 1)
        if not self.farthest > self.nearest:
            raise InputError(
                f"depth camera: a range from {self.nearest} to {self.farthest} m; give a farther end", "farthest"
            )

    @staticmethod
    def ideal() -> DepthCamera:
        """True depths, all of them."""
        return DepthCamera(
            noise=0.0, grain=0.0, nearest=0.0, farthest=math.inf, edge=0, baseline=0.0, specks=0.0, step=0.0
        )

    def measure(
        self, Z: Float[Tensor, "n h w"], camera: Camera, generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "n h w"]:
        """What it says of true depths along z [m]; NaN where it knows nothing.

        Args:
            camera: of the map.
            generators: one a map, of its noise.
        """
        measured = Z.clone()
        size = Z.shape[1:]
        if self.noise > 0:
            noise = torch.stack([torch.randn(size, generator=g) for g in generators]).to(Z)
            measured = measured + self.noise * Z.square() * self._grained(noise)
        if self.specks > 0:
            unlucky = torch.stack([torch.rand(size, generator=g) for g in generators]).to(Z) < self.specks
            measured = measured.masked_fill(unlucky, torch.nan)
        if self.step > 0:
            measured = (measured / self.step).round() * self.step
        unknown = (self.nearest > Z) | (self.farthest < Z) | (measured <= 0)
        if self.edge > 0:
            unknown |= self._near_edges(Z)
        if self.baseline > 0:
            unknown |= self._seen_by_one(Z, camera)
        return measured.masked_fill(unknown, torch.nan)

    def _grained(self, noise: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
        """Blurred, and again of standard deviation 1."""
        if self.grain == 0:
            return noise
        sigma = torch.full((len(noise),), self.grain, device=noise.device)
        reach = 6 * math.ceil(self.grain) + 1
        point = torch.zeros(1, 1, 2 * reach + 1, 2 * reach + 1)
        point[..., reach, reach] = 1
        gain = gaussian_blur(point, sigma[:1].cpu()).square().sum().sqrt()
        return gaussian_blur(noise[:, None], sigma)[:, 0] / gain.to(noise)

    def _near_edges(self, Z: Float[Tensor, "n h w"]) -> Bool[Tensor, "n h w"]:
        """Pixels within `edge` of a jump, or of the end of what there is."""
        known = torch.where(Z.isfinite(), Z, 1e6)
        jumps = torch.zeros_like(known)
        for axis in (1, 2):
            a, b = known.narrow(axis, 0, Z.shape[axis] - 1), known.narrow(axis, 1, Z.shape[axis] - 1)
            jump = ((a - b).abs() > self.jump * torch.minimum(a, b)).to(known)
            for start in (0, 1):
                part = jumps.narrow(axis, start, Z.shape[axis] - 1)
                part.copy_(torch.maximum(part, jump))
        return F.max_pool2d(jumps[:, None], 2 * self.edge - 1, 1, self.edge - 1)[:, 0] > 0

    def _seen_by_one(self, Z: Float[Tensor, "n h w"], camera: Camera) -> Bool[Tensor, "n h w"]:
        """Pixels that a second camera to the right does not see: of those farther right, one is at the same place there, or before it."""
        disparity = torch.where(Z.isfinite(), self.baseline * camera.fx / Z, 0.0)
        there = torch.arange(Z.shape[2], device=Z.device) - disparity
        first = there.flip(2).cummin(2).values.flip(2)
        return F.pad(first[:, :, 1:], (0, 1), value=math.inf) <= there
