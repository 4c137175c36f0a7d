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
from siame_se3.laws.handoff import Handoff
from siame_se3.laws.photometric import DVS
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import Advice, View, advise, check_law
from siame_se3.plants.flying import HomographyPlant
from siame_se3.scenes.planar import Scene
from siame_se3.servo.loop import ServoConfig, servo

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
def plant(scene: Scene) -> HomographyPlant:
    return HomographyPlant(scene, Camera.from_focal(300, 224).resized(48))


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


@pytest.mark.parametrize("shape", [(), (1,), (3, 2)], ids=str)
def test_law_keeps_the_houses_promises(shape: tuple[int, ...], plant: HomographyPlant) -> None:
    law = Handoff(PBVS(), FINE)
    check_law(law, plant.look(above(*shape)), plant.look(away(*shape)), zero_at_goal=1e-6)


@pytest.mark.parametrize("shape", [(8,), (2, 4)], ids=str)
def test_photometric_law_takes_the_last_half_centimetre(shape: tuple[int, ...], plant: HomographyPlant) -> None:
    config = ServoConfig(gain=8, max_iterations=120)
    ends = {}
    for name, law in {"alone": Biased(), "handoff": Handoff(Biased(), FINE)}.items():
        trajectory = servo(plant, law, plant.look(above(*shape)), away(*shape), config)
        ends[name] = trajectory.error_norms[0][-1]
        if name == "handoff":
            assert set(trajectory.reason) == {"settled"}
            assert trajectory.error_norms[1][-1].max() < math.radians(0.01)
            rows = metrics.rows(trajectory)
            stage = trajectory.stage.reshape(len(trajectory.stage), -1)
            for k, row in enumerate(rows):
                assert 5 < row.switch < row.iterations
                assert stage[: row.switch, k].eq(0).all()
                assert stage[row.switch : row.iterations, k].eq(1).all()
                assert stage[row.iterations :, k].eq(-1).all()
    assert float(ends["alone"].min()) > 0.004
    assert float(ends["handoff"].max()) < 1e-4


def test_runs_do_not_know_of_each_other(plant: HomographyPlant) -> None:
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

    def aim(self, target: View) -> Any:
        assert target.image is not None
        return ScriptedLaw(self, torch.zeros(len(target.image), dtype=torch.long))


@dataclass(frozen=True, eq=False)
class ScriptedLaw:
    script: Scripted
    turn: Tensor

    def __call__(self, view: View) -> Tensor:
        return self.advise(view).v

    def advise(self, view: View) -> Advice:
        n = len(self.turn)
        cost = torch.tensor([self.script.costs[min(int(k), len(self.script.costs) - 1)] for k in self.turn])
        v = torch.full((n, 6), 1e-2, dtype=torch.float64)
        law = replace(self, turn=self.turn + 1)
        return Advice(v, (self.script.fault,) * n, law, torch.zeros(n, dtype=torch.long), cost)

    def updated(self, runs: Tensor, part: Any) -> ScriptedLaw:
        return replace(self, turn=self.turn.index_put((runs,), part.turn))

    def __getitem__(self, index: Any) -> ScriptedLaw:
        return replace(self, turn=self.turn[index])


def stages(law: Any, view: View, n: int) -> list[int]:
    seen = []
    for _ in range(n):
        advice = advise(law, view)
        seen.append(int(advice.stage[0]))
        law = advice.law
    return seen


def test_it_comes_back_when_the_cost_rises(plant: HomographyPlant) -> None:
    law = Handoff(PBVS(), Scripted((1.0, 0.5, 1.2, 2.0)), patience=2, returns=1)
    seen = stages(law.aim(plant.look(above(1))), plant.look(above(1)), 12)
    # at the goal at once; fine until the cost passes 1.5 times its first, there the coarse law speaks again; over once more
    assert seen == [0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1]


def test_it_comes_back_when_the_fine_law_has_a_fault_and_in_the_end_stays(plant: HomographyPlant) -> None:
    law: Any = Handoff(PBVS(), Scripted((1.0,), fault="lost"), returns=1).aim(plant.look(above(1)))
    tried = []
    for _ in range(5):
        advice = advise(law, plant.look(above(1)))
        assert advice.faults == ("",)
        assert int(advice.stage[0]) == 0
        law = advice.law
        tried.append(int(law.memory.stage[0]))
    assert tried == [1, 1, 0, 0, 0]
    assert int(law.memory.returned[0]) == 2


def test_it_does_not_go_over_while_the_coarse_law_still_wants_to_go_far(plant: HomographyPlant) -> None:
    far = away(1)
    assert float((far - above(1))[:, :3, 3].norm()) > 0.05
    law = Handoff(PBVS(), FINE)
    assert stages(law.aim(plant.look(above(1))), plant.look(far), 12) == [0] * 12


def test_it_needs_an_image(plant: HomographyPlant) -> None:
    assert Handoff(PBVS(), FINE).needs == {"pose", "image"}
    with pytest.raises(SiameError, match=r"handoff.*image"):
        Handoff(PBVS(), FINE).aim(View(T_wc=above(1)))
