from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import Advice, View
from siame_se3.plants.faults import FaultyCamera, FaultyLaw
from siame_se3.plants.flying import HomographyPlant
from siame_se3.scenes.planar import Scene
from siame_se3.servo.guard import Guard, Safety
from siame_se3.servo.loop import ServoConfig, servo
from siame_se3.servo.trajectory import Trajectory

PHOTO = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
CAMERA = Camera.from_focal(300, 224)
CONFIG = ServoConfig(gain=2.0, max_iterations=400)


@pytest.fixture(scope="module")
def plant() -> HomographyPlant:
    return HomographyPlant(Scene.from_photo(PHOTO), CAMERA)


def pose(*vector: float) -> Tensor:
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    return T @ lie.pose_from_vector(torch.tensor(vector or (0.0,) * 6, dtype=torch.float64))


START = pose(0.1, -0.08, 0.05, 0.1, -0.05, 0.3)


def run(plant: Any, controller: Any = None, safety: Safety | None = None, config: ServoConfig = CONFIG) -> Trajectory:
    sound = plant.plant if isinstance(plant, FaultyCamera) else plant
    return servo(plant, controller or PBVS(), sound.look(pose()), START, config, safety=safety or Safety())


def test_a_sound_run_converges_within_the_limits(plant: HomographyPlant) -> None:
    trajectory = run(plant)
    assert trajectory.reason == ["settled"]
    t, r = trajectory.error_norms
    assert float(t[-1]) < 1e-3
    most = torch.tensor(Safety().max_twist)
    assert bool((trajectory.twist.abs() <= most + 1e-6).all())
    assert bool((trajectory.twist.abs() > 0.99 * most).any()), "a limit was met"
    change = torch.cat((trajectory.twist[:1], trajectory.twist.diff(dim=0)))[:-2]
    assert bool((change.abs() <= torch.tensor(Safety().max_change) * plant.dt + 1e-6).all())
    assert math.degrees(float(r[-1])) < 0.1


def test_limits_keep_the_direction(plant: HomographyPlant) -> None:
    guard = Guard(Safety(), 0.04, plant.look(pose()))
    v = torch.tensor([3.0, -1.0, 0.5, 0.2, 0.1, -0.4], dtype=torch.float64)
    limited = guard.limited(v, torch.zeros(6, dtype=torch.float64))
    torch.testing.assert_close(limited / limited.norm(), v / v.norm())
    zero = torch.zeros(6, dtype=torch.float64)
    assert torch.equal(guard.limited(zero, zero), zero)


@pytest.mark.parametrize(
    ("kind", "words", "within"),
    [
        ("stops", "stale image", Safety().max_age),
        ("late", "stale image", 0.0),
        ("freezes", "frozen image", Safety().frozen + 0.04),
        ("black", "the view changed", 0.0),
        ("hand", "the view changed", 0.0),
    ],
)
@pytest.mark.parametrize("frames", [9, 14, 21])
def test_faulty_cameras_stop_the_robot(
    plant: HomographyPlant, kind: Any, words: str, within: float, frames: int
) -> None:
    trajectory = run(FaultyCamera(plant, kind, frames * plant.dt))
    assert words in trajectory.reason[0]
    still = (trajectory.applied == 0).all(-1)
    last = 0 if bool(still.all()) else int((~still).nonzero().max()) + 1
    assert frames <= last <= frames + round(within / plant.dt) + 1
    assert not bool(trajectory.active[last:].any())


def test_a_law_of_nan_stops_at_once(plant: HomographyPlant, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        trajectory = run(plant, FaultyLaw(PBVS(), 10))
    assert trajectory.reason == ["law not finite"]
    assert len(trajectory.twist) == 10, "nothing was commanded after it"
    assert "law not finite" in caplog.text


@dataclass(frozen=True)
class Says:
    """A law that says what it is told to."""

    v: Callable[[int], tuple[float, ...]]
    fault: Callable[[int], str] = lambda k: ""
    k: int = 0
    needs = frozenset({"image"})

    def aim(self, target: View) -> Says:
        return self

    def advise(self, view: View) -> Advice:
        v = torch.tensor(self.v(self.k), dtype=torch.float64)
        return Advice(v, (self.fault(self.k),), replace(self, k=self.k + 1), torch.zeros(1, dtype=torch.long))

    def __call__(self, view: View) -> Tensor:
        return self.advise(view).v

    def updated(self, runs: Tensor, part: Any) -> Says:
        return self

    def __getitem__(self, index: Any) -> Says:
        return self


def test_an_exploding_law_stops_at_once(plant: HomographyPlant) -> None:
    trajectory = run(plant, Says(lambda k: (0.0, 0.0, 0.0, 0.0, 0.0, 0.1 * 2.0**k)))
    assert "exploded" in trajectory.reason[0]
    assert bool((trajectory.twist[-1] != 0).any()), "no ramp"


def test_reach_ends_with_a_smooth_stop(plant: HomographyPlant) -> None:
    trajectory = run(plant, Says(lambda k: (0.3, 0, 0, 0, 0, 0)), Safety(reach=0.05))
    assert "0.05 m from its start" in trajectory.reason[0]
    speeds = trajectory.twist[:, 0]
    assert 0 < float(speeds[-2]) < float(speeds[-3])
    assert float(speeds[-1]) == 0
    assert len(trajectory.step_seconds) == len(trajectory.twist)


def test_the_box_is_in_the_frame_of_the_poses(plant: HomographyPlant) -> None:
    x, y, z = START[:3, 3].tolist()
    box = (x - 1, y - 1, z - 1, x + 0.02, y + 1, z + 1)
    trajectory = run(plant, Says(lambda k: (0.3, 0, 0, 0, 0, 0)), Safety(box=box))
    assert trajectory.reason == ["the camera left its workspace box"]
    assert float(trajectory.T_wc[-1, 0, 3]) < x + 0.04


def test_no_progress_ends_a_run(plant: HomographyPlant) -> None:
    around = Says(lambda k: (0.05 * math.cos(k / 6), 0.05 * math.sin(k / 6), 0, 0, 0, 0))
    trajectory = run(plant, around, Safety(no_progress=2.0))
    assert "no progress for 2 s" in trajectory.reason[0]
    assert 2.0 <= len(trajectory.twist) * plant.dt < 2.5


def test_a_law_without_a_velocity_stands_still_then_ends(plant: HomographyPlant) -> None:
    law = Says(lambda k: (0.1, 0, 0, 0, 0, 0), lambda k: "too few matches" if k >= 6 else "")
    trajectory = run(plant, law)
    assert trajectory.reason == ["too few matches"]
    assert bool((trajectory.twist[6:] == 0).all())
    assert bool((trajectory.twist[:6, 0] > 0).all())


class Broken:
    """A plant that does something else at its n-th step."""

    def __init__(self, plant: HomographyPlant, at: int, what: Any) -> None:
        self.plant, self.at, self.what = plant, at, what
        self.provides, self.dt, self.stopped = plant.provides, plant.dt, False

    def look(self, T: Tensor) -> View:
        return self.plant.look(T)

    def reset(self, start: Tensor | None) -> View:
        return self.plant.reset(start)

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        self.at -= 1
        if self.at == 0:
            if isinstance(self.what, str):
                view, applied = self.plant.step(v)
                return replace(view, fault=self.what), applied
            raise self.what
        return self.plant.step(v)

    def stop(self) -> None:
        self.stopped = True


@pytest.mark.parametrize(
    ("what", "reason", "length"),
    [
        ("joint 3 is within 2 deg of its limit", "joint 3 is within 2 deg of its limit", 5),
        (ConnectionResetError("gone"), "plant lost: gone", 4),
        (SiameError("UR: protective stop"), "UR: protective stop", 4),
        (KeyboardInterrupt(), "Ctrl-C", 6),  # with two steps of the ramp
    ],
)
def test_a_lost_plant_or_ctrl_c_keeps_the_trajectory(
    plant: HomographyPlant, what: Any, reason: str, length: int
) -> None:
    broken = Broken(plant, 5, what)
    trajectory = run(broken)
    assert trajectory.reason == [reason]
    assert len(trajectory.twist) == length
    assert broken.stopped


def test_errors_of_the_program_are_not_hidden_and_stop_the_plant(plant: HomographyPlant) -> None:
    broken = Broken(plant, 5, RuntimeError("bug"))
    with pytest.raises(RuntimeError, match="bug"):
        run(broken)
    assert broken.stopped
    assert broken.at == 0, "nothing was sent after it"


def test_slow_errors_of_set_up_and_light_are_no_faults() -> None:
    """A hand-eye error of 5 deg, a distance wrong by a fifth, a brighter lamp: it goes on."""
    scene = Scene.from_photo(PHOTO)
    sound = HomographyPlant(scene, CAMERA)

    class Wrong(HomographyPlant):
        count = 0

        def step(self, v: Tensor) -> tuple[View, Tensor]:
            self.count += 1
            turn = lie.pose_from_vector(torch.tensor([0, 0, 0, 0.05, 0.05, 0.05], dtype=torch.float64))
            view, _ = super().step((lie.adjoint(turn) @ v.mT).mT if v.ndim > 1 else lie.adjoint(turn) @ v)
            assert view.image is not None
            assert view.depth is not None
            return replace(
                view, depth=1.2 * view.depth, image=(view.image * (1.0 if self.count < 9 else 1.15)).clamp(0, 1)
            ), v

    trajectory = servo(Wrong(scene, CAMERA), PBVS(), sound.look(pose()), START, CONFIG, safety=Safety())
    assert trajectory.reason == ["settled"]


def test_dry_runs_and_faults_are_no_lack_of_progress(plant: HomographyPlant) -> None:
    guard = Guard(Safety(no_progress=1.0), 0.04, plant.look(pose()))
    v = torch.tensor([0.1, 0, 0, 0, 0, 0], dtype=torch.float64)
    for _ in range(100):  # nothing is applied
        assert guard.seen(plant.look(pose()), torch.zeros(6, dtype=torch.float64)) is None
        assert guard.judged(v) is None
    lost = Says(lambda k: (0.1 * 0.98**k, 0, 0, 0, 0, 0), lambda k: "too few matches" if k == 3 else "")
    assert "no progress" not in run(plant, lost, Safety(no_progress=1.0)).reason[0]


def test_the_tools_twist_has_the_limits_too(plant: HomographyPlant) -> None:
    T_tc = lie.pose_from_vector(torch.tensor([0.0, 0, 0.5, 0, 0, 0], dtype=torch.float64))
    guard = Guard(Safety(), 0.04, plant.look(pose()), T_tc)
    v = torch.tensor([0.0, 0, 0, 0.35, 0, 0], dtype=torch.float64)
    limited = torch.zeros(6, dtype=torch.float64)
    for _ in range(20):
        limited = guard.limited(v, limited)
    assert float((lie.adjoint(T_tc) @ limited)[:3].abs().max()) == pytest.approx(0.1)


def test_images_from_the_future_are_refused(plant: HomographyPlant) -> None:
    view = plant.look(pose())
    halt = Guard(Safety(), 0.04, view).seen(replace(view, age=-0.5))
    assert halt is not None
    assert "future" in halt.reason


def test_several_cameras_and_bad_limits_are_refused(plant: HomographyPlant) -> None:
    two = pose().expand(2, 4, 4).clone()
    with pytest.raises(SiameError, match="one robot with one camera"):
        servo(plant, PBVS(), plant.look(two), two, safety=Safety())
    for changes, words in (
        ({"max_twist": (0.1,) * 5}, "six numbers"),
        ({"max_change": (0.0,) * 6}, "six numbers"),
        ({"max_age": 0.0}, "above 0"),
        ({"reach": -1.0}, "0 or more"),
        ({"box": (0, 0, 0, 1, 1)}, "low corner"),
        ({"box": (0, 0, 0, 1, 1, -1)}, "low corner"),
    ):
        with pytest.raises(SiameError, match=words):
            Safety(**changes)  # type: ignore[arg-type]  # on purpose
    view = plant.look(pose())
    with pytest.raises(SiameError, match="does not know its pose"):
        Guard(Safety(box=(0, 0, 0, 1, 1, 1)), 0.04, replace(view, T_wc=None))
