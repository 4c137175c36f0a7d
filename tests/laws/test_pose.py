from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from poses_helpers import velocity
from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.laws.pose import PBVS, TEACHERS, Hybrid, PointIBVS, pbvs_velocity, point_interaction_matrix
from siame_se3.laws.types import Controller, Law, Output, State, View, check_law

CONTROLLERS = {
    "pbvs": PBVS(),
    "ibvs current": PointIBVS(interaction="current"),
    "ibvs desired": PointIBVS(interaction="desired"),
    "ibvs mean": PointIBVS(interaction="mean"),
    "2.5d": Hybrid(),
}
each_controller = pytest.mark.parametrize("controller", CONTROLLERS.values(), ids=CONTROLLERS.keys())


def offsets(*shape: int, seed: int, spread: float = 1.0) -> Tensor:
    """About 17 cm and 24 deg each, at spread 1."""
    generator = torch.Generator().manual_seed(seed)
    sigma = torch.tensor([0.1, 0.1, 0.1, 0.2, 0.2, 0.3], dtype=torch.float64) * spread
    return lie.pose_from_vector(torch.randn(*shape, 6, generator=generator, dtype=torch.float64) * sigma)


def desired(*shape: int) -> Tensor:
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    return T @ offsets(*shape, seed=1, spread=0.3)


def starts(*shape: int) -> Tensor:
    return desired(*shape) @ offsets(*shape, seed=2)


def servo(controller: Controller, T_wd: Tensor, T_wc: Tensor, dt: float, steps: int) -> list[Tensor]:
    law, state = controller.aim(View(T_wc=T_wd))
    path = [T_wc]
    for _ in range(steps):
        output, state = law(View(T_wc=path[-1]), state)
        path.append(path[-1] @ lie.exp(output.v * dt))
    return path


def rate(function: Callable[[Tensor], Tensor], T: Tensor, v: Tensor, h: float = 1e-5) -> Tensor:
    """d/dt function(T exp(v t)) at t = 0, by central differences."""
    return (function(T @ lie.exp(v * h)) - function(T @ lie.exp(-v * h))) / (2 * h)


@each_controller
@pytest.mark.parametrize("shape", [(1,), (6,)], ids=str)
def test_laws_keep_the_houses_promises(controller: Controller, shape: tuple[int, ...]) -> None:
    check_law(controller, View(T_wc=desired(*shape)), View(T_wc=starts(*shape)), zero_at_goal=1e-14)


@each_controller
def test_a_batch_equals_its_runs(controller: Controller) -> None:
    """Of several axes, which `View.flat` makes one; aimed alone, and by its row of the state."""
    target, view = View(T_wc=desired(3, 2)), View(T_wc=starts(3, 2))
    law, state = controller.aim(target.flat())
    v = law(view.flat(), state)[0].v.reshape(3, 2, 6)
    for i in range(3):
        for j in range(2):
            alone = velocity(controller, target[i, j], view[i, j])
            torch.testing.assert_close(v[i, j], alone, rtol=0, atol=1e-13)
            row = law(view[i, j].flat(), state[torch.tensor([2 * i + j])])[0].v[0]
            torch.testing.assert_close(v[i, j], row, rtol=0, atol=1e-13)


@each_controller
def test_laws_converge(controller: Controller) -> None:
    T_wd = desired(16)
    path = servo(controller, T_wd, starts(16), dt=0.05, steps=400)
    distance, angle = lie.error_norms(lie.inverse(T_wd) @ torch.stack(path))
    assert float(distance[0].max()) > 0.25
    assert float(angle[0].max()) > 0.5
    assert float(distance[-1].max()) < 1e-8
    assert float(angle[-1].max()) < 1e-8


@each_controller
def test_laws_are_at_gain_one_near_the_goal(controller: Controller) -> None:
    """To first order v = -log(T_dc)."""
    T_wd = desired(8)
    T_dc = offsets(8, seed=3, spread=1e-5)
    v = velocity(controller, View(T_wc=T_wd), View(T_wc=T_wd @ T_dc))
    torch.testing.assert_close(v, -lie.log(T_dc), rtol=0, atol=5e-11)


@each_controller
def test_laws_need_a_pose(controller: Controller) -> None:
    assert controller.needs == {"pose"}
    blind = View(image=torch.zeros(1, 3, 8, 8), T_bc=desired(1))  # a robot's own frame is not the scene's
    with pytest.raises(SiameError, match="no pose"):
        controller.aim(blind)
    law, state = controller.aim(View(T_wc=desired(1)))
    with pytest.raises(SiameError, match="no pose"):
        law(blind, state)


@each_controller
def test_laws_are_finite_with_the_scene_behind_the_camera(controller: Controller) -> None:
    turned = desired() @ lie.pose_from_vector(torch.tensor([0, 0, 0, 3, 0, 0], dtype=torch.float64))
    assert torch.isfinite(velocity(controller, View(T_wc=desired()), View(T_wc=turned))).all()


def test_pbvs_errors_shrink_at_their_own_size() -> None:
    """d/dt (t, theta u) = -(t, theta u) of T_dc, exactly: exponential decay, straight line."""
    T_dc = offsets(50, seed=4)
    found = rate(lie.vector_from_pose, T_dc, pbvs_velocity(T_dc))
    torch.testing.assert_close(found, -lie.vector_from_pose(T_dc), rtol=0, atol=1e-9)


def test_pbvs_decays_as_exp_of_minus_t_on_a_straight_line() -> None:
    """Rotation as (1 - dt)^k, exactly; translation as exp(-t), to the step."""
    T_wd, dt, steps = desired(16), 0.0025, 400
    T_dc = lie.inverse(T_wd) @ torch.stack(servo(PBVS(), T_wd, starts(16), dt, steps))
    p = lie.vector_from_pose(T_dc)
    k = torch.arange(steps + 1, dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(p[..., 3:], p[0, :, 3:] * (1 - dt) ** k, rtol=0, atol=1e-13)
    off = (p[..., :3] - p[0, :, :3] * torch.exp(-k * dt)).norm(dim=-1) / p[0, :, :3].norm(dim=-1)
    assert float(off.max()) < 6e-4


def test_pbvs_of_a_plain_offset() -> None:
    v = pbvs_velocity(lie.pose_from_vector(torch.tensor([0.1, -0.2, 0.3, 0, 0, 0], dtype=torch.float64)))
    assert v.tolist() == [-0.1, 0.2, -0.3, 0, 0, 0]
    quarter = lie.pose_from_vector(torch.tensor([1, 0, 0, 0, 0, math.pi / 2], dtype=torch.float64))
    expected = torch.tensor([0, 1, 0, 0, 0, -math.pi / 2], dtype=torch.float64)
    torch.testing.assert_close(pbvs_velocity(quarter), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("shape", [(), (1,), (3, 2)], ids=str)
def test_point_interaction_matrix_is_its_finite_difference(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(5)
    x, y = torch.randn(2, *shape, generator=generator, dtype=torch.float64) * 0.4
    Z = 0.3 + torch.rand(shape, generator=generator, dtype=torch.float64)
    L = point_interaction_matrix(x, y, Z)
    assert L.shape == (*shape, 2, 6)
    X = torch.stack((x * Z, y * Z, Z, torch.ones_like(Z)), -1)

    def seen(T: Tensor) -> Tensor:
        point = (lie.inverse(T) @ X[..., None]).squeeze(-1)
        return point[..., :2] / point[..., 2:3]

    start = torch.eye(4, dtype=torch.float64)
    columns = [rate(seen, start, v) for v in torch.eye(6, dtype=torch.float64)]
    torch.testing.assert_close(L, torch.stack(columns, -1), rtol=0, atol=1e-8)


def test_ibvs_moves_four_points_to_their_places() -> None:
    """With the current L, L v = -e whenever e is in its reach: near the goal each point goes straight."""
    T_wd = desired(1)
    law, state = PointIBVS(half=0.25).aim(View(T_wc=T_wd))
    corners = torch.tensor([[-0.25, -0.25], [0.25, -0.25], [0.25, 0.25], [-0.25, 0.25]], dtype=torch.float64)
    torch.testing.assert_close(state.s_desired[0], corners, rtol=0, atol=1e-14)
    assert float(state.points[..., 2].abs().max()) < 1e-15

    def error(T: Tensor) -> Tensor:
        point = (state.points - T[:, None, :3, 3]) @ T[:, :3, :3]
        return point[..., :2] / point[..., 2:] - corners

    T_wc = T_wd @ offsets(1, seed=6, spread=1e-3)
    e = error(T_wc)
    found = rate(error, T_wc, law(View(T_wc=T_wc), state)[0].v)
    assert float((found + e).norm() / e.norm()) < 1e-3


def test_ibvs_takes_the_interaction_matrix_it_is_told() -> None:
    T_wd, T_wc = desired(4), starts(4)
    points = PointIBVS().aim(View(T_wc=T_wd))[1].points

    def features(T: Tensor) -> tuple[Tensor, Tensor]:
        x, y, Z = ((points - T[:, None, :3, 3]) @ T[:, :3, :3]).unbind(-1)
        return torch.stack((x / Z, y / Z), -1).flatten(1), point_interaction_matrix(x / Z, y / Z, Z).flatten(1, 2)

    (s, L), (s_desired, L_desired) = features(T_wc), features(T_wd)
    for choice, matrix in {"current": L, "desired": L_desired, "mean": (L + L_desired) / 2}.items():
        v = velocity(PointIBVS(interaction=choice), View(T_wc=T_wd), View(T_wc=T_wc))
        expected = -torch.linalg.lstsq(matrix, (s - s_desired)[..., None]).solution.squeeze(-1)
        torch.testing.assert_close(v, expected, rtol=0, atol=1e-11)


def test_hybrid_moves_its_point_straight_in_the_image() -> None:
    """d/dt (x, y, log Z) = -(x, y, log Z/Z*) of the point on the desired optical axis, and theta u as PBVS."""
    T_wd, T_wc = desired(20), starts(20)
    law, state = Hybrid().aim(View(T_wc=T_wd))

    def error(T: Tensor) -> Tensor:
        X, Y, Z = ((state.point - T[:, :3, 3])[:, None] @ T[:, :3, :3]).squeeze(1).unbind(-1)
        turn = lie.so3_log((lie.inverse(T_wd) @ T)[:, :3, :3])
        return torch.cat((torch.stack((X / Z, Y / Z, torch.log(Z / state.Z_desired)), -1), turn), -1)

    torch.testing.assert_close(error(T_wd), torch.zeros(20, 6, dtype=torch.float64), rtol=0, atol=1e-14)
    found = rate(error, T_wc, law(View(T_wc=T_wc), state)[0].v)
    torch.testing.assert_close(found, -error(T_wc), rtol=0, atol=1e-9)


def test_the_teachers_are_these_three() -> None:
    assert dict(TEACHERS) == {"pbvs": PBVS(), "ibvs": PointIBVS(), "2.5d": Hybrid()}


@dataclass
class Broken:
    """A law that goes straight to its goal, save that it breaks one promise."""

    fault: str
    needs = frozenset({"pose"})
    calls: int = 0

    def aim(self, target: View) -> tuple[Law, BrokenState]:
        assert target.T_wc is not None
        return self.law, BrokenState(target.T_wc[:, :3, 3], self.fault == "subset", self.fault == "put")

    def law(self, view: View, state: BrokenState) -> tuple[Output, BrokenState]:
        assert view.T_wc is not None
        self.calls += 1
        v = torch.cat((state.goal - view.T_wc[:, :3, 3], torch.zeros(len(state.goal), 3).double()), 1)
        if self.fault == "neighbours":
            v = v - v.mean(0)
        v = v + {"nan": math.nan, "impure": float(self.calls), "offset": 0.1}.get(self.fault, 0.0)
        if self.fault == "shape":
            v = v[1:]
        faults = ("",) * (len(state.goal) - (self.fault == "faults"))
        return Output.of(v, faults), replace(state, wrong=state.wrong or self.fault == "later subset")


@dataclass(frozen=True, eq=False)
class BrokenState(State):
    """Goals; where it is wrong, its rows are not those of the runs asked for."""

    goal: Tensor
    wrong: bool
    loses: bool
    FIXED: ClassVar[frozenset[str]] = frozenset({"wrong", "loses"})

    def __getitem__(self, runs: Tensor | slice) -> BrokenState:
        goal = self.goal[runs]
        return BrokenState(goal.flip(0) if self.wrong else goal, self.wrong, self.loses)

    def put(self, runs: Tensor, part: BrokenState) -> BrokenState:
        return replace(self, goal=self.goal + 0.1) if self.loses else super().put(runs, part)


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("shape", "law gave"),
        ("faults", "another number of runs"),
        ("nan", "not finite"),
        ("impure", "not pure"),
        ("subset", "close"),
        ("later subset", "close"),
        ("neighbours", "close"),
        ("put", "put back"),
        ("offset", "at the goal"),
    ],
)
def test_check_law_finds_a_broken_promise(fault: str, named: str) -> None:
    views = View(T_wc=desired(3)), View(T_wc=starts(3))
    check_law(Broken("none"), *views)
    with pytest.raises(AssertionError, match=named):
        check_law(Broken(fault), *views)
