"""Laws from poses and points: PBVS, point IBVS, 2 1/2 D. Teachers of the network, and baselines.

All at gain 1, in the current camera frame. With x = X/Z, y = Y/Z in the current camera, x* in the desired one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import LawError
from siame_se3.files import require_types
from siame_se3.geometry import lie
from siame_se3.laws.types import Controller, Law, Output, State, View
from siame_se3.laws.validity import require_batch


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


def _pose_of(view: View, law: str, goals: int | None = None) -> Float[Tensor, "n 4 4"]:
    if view.T_wc is None:
        raise LawError(f"{law}: the view has no pose in the scene's frame; use a plant that provides poses")
    require_batch(view, law, goals)
    return view.T_wc


@dataclass(frozen=True)
class PBVS:
    """Position-based visual servoing with known poses (Eq. 3): error decays as exp(-lambda t) on a straight line."""

    needs = frozenset({"pose"})

    def aim(self, target: View) -> tuple[Law, PBVSState]:
        """Towards the target's pose."""
        return self.law, PBVSState(lie.inverse(_pose_of(target, "pbvs")))

    @staticmethod
    def law(view: View, state: PBVSState) -> tuple[Output, PBVSState]:
        """v of Eq. 3."""
        return Output.of(pbvs_velocity(state.T_dw @ _pose_of(view, "pbvs", len(state.T_dw)))), state


@dataclass(frozen=True, eq=False)
class PBVSState(State):
    """See `PBVS`."""

    T_dw: Float[Tensor, "n 4 4"]
    FIXED: ClassVar[frozenset[str]] = frozenset({"T_dw"})


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

    def __post_init__(self) -> None:
        require_types(self, "ibvs")

    def aim(self, target: View) -> tuple[Law, PointState]:
        """Points and interaction matrix of the desired view."""
        T_wd = _pose_of(target, "ibvs")
        points = _desired_points(T_wd, self.half)
        seen = (points - T_wd[..., None, :3, 3]) @ T_wd[..., :3, :3]
        x, y, Z = seen.unbind(-1)
        s = torch.stack((x / Z, y / Z), -1)
        return self.law, PointState(points, s, point_interaction_matrix(x / Z, y / Z, Z))

    def law(self, view: View, state: PointState) -> tuple[Output, PointState]:
        """v = -L^+ (s - s*)."""
        T_wc = _pose_of(view, "ibvs", len(state.points))
        x, y, Z = ((state.points - T_wc[..., None, :3, 3]) @ T_wc[..., :3, :3]).unbind(-1)
        Z = Z.clamp(min=1e-3)  # a point behind the camera: out of the method's reach, but finite
        s = torch.stack((x / Z, y / Z), -1)
        L = state.L_desired
        if self.interaction != "desired":
            current = point_interaction_matrix(s[..., 0], s[..., 1], Z)
            L = current if self.interaction == "current" else (current + L) / 2
        e = (s - state.s_desired).flatten(-2)
        v = -(torch.linalg.pinv(L.flatten(-3, -2).expand(*e.shape, 6)) @ e[..., None]).squeeze(-1)
        return Output.of(v), state


@dataclass(frozen=True, eq=False)
class PointState(State):
    """See `PointIBVS`: the four points [m], where the desired view has them at f = 1, and its interaction matrix."""

    points: Float[Tensor, "n 4 3"]
    s_desired: Float[Tensor, "n 4 2"]
    L_desired: Float[Tensor, "n 4 2 6"]
    FIXED: ClassVar[frozenset[str]] = frozenset({"points", "s_desired", "L_desired"})


@dataclass(frozen=True)
class Hybrid:
    """2 1/2 D visual servoing: s = (x, y, log Z) of the point on the desired optical axis, and theta u for rotation.

    Malis, Chaumette, Boudet 1999; Chaumette and Hutchinson 2007, Part II. omega = -theta u(R_dc);
    v = -L_v^-1 (e + L_w omega), e = (x - x*, y - y*, log(Z/Z*)).
    """

    needs = frozenset({"pose"})

    def aim(self, target: View) -> tuple[Law, HybridState]:
        """Reference point and rotation of the desired view."""
        T_wd = _pose_of(target, "2.5d")
        points = _desired_points(T_wd, 0.0)[..., 0, :]
        Z = ((points - T_wd[..., :3, 3])[..., None, :] @ T_wd[..., :3, :3]).squeeze(-2)[..., 2]
        return self.law, HybridState(points, Z, T_wd[..., :3, :3])

    @staticmethod
    def law(view: View, state: HybridState) -> tuple[Output, HybridState]:
        """omega, then v, as `Hybrid` says."""
        T_wc = _pose_of(view, "2.5d", len(state.point))
        R = T_wc[..., :3, :3]
        X, Y, Z = ((state.point - T_wc[..., :3, 3])[..., None, :] @ R).squeeze(-2).unbind(-1)
        Z = Z.clamp(min=1e-3)
        x, y = X / Z, Y / Z
        e = torch.stack((x, y, torch.log(Z / state.Z_desired)), -1)
        omega = -lie.so3_log(state.R_wd.mT @ R)
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
        return Output.of(torch.cat((torch.stack((vx, vy, vz), -1), omega), -1)), state


@dataclass(frozen=True, eq=False)
class HybridState(State):
    """See `Hybrid`: the point on the desired optical axis [m], its depth there [m], and the desired rotation."""

    point: Float[Tensor, "n 3"]
    Z_desired: Float[Tensor, "n"]
    R_wd: Float[Tensor, "n 3 3"]
    FIXED: ClassVar[frozenset[str]] = frozenset({"point", "Z_desired", "R_wd"})


TEACHERS: dict[str, Controller] = {"pbvs": PBVS(), "ibvs": PointIBVS(), "2.5d": Hybrid()}


def teacher_velocity(name: str, T_wd: Float[Tensor, "n 4 4"], T_wc: Float[Tensor, "n 4 4"]) -> Float[Tensor, "n 6"]:
    """The velocity at gain 1 of a law that knows the poses (one of TEACHERS), from cameras T_wc to T_wd [m/s, rad/s]."""
    law, state = TEACHERS[name].aim(View(T_wc=T_wd))
    return law(View(T_wc=T_wc), state)[0].v
