"""The motion of a scan: around the goal and back, looks at rest, within limits, stopped by what stops any run."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from siame_se3.commissioning.scan import Scanned, ScanPattern, pose_of, scan, scanned
from siame_se3.errors import InputError, RobotError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.types import WrappedPlant
from siame_se3.scenes.planar import Scene
from siame_se3.servo.safety import Safety

CAMERA = Camera.from_focal(135, 96)
QUICK = ScanPattern(views=4, gain=3.0, wait=0.3)
GOAL = lie.pose_from_vector(torch.tensor([[0.02, 0.01, -0.6, 0.03, 0.05, 0.3]], dtype=torch.float64))
SAFETY = Safety(max_twist=(0.3,) * 3 + (1.0,) * 3, max_change=(5.0,) * 6)


class Robot(WrappedPlant):
    """A flying camera that stays where it is at a reset, shows images late, and may fail.

    Args:
        late: by how many steps its images are old.
        fails: the step from which on it reports a fault.
        blocked: it does not move.
    """

    def __init__(self, scene: Scene, late: int = 0, fails: int = 10**9, blocked: bool = False) -> None:
        super().__init__(FlyingCameras(scene, CAMERA, dt=0.1))
        self.late, self.fails, self.blocked = late, fails, blocked
        self.given = frozenset({"image", "base_pose"})
        self.twists: list[Tensor] = []
        self.seen: list[View] = [self.plant.reset(GOAL)]

    @property
    def provides(self) -> frozenset[str]:
        return self.given

    def view(self) -> View:
        image = self.seen[max(0, len(self.seen) - 1 - self.late)].image
        fault = "protective stop" if len(self.twists) >= self.fails else ""
        now = self.seen[-1]
        return View(image, None, now.depth, CAMERA, self.late * 0.1, fault, now.T_wc)

    def reset(self, start: Tensor | None) -> View:
        assert start is None
        return self.view()

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        self.twists.append(v)
        seen, applied = self.plant.step(0 * v if self.blocked else v)
        self.seen.append(seen)
        return self.view(), applied


@pytest.fixture(scope="module")
def done(photo: Scene) -> tuple[Robot, Scanned, list[str]]:
    robot, said = Robot(photo, late=1), []
    return robot, scan(robot, 0.6, QUICK, SAFETY, say=said.append), said


def test_places_are_around_the_goal_and_look_at_its_middle() -> None:
    places = ScanPattern(radius=0.05, views=7).places(0.5)
    middle = torch.tensor([0, 0, 0.5, 1], dtype=torch.float64)
    torch.testing.assert_close(places[:, :3, 3].norm(dim=1), torch.full((7,), 0.05, dtype=torch.float64))
    seen = (lie.inverse(places) @ middle)[:, :3]
    torch.testing.assert_close(seen[:, :2], torch.zeros(7, 2, dtype=torch.float64), atol=1e-12, rtol=0)
    assert float(places[:, :3, 3].mean(0).norm()) < 1e-12


def test_the_camera_goes_around_and_comes_back(done: tuple[Robot, Scanned, list[str]]) -> None:
    robot, found, said = done
    wanted = QUICK.places(0.6)
    t, r = lie.error_norms(lie.inverse(wanted) @ found.T_gk)
    assert float(t.max()) < 1e-3
    assert float(r.max()) < math.radians(0.1)
    t, r = lie.error_norms(lie.inverse(GOAL[0]) @ pose_of(robot.view()))
    assert float(t) < 3e-4
    assert float(r) < math.radians(0.03)
    assert said[:6] == ["the goal", *(f"view {k} of 4" for k in range(1, 5)), "back to the goal"]
    assert float(robot.twists[-1].abs().max()) == 0


def test_images_are_of_where_the_camera_is_measured(done: tuple[Robot, Scanned, list[str]]) -> None:
    """Though they come late: it waits for them at rest."""
    robot, found, _ = done
    for image, T in zip(found.views, found.T_gk, strict=True):
        expected = robot.plant.look((GOAL[0] @ T)[None]).image  # type: ignore[attr-defined]  # flying cameras look
        assert float((image - expected[0]).abs().max()) < 1e-5


def test_the_goal_has_a_depth(done: tuple[Robot, Scanned, list[str]], photo: Scene) -> None:
    _, found, _ = done
    assert found.goal.depth_map is not None
    assert found.goal.depth_map.shape == (1, 96, 96)
    error = (found.map.depth / photo.depth(CAMERA, GOAL)[0] - 1).abs()
    assert found.map.filled > 0.4
    assert float(error.nanmedian()) < 0.01


def test_twists_stay_within_the_limits(done: tuple[Robot, Scanned, list[str]]) -> None:
    twists = torch.cat(done[0].twists)
    assert bool((twists.abs() <= 1.001 * torch.tensor(SAFETY.max_twist, dtype=torch.float64)).all())
    change = (twists[1:] - twists[:-1]).abs() / 0.1
    assert bool((change <= 1.001 * torch.tensor(SAFETY.max_change, dtype=torch.float64))[twists[1:].any(1)].all())


def test_what_stops_a_run_stops_a_scan(photo: Scene) -> None:
    robot = Robot(photo, fails=12)
    with pytest.raises(RobotError, match="stopped after 1 of 5 views: protective stop"):
        scan(robot, 0.6, QUICK, SAFETY)
    assert len(robot.twists) == 12, "no twist is sent after the fault"
    blocked = Robot(photo, blocked=True)
    with pytest.raises(RobotError, match=r"stopped after 1 of 5 views: .*(not move as commanded|not reached|frozen)"):
        scan(blocked, 0.6, QUICK, SAFETY)


def test_a_place_that_is_not_reached_ends_the_scan(photo: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a pose that trembles by more than what counts as reached."""
    monkeypatch.setattr("siame_se3.commissioning.scan._LEG", 2.0)

    class Trembling(Robot):
        def view(self) -> View:
            view = super().view()
            assert view.T_bc is not None
            away = 0.004 * (-1) ** len(self.seen)
            return replace(view, T_bc=view.T_bc @ lie.exp(torch.tensor([away, 0, 0, 0, 0, 0], dtype=torch.float64)))

    with pytest.raises(RobotError, match="a place of the scan is not reached in 2 s"):
        scan(Trembling(photo), 0.6, replace(QUICK, gain=0.1), SAFETY)


def refused(words: str, plant: Any, pattern: ScanPattern = QUICK, safety: Safety = SAFETY) -> None:
    with pytest.raises(InputError, match=words):
        scan(plant, 0.6, pattern, safety)
    assert not plant.twists, "it has moved"


def test_what_cannot_be_is_refused_before_anything_moves(photo: Scene) -> None:
    robot = Robot(photo)
    refused("give a radius up to half of it", robot, ScanPattern(radius=0.4))
    refused("beyond the reach of 0.03 m", robot, safety=replace(SAFETY, reach=0.03))
    # 8 cm from a place to the other one: it began, and was stopped on the way
    refused(
        "the way to the next one is 0.08 m.* or more places", robot, ScanPattern(views=2), replace(SAFETY, reach=0.06)
    )
    refused("leaves the workspace box", robot, safety=replace(SAFETY, box=(-0.01, -1.0, -1.0, 1.0, 1.0, 1.0)))
    robot.given = frozenset({"image"})
    refused("does not report its pose", robot)
    robot.given = frozenset({"base_pose"})
    refused("has no images", robot)


def test_poses_and_views_have_to_be_there() -> None:
    with pytest.raises(InputError, match="pose is not known"):
        pose_of(View(torch.zeros(1, 3, 8, 8)))
    with pytest.raises(InputError, match="0 views"):
        scanned([View(torch.zeros(1, 3, 8, 8), GOAL, camera=CAMERA)], 0.6)


@pytest.mark.parametrize(
    "values", [{"radius": 0.0}, {"views": 1}, {"gain": 0.0}, {"wait": -1.0}, {"radius": math.nan}, {"views": 2.5}]
)
def test_patterns_that_are_none_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        ScanPattern(**values)
