"""A simulated plant as a robot: time, places, images, disturbances."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from siame_se3.errors import SceneError, SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import View
from siame_se3.page.clock import PausableClock
from siame_se3.page.disturb import KINDS
from siame_se3.page.world import World
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.robots.interfaces import CameraSource, VelocityDriver
from siame_se3.plants.types import Plant
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import reference_pose

GOAL = reference_pose(0.6)
START = GOAL @ lie.pose_from_vector(torch.tensor([0.05, -0.03, 0.02, 0.1, -0.1, 0.2], dtype=torch.float64))
TWIST = torch.tensor([0.1, 0.0, 0.05, 0.0, 0.2, 0.0], dtype=torch.float64)


@pytest.fixture
def world(scene: Scene, camera: Camera) -> Iterator[World]:
    found = World(lambda scene: FlyingCameras(scene, camera), scene, START, paced=False)
    yield found
    found.close()


def test_it_is_a_camera_source_and_a_velocity_driver(world: World) -> None:
    assert isinstance(world, CameraSource)
    assert isinstance(world, VelocityDriver)


def test_it_moves_by_its_twist_while_time_goes_on(world: World) -> None:
    world.move(TWIST)
    assert torch.equal(world.T_wc, START)
    world.clock.sleep(world.dt)
    torch.testing.assert_close(world.T_wc, START @ lie.exp(TWIST * world.dt))
    world.stop()
    before = world.T_wc
    world.clock.sleep(world.dt)
    assert torch.equal(world.T_wc, before)


def test_each_image_is_that_of_its_place_and_newer_than_the_last(world: World, scene: Scene, camera: Camera) -> None:
    first = world.latest(0.0, 0.0)
    assert first is not None
    assert world.latest(first.stamp, 0.0) is None
    world.place(GOAL)
    second = world.latest(first.stamp, 0.0)
    assert second is not None
    torch.testing.assert_close(second.image, scene.render(camera, GOAL[None])[0][0])


def test_a_goal_is_seen_without_going_there_and_without_disturbances(
    world: World, scene: Scene, camera: Camera
) -> None:
    world.disturbances.on = frozenset(KINDS)
    goal = world.goal(GOAL)
    assert goal.image is not None
    torch.testing.assert_close(goal.image, scene.render(camera, GOAL[None])[0])
    assert goal.T_bc is not None
    assert torch.equal(goal.T_bc[0], GOAL)
    assert torch.equal(world.T_wc, START)
    world.move(torch.zeros(6, dtype=torch.float64))
    world.clock.sleep(world.dt)
    assert torch.equal(world.T_wc, START), "the plant itself was left at the goal"


def test_a_goal_that_shows_nothing_is_refused(world: World) -> None:
    away = GOAL.clone()
    away[0, 3] = 50.0
    with pytest.raises(SceneError, match="sees nothing"):
        world.goal(away)


@pytest.mark.parametrize("kind", KINDS)
def test_each_disturbance_changes_the_image_and_goes_again(world: World, kind: str) -> None:
    def image() -> torch.Tensor:
        world.refresh()
        frame = world.latest(0.0, 0.0)
        assert frame is not None
        return frame.image

    plain = image()
    world.disturbances.on = frozenset({kind})
    disturbed = image()
    assert float((disturbed - plain).abs().mean()) > 0.002
    assert (kind == "noise") != torch.equal(disturbed, image()), "noise is new each time, the others stay"
    if kind == "occlusion":
        assert 0.05 < float((disturbed != plain).any(0).float().mean()) < 0.2
    world.disturbances.on = frozenset()
    assert torch.equal(image(), plain)


def test_a_plant_is_only_called_in_one_thread(scene: Scene, camera: Camera) -> None:
    threads: set[str] = set()

    class Choosy(FlyingCameras):
        def __init__(self) -> None:
            threads.add(threading.current_thread().name)
            super().__init__(scene, camera)

        def reset(self, start: torch.Tensor | None) -> View:
            threads.add(threading.current_thread().name)
            return super().reset(start)

        def step(self, v: torch.Tensor) -> tuple[View, torch.Tensor]:
            threads.add(threading.current_thread().name)
            return super().step(v)

        def close(self) -> None:
            threads.add(threading.current_thread().name)

    world = World(lambda scene: Choosy(), scene, START, paced=False)
    world.clock.sleep(world.dt)
    world.goal(GOAL)
    world.close()
    world.close()
    assert len(threads) == 1
    assert threading.current_thread().name not in threads


def test_a_place_out_of_reach_is_refused_and_nothing_changes(scene: Scene, camera: Camera) -> None:
    class Short(FlyingCameras):
        def reset(self, start: torch.Tensor | None) -> View:
            assert start is not None
            if float(start[0, 2, 3]) < -1:
                raise SiameError("out of reach")
            return super().reset(start)

    def make(scene: Scene) -> Plant:
        return Short(scene, camera)

    world = World(make, scene, START, paced=False)  # type: ignore[arg-type]  # of a print
    far = GOAL.clone()
    far[2, 3] = -2.0
    with pytest.raises(SiameError, match="out of reach"):
        world.place(far)
    assert torch.equal(world.T_wc, START)
    world.close()


def test_time_stands_still_while_it_is_held() -> None:
    ticks: list[float] = []
    clock = PausableClock(lambda: ticks.append(clock()), paced=False)
    began = clock()
    clock.hold(True)
    sleeper = threading.Thread(target=clock.sleep, args=(0.5,))
    sleeper.start()
    time.sleep(0.05)
    assert sleeper.is_alive()
    assert clock() == began
    clock.hold(False)
    sleeper.join(5)
    assert ticks == [pytest.approx(began + 0.5)]


def test_a_stop_lets_held_time_go_on(world: World) -> None:
    world.clock.hold(True)
    world.stop()
    world.clock.sleep(world.dt)
    assert not world.clock.held


def test_paced_time_is_no_faster_than_real_time() -> None:
    clock = PausableClock(lambda: None)
    began = time.monotonic()
    for _ in range(5):
        clock.sleep(0.02)
    assert time.monotonic() - began >= 0.08
