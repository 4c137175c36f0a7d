"""Laws from the pixels themselves: photometric visual servoing (DVS) and its DCT (DCT-VS). No model, no features, no matches.

DVS (Collewet and Marchand 2011): s = I, the grey levels; e = I - I*; a pixel's row of the interaction matrix is

    L = -(grad I)^T L_point = [Ix/Z, Iy/Z, -(x Ix + y Iy)/Z, -x y Ix - (1 + y^2) Iy, (1 + x^2) Ix + x y Iy, x Iy - y Ix]

with Ix = fx dI/du, Iy = fy dI/dv. Gauss-Newton: v = -L^+ e. Levenberg-Marquardt: v = -(H + mu diag H)^-1 L^T e, H = L^T L.
Both by their 6 x 6 normal equations. Grey levels are 0 to 255, as in ViSP.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from siame_se3.camera import Camera
from siame_se3.control.base import Advice, image_faults, images_of, standing_still
from siame_se3.errors import SiameError
from siame_se3.view import View

_TAPS = (2047 / 8418, 913 / 8418, 112 / 8418)  # ViSP's one-dimensional derivative, 1, 2 and 3 pixels away
_TOGETHER = 2  # runs
_SINGULAR = 1e-7  # least eigenvalue of the scaled normal equations that still gives a velocity


@lru_cache(maxsize=8)
def _luma_weights(dtype: torch.dtype, device: torch.device) -> Float[Tensor, "1 3"]:
    return torch.tensor([[0.299 * 255, 0.587 * 255, 0.114 * 255]], dtype=dtype, device=device)


def luma(images: Float[Tensor, "*B 3 h w"], dtype: torch.dtype) -> Float[Tensor, "*B h w"]:
    """Grey levels, 0 to 255 (ITU-R 601), on the images' device."""
    return (_luma_weights(dtype, images.device) @ images.to(dtype).flatten(-2)).reshape(
        *images.shape[:-3], *images.shape[-2:]
    )


def gradient(grey: Float[Tensor, "*B h w"], border: int) -> tuple[Float[Tensor, "*B y x"], Float[Tensor, "*B y x"]]:
    """dI/du and dI/dv [grey levels per pixel], `border` pixels (3 or more) left out on each side."""
    b, (h, w) = border, grey.shape[-2:]
    rows, columns = grey[..., b : h - b, :], grey[..., :, b : w - b]
    du = dv = None
    for k, tap in enumerate(_TAPS, 1):
        right = rows[..., b + k : w - b + k] - rows[..., b - k : w - b - k]
        down = columns[..., b + k : h - b + k, :] - columns[..., b - k : h - b - k, :]
        du = right * tap if du is None else du.add_(right, alpha=tap)
        dv = down * tap if dv is None else dv.add_(down, alpha=tap)
    assert du is not None
    assert dv is not None
    return du, dv


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
def _box(n: int, side: int, dtype: torch.dtype) -> Float[Tensor, "n n"]:
    """Means over `side` of n samples, fewer at the ends, as a matrix."""
    k = torch.arange(n)
    inside = ((k[:, None] - k).abs() <= side // 2).double()
    return (inside / inside.sum(1, keepdim=True)).to(dtype)


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


@dataclass(frozen=True)
class DVS:
    """Photometric visual servoing (`--law dvs`), and with `coefficients` its DCT (`--law dct`; Marchand 2020).

    Attributes:
        method: Gauss-Newton, or Levenberg-Marquardt.
        interaction: L of the 'current' image, the 'desired' one (computed once), or their 'mean'.
        coefficients: 0 for the pixels themselves; K for the first K coefficients of the image's DCT in zigzag order.
        normalise: what makes the law blind to light: 'none'; 'global', images of zero mean and unit variance, for one
            gain and bias; 'local', the same in a window around each pixel, for lamps and shadows.
        window: of 'local', share of the image's width.
        robust: weigh pixels down that differ much (Tukey's biweight on 4.69 x the median deviation): for things in the way.
        border: pixels left out on each side; 3 at least.
        per_pixel_depth: take the plane's depth at each pixel from the desired pose, where it is known; else one Z, that
            of the desired view's middle.
        Z: that depth [m], where the desired view does not know it.
        mu, mu_late, late: damping, and what it becomes after so many iterations (ViSP's example: 0.01, 1e-4, 90).
        precision: 'f32' or 'f64'.
    """

    method: Literal["gauss-newton", "levenberg-marquardt"] = "levenberg-marquardt"
    interaction: Literal["current", "desired", "mean"] = "desired"
    coefficients: int = 0
    normalise: Literal["none", "global", "local"] = "none"
    window: float = 0.15
    robust: bool = False
    border: int = 10
    per_pixel_depth: bool = False
    Z: float = 0.6
    mu: float = 0.01
    mu_late: float = 1e-4
    late: int = 90
    precision: Literal["f32", "f64"] = "f32"
    needs = frozenset({"image"})

    def __post_init__(self) -> None:
        if self.border < 3:
            raise SiameError(f"dvs: a border of {self.border} px; the gradient needs 3 or more")
        if self.coefficients and (self.robust or self.normalise != "none"):
            raise SiameError("dct: 'robust' and 'normalise' are of the pixels; use dvs for them")

    @property
    def name(self) -> str:
        """For messages."""
        return "dct" if self.coefficients else "dvs"

    def aim(self, target: View) -> DVSLaw:
        """Desired features, and what of their interaction matrix the law needs: its gradients or itself, and its solved normal
        equations where it is the only one."""
        camera = target.camera
        if target.image is None or camera is None:
            raise SiameError(f"{self.name}: the target has no image, or no camera; give the desired photo and --camera")
        if min(camera.size) <= 2 * self.border:
            raise SiameError(
                f"{self.name}: images of {camera.width} x {camera.height} px; they need more than the border"
            )
        images, batch = images_of(target, self.name, camera)
        if faults := [fault for fault in image_faults(images) if fault]:
            raise SiameError(f"{self.name}: the desired image: {faults[0]}; give a photo of the scene")
        n = len(images)
        Z = torch.full((n, 1), self.Z) if target.depth is None else target.depth.reshape(n, 1).cpu()
        inverse_Z = 1 / Z.clamp(min=1e-3)
        if self.per_pixel_depth:
            from siame_se3.render import depth

            if target.T_wc is None:
                raise SiameError("dvs: per-pixel depth needs the desired pose; leave it out, or use a plant with poses")
            b = self.border
            inner = depth(camera, target.T_wc.reshape(n, 4, 4))[:, b : camera.height - b, b : camera.width - b]
            inverse_Z = 1 / inner.flatten(1).clamp(min=1e-3)
        count = torch.zeros(n, dtype=torch.long)
        grey = self.luma(images)
        desired_too = self.interaction != "current"
        s, L = self._features(grey, camera, inverse_Z, desired_too and not self.by_moments)
        gradients = s.new_zeros(n, 0)
        if desired_too and self.by_moments:
            gradients = torch.stack(gradient(self.seen(grey), self.border), 1)
        law = DVSLaw(self, camera, batch, inverse_Z, s, L, gradients, None, count)
        if self.interaction == "desired" and not self.robust:
            H, _ = law.equations(torch.zeros_like(s), L, gradients, None)
            assert H is not None
            factors = self.factors(H)
            law = replace(law, factors=factors * law.scale()[:, None, None] if self.by_moments else factors)
        return law

    @property
    def by_moments(self) -> bool:
        """Whether the normal equations come from moments (see `normal_equations`), or from L itself."""
        return not (self.coefficients or self.per_pixel_depth or self.normalise == "global")

    def factors(self, H: Float[Tensor, "n 6 6"]) -> Float[Tensor, "n 2 6 6"]:
        """-(H + mu diag H)^-1 for the early and the late mu; zero where H is singular."""
        columns = torch.eye(6, dtype=torch.float64).repeat(len(H), 1, 1)
        kinds = []
        for mu in (self.mu, self.mu_late) if self.method == "levenberg-marquardt" else (None, None):
            damping = None if mu is None else torch.full((6 * len(H),), mu, dtype=torch.float64)
            v, _ = solve(H.repeat_interleave(6, 0), columns.flatten(0, 1), damping)
            kinds.append(v.reshape(-1, 6, 6).mT)
        return torch.stack(kinds, 1)

    def luma(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n h w"]:
        """Grey levels in the law's precision, on the CPU, where the rest of the law is computed."""
        return luma(images, torch.float64 if self.precision == "f64" else torch.float32).cpu()

    def seen(self, grey: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
        """What the law looks at: grey levels, of local contrast if asked for."""
        return self._local(grey) if self.normalise == "local" else grey

    def features(
        self, images: Float[Tensor, "n 3 h w"], camera: Camera, inverse_Z: Tensor, with_L: bool = True
    ) -> tuple[Float[Tensor, "n N"], Float[Tensor, "n 6 M"]]:
        """s and L^T of images; L is empty (M = 0, else N) when not asked for."""
        return self._features(self.luma(images), camera, inverse_Z, with_L)

    def _features(self, grey: Tensor, camera: Camera, inverse_Z: Tensor, with_L: bool) -> tuple[Tensor, Tensor]:
        grey = self.seen(grey)
        b, (h, w) = self.border, grey.shape[-2:]
        inner = grey[:, b : h - b, b : w - b]
        s = inner.flatten(1)
        short = self.coefficients > 0 and not self.per_pixel_depth
        L = luminance_interaction(grey, camera, inverse_Z, b) if with_L and not short else s.new_zeros(len(s), 6, 0)
        if self.normalise == "global":
            # n = 100 (I - mean) / std; dn = (100 / std) (I - m - n n^T / (10^4 N)) dI
            mean, std = s.mean(1, keepdim=True), s.std(1, correction=0, keepdim=True).clamp(min=1e-6)
            s = (s - mean) * (100 / std)
            if with_L:
                L = L - L.mean(2, keepdim=True)
                along = (L @ s[..., None]) / (1e4 * s.shape[1])
                L = (L - along * s[:, None]) * (100 / std)[..., None]
        if self.coefficients:
            row, column = zigzag(self.coefficients)
            rows, columns = int(row.max()) + 1, int(column.max()) + 1
            D = dct_basis(inner.shape[1], rows, grey.dtype)
            A = dct_basis(inner.shape[2], columns, grey.dtype)
            s = (D @ inner @ A.mT)[:, row, column]
            if with_L and short:
                L = dct_interaction(grey, camera, b, rows, columns)[:, :, row, column]
                L = torch.cat((L[:, :3] * inverse_Z.to(L)[:, None], L[:, 3:]), 1)
            elif with_L:
                L = (D @ L.reshape(len(L), 6, *inner.shape[1:]) @ A.mT)[:, :, row, column]
        return s, L

    def _local(self, grey: Tensor) -> Tensor:
        """50 (I - mean) / deviation, both over the window; deviations under 2 % of the range count as that."""
        side = 2 * max(2, round(self.window * grey.shape[-1] / 2)) + 1
        down, along = (_box(n, side, grey.dtype) for n in grey.shape[-2:])

        def mean(z: Tensor) -> Tensor:
            return down @ z @ along.T

        middle = grey - mean(grey)
        return middle * (50 * torch.rsqrt(mean(middle.square()) + 5.1**2))


@dataclass(frozen=True, eq=False)
class DVSLaw:
    """See `DVS`. `iteration` counts how often each run has been advised."""

    controller: DVS
    camera: Camera
    batch: torch.Size
    inverse_Z: Tensor
    s_desired: Float[Tensor, "n N"]
    L_desired: Tensor  # L^T (n, 6, N), empty where the normal equations come from moments...
    gradients: Tensor  # ...of the desired image's gradients (n, 2, y, x), which are empty elsewhere
    # With L of the desired image alone: from L^T e (with moments, that at Z = 1) to v, for the early and the late mu.
    factors: Float[Tensor, "n 2 6 6"] | None
    iteration: Tensor

    def __call__(self, view: View) -> Float[Tensor, "*B 6"]:
        return self.advise(view).v

    def advise(self, view: View) -> Advice:
        """v at gain 1; faults where an image is constant or not finite, or where its pixels do not tell the motion."""
        c = self.controller
        images, batch = images_of(view, c.name, self.camera)
        if len(self.s_desired) not in (1, len(images)):
            raise SiameError(
                f"{c.name}: {len(images)} images for {len(self.s_desired)} desired ones; give one, or as many"
            )
        v, cost, faults = self._few(images, slice(None)) if len(images) <= _TOGETHER else self._many(images)
        v, faults = standing_still(v, faults)
        law = replace(self, iteration=self.iteration + 1)
        return Advice(v.reshape(*batch, 6), faults, law, torch.zeros(len(v), dtype=torch.long), cost)

    def _many(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[str, ...]]:
        """As `_few`, a few at a time: their numbers then stay in the processor's caches."""
        starts = range(0, len(images), _TOGETHER)
        parts = [self._few(images[k : k + _TOGETHER], slice(k, k + _TOGETHER)) for k in starts]
        v, cost = (torch.cat(x) for x in zip(*((v, cost) for v, cost, _ in parts), strict=True))
        return v, cost, tuple(fault for _, _, faults in parts for fault in faults)

    def _few(self, images: Tensor, runs: slice) -> tuple[Tensor, Tensor, tuple[str, ...]]:
        """Velocity, cost and faults of some runs' images."""
        c = self.controller
        grey = c.luma(images)
        faults = image_faults(grey[:, None], 255)
        if any(faults):
            grey = grey.nan_to_num(0.0, 0.0, 0.0)
        of = slice(None) if len(self.s_desired) == 1 else runs
        current = c.interaction != "desired"
        L, gradients = self.L_desired[of], self.gradients[of]
        if c.by_moments:
            grey = c.seen(grey)
            b, (h, w) = c.border, grey.shape[1:]
            s = grey[:, b : h - b, b : w - b].flatten(1)
            if current:
                ours = torch.stack(gradient(grey, b), 1)
                gradients = ours if c.interaction == "current" else (ours + gradients) / 2
        else:
            Z = self.inverse_Z if len(self.inverse_Z) == 1 else self.inverse_Z[runs]
            s, ours = c._features(grey, self.camera, Z, current)
            if current:
                L = ours if c.interaction == "current" else (ours + L) / 2
        e = s - self.s_desired[of]
        weight = tukey(e) if c.robust else None
        H, g = self.equations(e, L, gradients, weight, of)
        late = self.iteration[of if len(self.iteration) == 1 else runs] >= c.late
        if self.factors is not None:
            early, later = self.factors[of].unbind(1)
            factor = torch.where(late[:, None, None], later, early) if bool(late.any()) else early
            v = (factor @ g[..., None]).squeeze(-1)
            singular = (factor[:, 0, 0] == 0).expand(len(v))
        else:
            assert H is not None
            damped = c.method == "levenberg-marquardt"
            v, singular = solve(H, g, torch.where(late, c.mu_late, c.mu).double() if damped else None)
        if weight is None:
            cost = torch.linalg.vecdot(e, e) / e.shape[1]
        else:
            cost = (weight * e.square()).sum(1) / weight.sum(1).clamp(min=1)
        faults = tuple(
            f or ("the image's pixels do not tell the motion" if bad else "")
            for f, bad in zip(faults, singular.tolist(), strict=True)
        )
        return v, cost, faults

    def equations(
        self, e: Tensor, L: Tensor, gradients: Tensor, weight: Tensor | None, of: slice = slice(None)
    ) -> tuple[Float[Tensor, "n 6 6"] | None, Float[Tensor, "n 6"]]:
        """L^T W L (None where `factors` stand for it) and L^T W e, from moments or from L. With moments and `factors`, L^T W e is
        that at Z = 1, as `factors` take it."""
        if not self.controller.by_moments:
            we = e if weight is None else weight * e
            wL = L if weight is None else L * weight[:, None]
            # in float64: L^T L of pixels far from Z = 1 is conditioned like 1e6
            H = None if self.factors is not None else wL.double() @ L.double().mT
            return H, (L.double() @ we.double()[..., None]).squeeze(-1)
        h, w = gradients.shape[2:]
        by_pixel = None if weight is None else weight.reshape(-1, h, w)
        with_H = self.factors is None
        H, g = normal_equations(gradients, e.reshape(-1, h, w), by_pixel, self.camera, self.controller.border, with_H)
        if H is None:
            return None, g
        scale = self.scale(of)
        return H * scale[:, :, None] * scale[:, None], g * scale

    def scale(self, of: slice = slice(None)) -> Float[Tensor, "n 6"]:
        """What L at Z = 1 lacks: its first three columns go with 1/Z."""
        q = self.inverse_Z[of if len(self.inverse_Z) > 1 else slice(None)].double()
        return torch.cat((q, q, q, torch.ones_like(q).expand(-1, 3)), 1)

    def updated(self, runs: Tensor, part: DVSLaw) -> DVSLaw:
        """With the iteration counts of some runs."""
        return replace(self, iteration=self.iteration.index_put((runs,), part.iteration))

    def __getitem__(self, index: Any) -> DVSLaw:
        places = torch.arange(len(self.s_desired)).reshape(self.batch)[index]
        flat = places.reshape(-1)
        one_Z = self.inverse_Z if len(self.inverse_Z) == 1 else self.inverse_Z[flat]
        parts = (self.s_desired[flat], self.L_desired[flat], self.gradients[flat])
        factors = None if self.factors is None else self.factors[flat]
        return DVSLaw(self.controller, self.camera, places.shape, one_Z, *parts, factors, self.iteration[flat])


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
    # An axis that moves next to nothing beside its like (metres with metres, radians with radians) is not told either.
    axes = H.diagonal(dim1=1, dim2=2).reshape(-1, 2, 3)
    singular |= (axes.amin(2) <= _SINGULAR * axes.amax(2)).any(1)
    safe = torch.where(singular[:, None, None], torch.eye(6, dtype=A.dtype), factor)
    v = -torch.cholesky_solve(torch.where(singular[:, None], 0.0, g * d)[..., None], safe).squeeze(-1) * d
    return torch.where(singular[:, None], 0.0, v), singular
