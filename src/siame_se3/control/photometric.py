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
_SINGULAR = 1e-7  # least eigenvalue of the scaled normal equations that still gives a velocity


def luma(images: Float[Tensor, "*B 3 h w"], dtype: torch.dtype) -> Float[Tensor, "*B h w"]:
    """Grey levels, 0 to 255 (ITU-R 601)."""
    weights = images.new_tensor([0.299 * 255, 0.587 * 255, 0.114 * 255], dtype=dtype)
    red, green, blue = images.to(dtype).unbind(-3)
    return torch.add(red * weights[0], green, alpha=float(weights[1])).add_(blue, alpha=float(weights[2]))


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
    grey: Float[Tensor, "n h w"], camera: Camera, inverse_Z: Float[Tensor, "n m"], border: int
) -> Float[Tensor, "n 6 N"]:
    """L^T of the grey levels, pixels in row order; `inverse_Z` [1/m] a view (m = 1) or a pixel (m = N)."""
    du, dv = (g.flatten(1)[:, None] for g in gradient(grey, border))
    near_u, near_v, far_u, far_v = _rows(camera, border, grey.dtype)
    q = inverse_Z.to(grey.dtype)[:, None]
    if q.shape[-1] == 1 and len(q) == 1:
        return torch.addcmul(du * (near_u * q + far_u)[0], dv, (near_v * q + far_v)[0])
    return torch.addcmul(du * (near_u * q + far_u), dv, near_v * q + far_v)


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
        """Desired features and, unless L is of the current image only, their interaction matrix and its normal equations."""
        camera = target.camera
        if target.image is None or camera is None:
            raise SiameError(f"{self.name}: the target has no image, or no camera; give the desired photo and --camera")
        if min(camera.size) <= 2 * self.border:
            raise SiameError(
                f"{self.name}: images of {camera.width} x {camera.height} px; they need more than the border"
            )
        batch = target.image.shape[:-3]
        images = target.image.reshape(-1, *target.image.shape[-3:])
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
        s, L = self.features(images, camera, inverse_Z)
        count = torch.zeros(n, dtype=torch.long)
        return DVSLaw(self, camera, batch, inverse_Z, s, L, L @ L.mT, count)

    def features(
        self, images: Float[Tensor, "n 3 h w"], camera: Camera, inverse_Z: Tensor, with_L: bool = True
    ) -> tuple[Float[Tensor, "n N"], Float[Tensor, "n 6 N"]]:
        """s and L^T of images; L is empty when not asked for."""
        dtype = torch.float64 if self.precision == "f64" else torch.float32
        grey = luma(images, dtype)
        if self.normalise == "local":
            grey = self._local(grey)
        b, (h, w) = self.border, grey.shape[-2:]
        inner = grey[:, b : h - b, b : w - b]
        s = inner.flatten(1)
        L = luminance_interaction(grey, camera, inverse_Z, b) if with_L else s.new_zeros(len(s), 6, 0)
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
            D = dct_basis(inner.shape[1], int(row.max()) + 1, dtype)
            A = dct_basis(inner.shape[2], int(column.max()) + 1, dtype)
            s = (D @ inner @ A.mT)[:, row, column]
            if with_L:
                L = (D @ L.reshape(len(L), 6, *inner.shape[1:]) @ A.mT)[:, :, row, column]
        return s, L

    def _local(self, grey: Tensor) -> Tensor:
        """50 (I - mean) / deviation, both over the window; deviations under 2 % of the range count as that."""
        side = 2 * max(2, round(self.window * grey.shape[-1] / 2)) + 1

        def mean(z: Tensor) -> Tensor:
            z = F.avg_pool2d(z[:, None], (side, 1), 1, (side // 2, 0), count_include_pad=False)
            return F.avg_pool2d(z, (1, side), 1, (0, side // 2), count_include_pad=False)[:, 0]

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
    L_desired: Float[Tensor, "n 6 N"]
    H_desired: Float[Tensor, "n 6 6"]
    iteration: Tensor

    def __call__(self, view: View) -> Float[Tensor, "*B 6"]:
        return self.advise(view).v

    def error(self, view: View) -> Float[Tensor, "*B N"]:
        """e = s - s*."""
        images, _ = images_of(view, self.controller.name, self.camera)
        s, _ = self.controller.features(images, self.camera, self.inverse_Z, with_L=False)
        return (s - self.s_desired).reshape(*self.batch, -1)

    def advise(self, view: View) -> Advice:
        """v at gain 1; faults where an image is constant or not finite, or where its pixels do not tell the motion."""
        c = self.controller
        images, batch = images_of(view, c.name, self.camera)
        faults = image_faults(images)
        if any(faults):
            images = images.nan_to_num(0.0, 0.0, 0.0)
        s, L = c.features(images, self.camera, self.inverse_Z, with_L=c.interaction != "desired")
        e = s - self.s_desired
        H = None
        if c.interaction == "desired":
            L, H = self.L_desired, self.H_desired
        elif c.interaction == "mean":
            L = (L + self.L_desired) / 2
        cost = e.square().mean(1)
        if c.robust:
            w = tukey(e)
            cost = (w * e.square()).sum(1) / w.sum(1).clamp(min=1)
            e, H = w * e, (L * w[:, None]) @ L.mT
        if H is None:
            H = L @ L.mT
        g = (L @ e[..., None]).squeeze(-1)
        mu = torch.where(self.iteration < c.late, c.mu, c.mu_late) if c.method == "levenberg-marquardt" else None
        v, singular = solve(H, g, mu)
        faults = tuple(
            f or ("the image's pixels do not tell the motion" if bad else "")
            for f, bad in zip(faults, singular.tolist(), strict=True)
        )
        v, faults = standing_still(v, faults)
        law = replace(self, iteration=self.iteration + 1)
        stage = torch.zeros(len(v), dtype=torch.long)
        return Advice(v.reshape(*batch, 6), faults, law, stage, cost)

    def updated(self, runs: Tensor, part: DVSLaw) -> DVSLaw:
        """With the iteration counts of some runs."""
        return replace(self, iteration=self.iteration.index_put((runs,), part.iteration))

    def __getitem__(self, index: Any) -> DVSLaw:
        places = torch.arange(len(self.s_desired)).reshape(self.batch)[index]
        flat = places.reshape(-1)
        one_Z = self.inverse_Z if len(self.inverse_Z) == 1 else self.inverse_Z[flat]
        parts = (self.s_desired[flat], self.L_desired[flat], self.H_desired[flat], self.iteration[flat])
        return DVSLaw(self.controller, self.camera, places.shape, one_Z, *parts)


def tukey(e: Float[Tensor, "n N"]) -> Float[Tensor, "n N"]:
    """Weights (1 - (e / 4.69 sigma)^2)^2, 0 beyond; sigma = 1.48 x the median of |e - median|, one grey level at least.

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
