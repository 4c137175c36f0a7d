"""Laws from poses and points: PBVS, point IBVS, 2 1/2 D. Teachers of the network, and baselines.

All at gain 1, in the current camera frame. With x = X/Z, y = Y/Z in the current camera, x* in the desired one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.laws.types import Controller, View


def pbvs_velocity(T_dc: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 6"]:
    """v = -(R_dc^T t_dc, theta u(R_dc)): the paper's Eq. 3, a straight line of the camera in space."""
    R, t = T_dc[..., :3, :3], T_dc[..., :3, 3:]
    return -torch.cat(((R.mT @ t).squeeze(-1), lie.so3_log(R)), -1)


def point_interaction_matrix(
    x: Float[Tensor, "*B"], y: Float[Tensor, "*B"], Z: Float[Tensor, "*B"]
) -> Float[Tensor, "*B 2 6"]:
    """Interaction matrix of an image point (Chaumette and Hutchinson 2006, Part I, Eq. 11); x, y at f = 1, Z [m]."""
    zero = torch.zeros_like(x)
    row_x = torch.stack((-1 / Z, zero, x / Z, x * y, -(1 + x * x), y), -1)
    row_y = torch.stack((zero, -1 / Z, y / Z, 1 + y * y, -x * y, -x), -1)
    return torch.stack((row_x, row_y), -2)


def _pose_of(view: View, law: str) -> Tensor:
    if view.T_wc is None:
        raise SiameError(f"{law}: the view has no pose; use a plant that provides poses")
    return view.T_wc


@dataclass(frozen=True)
class PBVS:
    """Position-based visual servoing with known poses (Eq. 3): error decays as exp(-lambda t) on a straight line."""

    needs = frozenset({"pose"})

    def aim(self, target: View) -> PBVSLaw:
        """Law towards the target's pose."""
        return PBVSLaw(lie.inverse(_pose_of(target, "pbvs")))


@dataclass(frozen=True)
class PBVSLaw:
    """See `PBVS`."""

    T_dw: Float[Tensor, "*B 4 4"]

    def __call__(self, view: View) -> Float[Tensor, "*B 6"]:
        return pbvs_velocity(self.T_dw @ _pose_of(view, "pbvs"))

    def __getitem__(self, index: Any) -> PBVSLaw:
        return PBVSLaw(self.T_dw[index])


def _desired_points(T_wd: Tensor, half: float) -> Tensor:
    """Four points of the plane z = 0 [m], (*B, 4, 3), seen by the desired camera in a square of +-half at f = 1."""
    corners = torch.tensor([[-half, -half, 1], [half, -half, 1], [half, half, 1], [-half, half, 1]]).to(T_wd)
    rays = corners @ T_wd[..., :3, :3].mT
    t = T_wd[..., None, :3, 3]
    return t - rays * (t[..., 2:] / rays[..., 2:])


@dataclass(frozen=True)
class PointIBVS:
    """IBVS on four points of the plane: v = -L^+ (s - s*).

    Attributes:
        half: the points are at (+-half, +-half) in the desired image at f = 1.
        interaction: which L: 'current', 'desired' or 'mean' of both.
    """

    half: float = 0.2
    interaction: Literal["current", "desired", "mean"] = "current"
    needs = frozenset({"pose"})

    def aim(self, target: View) -> PointIBVSLaw:
        """Points and interaction matrix of the desired view."""
        T_wd = _pose_of(target, "ibvs")
        points = _desired_points(T_wd, self.half)
        seen = (points - T_wd[..., None, :3, 3]) @ T_wd[..., :3, :3]
        x, y, Z = seen.unbind(-1)
        s = torch.stack((x / Z, y / Z), -1) / 1.0
        return PointIBVSLaw(points, s, point_interaction_matrix(x / Z, y / Z, Z), self.interaction)


@dataclass(frozen=True)
class PointIBVSLaw:
    """See `PointIBVS`."""

    points: Float[Tensor, "*B 4 3"]
    s_desired: Float[Tensor, "*B 4 2"]
    L_desired: Float[Tensor, "*B 4 2 6"]
    interaction: str

    def __call__(self, view: View) -> Float[Tensor, "*B 6"]:
        T_wc = _pose_of(view, "ibvs")
        x, y, Z = ((self.points - T_wc[..., None, :3, 3]) @ T_wc[..., :3, :3]).unbind(-1)
        Z = Z.clamp(min=1e-3)  # a point behind the camera: out of the method's reach, but finite
        s = torch.stack((x / Z, y / Z), -1)
        L = self.L_desired
        if self.interaction != "desired":
            current = point_interaction_matrix(s[..., 0], s[..., 1], Z)
            L = current if self.interaction == "current" else (current + L) / 2
        e = (s - self.s_desired).flatten(-2)
        return -(torch.linalg.pinv(L.flatten(-3, -2).expand(*e.shape, 6)) @ e[..., None]).squeeze(-1)

    def __getitem__(self, index: Any) -> PointIBVSLaw:
        return PointIBVSLaw(self.points[index], self.s_desired[index], self.L_desired[index], self.interaction)


@dataclass(frozen=True)
class Hybrid:
    """2 1/2 D visual servoing: s = (x, y, log Z) of the point on the desired optical axis, and theta u for rotation.

    Malis, Chaumette, Boudet 1999; Chaumette and Hutchinson 2007, Part II. omega = -theta u(R_dc);
    v = -L_v^-1 (e + L_w omega), e = (x - x*, y - y*, log(Z/Z*)).
    """

    needs = frozenset({"pose"})

    def aim(self, target: View) -> HybridLaw:
        """Reference point and rotation of the desired view."""
        T_wd = _pose_of(target, "2.5d")
        points = _desired_points(T_wd, 0.0)[..., 0, :]
        Z = ((points - T_wd[..., :3, 3])[..., None, :] @ T_wd[..., :3, :3]).squeeze(-2)[..., 2]
        return HybridLaw(points, Z, T_wd[..., :3, :3])


@dataclass(frozen=True)
class HybridLaw:
    """See `Hybrid`."""

    point: Float[Tensor, "*B 3"]
    Z_desired: Float[Tensor, "*B"]
    R_wd: Float[Tensor, "*B 3 3"]

    def __call__(self, view: View) -> Float[Tensor, "*B 6"]:
        T_wc = _pose_of(view, "2.5d")
        R = T_wc[..., :3, :3]
        X, Y, Z = ((self.point - T_wc[..., :3, 3])[..., None, :] @ R).squeeze(-2).unbind(-1)
        Z = Z.clamp(min=1e-3)
        x, y = X / Z, Y / Z
        e = torch.stack((x, y, torch.log(Z / self.Z_desired)), -1)
        omega = -lie.so3_log(self.R_wd.mT @ R)
        L_w = torch.stack(
            (
                torch.stack((x * y, -(1 + x * x), y), -1),
                torch.stack((1 + y * y, -x * y, -x), -1),
                torch.stack((-y, x, torch.zeros_like(x)), -1),
            ),
            -2,
        )
        rhs = e + (L_w @ omega[..., None]).squeeze(-1)
        # L_v = [[-1, 0, x], [0, -1, y], [0, 0, -1]] / Z, solved from below.
        vz = Z * rhs[..., 2]
        vx = Z * rhs[..., 0] + x * vz
        vy = Z * rhs[..., 1] + y * vz
        return torch.cat((torch.stack((vx, vy, vz), -1), omega), -1)

    def __getitem__(self, index: Any) -> HybridLaw:
        return HybridLaw(self.point[index], self.Z_desired[index], self.R_wd[index])


TEACHERS: dict[str, Controller] = {"pbvs": PBVS(), "ibvs": PointIBVS(), "2.5d": Hybrid()}
