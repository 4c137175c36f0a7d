"""Images as photometric laws take them: grey levels, gradients, interaction matrices, their normal equations, the DCT. Pure functions.

A pixel's row of the luminance's interaction matrix (Collewet and Marchand 2011) is

    L = -(grad I)^T L_point = [Ix/Z, Iy/Z, -(x Ix + y Iy)/Z, -x y Ix - (1 + y^2) Iy, (1 + x^2) Ix + x y Iy, x Iy - y Ix]

with Ix = fx dI/du, Iy = fy dI/dv: a polynomial in x and y times the image's gradients.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import LawError
from siame_se3.geometry.camera import Camera
from siame_se3.images.gradients import gradient
from siame_se3.laws.types import View
from siame_se3.laws.validity import image_faults, images_of

_SINGULAR = 1e-7  # least eigenvalue of the scaled normal equations that still gives a velocity


def desired_images(
    target: View, name: str, border: int
) -> tuple[Camera, Float[Tensor, "n 3 h w"], Float[Tensor, "n"] | None]:
    """Of desired views, what every photometric law starts from: their camera, images, and the plane's depth where known.

    Args:
        name: of the law, for the error.
        border: pixels that the law leaves out on each side.

    Raises:
        LawError: no image or camera, an image of little more than the border, without contrast, or not finite.
    """
    camera = target.camera
    if target.image is None or camera is None:
        raise LawError(f"{name}: the target has no image or no camera; give the goal image and its camera", "camera")
    if min(camera.size) <= 2 * border:
        raise LawError(f"{name}: images of {camera.width} x {camera.height} px; they need more than the border")
    images = images_of(target, name, camera)
    if faults := [fault for fault in image_faults(images) if fault]:
        raise LawError(f"{name}: the goal image: {faults[0]}; give a photo of the scene")
    return camera, images, None if target.distance is None else target.distance.cpu()


@lru_cache(maxsize=8)
def _rows(camera: Camera, border: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What multiplies dI/du and dI/dv in L, split in the part that goes with 1/Z and the rest: 4 x (6, N)."""
    u, v = camera.pixel_grid(torch.float64).unbind(-1)
    inner = (slice(border, u.shape[0] - border), slice(border, u.shape[1] - border))
    x, y = ((u - camera.cx) / camera.fx)[inner].flatten(), ((v - camera.cy) / camera.fy)[inner].flatten()
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    near_u = torch.stack((one, zero, -x, zero, zero, zero)) * camera.fx
    near_v = torch.stack((zero, one, -y, zero, zero, zero)) * camera.fy
    far_u = torch.stack((zero, zero, zero, -x * y, 1 + x * x, -y)) * camera.fx
    far_v = torch.stack((zero, zero, zero, -(1 + y * y), x * y, x)) * camera.fy
    return near_u.to(dtype), near_v.to(dtype), far_u.to(dtype), far_v.to(dtype)


def luminance_interaction(
    grey: Float[Tensor, "n h w"], camera: Camera, inverse_Z: Float[Tensor, "k m"], border: int
) -> Float[Tensor, "n 6 N"]:
    """L^T of the grey levels, pixels in row order; `inverse_Z` [1/m] of all views (k = 1) or each (k = n), and a view (m = 1) or
    a pixel (m = N)."""
    du, dv = (g.flatten(1)[:, None] for g in gradient(grey, border))
    near_u, near_v, far_u, far_v = _rows(camera, border, grey.dtype)
    q = inverse_Z.to(grey.dtype)[:, None]
    if q.shape[-1] == 1 and len(q) == 1:
        return torch.addcmul(du * (near_u * q + far_u)[0], dv, (near_v * q + far_v)[0])
    return torch.addcmul(du * (near_u * q + far_u), dv, near_v * q + far_v)


def polynomials(camera: Camera, border: int) -> tuple[Tensor, Tensor, Tensor]:
    """x (width) and y (height) inside the border, and (2, 6, 3, 3): at Z = 1 a pixel's row of L is the sum over r and p of
    y^r x^p ([0, :, r, p] dI/du + [1, :, r, p] dI/dv). float64."""
    f64 = torch.float64
    x = (torch.arange(border, camera.width - border, dtype=f64) - camera.cx) / camera.fx
    y = (torch.arange(border, camera.height - border, dtype=f64) - camera.cy) / camera.fy
    a, b = torch.zeros(2, 6, 3, 3, dtype=f64)
    a[0, 0, 0], a[2, 0, 1], a[3, 1, 1], a[4, 0, 0], a[4, 0, 2], a[5, 1, 0] = 1, -1, -1, 1, 1, -1
    b[1, 0, 0], b[2, 1, 0], b[3, 0, 0], b[3, 2, 0], b[4, 1, 1], b[5, 0, 1] = 1, -1, -1, -1, 1, 1
    return x, y, torch.stack((a * camera.fx, b * camera.fy))


def squares_to_H(factors: Float[Tensor, "2 6 3 3"]) -> Float[Tensor, "75 36"]:
    """From the moments (up to 4 in y and x) of (dI/du)^2, dI/du dI/dv and (dI/dv)^2 to L^T L at Z = 1; `factors` of `polynomials`."""
    a, b = factors

    def product(p: Tensor, q: Tensor) -> Tensor:
        out = p.new_zeros(6, 6, 5, 5)
        for r in range(3):
            for k in range(3):
                out[:, :, r : r + 3, k : k + 3] += p[:, None, r : r + 1, k : k + 1] * q[None]
        return out

    H = torch.stack((product(a, a), product(a, b) + product(b, a), product(b, b)))
    return H.permute(0, 3, 4, 1, 2).reshape(75, 36)


@lru_cache(maxsize=8)
def _moment_maps(camera: Camera, border: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Powers of x (width, 5) and of y (5, height) inside the border, and the maps from moments to L^T L (75, 36) and L^T e (50, 6).

    L^T L is linear in the moments sum x^p y^r (dI/du)^2, sum x^p y^r dI/du dI/dv, sum x^p y^r (dI/dv)^2 (p, r from 0 to 4), and
    L^T e in those of e dI/du, e dI/dv.
    """
    x, y, factors = polynomials(camera, border)
    g = F.pad(factors, (0, 2, 0, 2))
    powers = torch.arange(5, dtype=torch.float64)
    return (
        (x[:, None] ** powers).to(dtype),
        (y[:, None] ** powers).T.to(dtype).contiguous(),
        squares_to_H(factors),
        g.permute(0, 2, 3, 1).reshape(50, 6),
    )


def normal_equations(
    gradients: Float[Tensor, "m 2 h w"],
    e: Float[Tensor, "n h w"],
    weight: Float[Tensor, "n h w"] | None,
    camera: Camera,
    border: int,
    with_H: bool = True,
) -> tuple[Float[Tensor, "n 6 6"] | None, Float[Tensor, "n 6"]]:
    """L^T W L and L^T W e at Z = 1, in float64, from image gradients (dI/du, dI/dv; m = n or 1) and errors inside the border; L itself
    (six numbers a pixel) is never made."""
    X, Y, to_H, to_g = _moment_maps(camera, border, e.dtype)
    weighted = gradients if weight is None else gradients * weight[:, None]

    def moments(images: Tensor) -> Tensor:
        return (Y @ images @ X).double().flatten(1)  # Y first: it is the quicker order

    g = moments(weighted * e[:, None]) @ to_g
    if not with_H:
        return None, g
    squares = torch.cat((weighted * gradients[:, :1], weighted[:, 1:] * gradients[:, 1:]), 1)  # uu, vu, vv
    return (moments(squares) @ to_H).unflatten(1, (6, 6)), g


@lru_cache(maxsize=8)
def dct_basis(n: int, rows: int, dtype: torch.dtype) -> Float[Tensor, "rows n"]:
    """The first rows of the orthonormal DCT-II of n samples."""
    k, i = torch.arange(rows, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    basis = torch.cos(math.pi * (2 * i + 1) * k / (2 * n)) * math.sqrt(2 / n)
    basis[0] /= math.sqrt(2)
    return basis.to(dtype)


@lru_cache(maxsize=8)
def zigzag(k: int) -> tuple[Tensor, Tensor]:
    """Row and column of the first k DCT coefficients in JPEG's order: (0,0) (0,1) (1,0) (2,0) (1,1) (0,2) ..."""
    places: list[tuple[int, int]] = []
    diagonal = 0
    while len(places) < k:
        line = [(diagonal - c, c) for c in range(diagonal + 1)]
        places += line if diagonal % 2 == 0 else line[::-1]
        diagonal += 1
    index = torch.tensor(places[:k])
    return index[:, 0], index[:, 1]


@lru_cache(maxsize=8)
def _dct_maps(
    camera: Camera, border: int, rows: int, columns: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """The DCT's first rows times 1, y, y^2 (3 rows, height), its first columns times 1, x, x^2 (width, 3 columns), and how
    the DCTs of y^r x^p dI/du and y^r x^p dI/dv make the columns of L_s at Z = 1: (6, 2, 3, 3)."""
    x, y, factors = polynomials(camera, border)
    powers = torch.arange(3, dtype=torch.float64)[:, None, None]
    down = (dct_basis(len(y), rows, torch.float64) * y**powers).flatten(0, 1)
    along = (dct_basis(len(x), columns, torch.float64) * x**powers).flatten(0, 1).T
    return down.to(dtype), along.to(dtype).contiguous(), factors.transpose(0, 1).to(dtype)


def dct_interaction(
    grey: Float[Tensor, "n h w"], camera: Camera, border: int, rows: int, columns: int
) -> Float[Tensor, "n 6 rows columns"]:
    """L_s^T at Z = 1 of an image's first DCT coefficients: the DCT of L's columns, which are polynomials times gradients, so
    that L itself is never made."""
    down, along, factors = _dct_maps(camera, border, rows, columns, grey.dtype)
    parts = down @ torch.stack(gradient(grey, border), 1) @ along
    return torch.einsum("kgrp,ngripj->nkij", factors, parts.unflatten(3, (3, columns)).unflatten(2, (3, rows)))


def tukey(e: Float[Tensor, "n N"]) -> Float[Tensor, "n N"]:
    """Weights (1 - (r / 4.69 sigma)^2)^2, 0 beyond, with r = e - median and sigma = 1.48 x the median of |r|, one grey level at least.

    The medians are those of every seventh pixel: sorting them all would take longer than the rest of the law.
    """
    some = e[:, ::7]
    middle = some.median(1, keepdim=True).values
    r = e - middle
    sigma = (1.4826 * (some - middle).abs().median(1, keepdim=True).values).clamp(min=1.0)
    return (1 - (r / (4.69 * sigma)).square()).clamp(min=0).square()


def solve(
    H: Float[Tensor, "n 6 6"], g: Float[Tensor, "n 6"], mu: Float[Tensor, "n"] | None = None
) -> tuple[Float[Tensor, "n 6"], Tensor]:
    """-(H + mu diag H)^-1 g, and which runs are singular (theirs is zero). In float64: H may be conditioned like 1e6.

    H is scaled by its diagonal first, so that singular does not depend on units.
    """
    H, g = H.double(), g.double()
    d = H.diagonal(dim1=1, dim2=2).clamp(min=1e-300).rsqrt()
    A = H * d[:, :, None] * d[:, None, :]
    if mu is not None:
        A = A + torch.diag_embed(A.diagonal(dim1=1, dim2=2) * mu.double()[:, None])
    factor, info = torch.linalg.cholesky_ex(A)
    singular = (info > 0) | (factor.diagonal(dim1=1, dim2=2).square().amin(1) < _SINGULAR) | ~g.isfinite().all(1)
    # An axis that moves next to nothing beside its like (metres with metres, radians with radians) is not determined either.
    axes = H.diagonal(dim1=1, dim2=2).reshape(-1, 2, 3)
    singular |= (axes.amin(2) <= _SINGULAR * axes.amax(2)).any(1)
    safe = torch.where(singular[:, None, None], torch.eye(6, dtype=A.dtype), factor)
    v = -torch.cholesky_solve(torch.where(singular[:, None], 0.0, g * d)[..., None], safe).squeeze(-1) * d
    return torch.where(singular[:, None], 0.0, v), singular
