"""The depth of a goal image's pixels, as laws take it: without holes, and with how far each pixel's depth can be relied on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from siame_se3.errors import LawError
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pnp import rays_of
from siame_se3.laws.types import State, View

_STEP = 0.05  # of the depth between neighbours: more is an edge of what lies in front, not a slope
_SMALL = 5  # side of a window that a small hole does not fill [px]
_DENSE, _SPARSE = 0.5, 0.03  # more than which is known around a small hole; and in a map of single pixels
_LEAST_KNOWN = 0.05  # share of the pixels that have to have a depth
_LEAST_TRUSTED = 0.01  # and inside a surface


@dataclass(frozen=True, eq=False)
class GoalDepth(State):
    """Of each goal image.

    Attributes:
        inverse: 1/Z [1/m], at holes a mean of the known pixels around.
        known: 1 where it is, 0 at holes.
        trust: 1 where the depth is known and its neighbours are of one surface, 0 at holes and at edges: there a pixel shows now
            one thing and then another, and its depth is often a mean of both.
    """

    inverse: Float[Tensor, "n h w"]
    known: Float[Tensor, "n h w"]
    trust: Float[Tensor, "n h w"]
    FIXED: ClassVar[frozenset[str]] = frozenset({"inverse", "known", "trust"})

    @staticmethod
    def of(target: View, name: str) -> GoalDepth | None:
        """Of desired views; None where they have no map.

        Args:
            name: of the law, for the error.

        Raises:
            LawError: a map of another size than the image, or one in which hardly a pixel is known.
        """
        Z = target.depth_map
        if Z is None or target.image is None:
            return None
        Z = Z.detach().cpu().float()
        if Z.shape[-2:] != target.image.shape[-2:]:
            (h, w), (y, x) = Z.shape[-2:], target.image.shape[-2:]
            raise LawError(
                f"{name}: a goal depth of {w} x {h} px beside an image of {x} x {y}; give one depth a pixel", "depth"
            )
        known = Z.isfinite() & (Z > 0)
        share = known.flatten(1).float().mean(1)
        if float(share.min()) < _LEAST_KNOWN:
            raise LawError(
                f"{name}: {100 * float(share.min()):.0f} % of the goal image's pixels have a depth; give a map with more, or the distance "
                "of a plane",
                "depth",
            )
        q, known, trust = _surfaces(torch.where(known, 1 / torch.where(known, Z, 1.0), 0.0), known)
        if float(trust.flatten(1).float().mean(1).min()) < _LEAST_TRUSTED:
            raise LawError(
                f"{name}: nearly none of the goal image's depths has neighbours that are within {100 * _STEP:.0f} % of it (noise, or wrong numbers); give "
                "a smoother map, or the distance of a plane",
                "depth",
            )
        return GoalDepth(_filled(q, known.float()), known.float(), trust.float())

    def inner(self, border: int) -> tuple[Float[Tensor, "n y x"], Float[Tensor, "n y x"]]:
        """1/Z and trust, without `border` pixels on each side."""
        h, w = self.inverse.shape[-2:]
        cut = (slice(None), slice(border, h - border), slice(border, w - border))
        return self.inverse[cut], self.trust[cut]

    def at(self, pixels: Float[Tensor, "n p 2"]) -> tuple[Float[Tensor, "n p"], Bool[Tensor, "n p"]]:
        """The depth [m] of the pixel nearest to each of these, and where it is known; 1 where not."""
        h, w = self.inverse.shape[-2:]
        u, v = pixels.round().nan_to_num(-1, -1, -1).long().unbind(-1)
        inside = (u >= 0) & (u < w) & (v >= 0) & (v < h)
        place = torch.where(inside, v * w + u, 0)
        inverse, known = (z.flatten(1).gather(1, place) for z in (self.inverse, self.known))
        good = inside & (known > 0)
        return 1 / torch.where(good, inverse, 1.0).to(pixels.dtype), good

    def points(self, camera: Camera, run: int, pixels: np.ndarray) -> np.ndarray:
        """Points (p, 3) of one run's goal image at pixels (p, 2), in its camera's frame [m]: at the depth of the nearest pixel, which is of one thing;
        at the camera (z = 0), so in front of none, where that is a hole."""
        Z, known = self[run : run + 1].at(torch.from_numpy(np.asarray(pixels, np.float64))[None])
        points: np.ndarray = rays_of(camera, pixels) * (Z * known)[0].numpy()[:, None]
        return points


def _surfaces(q: Float[Tensor, "n h w"], known: Bool[Tensor, "n h w"]) -> tuple[Tensor, Tensor, Tensor]:
    """1/Z with small holes closed, where it is known, and where that is inside a surface.

    A depth camera's pixels that are put one by one into a finer colour image leave more than half of its pixels out, evenly: there a hole is small where
    any are around it.
    """
    closed, whole = _closed(q, known, _DENSE)
    trust = whole & ~_edges(closed, whole)
    sparse = trust.flatten(1).sum(1) < 0.25 * known.flatten(1).sum(1)
    if bool(sparse.any()):
        here = sparse[:, None, None]
        other, more = _closed(q, known, _SPARSE)
        closed, whole = torch.where(here, other, closed), torch.where(here, more, whole)
        trust = torch.where(here, more & ~_edges(other, more), trust)
    return closed, whole, trust


def _closed(q: Float[Tensor, "n h w"], known: Bool[Tensor, "n h w"], least: float) -> tuple[Tensor, Tensor]:
    """With small holes in the middle of a surface closed, by the mean around: a depth camera leaves out single pixels anywhere, and whole strips
    at edges. A hole is small where more than a share `least` around it is known."""
    inside, values = known.float()[:, None], q[:, None]
    share = F.avg_pool2d(inside, _SMALL, 1, _SMALL // 2, count_include_pad=False)
    mean = F.avg_pool2d(values * inside, _SMALL, 1, _SMALL // 2, count_include_pad=False) / share.clamp(min=1e-12)
    low, high = _range(q, known, _SMALL)
    small = ~known & (share > least)[:, 0] & (high <= (1 + _STEP) * low)
    return torch.where(small, mean[:, 0], q), known | small


def _range(q: Tensor, known: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The least and the largest known q around each pixel."""
    padding = side // 2
    least = -F.max_pool2d(torch.where(known, -q, -torch.inf)[:, None], side, 1, padding)
    most = F.max_pool2d(torch.where(known, q, -torch.inf)[:, None], side, 1, padding)
    return least[:, 0], most[:, 0]


def _edges(q: Float[Tensor, "n h w"], known: Tensor) -> Tensor:
    """Pixels next to whom 1/Z steps by more than `_STEP`, or to a hole."""
    least, most = _range(q, known, 3)
    hole = F.max_pool2d((~known[:, None]).float(), 3, 1, 1)[:, 0] > 0
    return (most > (1 + _STEP) * least) | hole


def _filled(q: Float[Tensor, "n h w"], known: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """q, at holes the mean of the known ones in the finest copy of the image, of those halved again and again, that has any there."""
    if bool((known > 0).all()):
        return q
    (h, w), sums, counts = q.shape[-2:], [(q * known)[:, None]], [known[:, None]]
    while max(sums[-1].shape[-2:]) > 1:
        for copies in (sums, counts):
            copies.append(F.avg_pool2d(copies[-1], 2, ceil_mode=True))
    filled = sums[-1] / counts[-1].clamp(min=1e-12)
    for total, count in zip(sums[-2::-1], counts[-2::-1], strict=True):
        coarser = F.interpolate(filled, scale_factor=2.0)[..., : total.shape[-2], : total.shape[-1]]
        filled = torch.where(count > 0, total / count.clamp(min=1e-12), coarser)
    return filled[:, 0, :h, :w]
