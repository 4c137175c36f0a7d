from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from loop_helpers import FREE, NEVER, SpyPlant, Tampered, desired, run, starts, unequal_starts
from siame_se3.errors import LawError, SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.types import WrappedPlant
from siame_se3.scenes.conditions import NONE
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo


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
