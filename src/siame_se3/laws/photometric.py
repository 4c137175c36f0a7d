"""Laws from the pixels themselves: photometric visual servoing (DVS) and its DCT (DCT-VS). No model, no features, no matches.

DVS (Collewet and Marchand 2011): s = I, the grey levels; e = I - I*; a pixel's row of the interaction matrix is

    L = -(grad I)^T L_point = [Ix/Z, Iy/Z, -(x Ix + y Iy)/Z, -x y Ix - (1 + y^2) Iy, (1 + x^2) Ix + x y Iy, x Iy - y Ix]

with Ix = fx dI/du, Iy = fy dI/dv. Gauss-Newton: v = -L^+ e. Levenberg-Marquardt: v = -(H + mu diag H)^-1 L^T e, H = L^T L.
Both by their 6 x 6 normal equations. Grey levels are 0 to 255, as in ViSP.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry.camera import Camera
from siame_se3.images.gradients import gradient
from siame_se3.images.luma import luma
from siame_se3.laws.luminance import (
    current_images,
    dct_basis,
    dct_interaction,
    desired_images,
    luminance_interaction,
    normal_equations,
    solve,
    tukey,
    zigzag,
)
from siame_se3.laws.types import Advice, View, image_faults, standing_still

_TOGETHER = 2  # runs


@lru_cache(maxsize=8)
def _box(n: int, side: int, dtype: torch.dtype) -> Float[Tensor, "n n"]:
    """Means over `side` of n samples, fewer at the ends, as a matrix."""
    k = torch.arange(n)
    inside = ((k[:, None] - k).abs() <= side // 2).double()
    return (inside / inside.sum(1, keepdim=True)).to(dtype)


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
        camera, images, batch, depth_known = desired_images(target, self.name, self.border)
        n = len(images)
        Z = torch.full((n, 1), self.Z) if depth_known is None else depth_known[:, None]
        inverse_Z = 1 / Z.clamp(min=1e-3)
        if self.per_pixel_depth:
            from siame_se3.geometry.plane import depth

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
        images, batch = current_images(view, c.name, self.camera, len(self.s_desired))
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
