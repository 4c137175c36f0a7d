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
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from siame_se3.geometry.camera import Camera

_NEAR = 1e-3  # [m] of the camera's plane: what is nearer than this to it is not in front
_INSIDE = 1e-7  # [px] by which a row of pixels is longer at both ends
_DEPTH_BITS = 32  # a key is a depth's 32 bits above the number of its triangle
_BLOCK = 4  # squares of 2 x 2 px along the sides of the blocks by which triangles away from the pixels asked for are left out


@dataclass(frozen=True)
class Seen:
    """What pixels see.

    Attributes:
        row: of the tables below, for each pixel (or place) that was asked for; -1 where there is no triangle.
        triangle: of each triangle that is in an image, its number.
        weights: coefficients of its three weights over depth: (u of the three, v of the three, 1 of the three), pixels counted from the image's middle.
    """

    row: Int[Tensor, "p"]
    triangle: Int[Tensor, "t"]
    weights: Float[Tensor, "9 t"]


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
    squares: Bool[Tensor, "n half_h half_w"] | None = None,
) -> Seen:
    """Which triangle each pixel of n images sees.

    Args:
        pixels: the vertices, as `homogeneous_pixels` gives them.
        faces: the vertices of each triangle, clockwise as the camera sees its front; backs are not seen.
        size: of the images (h, w).
        squares: which squares of 2 x 2 pixels are asked for: the answer has the pixels of one after the other, four each, row by row. None for all
            pixels of the images, in their order.
    """
    (h, w), n, f = size, pixels.shape[1], len(faces)
    asked = n * h * w if squares is None else 4 * int(squares.sum())
    kept, bottom, top, corners = _in_image(pixels, faces, size, squares)
    weights, front = _weights(corners)
    if not bool(front.all()):
        weights, kept, bottom, top = (values[..., front] for values in (weights, kept, bottom, top))
    number = kept % f
    if not len(number):
        return Seen(torch.full((asked,), -1, device=pixels.device), number, weights)
    # one entry a triangle and row of pixels
    counts = top - bottom + 1
    of = torch.repeat_interleave(counts)
    y = torch.arange(len(of), device=of.device) - (counts.cumsum(0) - counts - bottom).index_select(0, of)
    first, last, slope, level = _spans(weights, of, y - (h - 1) / 2, w)
    # one entry a pixel and triangle
    image = (kept // f).index_select(0, of)
    if squares is None:
        at, x, pixel = _fill_rows(first, last, y, image, size)
    else:
        at, x, pixel = _fill_squares(first, last, y, image, size, squares)
    q = (x - (w - 1) / 2).mul_(slope.index_select(0, at)).add_(level.index_select(0, at))
    # A positive float's bits grow with it: the largest key is the nearest triangle's.
    key = (q.float().clamp_(min=0).view(torch.int32).long() << _DEPTH_BITS).add_(of.index_select(0, at)).add_(1)
    nearest = torch.zeros(asked, dtype=torch.long, device=pixels.device).scatter_reduce_(0, pixel, key, "amax")
    return Seen((nearest & (2**_DEPTH_BITS - 1)).sub_(1), number, weights)


def _counted(lengths: Int[Tensor, "r"], starts: Int[Tensor, "r"]) -> tuple[Tensor, Tensor]:
    """Of all entries of runs of some lengths, one after the other: the number of its run, and its value, from the run's start upwards."""
    at = torch.repeat_interleave(lengths)
    return at, torch.arange(len(at), device=at.device) - (lengths.cumsum(0) - lengths - starts).index_select(0, at)


def _fill_rows(
    first: Tensor, last: Tensor, y: Tensor, image: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Of each pixel in rows `first` to `last`: the number of its row, x, and its number in the images."""
    h, w = size
    at, x = _counted((last - first + 1).clamp_(min=0), first)
    return at, x, ((image * h + y) * w).index_select(0, at).add_(x)


def _fill_squares(
    first: Tensor,
    last: Tensor,
    y: Tensor,
    image: Tensor,
    size: tuple[int, int],
    squares: Bool[Tensor, "n half_h half_w"],
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_fill_rows`, of the pixels of some squares; their numbers are those of `raster`'s answer."""
    (h, w), flat = size, squares.reshape(-1)
    before = F.pad(flat.cumsum(0), (1, 0))  # squares asked for before each one
    line = (image * (h // 2) + (y >> 1)) * (w // 2)
    begin, end = (before.index_select(0, line + (x >> 1)) for x in (first.clamp(max=w - 1), last + 2))
    at, half = _counted(2 * (end - begin) * (first <= last), 2 * begin)
    square = half >> 1
    x = flat.nonzero()[:, 0].remainder_(w // 2).mul_(2).index_select(0, square).add_(half & 1)
    inside = ((x >= first.index_select(0, at)) & (x <= last.index_select(0, at))).nonzero()[:, 0]
    at, x, square = (values.index_select(0, inside) for values in (at, x, square))
    return at, x, square.mul_(4).add_(((y & 1) << 1).index_select(0, at)).add_(x & 1)


def _in_image(
    pixels: Tensor, faces: Tensor, size: tuple[int, int], squares: Tensor | None
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
    if squares is not None:
        inside &= _any_within(squares, left, right, bottom, top)
    kept = inside.reshape(-1).nonzero()[:, 0]
    image, number = kept // len(faces) * pixels.shape[2], kept % len(faces)
    at = [image + corner.index_select(0, number) for corner in corners]
    found = tuple(axis.reshape(-1).index_select(0, corner) for corner in at for axis in (x, y, z))
    bottom, top = (rows.reshape(-1).index_select(0, kept).long() for rows in (bottom, top))
    return kept, bottom, top, found


def _covered(low: Tensor, high: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First and last pixel between two places, counted from the middle of `size` pixels; none where the last is before the first."""
    middle = (size - 1) / 2
    return (low + (middle - _INSIDE)).ceil_().clamp_(0, size), (high + (middle + _INSIDE)).floor_().clamp_(-1, size - 1)


def _any_within(
    squares: Bool[Tensor, "n half_h half_w"], left: Tensor, right: Tensor, bottom: Tensor, top: Tensor
) -> Bool[Tensor, "n f"]:
    """Which rectangles of pixels, both ends included, may have one of those squares: by blocks of them, and their sums from the image's corner."""
    n, h, w = squares.shape
    blocks = F.max_pool2d(squares.float()[:, None], _BLOCK, ceil_mode=True)[:, 0]
    sums = F.pad(blocks.cumsum(1).cumsum(2), (1, 0, 1, 0))
    rows, columns = sums.shape[1:]
    base = torch.arange(n, device=squares.device)[:, None] * (rows * columns)
    side = 2 * _BLOCK  # [px]
    first_x, first_y = (low.clamp(0, 2 * end - 1).long() // side for low, end in ((left, w), (bottom, h)))
    last_x, last_y = (high.clamp(0, 2 * end - 1).long() // side + 1 for high, end in ((right, w), (top, h)))

    def at(y: Tensor, x: Tensor) -> Tensor:
        return sums.reshape(-1)[base + y * columns + x]

    return (at(last_y, last_x) - at(first_y, last_x) - at(last_y, first_x) + at(first_y, first_x)) > 0


def _weights(corners: tuple[Tensor, ...]) -> tuple[Float[Tensor, "9 t"], Bool[Tensor, "t"]]:
    """Weights over depth (`Seen.weights`) of each triangle, and which show their front."""
    x0, y0, z0, x1, y1, z1, x2, y2, z2 = corners
    u = (y1 * z2 - z1 * y2, y2 * z0 - z2 * y0, y0 * z1 - z0 * y1)
    v = (z1 * x2 - x1 * z2, z2 * x0 - x2 * z0, z0 * x1 - x0 * z1)
    one = (x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1)
    volume = x0 * u[0] + y0 * v[0] + z0 * one[0]
    front = volume > 1e-12 * (z0 * z1 * z2).abs().clamp(min=1e-12)
    return torch.stack((*u, *v, *one)) / volume.masked_fill(~front, 1.0), front


def _spans(
    weights: Float[Tensor, "9 t"], of: Int[Tensor, "r"], v: Tensor, w: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of rows of pixels in triangles: the first and the last one where all three weights are 0 or more; inverse depth's slope along u, and level."""
    u_of, v_of, one = weights.reshape(3, 3, -1).unbind()
    # Each weight is 0 at u = start + lean v: the row begins after it where the weight grows along u, or else it ends before it.
    divisor = torch.where(u_of.abs() < 1e-30, 1e-30, u_of)
    start, lean = -one / divisor, -v_of / divisor
    away = torch.full((), 1e60, dtype=start.dtype, device=start.device)
    grows = divisor > 0
    table = torch.cat(
        (start - away * ~grows, start + away * grows, lean, torch.stack((u_of.sum(0), v_of.sum(0), one.sum(0))))
    )
    a, b, c, d, e, f, *leans, slope, along, level = table.index_select(1, of).unbind()
    shifts = [lean.mul_(v) for lean in leans]
    low = torch.maximum(torch.maximum(a.add_(shifts[0]), b.add_(shifts[1])), c.add_(shifts[2]))
    high = torch.minimum(torch.minimum(d.add_(shifts[0]), e.add_(shifts[1])), f.add_(shifts[2]))
    first, last = _covered(low, high, w)
    return first.long(), last.long(), slope, level.addcmul_(along, v)
