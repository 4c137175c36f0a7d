from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from loop_helpers import FREE, NEVER, SpyPlant, Tampered, desired, run, starts, unequal_starts
from siame_se3.errors import InputError, LawError, SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.neural import Neural
from siame_se3.laws.pose import PBVS, TEACHERS, teacher_velocity
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.engines import OpenVinoEngine, TorchEngine
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.types import WrappedPlant
from siame_se3.scenes.conditions import NONE
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.limits import adaptive_gain, limited
from siame_se3.servo.loop import servo
from siame_se3.servo.trajectory import Trajectory

SHAPES = [(), (1,), (3, 2)]


def assert_run_is(alone: Trajectory, batch: Trajectory, k: int, atol: float) -> None:
    """Run k of the batch is the one served alone."""
    count = int(alone.iterations)
    assert int(batch.iterations[k]) == count
    assert batch.reason[k] == alone.reason[0]
    for mine, theirs, rows in (
        (alone.T_wc, batch.T_wc, count + 1),
        (alone.twist, batch.twist, count),
        (alone.applied, batch.applied, count),
    ):
        torch.testing.assert_close(mine[:rows, 0], theirs[:rows, k], rtol=0, atol=atol)
    # What ended stands still.
    assert bool((batch.T_wc[count:, k] == batch.T_wc[count, k]).all())
    assert not bool(batch.twist[count:, k].any())
    assert batch.active[:, k].tolist() == [i < count for i in range(len(batch.active))]


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
        assert_run_is(alone, batch, k, atol)


def test_images_do_not_mix_the_runs(scene: Scene, camera: Camera) -> None:
    """As above, with the plant that renders."""
    T_wd, T_wc = desired(6), unequal_starts(6)
    plant = FlyingCameras(scene, camera)
    batch = servo(plant, PBVS(), plant.look(T_wd), T_wc, ServoConfig())
    for k in range(6):
        alone = servo(plant, PBVS(), plant.look(T_wd[k : k + 1]), T_wc[k : k + 1], ServoConfig())
        assert_run_is(alone, batch, k, atol=0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_batch_axes_become_one(shape: tuple[int, ...]) -> None:
    T_wd, T_wc = desired(*shape), starts(*shape)
    trajectory = run(PBVS(), T_wd, T_wc, max_iterations=300)
    steps, n = len(trajectory.twist), math.prod(shape)
    assert trajectory.T_wc.shape == (steps + 1, n, 4, 4)
    assert trajectory.T_wd.shape == (n, 4, 4)
    assert trajectory.twist.shape == trajectory.applied.shape == (steps, n, 6)
    assert trajectory.active.shape == (steps, n)
    assert trajectory.iterations.shape == (n,)
    assert trajectory.step_seconds.shape == (steps,)
    assert trajectory.reason == ["settled"] * n
    assert torch.equal(trajectory.T_wc[0], T_wc.reshape(n, 4, 4))
    flat = run(PBVS(), T_wd.reshape(n, 4, 4), T_wc.reshape(n, 4, 4), max_iterations=300)
    assert torch.equal(trajectory.T_wc, flat.T_wc)


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
    plant = FlyingCameras(scene, camera)
    T_wd, T_wc = desired(3, 2), starts(3, 2)
    config = ServoConfig(max_iterations=25, **NEVER)
    batch = servo(plant, controller, plant.look(T_wd), T_wc, config)
    assert batch.reason == ["iterations"] * 6
    assert float(batch.twist.norm(dim=-1).min()) > 1e-3
    for k, place in enumerate((i, j) for i in range(3) for j in range(2)):
        alone = servo(plant, controller, plant.look(T_wd[place]), T_wc[place], config)
        assert alone.T_wc.shape == (26, 1, 4, 4)
        assert_run_is(alone, batch, k, atol=2e-6)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_neural_law_settles_at_the_goal(scene: Scene, camera: Camera, network: SiameseNetwork, engine: str) -> None:
    controller = Neural(TorchEngine(network) if engine == "torch" else OpenVinoEngine(network, "f32", 1))
    plant = FlyingCameras(scene, camera)
    trajectory = servo(plant, controller, plant.look(desired(2)), desired(2), ServoConfig(settle_steps=3))
    assert trajectory.reason == ["settled"] * 2
    assert trajectory.iterations.tolist() == [3, 3]
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


def test_speed_limits_scale_the_whole_twist() -> None:
    v = 3 * torch.randn(200, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    v[0] *= 1e-3
    out = limited(ServoConfig(max_v=0.5, max_w=2.0).limits, v, torch.zeros_like(v), 0.04)
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
    out = limited(config.limits, v, previous, 0.1)
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
    size = torch.tensor([0.0, 0.01, 0.1, 1.0, 100.0], dtype=torch.float64)
    v = torch.zeros(5, 6, dtype=torch.float64)
    v[:, 4] = size
    expected = 6 * torch.exp(-30 * size / 6) + 2
    gain = adaptive_gain(v, 2.0, 8.0, 30.0)
    torch.testing.assert_close(gain[:, 0], expected, rtol=1e-12, atol=0)
    assert float(gain[0]) == 8
    assert float(gain[-1]) == 2
    slope = float(adaptive_gain(v[:1] + 1e-6 * torch.eye(6, dtype=torch.float64)[:1], 2.0, 8.0, 30.0) - gain[0]) / 1e-6
    assert slope == pytest.approx(-30, rel=1e-4)


@pytest.mark.parametrize("gain_at_rest", [0.0, 5.0])
def test_constant_gain(gain_at_rest: float) -> None:
    v = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gain = adaptive_gain(v, 5.0, gain_at_rest)
    assert torch.equal(gain, torch.full((4, 1), 5.0, dtype=torch.float64))


def test_gain_is_applied_once() -> None:
    T_wd, T_wc = desired(3), starts(3)
    trajectory = run(PBVS(), T_wd, T_wc, gain=3.0, max_iterations=1, **FREE)
    expected = 3 * teacher_velocity("pbvs", T_wd, T_wc)
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


def test_ctrl_c_keeps_a_batch_where_that_is_asked_for() -> None:
    """Nothing was left of any run."""

    def change(v: Tensor, runs: Tensor, call: int) -> Tensor:
        if call == 4:
            raise KeyboardInterrupt
        return v

    T_wd, T_wc = desired(3), starts(3)
    T_wc[1] = T_wd[1]  # settles at once
    plant, config, target = SpyPlant(), ServoConfig(max_iterations=20, settle_steps=2), View(T_wc=T_wd)
    whole = servo(SpyPlant(), PBVS(), target, T_wc, config)
    cut = servo(plant, Tampered(change), target, T_wc, config, keep=True)
    assert plant.calls == ["reset", "step", "step", "step", "stop"]
    assert cut.reason == ["Ctrl-C", "settled", "Ctrl-C"]
    assert cut.iterations.tolist() == [3, int(whole.iterations[1]), 3]
    assert torch.equal(cut.T_wc, whole.T_wc[:4])
    assert torch.equal(cut.twist, whole.twist[:3])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (torch.zeros(7), r"shape \(7,\)"),
        (torch.full((6,), 0.01), r"shape \(6,\)"),
        (torch.tensor(0.1), r"shape \(\)"),
        (torch.zeros(3, 6), r"shape \(3, 6\)"),
        (torch.zeros(2, 1), r"shape \(2, 1\)"),
        (torch.zeros(2, 6, dtype=torch.complex64), "complex64"),
        ([0.0] * 6, "list"),
        (None, "NoneType"),
    ],
    ids=["7", "one run's", "a number", "three runs'", "one axis", "complex", "list", "nothing"],
)
def test_what_is_no_velocity_is_not_spread_over_the_axes(wrong: Any, words: str) -> None:
    asked: list[View] = []

    def law(view: View, state: State) -> Any:
        asked.append(view)
        output = Output.of(torch.full((2, 6), 0.01, dtype=torch.float64))
        if len(asked) == 3:
            object.__setattr__(output, "v", wrong)
        return output, state

    class Broken:
        needs = frozenset({"pose"})

        def aim(self, target: View) -> tuple[Law, State]:
            return law, State()

    plant = SpyPlant()
    with pytest.raises(LawError, match=rf"the law gave .*{words}.*\(2, 6\)") as error:
        run(Broken(), desired(2), starts(2), plant)
    assert len(str(error.value).splitlines()) == 1
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


NUMBERS = [field.name for field in fields(ServoConfig) if isinstance(field.default, float)]
COUNTS = ["max_iterations", "settle_steps", "lost_steps"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, 1e300])
def test_nonsense_is_refused_by_its_name(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name) as caught:
        ServoConfig(**{name: value})
    assert caught.value.settings == (name,)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [-1, 0, 10**12])
def test_nonsense_counts_are_refused_by_their_name(name: str, value: int) -> None:
    with pytest.raises(InputError, match=name):
        ServoConfig(**{name: value})


@pytest.mark.parametrize("name", ["gain", "max_v", "max_w", "settle_v", "settle_w"])
def test_zero_is_refused_where_nothing_would_move_or_end(name: str) -> None:
    with pytest.raises(InputError, match=name):
        ServoConfig(**{name: 0.0})


@dataclass(frozen=True, eq=False)
class SureState(State):
    goal: Any
    runs: Tensor
    calls: Tensor


class Sure:
    """PBVS that says how sure it is: 0.1 for each call and 1 for each run; and of the pose, as many square metres as the run's number says."""

    needs = frozenset({"pose"})

    def __init__(self, speaks_from: int = 0) -> None:
        self.speaks_from = speaks_from

    def aim(self, target: View) -> tuple[Law, SureState]:
        n = target.batch[0]
        self.law, goal = PBVS().aim(target)
        return self, SureState(goal, torch.arange(n), torch.zeros(n, dtype=torch.long))  # type: ignore[return-value]  # it is a law too

    def __call__(self, view: View, state: SureState) -> tuple[Output, SureState]:
        output = self.law(view, state.goal)[0]
        confidence = None if int(state.calls[0]) < self.speaks_from else state.runs + 0.1 * state.calls.double()
        return replace(output, confidence=confidence), replace(state, calls=state.calls + 1)

    def covariance(self, view: View, state: SureState) -> Tensor:
        assert view.T_wc is not None
        known = torch.diag_embed(state.runs.double()[:, None].expand(-1, 6).clone())
        known[:, 0, 1] = view.T_wc[:, 0, 3]  # where it was asked
        return known


def test_confidences_are_kept_for_as_long_as_a_run_goes() -> None:
    T_wd, T_wc = desired(6), unequal_starts(6)
    got = run(Sure(), T_wd, T_wc)
    assert got.confidence is not None
    assert got.confidence.dtype == torch.float32
    assert got.confidence.shape == got.active.shape
    assert len(set(got.iterations.tolist())) > 2
    for k, count in enumerate(got.iterations.tolist()):
        expected = k + 0.1 * torch.arange(count)
        torch.testing.assert_close(got.confidence[:count, k], expected)
        assert bool(got.confidence[count:, k].isnan().all())


def test_a_law_that_is_silent_at_first_and_one_that_always_is() -> None:
    T_wd, T_wc = desired(3), unequal_starts(3)
    late = run(Sure(2), T_wd, T_wc).confidence
    assert late is not None
    assert bool(late[:2].isnan().all())
    assert late[2].tolist() == pytest.approx([0.2, 1.2, 2.2])
    silent = run(PBVS(), T_wd, T_wc)
    assert silent.confidence is None
    assert silent.covariance is None
    assert silent.confidences.shape == silent.active.shape
    assert bool(silent.confidences.isnan().all())
    assert silent.covariances.shape == (3, 6, 6)
    assert bool(silent.covariances.isnan().all())


def test_the_pose_of_each_run_is_known_at_its_own_end() -> None:
    """Also of runs that ended early, and were not asked for since."""
    T_wd, T_wc = desired(12), unequal_starts(12)
    got = run(Sure(), T_wd, T_wc)
    assert len(set(got.iterations.tolist())) > 6
    assert got.covariance is not None
    assert got.covariance.diagonal(dim1=1, dim2=2)[:, 5].tolist() == list(range(12))
    torch.testing.assert_close(got.covariance[:, 0, 1], got.T_wc[-1, :, 0, 3], rtol=0, atol=0)


def test_what_is_known_of_a_run_is_what_it_was_at_its_end() -> None:
    """A law is asked for the runs that have ended, too, until a tenth of all has: what it knows of them goes on changing."""
    T_wd, T_wc = desired(12), starts(12)
    T_wc[0] = T_wd[0]  # one of twelve ends at once
    together = run(Counting(), T_wd, T_wc)
    alone = run(Counting(), T_wd[:1], T_wc[:1])
    assert int(together.iterations[0]) < int(together.iterations[1])
    assert together.covariance is not None
    assert alone.covariance is not None
    torch.testing.assert_close(together.covariance[0], alone.covariance[0], rtol=0, atol=0)


@dataclass(frozen=True)
class Counting:
    """PBVS whose standard deviation grows with each question."""

    needs = frozenset({"pose"})

    def aim(self, target: View) -> tuple[Law, CountingState]:
        law, state = PBVS().aim(target)
        return _CountingLaw(law), CountingState(state, torch.zeros(target.batch, dtype=torch.long))


@dataclass(frozen=True, eq=False)
class CountingState(State):
    inner: Any
    asked: Tensor


@dataclass(frozen=True)
class _CountingLaw:
    inner: Law

    def __call__(self, view: View, state: CountingState) -> tuple[Output, CountingState]:
        output, inner = self.inner(view, state.inner)
        return output, CountingState(inner, state.asked + 1)

    def covariance(self, view: View, state: CountingState) -> Tensor:
        return state.asked[:, None, None] * torch.eye(6, dtype=torch.float64)


def test_who_listens_hears_each_answer() -> None:
    heard: list[Output] = []
    T_wd, T_wc = desired(1), starts(1)
    got = servo(SpyPlant(), Sure(), View(T_wc=T_wd), T_wc, ServoConfig(max_iterations=5), heard=heard.append)
    assert len(heard) == len(got.twist) == 5
    assert [float(output.confidence[0]) for output in heard if output.confidence is not None] == pytest.approx(
        [0.0, 0.1, 0.2, 0.3, 0.4]
    )


@dataclass(frozen=True)
class Choosy:
    """A law that has no valid image until it sees another frame than its first one, and then is content."""

    needs = frozenset({"image"})

    def aim(self, target: View) -> tuple[Law, ChoosyState]:
        return self.law, ChoosyState(None)

    @staticmethod
    def law(view: View, state: ChoosyState) -> tuple[Output, ChoosyState]:
        assert view.image is not None
        n = len(view.image)
        first = view.image if state.first is None else state.first
        same = [torch.equal(a, b) for a, b in zip(first, view.image, strict=True)]
        v = torch.zeros(n, 6, dtype=torch.float64)
        return Output.of(v, tuple("a bad frame" if k else "" for k in same)), ChoosyState(first)


@dataclass(frozen=True, eq=False)
class ChoosyState(State):
    first: Tensor | None


@pytest.mark.parametrize(("noise", "reason"), [(0.05, "settled"), (0.0, "a bad frame")])
def test_a_run_that_stands_goes_on_with_the_next_good_frame(
    noise: float, reason: str, scene: Scene, camera: Camera
) -> None:
    """A simulated camera that stood saw the same frame again and again, noise and all: one bad frame ended the run."""
    plant = FlyingCameras(scene, camera, conditions=replace(NONE, noise=noise))
    T_wd, T_wc = desired(2), starts(2)
    ended = servo(plant, Choosy(), plant.look(T_wd), T_wc, ServoConfig(lost_steps=3, max_iterations=20))
    assert set(ended.reason) == {reason}


def test_a_plant_is_told_whose_runs_have_ended(scene: Scene, camera: Camera) -> None:
    plant = FlyingCameras(scene, camera, conditions=replace(NONE, noise=0.05))
    told: list[list[bool]] = []

    class Seen(WrappedPlant):
        def runs_ended(self, runs: Tensor) -> None:
            told.append(runs.tolist())
            super().runs_ended(runs)

    T_wd = desired(2)
    T_wc = torch.stack((T_wd[0], starts(2)[1]))  # the first is there
    ended = servo(Seen(plant), PBVS(), plant.look(T_wd), T_wc, ServoConfig(gain=10.0))
    first, second = ended.iterations.tolist()
    assert first < second
    assert told == [[k >= first, False] for k in range(second)]
