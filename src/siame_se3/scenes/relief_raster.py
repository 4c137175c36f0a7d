"""Triangles to pixels: which triangle of a mesh each pixel's centre sees, exact, with hidden parts left out. Pure PyTorch, batched, on the CPU or a GPU.

Vertices are taken as homogeneous pixels p = (u z, v z, z), and a pixel's ray is r = (u, v, 1). In a triangle of three of them, M = [p0 p1 p2],
r / z = M w with the weights w / sum(w) of the point that is seen, so that what is linear on the triangle, divided by the depth z, is affine in
(u, v); the rows of the inverse of M are both the triangle's edges and its weights, and nothing has to be clipped at the camera's plane
(Olano and Greer 1997). Rows of pixels between the edges are filled, and of all triangles at a pixel the one of the largest 1/z is kept. Neighbours share
their edges to 1e-7 px, and each takes the pixels on them: there are no cracks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from siame_se3.geometry.camera import Camera

_NEAR = 1e-3  # [m] of the camera's plane: what is nearer than this to it is not in front
_INSIDE = 1e-7  # [px] by which a row of pixels is longer at both ends
_DEPTH_BITS = 32  # below a depth's 32 bits, the number of its triangle


@dataclass(frozen=True)
class Seen:
    """What pixels see.

    Attributes:
        row: of the two tables below, for each pixel; -1 where there is no triangle.
        triangle: of each triangle that is in front of a camera, its number.
        weights: coefficients of its three weights over depth: (u of the three, v of the three, 1 of the three), pixels counted from the image's middle.
    """

    row: Int[Tensor, "n h w"]
    triangle: Int[Tensor, "t"]
    weights: Float[Tensor, "t 9"]


def homogeneous_pixels(
    vertices: Float[Tensor, "v 3"], T_wc: Float[Tensor, "n 4 4"], camera: Camera
) -> Float[Tensor, "3 n v"]:
    """(u z, v z, z) of points of the world [px, m], u and v counted from the image's middle."""
    K = camera.K.to(T_wc)
    K[0, 2] -= (camera.width - 1) / 2
    K[1, 2] -= (camera.height - 1) / 2
    R, t = T_wc[:, :3, :3], T_wc[:, :3, 3]
    A = K @ R.mT
    return ((A @ vertices.to(T_wc).T) - A @ t[..., None]).permute(1, 0, 2).contiguous()


def raster(
    pixels: Float[Tensor, "3 n v"],
    faces: Int[Tensor, "f 3"],
    size: tuple[int, int],
    only: Bool[Tensor, "n h w"] | None = None,
) -> Seen:
    """Which triangle each pixel of n images sees.

    Args:
        pixels: the vertices, as `homogeneous_pixels` gives them.
        faces: the vertices of each triangle, clockwise as the camera sees its front; backs are not seen.
        size: of the images (h, w).
        only: pixels that are asked for; the others get no triangle. None for all.
    """
    (h, w), n, f = size, pixels.shape[1], len(faces)
    kept, bottom, top, corners = _in_image(pixels, faces, size, only)
    weights, front = _weights(corners)
    if not bool(front.all()):
        weights, kept, bottom, top = (values[front] for values in (weights, kept, bottom, top))
    image, number = kept // f, kept % f
    if not len(number):
        return Seen(torch.full((n, h, w), -1, device=pixels.device), number, weights)
    # one entry a triangle and row of pixels
    counts = top - bottom + 1
    of = torch.repeat_interleave(counts)
    starts = counts.cumsum(0) - counts
    y = torch.arange(len(of), device=of.device) - (starts - bottom).index_select(0, of)
    planes, v = weights.index_select(0, of), y - (h - 1) / 2
    first, last = _spans(planes, v, w)
    # one entry a pixel and triangle
    lengths = (last - first + 1).clamp_(min=0)
    at = torch.repeat_interleave(lengths)
    begins = lengths.cumsum(0) - lengths
    x = torch.arange(len(at), device=at.device) - (begins - first).index_select(0, at)
    slope, level = planes[:, :3].sum(1), torch.addcmul(planes[:, 6:], planes[:, 3:6], v[:, None]).sum(1)
    q = (x - (w - 1) / 2).mul_(slope.index_select(0, at)).add_(level.index_select(0, at))
    pixel = ((image.index_select(0, of) * h + y) * w).index_select(0, at) + x
    # A positive float's bits grow with it: the largest key is the nearest triangle's.
    key = (q.float().clamp_(min=0).view(torch.int32).long() << _DEPTH_BITS) + of.index_select(0, at) + 1
    nearest = torch.zeros(n * h * w, dtype=torch.long, device=pixels.device).scatter_reduce_(0, pixel, key, "amax")
    row = ((nearest & (2**_DEPTH_BITS - 1)) - 1).reshape(n, h, w)
    return Seen(row if only is None else row.masked_fill_(~only, -1), number, weights)


def _in_image(
    pixels: Tensor, faces: Tensor, size: tuple[int, int], only: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
    """Of triangles that may be seen: their numbers (n f counted through), first and last rows of pixels, and nine coordinates: x y z of each corner."""
    (h, w), (x, y, z) = size, pixels.unbind()
    inverse = z.clamp(min=_NEAR).reciprocal()
    corners = faces.unbind(1)

    def span(values: Tensor) -> tuple[Tensor, Tensor]:
        one, two, three = (values.index_select(1, corner) for corner in corners)
        return torch.minimum(torch.minimum(one, two), three), torch.maximum(torch.maximum(one, two), three)

    (left, right), (low, high), (nearest, farthest) = span(x * inverse), span(y * inverse), span(z)
    left, right = _covered(left, right, w)
    bottom, top = _covered(low, high, h)
    behind = nearest <= _NEAR  # in part: it may be anywhere in the image
    if bool(behind.any()):
        for values, whole in ((left, 0), (right, w - 1), (bottom, 0), (top, h - 1)):
            values.masked_fill_(behind, whole)
    inside = (bottom <= top) & (left <= right) & (farthest > _NEAR)
    if only is not None:
        inside &= _any_within(only, left.long(), right.long(), bottom.long(), top.long())
    kept = inside.reshape(-1).nonzero()[:, 0]
    image, number = kept // len(faces) * pixels.shape[2], kept % len(faces)
    places = [image + corner.index_select(0, number) for corner in corners]
    found = tuple(axis.reshape(-1).index_select(0, place) for place in places for axis in (x, y, z))
    return kept, *(rows.reshape(-1).index_select(0, kept).long() for rows in (bottom, top)), found


def _covered(low: Tensor, high: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First and last pixel between two places, counted from the middle of `size` pixels; none where the last is before the first."""
    middle = (size - 1) / 2
    return (low + (middle - _INSIDE)).ceil_().clamp_(0, size), (high + (middle + _INSIDE)).floor_().clamp_(-1, size - 1)


def _any_within(only: Bool[Tensor, "n h w"], left: Tensor, right: Tensor, bottom: Tensor, top: Tensor) -> Tensor:
    """Which rectangles of pixels (n f), both ends included, have one of those asked for; by sums over the corner's rectangles."""
    n, h, w = only.shape
    sums = torch.nn.functional.pad(only.int().cumsum(1).cumsum(2), (1, 0, 1, 0)).reshape(-1)
    base = torch.arange(n, device=only.device)[:, None] * ((h + 1) * (w + 1))

    def at(y: Tensor, x: Tensor) -> Tensor:
        return sums[base + y * (w + 1) + x]

    r, t, left, bottom = (right + 1).clamp_(0, w), (top + 1).clamp_(0, h), left.clamp(0, w), bottom.clamp(0, h)
    return (at(t, r) - at(bottom, r) - at(t, left) + at(bottom, left)) > 0


def _weights(corners: tuple[Tensor, ...]) -> tuple[Float[Tensor, "t 9"], Bool[Tensor, "t"]]:
    """Weights over depth: (u of three weights, v of three, 1 of three) for each triangle, and which show their front."""
    x0, y0, z0, x1, y1, z1, x2, y2, z2 = corners
    u = (y1 * z2 - z1 * y2, y2 * z0 - z2 * y0, y0 * z1 - z0 * y1)
    v = (z1 * x2 - x1 * z2, z2 * x0 - x2 * z0, z0 * x1 - x0 * z1)
    one = (x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1)
    volume = x0 * u[0] + y0 * v[0] + z0 * one[0]
    front = volume > 1e-12 * (z0 * z1 * z2).abs().clamp(min=1e-12)
    return torch.stack((*u, *v, *one), 1) / volume.masked_fill(~front, 1.0)[:, None], front


def _spans(rows: Float[Tensor, "r 9"], v: Tensor, w: int) -> tuple[Tensor, Tensor]:
    """First and last pixel of each row between a triangle's edges, where all three weights are 0 or more."""
    slope = rows[:, :3]
    level = torch.addcmul(rows[:, 6:], rows[:, 3:6], v[:, None])
    flat = slope.abs() < 1e-30
    cross = -level / slope.masked_fill(flat, 1.0)
    # an edge along the row lets all of it in, or nothing
    aside = flat & (level < 0)
    low = cross.masked_fill((slope < 0) | flat, -torch.inf).amax(1)
    high = cross.masked_fill((slope > 0) | flat, torch.inf).amin(1).masked_fill(aside.any(1), -torch.inf)
    first, last = _covered(low, high, w)
    return first.long(), last.long()
