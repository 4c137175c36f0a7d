"""Laws from the pixels themselves: photometric visual servoing (DVS) and its DCT (DCT-VS). No model, no features, no matches.

DVS (Collewet and Marchand 2011): s = I, the grey levels; e = I - I*; a pixel's row of the interaction matrix is

    L = -(grad I)^T L_point = [Ix/Z, Iy/Z, -(x Ix + y Iy)/Z, -x y Ix - (1 + y^2) Iy, (1 + x^2) Ix + x y Iy, x Iy - y Ix]

with Ix = fx dI/du, Iy = fy dI/dv. Gauss-Newton: v = -L^+ e. Levenberg-Marquardt: v = -(H + mu diag H)^-1 L^T e, H = L^T L.
Both by their 6 x 6 normal equations. Grey levels are 0 to 255, as in ViSP.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError, LawError, require_number
from siame_se3.files import require_types
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import depth
from siame_se3.images.contrast import contrast
from siame_se3.images.gradients import gradient
from siame_se3.images.luma import luma
from siame_se3.laws.goal_depth import GoalDepth
from siame_se3.laws.luminance import (
    dct_basis,
    dct_interaction,
    desired_images,
    luminance_interaction,
    normal_equations,
    solve,
    tukey,
    zigzag,
)
from siame_se3.laws.normalise import globally_normalised, locally_normalised
from siame_se3.laws.photometric_state import DVSState
from siame_se3.laws.types import Law, Output, View
from siame_se3.laws.validity import image_faults, images_of, standing_still

_TOGETHER = 2  # runs


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
        robust: weigh pixels down that differ much (Tukey's biweight on 4.69 x the median deviation): for occlusions.
        border: pixels left out on each side; 3 at least.
        per_pixel_depth: take the plane's depth at each pixel from the desired pose; else one Z, that of the desired view's middle. A desired
            view with a map of depths has its own at each pixel, in any case.
        Z: that depth [m], where the desired view does not know it.
        mu: damping (ViSP's example: 0.01).
        mu_late: damping after the first iterations (1e-4).
        late: iterations with the first damping (ViSP's example: 90).
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
        require_types(self, "dvs")
        for name in ("window", "Z"):
            require_number(self, name, 0, open_low=True)
        for name in ("mu", "mu_late"):
            require_number(self, name, 0)
        for name in ("coefficients", "late"):
            require_number(self, name, 0, whole=True)
        require_number(self, "border", whole=True)
        if self.border < 3:
            raise InputError(f"dvs: a border of {self.border} px; the gradient needs 3 or more", "dvs.border")
        if self.coefficients and (self.robust or self.normalise != "none"):
            raise InputError("dct: 'robust' and 'normalise' are of the pixels; use dvs for them", "law")

    @property
    def name(self) -> str:
        """For messages."""
        return "dct" if self.coefficients else "dvs"

    def aim(self, target: View) -> tuple[Law, DVSState]:
        """Desired features, and what of their interaction matrix the law needs: its gradients or itself, and its solved normal
        equations where it is the only one.

        Raises:
            LawError: a target without image or camera, or without the pose that per-pixel depth needs.
        """
        camera, images, depth_known = desired_images(target, self.name, self.border)
        known = GoalDepth.of(target, self.name)
        if known is not None:
            inverse, trust = known.inner(self.border)
            return replace(self, per_pixel_depth=True)._aimed(camera, images, inverse.flatten(1), trust.flatten(1))
        n = len(images)
        Z = torch.full((n, 1), self.Z) if depth_known is None else depth_known[:, None]
        inverse_Z = 1 / Z.clamp(min=1e-3)
        if self.per_pixel_depth:
            if target.T_wc is None:
                raise LawError("dvs: per-pixel depth needs the desired pose; leave it out, or use a plant with poses")
            b = self.border
            inner = depth(camera, target.T_wc)[:, b : camera.height - b, b : camera.width - b]
            inverse_Z = 1 / inner.flatten(1).clamp(min=1e-3)
        return self._aimed(camera, images, inverse_Z, None)

    def _aimed(
        self, camera: Camera, images: Float[Tensor, "n 3 h w"], inverse_Z: Tensor, trust: Float[Tensor, "n N"] | None
    ) -> tuple[Law, DVSState]:
        n = len(images)
        grey = self.luma(images)
        desired_too = self.interaction != "current"
        s, L = self._features(grey, camera, inverse_Z, desired_too and not self.by_moments, trust)
        gradients = s.new_zeros(n, 0)
        if desired_too and self.by_moments:
            gradients = torch.stack(gradient(self.seen(grey), self.border), 1)
        law = _DVSLaw(self, camera)
        state = DVSState(
            inverse_Z, s, L, gradients, None, trust, contrast(grey[:, None]), torch.zeros(n, dtype=torch.long)
        )
        if self.interaction == "desired" and not self.robust:
            H, _ = law.equations(state, torch.zeros_like(s), L, gradients, self.weight(trust))
            assert H is not None
            factors = self.factors(H)
            factors = factors * _scale(inverse_Z)[:, None, None] if self.by_moments else factors
            state = replace(state, factors=factors)
        return law, state

    def weight(self, trust: Float[Tensor, "n N"] | None) -> Float[Tensor, "n N"] | None:
        """Of each pixel, by its depth; the DCT's coefficients have none: what is not to be relied on is taken out of the image before."""
        return None if self.coefficients else trust

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
        return locally_normalised(grey, self.window) if self.normalise == "local" else grey

    def features(
        self, images: Float[Tensor, "n 3 h w"], camera: Camera, inverse_Z: Tensor, with_L: bool = True
    ) -> tuple[Float[Tensor, "n N"], Float[Tensor, "n 6 M"]]:
        """s and L^T of images; L is empty (M = 0, else N) when not asked for."""
        return self._features(self.luma(images), camera, inverse_Z, with_L, None)

    def _features(
        self, grey: Tensor, camera: Camera, inverse_Z: Tensor, with_L: bool, trust: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        grey = self.seen(grey)
        b, (h, w) = self.border, grey.shape[-2:]
        inner = grey[:, b : h - b, b : w - b]
        s = inner.flatten(1)
        short = self.coefficients > 0 and not self.per_pixel_depth
        L = luminance_interaction(grey, camera, inverse_Z, b) if with_L and not short else s.new_zeros(len(s), 6, 0)
        if self.normalise == "global":
            s, L = globally_normalised(s, L)
        if self.coefficients:
            row, column = zigzag(self.coefficients)
            rows, columns = int(row.max()) + 1, int(column.max()) + 1
            D = dct_basis(inner.shape[1], rows, grey.dtype)
            A = dct_basis(inner.shape[2], columns, grey.dtype)
            kept = inner.new_ones(()) if trust is None else trust.reshape(len(inner), *inner.shape[1:]).to(inner)
            s = (D @ (inner * kept) @ A.mT)[:, row, column]
            if with_L and short:
                L = dct_interaction(grey, camera, b, rows, columns)[:, :, row, column]
                L = torch.cat((L[:, :3] * inverse_Z.to(L)[:, None], L[:, 3:]), 1)
            elif with_L:
                kept = kept[:, None] if kept.ndim else kept
                L = (D @ (L.reshape(len(L), 6, *inner.shape[1:]) * kept) @ A.mT)[:, :, row, column]
        return s, L


@dataclass(frozen=True)
class _DVSLaw:
    """See `DVS`."""

    controller: DVS
    camera: Camera

    def __call__(self, view: View, state: DVSState) -> tuple[Output, DVSState]:
        """v at gain 1; faults where an image is constant or not finite, or where its pixels do not determine the motion. A few runs at a time:
        their numbers then stay in the processor's caches."""
        images = images_of(view, self.controller.name, self.camera, len(state.s_desired))
        starts = range(0, len(images), _TOGETHER)
        parts = [self._some(images[k : k + _TOGETHER], state[k : k + _TOGETHER]) for k in starts]
        v, cost = (torch.cat(x) for x in zip(*((v, cost) for v, cost, _ in parts), strict=True))
        v, faults = standing_still(v, tuple(fault for *_, faults in parts for fault in faults))
        return Output.of(v, faults, cost), replace(state, iteration=state.iteration + 1)

    def _some(self, images: Tensor, state: DVSState) -> tuple[Tensor, Tensor, tuple[str, ...]]:
        """Velocity, cost and faults of some runs."""
        c = self.controller
        grey = c.luma(images)
        faults = image_faults(grey[:, None], 255, state.contrast)
        if any(faults):
            grey = grey.nan_to_num(0.0, 0.0, 0.0)
        s, L, gradients = self._current(grey, state)
        e = s - state.s_desired
        weight = c.weight(state.trust)
        if c.robust:
            weight = tukey(e) if weight is None else weight * tukey(e)
        H, g = self.equations(state, e, L, gradients, weight)
        late = state.iteration >= c.late
        if state.factors is not None:
            early, later = state.factors.unbind(1)
            factor = torch.where(late[:, None, None], later, early) if bool(late.any()) else early
            v = (factor @ g[..., None]).squeeze(-1)
            singular = factor[:, 0, 0] == 0
        else:
            assert H is not None
            damped = c.method == "levenberg-marquardt"
            v, singular = solve(H, g, torch.where(late, c.mu_late, c.mu).double() if damped else None)
        if weight is None:
            cost = torch.linalg.vecdot(e, e) / e.shape[1]
        else:
            cost = (weight * e.square()).sum(1) / weight.sum(1).clamp(min=1)
        faults = tuple(
            f or ("the image's pixels do not determine the motion" if bad else "")
            for f, bad in zip(faults, singular.tolist(), strict=True)
        )
        return v, cost, faults

    def _current(self, grey: Tensor, state: DVSState) -> tuple[Tensor, Tensor, Tensor]:
        """Features of the current images, and L^T or the gradients that the law takes: theirs, the desired ones, or their mean."""
        c = self.controller
        L, gradients = state.L_desired, state.gradients
        of_current = c.interaction != "desired"
        if not c.by_moments:
            s, ours = c._features(grey, self.camera, state.inverse_Z, of_current, state.trust)
            if of_current:
                L = ours if c.interaction == "current" else (ours + L) / 2
            return s, L, gradients
        grey = c.seen(grey)
        b, (h, w) = c.border, grey.shape[1:]
        if of_current:
            ours = torch.stack(gradient(grey, b), 1)
            gradients = ours if c.interaction == "current" else (ours + gradients) / 2
        return grey[:, b : h - b, b : w - b].flatten(1), L, gradients

    def equations(
        self, state: DVSState, e: Tensor, L: Tensor, gradients: Tensor, weight: Tensor | None
    ) -> tuple[Float[Tensor, "n 6 6"] | None, Float[Tensor, "n 6"]]:
        """L^T W L (None where the state's `factors` stand for it) and L^T W e, from moments or from L. With moments and `factors`,
        L^T W e is that at Z = 1, as `factors` take it."""
        if not self.controller.by_moments:
            we = e if weight is None else weight * e
            wL = L if weight is None else L * weight[:, None]
            # in float64: L^T L of pixels far from Z = 1 is conditioned like 1e6
            H = None if state.factors is not None else wL.double() @ L.double().mT
            return H, (L.double() @ we.double()[..., None]).squeeze(-1)
        h, w = gradients.shape[2:]
        by_pixel = None if weight is None else weight.reshape(-1, h, w)
        with_H = state.factors is None
        H, g = normal_equations(gradients, e.reshape(-1, h, w), by_pixel, self.camera, self.controller.border, with_H)
        if H is None:
            return None, g
        scale = _scale(state.inverse_Z)
        return H * scale[:, :, None] * scale[:, None], g * scale


def _scale(inverse_Z: Float[Tensor, "n 1"]) -> Float[Tensor, "n 6"]:
    """What L at Z = 1 lacks: its first three columns go with 1/Z."""
    q = inverse_Z.double()
    return torch.cat((q, q, q, torch.ones_like(q).expand(-1, 3)), 1)
