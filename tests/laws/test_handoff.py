from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from siame_se3.analysis import metrics
from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws import auto
from siame_se3.laws.handoff import Handoff
from siame_se3.laws.photometric import DVS
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import Law, Output, State, View, check_law
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo

FINE = DVS("gauss-newton", "mean", border=4)


@dataclass(frozen=True)
class Biased:
    """PBVS that ends beside the goal, as a learned law does."""

    bias: float = 0.005
    needs = frozenset({"pose"})

    def aim(self, target: View) -> Any:
        assert target.T_wc is not None
        aside = torch.eye(4, dtype=torch.float64)
        aside[0, 3] = self.bias
        return PBVS().aim(View(T_wc=target.T_wc @ aside))


@pytest.fixture(scope="module")
def plant(scene: Scene) -> FlyingCameras:
    return FlyingCameras(scene, Camera.from_focal(300, 224).resized(48))


def above(*shape: int) -> Tensor:
    T = torch.eye(4, dtype=torch.float64).repeat(*shape, 1, 1)
    T[..., 2, 3] = -0.6
    return T


def away(*shape: int) -> Tensor:
    """About 14 cm and 16 deg."""
    sigma = torch.tensor([0.08] * 3 + [0.1, 0.1, 0.25], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    return above(*shape) @ lie.pose_from_vector(
        torch.randn(*shape, 6, generator=generator, dtype=torch.float64) * sigma
    )


@pytest.mark.parametrize("shape", [(1,), (6,)], ids=str)
def test_law_keeps_the_houses_promises(shape: tuple[int, ...], plant: FlyingCameras) -> None:
    law = Handoff(PBVS(), FINE)
    check_law(law, plant.look(above(*shape)), plant.look(away(*shape)), zero_at_goal=1e-6)


@pytest.mark.parametrize("shape", [(8,), (2, 4)], ids=str)
def test_photometric_law_takes_the_last_half_centimetre(shape: tuple[int, ...], plant: FlyingCameras) -> None:
    config = ServoConfig(gain=8, max_iterations=120)
    ends = {}
    for name, law in {"alone": Biased(), "handoff": Handoff(Biased(), FINE)}.items():
        trajectory = servo(plant, law, plant.look(above(*shape)), away(*shape), config)
        ends[name] = trajectory.error_norms[0][-1]
        if name == "handoff":
            assert set(trajectory.reason) == {"settled"}
            assert trajectory.error_norms[1][-1].max() < math.radians(0.01)
            rows = metrics.rows(trajectory)
            stage = trajectory.stage
            for k, row in enumerate(rows):
                assert 5 < row.switch < row.iterations
                assert stage[: row.switch, k].eq(0).all()
                assert stage[row.switch : row.iterations, k].eq(1).all()
                assert stage[row.iterations :, k].eq(-1).all()
    assert float(ends["alone"].min()) > 0.004
    assert float(ends["handoff"].max()) < 1e-4


def test_runs_do_not_know_of_each_other(plant: FlyingCameras) -> None:
    law, config = Handoff(Biased(), DVS(border=4, late=3)), ServoConfig(gain=8, max_iterations=60)
    together = servo(plant, law, plant.look(above(3)), away(3), config)
    for k in range(3):
        alone = servo(plant, law, plant.look(above(3)[k : k + 1]), away(3)[k : k + 1], config)
        n = int(alone.iterations[0])
        assert n == int(together.iterations[k])
        torch.testing.assert_close(alone.T_wc[n, 0], together.T_wc[n, k], rtol=0, atol=1e-6)


@dataclass(frozen=True)
class Scripted:
    """A fine law that says the costs that it was given, one an iteration, the last one for ever."""

    costs: tuple[float, ...]
    fault: str = ""
    needs = frozenset({"image"})

    def aim(self, target: View) -> tuple[Law, ScriptedState]:
        return self.law, ScriptedState(torch.zeros(*target.batch, dtype=torch.long))

    def law(self, view: View, state: ScriptedState) -> tuple[Output, ScriptedState]:
        n = len(state.turn)
        cost = torch.tensor([self.costs[min(int(k), len(self.costs) - 1)] for k in state.turn])
        v = torch.full((n, 6), 1e-2, dtype=torch.float64)
        return Output.of(v, (self.fault,) * n, cost), ScriptedState(state.turn + 1)


@dataclass(frozen=True, eq=False)
class ScriptedState(State):
    turn: Tensor


def stages(controller: Any, target: View, view: View, n: int) -> list[int]:
    seen = []
    law, state = controller.aim(target)
    for _ in range(n):
        output, state = law(view, state)
        seen.append(int(output.stage[0]))
    return seen


def test_it_comes_back_when_the_cost_rises(plant: FlyingCameras) -> None:
    law = Handoff(PBVS(), Scripted((1.0, 0.5, 1.2, 2.0)), patience=2, returns=2)
    seen = stages(law, plant.look(above(1)), plant.look(above(1)), 12)
    # at the goal at once; fine until the cost passes 1.5 times its first, there the coarse law speaks again; over once more
    assert seen == [0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("returns", [1, 2, 3])
def test_it_comes_back_as_often_as_it_says_and_in_the_end_stays(returns: int, plant: FlyingCameras) -> None:
    """The documentation's number of returns; one more was made once."""
    law, state = Handoff(PBVS(), Scripted((1.0,), fault="lost"), returns=returns).aim(plant.look(above(1)))
    tried = []
    for _ in range(8):
        output, state = law(plant.look(above(1)), state)
        assert output.faults == ("",)
        assert int(output.stage[0]) == 0
        tried.append(int(state.stage[0]))
    assert tried == [1] * returns + [0] * (8 - returns)
    assert int(state.returned[0]) == returns


def test_without_returns_it_stays_with_the_fine_law(plant: FlyingCameras) -> None:
    law, state = Handoff(PBVS(), Scripted((1.0,), fault="lost"), returns=0).aim(plant.look(above(1)))
    faults = []
    for _ in range(3):
        output, state = law(plant.look(above(1)), state)
        faults.append(output.faults[0])
    assert faults == ["", "lost", "lost"]


def test_it_does_not_go_over_while_the_coarse_law_still_wants_to_go_far(plant: FlyingCameras) -> None:
    far = away(1)
    assert float((far - above(1))[:, :3, 3].norm()) > 0.05
    assert stages(Handoff(PBVS(), FINE), plant.look(above(1)), plant.look(far), 12) == [0] * 12


def test_it_needs_an_image(plant: FlyingCameras) -> None:
    assert Handoff(PBVS(), FINE).needs == {"pose", "image"}
    with pytest.raises(SiameError, match=r"handoff.*image"):
        Handoff(PBVS(), FINE).aim(View(T_wc=above(1)))


@dataclass(frozen=True)
class Sure:
    """A coarse law that verifies, and sees the goal where it is until its second call: then beside it by a motion [m, rad]."""

    aside: tuple[float, ...]
    verifies = True
    needs = frozenset({"image"})

    def aim(self, target: View) -> tuple[Law, ScriptedState]:
        return self.law, ScriptedState(torch.zeros(*target.batch, dtype=torch.long))

    def law(self, view: View, state: ScriptedState) -> tuple[Output, ScriptedState]:
        v = torch.tensor(self.aside, dtype=torch.float64) * (state.turn > 0).double()[:, None]
        return Output.of(v), ScriptedState(state.turn + 1)


@pytest.mark.parametrize(
    ("aside", "taken_back"),
    [
        pytest.param((0.02, 0, 0, 0, 0, 0), True, id="2 cm beside: the dot next to it"),
        pytest.param((0, 0.02, 0, 0, 0, 0), True, id="2 cm below"),
        pytest.param((0, 0, 0.06, 0, 0, 0), True, id="6 cm nearer"),
        pytest.param((0, 0, 0, 0, 0, 0.12), True, id="7 deg of roll"),
        pytest.param((0, 0, 0, 0.03, 0, 0), True, id="a tilt alone"),
        pytest.param((0, 0.018, 0, 0.03, 0, 0), False, id="shift y and tilt x that undo each other in the image"),
        pytest.param((0.018, 0, 0, 0, -0.03, 0), False, id="shift x and tilt y that undo each other"),
        pytest.param((0.018, 0, 0, 0, 0.03, 0), True, id="shift x and tilt y that add up"),
        pytest.param((0.004, 0, 0, 0, 0, 0), False, id="4 mm"),
        pytest.param(
            (0, 0.1, 0, 0.166, 0, 0), True, id="10 cm and 9.5 deg that undo each other: too far for a hand-off"
        ),
    ],
)
def test_it_is_taken_back_by_what_moves_the_image(
    aside: tuple[float, ...], taken_back: bool, plant: FlyingCameras
) -> None:
    """Robots over objects with a scan's depth were taken back from 1 mm to 12 to 17 mm beside the goal: a shift with a tilt."""
    law = Handoff(Sure(aside), Scripted((1.0,)))
    seen = stages(law, plant.look(above(2)), plant.look(above(2)), 12)
    assert seen[:8] == [0, *[1] * 7]
    assert (0 in seen[8:]) is taken_back


@pytest.mark.parametrize("distance", [0.3, 2.4])
def test_what_moves_the_image_depends_on_the_distance(distance: float, plant: FlyingCameras) -> None:
    """2 cm are 7 % of the image's width from 0.3 m, and 1 % from 2.4 m."""
    target = replace(plant.look(above(1)), depth=torch.tensor([distance], dtype=torch.float64))
    seen = stages(Handoff(Sure((0.02, 0, 0, 0, 0, 0)), Scripted((1.0,))), target, plant.look(above(1)), 12)
    width = plant.camera.width / plant.camera.fx  # at 1 m
    assert (0 in seen[8:]) is (0.02 / distance / width > 0.02)


def test_a_goal_of_unknown_distance_counts_as_at_the_usual_one(plant: FlyingCameras) -> None:
    for depth in (None, torch.tensor([math.nan])):
        target = replace(plant.look(above(1)), depth=depth)
        _law, state = Handoff(Sure((0.02, 0, 0, 0, 0, 0)), Scripted((1.0,))).aim(target)
        assert state.distance.tolist() == pytest.approx([0.05 / math.radians(5)])
        _law, state = Handoff(auto.Auto(None, Z=2.0), Scripted((1.0,))).aim(target)
        assert state.distance.tolist() == [2.0]


@pytest.mark.parametrize("name", ["near_t", "near_r"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_a_hand_off_needs_a_place_to_be_near(name: str, value: float) -> None:
    with pytest.raises(SiameError, match=name):
        Handoff(PBVS(), FINE, **{name: value})
