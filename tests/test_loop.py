from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from siame_se3 import lie
from siame_se3.camera import Camera
from siame_se3.control.base import Advice
from siame_se3.control.geometric import PBVS, TEACHERS, PBVSLaw
from siame_se3.control.neural import Neural, OpenVinoEngine, TorchEngine
from siame_se3.errors import SiameError
from siame_se3.loop import ServoConfig, adaptive_gain, limited, servo
from siame_se3.network import NetworkConfig, SiameseNetwork
from siame_se3.plant import HomographyPlant
from siame_se3.scene import Scene
from siame_se3.view import Trajectory, View

SHAPES = [(), (1,), (3, 2)]
FREE = {"max_v": 1e3, "max_w": 1e3}  # no limit in reach
NEVER = {"settle_v": 1e-300, "settle_w": 1e-300}  # only zero is settled


class SpyPlant:
    """Free-flying cameras without images; remembers what it was told."""

    def __init__(self, provides: frozenset[str] = frozenset({"pose"}), dt: float = 0.04, share: float = 1.0) -> None:
        self.provides, self.dt, self.share = provides, dt, share
        self.calls: list[str] = []

    def reset(self, start: Tensor | None) -> View:
        assert start is not None
        self.calls.append("reset")
        self.T_wc = start
        return View(T_wc=start)

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        self.calls.append("step")
        applied = self.share * v
        self.T_wc = self.T_wc @ lie.exp(applied * self.dt)
        return View(T_wc=self.T_wc), applied

    def stop(self) -> None:
        self.calls.append("stop")


@dataclass
class Tampered:
    """PBVS whose velocities a function changes: change(v, runs, call)."""

    change: Callable[[Tensor, Tensor, int], Tensor]
    needs: frozenset[str] = frozenset({"pose"})

    def aim(self, target: View) -> TamperedLaw:
        assert target.T_wc is not None
        return TamperedLaw(self.change, PBVS().aim(target), torch.arange(len(target.T_wc)))


@dataclass
class TamperedLaw:
    change: Callable[[Tensor, Tensor, int], Tensor]
    law: PBVSLaw
    runs: Tensor
    calls: list[int] = field(default_factory=list)

    def __call__(self, view: View) -> Tensor:
        self.calls.append(1)
        return self.change(self.law(view), self.runs, len(self.calls))

    def __getitem__(self, index: Any) -> TamperedLaw:
        return TamperedLaw(self.change, self.law[index], self.runs[index], self.calls)


def desired(*shape: int) -> Tensor:
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    p = torch.randn(*shape, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return T @ lie.pose_from_vector(0.05 * p)


def starts(*shape: int, spread: float = 1.0) -> Tensor:
    sigma = torch.tensor([0.1, 0.1, 0.05, 0.15, 0.15, 0.3], dtype=torch.float64)
    p = torch.randn(*shape, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return desired(*shape) @ lie.pose_from_vector(spread * sigma * p)


def unequal_starts(n: int) -> Tensor:
    """Far to near, so that runs settle one after the other."""
    p = lie.vector_from_pose(lie.inverse(desired(n)) @ starts(n))
    return desired(n) @ lie.pose_from_vector(p * torch.logspace(0, -2, n, dtype=torch.float64)[:, None])


def run(controller: Any, T_wd: Tensor, T_wc: Tensor, plant: Any = None, **config: Any) -> Trajectory:
    return servo(plant or SpyPlant(), controller, View(T_wc=T_wd), T_wc, ServoConfig(**config))


def assert_run_is(alone: Trajectory, batch: Trajectory, place: Any, k: int, atol: float) -> None:
    """Run `place` (number k) of the batch is the one served alone."""
    count = int(alone.iterations)
    assert int(batch.iterations[place]) == count
    assert batch.reason[k] == alone.reason[0]
    whole = (slice(None), *place)
    for mine, theirs, rows in (
        (alone.T_wc, batch.T_wc, count + 1),
        (alone.twist, batch.twist, count),
        (alone.applied, batch.applied, count),
    ):
        theirs = theirs[whole]
        torch.testing.assert_close(mine.reshape(-1, *theirs.shape[1:])[:rows], theirs[:rows], rtol=0, atol=atol)
    # What ended stands still.
    assert bool((batch.T_wc[whole][count:] == batch.T_wc[whole][count]).all())
    assert not bool(batch.twist[whole][count:].any())
    assert batch.active[whole].tolist() == [i < count for i in range(len(batch.active))]


@pytest.mark.parametrize("law", TEACHERS)
def test_n_runs_are_n_times_one_run(law: str) -> None:
    T_wd, T_wc = desired(12), unequal_starts(12)
    batch = run(TEACHERS[law], T_wd, T_wc, gain_at_rest=8.0)
    assert len(set(batch.iterations.tolist())) > 6
    assert set(batch.reason) == {"settled"}
    # PBVS and 2.5d are exact; IBVS's pseudo-inverse of a batch rounds otherwise than of one.
    atol = 1e-9 if law == "ibvs" else 0
    for k in range(12):
        alone = run(TEACHERS[law], T_wd[k : k + 1], T_wc[k : k + 1], gain_at_rest=8.0)
        assert_run_is(alone, batch, (k,), k, atol)


def test_images_do_not_mix_the_runs(scene: Scene, camera: Camera) -> None:
    """As above, with the plant that renders."""
    T_wd, T_wc = desired(6), unequal_starts(6)
    plant = HomographyPlant(scene, camera)
    batch = servo(plant, PBVS(), plant.look(T_wd), T_wc, ServoConfig())
    for k in range(6):
        alone = servo(plant, PBVS(), plant.look(T_wd[k : k + 1]), T_wc[k : k + 1], ServoConfig())
        assert_run_is(alone, batch, (k,), k, atol=0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_batch_axes(shape: tuple[int, ...]) -> None:
    T_wd, T_wc = desired(*shape), starts(*shape)
    trajectory = run(PBVS(), T_wd, T_wc, max_iterations=300)
    steps, n = len(trajectory.twist), math.prod(shape)
    assert trajectory.T_wc.shape == (steps + 1, *shape, 4, 4)
    assert trajectory.T_wd.shape == (*shape, 4, 4)
    assert trajectory.twist.shape == trajectory.applied.shape == (steps, *shape, 6)
    assert trajectory.active.shape == (steps, *shape)
    assert trajectory.iterations.shape == shape
    assert trajectory.step_seconds.shape == (steps,)
    assert trajectory.reason == ["settled"] * n
    assert torch.equal(trajectory.T_wc[0], T_wc)
    flat = run(PBVS(), T_wd.reshape(n, 4, 4), T_wc.reshape(n, 4, 4), max_iterations=300)
    assert torch.equal(trajectory.T_wc.reshape(flat.T_wc.shape), flat.T_wc)


@pytest.fixture(scope="module")
def network(tiny: NetworkConfig) -> SiameseNetwork:
    """Random weights: it leads nowhere, but every pixel counts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SiameseNetwork(tiny).eval()
        network.head[-1].weight.data *= 30  # type: ignore[operator]  # nn.Sequential is typed as Module
    return network


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("output", ["velocity", "pose"])
def test_n_neural_runs_are_n_times_one_run(
    scene: Scene, camera: Camera, network: SiameseNetwork, engine: str, output: Any
) -> None:
    """Convolutions of a batch round otherwise than of one image: by 3e-7 after 25 steps of 1 mm and 2 mrad here."""
    controller = Neural(TorchEngine(network) if engine == "torch" else OpenVinoEngine(network, "f32", 1), output)
    plant = HomographyPlant(scene, camera)
    T_wd, T_wc = desired(3, 2), starts(3, 2)
    config = ServoConfig(max_iterations=25, **NEVER)
    batch = servo(plant, controller, plant.look(T_wd), T_wc, config)
    assert batch.reason == ["iterations"] * 6
    assert float(batch.twist.norm(dim=-1).min()) > 1e-3
    for k, place in enumerate((i, j) for i in range(3) for j in range(2)):
        alone = servo(plant, controller, plant.look(T_wd[place]), T_wc[place], config)
        assert alone.T_wc.shape == (26, 4, 4)
        assert_run_is(alone, batch, place, k, atol=2e-6)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_neural_law_settles_at_the_goal(scene: Scene, camera: Camera, network: SiameseNetwork, engine: str) -> None:
    controller = Neural(TorchEngine(network) if engine == "torch" else OpenVinoEngine(network, "f32", 1))
    plant = HomographyPlant(scene, camera)
    trajectory = servo(plant, controller, plant.look(desired(2)), desired(2), ServoConfig(settle_steps=3))
    assert trajectory.reason == ["settled"] * 2
    assert trajectory.iterations.tolist() == [2, 2]
    assert float(trajectory.error_norms[0].max()) < 1e-6


def test_pbvs_error_decays_exponentially() -> None:
    gain, dt, steps = 2.0, 0.002, 1000
    T_wd, T_wc = desired(20), starts(20)
    plant = SpyPlant(dt=dt)
    trajectory = run(PBVS(), T_wd, T_wc, plant, gain=gain, max_iterations=steps, **FREE, **NEVER)
    t, r = trajectory.error_norms
    k = torch.arange(steps + 1, dtype=torch.float64)[:, None]
    # Exactly, a step leaves 1 - gain dt of the rotation; of the translation up to a share gain dt of the rotation's angle.
    torch.testing.assert_close(r, r[0] * (1 - gain * dt) ** k, rtol=1e-9, atol=1e-12)
    # (1 - x)^k is exp(-k x) up to a share k x^2 / 2.
    decay = torch.exp(-gain * dt * k)
    bound = steps * (gain * dt) ** 2 / 2
    assert float((r / r[0] / decay - 1).abs().max()) < 1.01 * bound
    assert float((t / t[0] / decay - 1).abs().max()) < 2 * bound


def test_pbvs_moves_on_a_straight_line() -> None:
    T_wd, T_wc = desired(20), starts(20)
    trajectory = run(PBVS(), T_wd, T_wc, SpyPlant(dt=0.002), gain=2.0, max_iterations=1000, **FREE, **NEVER)
    p = trajectory.T_wc[..., :3, 3]
    chord = torch.nn.functional.normalize(T_wd[:, :3, 3] - p[0], dim=-1)
    away = p - p[0]
    off = (away - (away * chord).sum(-1, keepdim=True) * chord).norm(dim=-1)
    assert float(off.max()) < 1e-3 * float((T_wd[:, :3, 3] - p[0]).norm(dim=-1).max())


def one_step_to_the_goal(**config: Any) -> Trajectory:
    """10 cm without rotation, at gain 1/dt: at the goal after one step."""
    T_wc = desired(1) @ lie.pose_from_vector(torch.tensor([[0.1, 0, 0, 0, 0, 0]], dtype=torch.float64))
    return run(PBVS(), desired(1), T_wc, gain=25.0, **FREE, **config)


@pytest.mark.parametrize("settle_steps", [1, 2, 5])
def test_settled_after_some_quiet_steps(settle_steps: int) -> None:
    trajectory = one_step_to_the_goal(settle_steps=settle_steps)
    assert trajectory.reason == ["settled"]
    assert trajectory.iterations.tolist() == [settle_steps]
    assert float(trajectory.error_norms[0][1]) < 1e-12


@pytest.mark.parametrize(("settle_v", "settle_w", "settled"), [(0.2, 0.3, True), (0.05, 0.3, False), (0.2, 0.1, False)])
def test_settled_below_both_thresholds(settle_v: float, settle_w: float, settled: bool) -> None:
    """The law at gain 1 commands 0.1 m/s and 0.2 rad/s; the gain and limits do not count."""
    constant = torch.tensor([0.1, 0, 0, 0, 0.2, 0])
    trajectory = run(
        Tampered(lambda v, runs, call: constant.expand_as(v)),
        desired(2),
        starts(2),
        max_iterations=8,
        max_v=0.01,
        settle_v=settle_v,
        settle_w=settle_w,
        settle_steps=5,
    )
    assert trajectory.reason == (["settled"] if settled else ["iterations"]) * 2
    assert trajectory.iterations.tolist() == [4 if settled else 8] * 2


def test_a_large_command_between_starts_the_count_anew() -> None:
    def change(v: Tensor, runs: Tensor, call: int) -> Tensor:
        return torch.zeros_like(v) + (0.1 if call == 4 else 0)

    trajectory = run(Tampered(change), desired(2), starts(2), settle_steps=5)
    assert trajectory.iterations.tolist() == [8, 8]


def test_a_law_that_only_trembles_has_settled() -> None:
    """Its mean counts; one that creeps as slowly as this one trembles has not."""

    def tremble(v: Tensor, runs: Tensor, call: int) -> Tensor:
        return torch.full_like(v, 0.01 * (-1) ** call)

    def creep(v: Tensor, runs: Tensor, call: int) -> Tensor:
        return torch.full_like(v, 0.01)

    assert run(Tampered(tremble), desired(2), starts(2), settle_steps=6).iterations.tolist() == [5, 5]
    assert run(Tampered(creep), desired(2), starts(2), max_iterations=30).reason == ["iterations"] * 2


@dataclass(frozen=True)
class Lost:
    """PBVS that finds a fault in run 1 at some iterations."""

    at: tuple[int, ...]
    needs = frozenset({"pose"})

    def aim(self, target: View) -> Any:
        return LostLaw(self.at, PBVS().aim(target), torch.arange(len(target.T_wc)), 0)  # type: ignore[arg-type]  # it has poses


@dataclass(frozen=True)
class LostLaw:
    at: tuple[int, ...]
    law: Any
    runs: Tensor
    turn: int

    def __call__(self, view: View) -> Tensor:
        return self.advise(view).v

    def advise(self, view: View) -> Advice:
        faults = tuple("no matches" if k == 1 and self.turn in self.at else "" for k in self.runs.tolist())
        v = self.law(view)
        law = LostLaw(self.at, self.law, self.runs, self.turn + 1)
        return Advice(v, faults, law, torch.zeros(len(v), dtype=torch.long))

    def updated(self, runs: Tensor, part: Any) -> LostLaw:
        return self

    def __getitem__(self, index: Any) -> LostLaw:
        return LostLaw(self.at, self.law[index], self.runs[index], self.turn)


def test_a_run_stands_still_while_its_law_has_a_fault_and_goes_on_after_it() -> None:
    trajectory = run(Lost((2, 3, 4)), desired(3), starts(3))
    assert trajectory.reason == ["settled"] * 3
    assert bool((trajectory.twist[2:5, 1] == 0).all())
    assert bool((trajectory.twist[[0, 1, 5, 6], 1].abs().amax(1) > 0).all())
    assert bool((trajectory.twist[:7, ::2].abs().amax(2) > 0).all())


def test_a_run_that_stays_lost_ends_with_the_laws_reason() -> None:
    trajectory = run(Lost(tuple(range(3, 100))), desired(3), starts(3), lost_steps=4)
    assert trajectory.reason == ["settled", "no matches", "settled"]
    assert int(trajectory.iterations[1]) == 6
    assert torch.equal(trajectory.T_wc[-1, 1], trajectory.T_wc[3, 1])
    assert bool((trajectory.stage[6:, 1] == -1).all())


def test_iterations_run_out() -> None:
    trajectory = run(PBVS(), desired(3), starts(3), max_iterations=7)
    assert trajectory.reason == ["iterations"] * 3
    assert trajectory.iterations.tolist() == [7] * 3
    assert len(trajectory.twist) == 7


def test_time_runs_out() -> None:
    def slow(v: Tensor, runs: Tensor, call: int) -> Tensor:
        time.sleep(0.02)
        return v

    trajectory = run(Tampered(slow), desired(3), starts(3), timeout=0.1)
    assert trajectory.reason == ["timeout"] * 3
    assert int(trajectory.iterations.max()) <= 5
    assert torch.equal(trajectory.iterations, torch.full((3,), len(trajectory.twist)))


def test_no_time_at_all() -> None:
    plant = SpyPlant()
    trajectory = run(PBVS(), desired(3, 2), starts(3, 2), plant, timeout=1e-9)
    assert plant.calls == ["reset", "stop"]
    assert trajectory.reason == ["timeout"] * 6
    assert trajectory.T_wc.shape == (1, 3, 2, 4, 4)
    assert trajectory.twist.shape == trajectory.applied.shape == (0, 3, 2, 6)
    assert trajectory.active.shape == (0, 3, 2)
    assert trajectory.step_seconds.shape == (0,)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_law_that_is_not_finite_stands_still_and_others_go_on(value: float) -> None:
    def change(v: Tensor, runs: Tensor, call: int) -> Tensor:
        v = v.clone()
        if call >= 4:
            v[runs == 1, 2] = value
        return v

    T_wd, T_wc = desired(4), starts(4)
    good, faulty = run(PBVS(), T_wd, T_wc), run(Tampered(change), T_wd, T_wc)
    assert faulty.reason == ["settled", "law not finite", "settled", "settled"]
    assert int(faulty.iterations[1]) == 3
    assert torch.equal(faulty.T_wc[3:, 1], faulty.T_wc[3:4, 1].expand_as(faulty.T_wc[3:, 1]))
    assert torch.equal(faulty.T_wc[:4, 1], good.T_wc[:4, 1])
    assert not bool(faulty.active[3:, 1].any())
    for k in (0, 2, 3):
        assert torch.equal(faulty.T_wc[:, k][: len(good.T_wc)], good.T_wc[:, k])


def test_a_law_that_was_never_finite_moves_nothing() -> None:
    plant = SpyPlant()
    trajectory = run(Tampered(lambda v, runs, call: v * math.nan), desired(2), starts(2), plant)
    assert plant.calls == ["reset", "stop"]
    assert trajectory.reason == ["law not finite"] * 2


def test_speed_limits_scale_the_whole_twist() -> None:
    v = 3 * torch.randn(200, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    v[0] *= 1e-3
    out = limited(ServoConfig(max_v=0.5, max_w=2.0), v, torch.zeros_like(v), 0.04)
    speed, turn = out[:, :3].norm(dim=1) / 0.5, out[:, 3:].norm(dim=1) / 2
    assert float(torch.maximum(speed, turn).max()) <= 1 + 1e-12
    share = (out / v).amin(1)
    torch.testing.assert_close(out, share[:, None] * v, rtol=1e-12, atol=0)
    assert bool((share <= 1).all())
    limits_reached = (torch.maximum(speed, turn) - 1).abs() < 1e-12
    assert torch.equal(limits_reached, share < 1)
    assert torch.equal(out[0], v[0])
    assert 0 < int((speed > turn)[limits_reached].sum()) < int(limits_reached.sum())


def test_acceleration_limits_bound_the_change() -> None:
    generator = torch.Generator().manual_seed(0)
    v, previous = (torch.randn(200, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    config = ServoConfig(max_acceleration_v=5.0, max_acceleration_w=20.0, **FREE)
    out = limited(config, v, previous, 0.1)
    for part, bound in ((slice(0, 3), 0.5), (slice(3, 6), 2.0)):
        wanted, change = (v - previous)[:, part], (out - previous)[:, part]
        torch.testing.assert_close(change.norm(dim=1), wanted.norm(dim=1).clamp(max=bound), rtol=1e-12, atol=1e-12)
        aligned = (change * wanted).sum(1) / (change.norm(dim=1) * wanted.norm(dim=1))
        torch.testing.assert_close(aligned, torch.ones_like(aligned), rtol=0, atol=1e-12)
        assert 0 < int((wanted.norm(dim=1) > bound).sum()) < 200


def test_servo_keeps_the_limits() -> None:
    trajectory = run(
        PBVS(),
        desired(20),
        starts(20),
        gain=20.0,
        max_v=0.2,
        max_w=0.5,
        max_acceleration_v=1.0,
        max_acceleration_w=3.0,
        max_iterations=80,
        **NEVER,
    )
    v, w = trajectory.twist[..., :3], trajectory.twist[..., 3:]
    rest = torch.zeros(1, 20, 3, dtype=torch.float64)
    for part, limit, rate in ((v, 0.2, 1.0), (w, 0.5, 3.0)):
        assert float(part.norm(dim=-1).max()) == pytest.approx(limit, rel=1e-9)
        change = torch.diff(torch.cat((rest, part)), dim=0).norm(dim=-1)
        assert float(change.max()) == pytest.approx(rate * 0.04, rel=1e-9)


def test_adaptive_gain_is_visps() -> None:
    config = ServoConfig(gain=2.0, gain_at_rest=8.0, gain_slope=30.0)
    size = torch.tensor([0.0, 0.01, 0.1, 1.0, 100.0], dtype=torch.float64)
    v = torch.zeros(5, 6, dtype=torch.float64)
    v[:, 4] = size
    expected = 6 * torch.exp(-30 * size / 6) + 2
    gain = adaptive_gain(config, v)
    torch.testing.assert_close(gain[:, 0], expected, rtol=1e-12, atol=0)
    assert float(gain[0]) == 8
    assert float(gain[-1]) == 2
    slope = float(adaptive_gain(config, v[:1] + 1e-6 * torch.eye(6, dtype=torch.float64)[:1]) - gain[0]) / 1e-6
    assert slope == pytest.approx(-30, rel=1e-4)


@pytest.mark.parametrize("gain_at_rest", [0.0, 5.0])
def test_constant_gain(gain_at_rest: float) -> None:
    v = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gain = adaptive_gain(ServoConfig(gain=5.0, gain_at_rest=gain_at_rest), v)
    assert torch.equal(gain, torch.full((4, 1), 5.0, dtype=torch.float64))


def test_gain_is_applied_once() -> None:
    T_wd, T_wc = desired(3), starts(3)
    trajectory = run(PBVS(), T_wd, T_wc, gain=3.0, max_iterations=1, **FREE)
    expected = 3 * PBVS().aim(View(T_wc=T_wd))(View(T_wc=T_wc))
    torch.testing.assert_close(trajectory.twist[0], expected, rtol=1e-14, atol=0)


def test_what_the_plant_applied_is_kept() -> None:
    trajectory = run(PBVS(), desired(3), starts(3), SpyPlant(share=0.5), max_iterations=10)
    assert torch.equal(trajectory.applied, 0.5 * trajectory.twist)
    moved = trajectory.T_wc[:-1] @ lie.exp(trajectory.applied * trajectory.dt)
    torch.testing.assert_close(moved, trajectory.T_wc[1:], rtol=0, atol=1e-14)


def test_settings_say_what_was_done() -> None:
    config = ServoConfig(gain=3.0, max_iterations=2)
    trajectory = servo(SpyPlant(), PBVS(), View(T_wc=desired(2)), starts(2), config, {"law": "pbvs"})
    assert trajectory.settings["law"] == "pbvs"
    assert ServoConfig(**trajectory.settings["servo"]) == config
    assert trajectory.dt == 0.04


def test_report_counts_the_runs_that_move() -> None:
    told: list[tuple[int, int]] = []
    trajectory = servo(
        SpyPlant(),
        PBVS(),
        View(T_wc=desired(6)),
        unequal_starts(6),
        ServoConfig(),
        report=lambda iteration, moving: told.append((iteration, moving)),
    )
    assert told == [(k + 1, int(active.sum())) for k, active in enumerate(trajectory.active)]
    assert told[0][1] == 6


def test_mismatch_is_refused_before_anything_moves() -> None:
    plant = SpyPlant(provides=frozenset({"image", "depth"}))
    with pytest.raises(SiameError, match=r"needs pose.*depth, image") as caught:
        run(PBVS(), desired(2), starts(2), plant)
    assert plant.calls == []
    assert "\n" not in str(caught.value)


def test_targets_that_do_not_match_the_starts_are_refused_before_anything_moves() -> None:
    plant = SpyPlant()
    with pytest.raises(SiameError):
        run(PBVS(), desired(2), starts(3), plant)
    assert "step" not in plant.calls


@pytest.mark.parametrize("error", [RuntimeError("law broke"), KeyboardInterrupt()], ids=repr)
def test_plant_stops_when_the_law_breaks(error: BaseException) -> None:
    def change(v: Tensor, runs: Tensor, call: int) -> Tensor:
        if call == 3:
            raise error
        return v

    plant = SpyPlant()
    with pytest.raises(type(error)):
        run(Tampered(change), desired(2), starts(2), plant)
    assert plant.calls == ["reset", "step", "step", "stop"]


def test_plant_stops_when_a_step_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = SpyPlant()

    def broken(v: Tensor) -> tuple[View, Tensor]:
        raise RuntimeError("no answer")

    monkeypatch.setattr(plant, "step", broken)
    with pytest.raises(RuntimeError, match="no answer"):
        run(PBVS(), desired(2), starts(2), plant)
    assert plant.calls == ["reset", "stop"]


def test_plant_stops_at_the_end() -> None:
    plant = SpyPlant()
    run(PBVS(), desired(2), starts(2), plant, max_iterations=3)
    assert plant.calls == ["reset", "step", "step", "step", "stop"]


@pytest.mark.parametrize("name", ["gain", "max_v", "max_w"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_nonsense_is_refused_by_its_option(name: str, value: float) -> None:
    with pytest.raises(SiameError, match=f"--{name.replace('_', '-')}"):
        ServoConfig(**{name: value})


def test_no_iteration_is_refused() -> None:
    with pytest.raises(SiameError, match="--max-iterations"):
        ServoConfig(max_iterations=0)
