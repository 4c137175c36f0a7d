"""Simulated cameras on a page: what each word does, with laws that take no time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from browser import wait_for
from page_helpers import LAWS, Endless, Homing, setup
from siame_se3.errors import InputError, LawError, SiameError
from siame_se3.files import BUNDLED_MODEL, bundled
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.laws.registry import controller_for
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.networks import checkpoint
from siame_se3.page.setup import NO_LAW, page_laws
from siame_se3.page.simulation import Simulation
from siame_se3.plants.depth_camera import DepthCamera
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.registry import coffee
from siame_se3.servo.config import ServoConfig

SLOWER = ServoConfig(gain=4.0, max_iterations=10_000)


def error(show: Simulation, k: int = 0) -> float:
    """Distance of a camera from the goal [m]."""
    return float(lie.error_norms(lie.inverse(show.goal_pose) @ show.worlds[k].T_wc)[0])


def run(show: Simulation) -> None:
    """Start, and wait for the end."""
    show.start()
    for track in show.tracks:
        track.wait()


@pytest.fixture
def endless(scene: Scene, camera: Camera) -> Iterator[Simulation]:
    show = Simulation(setup(scene, camera, law="auto", paced=True, servo=SLOWER))
    yield show
    show.close()


def test_start_brings_the_camera_home_and_says_so(simulation: Simulation) -> None:
    assert error(simulation) > 0.1
    run(simulation)
    assert error(simulation) < 1e-3
    assert "settled" in simulation.tracks[0].lines[-1]


@pytest.mark.parametrize("known", [True, False], ids=["map", "a map of nothing"])
def test_a_goal_may_have_a_map_of_depths(scene: Scene, camera: Camera, known: bool) -> None:
    """It was a TypeError, as one number was expected of it."""

    class Measured(FlyingCameras):
        def reset(self, start: Tensor | None) -> View:
            view = super().reset(start)
            assert view.depth_map is not None
            return view if known else replace(view, depth=torch.full_like(view.depth_map, torch.nan))

    made = setup(scene, camera, plant=lambda scene: Measured(scene, camera, depth_camera=DepthCamera.ideal()))
    show = Simulation(made)
    target = show.tracks[0].session.target
    assert target is not None
    assert target.depth_map is not None
    seen = show.tracks[0].session.plant.reset(None)
    assert float(seen.distance[0]) == pytest.approx(made.distance, abs=0.02)  # type: ignore[index]  # of a robot it is a number
    run(show)
    assert error(show) < 1e-3
    show.close()


def test_two_laws_go_from_one_start(scene: Scene, camera: Camera) -> None:
    show = Simulation(setup(scene, camera, second="dvs"))
    assert torch.equal(show.worlds[0].T_wc, show.worlds[1].T_wc)
    run(show)
    assert error(show, 0) < 1e-3
    assert error(show, 1) < 1e-3
    show.another_start()
    assert torch.equal(show.worlds[0].T_wc, show.worlds[1].T_wc)
    show.close()


def test_the_second_law_goes_and_comes_again(scene: Scene, camera: Camera) -> None:
    show = Simulation(setup(scene, camera, second="dvs"))
    show.set_second(NO_LAW)
    assert [track.law for track in show.tracks] == ["handoff"]
    show.another_start()
    show.set_second("dvs")
    assert torch.equal(show.worlds[0].T_wc, show.worlds[1].T_wc), "the second one begins elsewhere"
    show.close()


def test_a_place_is_where_it_starts_from_and_comes_back_to(simulation: Simulation) -> None:
    T = simulation.goal_pose @ lie.pose_from_vector(torch.tensor([0.1, 0, -0.1, 0, 0.1, 0], dtype=torch.float64))
    simulation.place(T)
    assert torch.equal(simulation.worlds[0].T_wc, T)
    run(simulation)
    assert error(simulation) < 1e-3
    simulation.reset()
    assert torch.equal(simulation.worlds[0].T_wc, T)


def test_this_view_is_the_goal(simulation: Simulation) -> None:
    here = simulation.worlds[0].T_wc
    simulation.goal_here()
    assert torch.equal(simulation.goal_pose, here)
    now = simulation.tracks[0].look()
    assert now.sample.difference == pytest.approx(0, abs=1e-3)
    simulation.another_start()
    run(simulation)
    assert float((simulation.worlds[0].T_wc - here).abs().max()) < 1e-3


def test_a_goal_that_cannot_be_leaves_the_old_one(simulation: Simulation) -> None:
    before, target = simulation.goal_pose, simulation.tracks[0].session.target
    away = before.clone()
    away[0, 3] = 50.0
    simulation.place(away)
    with pytest.raises(SiameError, match="sees nothing"):
        simulation.goal_here()
    assert simulation.goal_pose is before
    assert simulation.tracks[0].session.target is target


def state_of(show: Simulation) -> list[object]:
    """What a change that cannot be made leaves as it was."""
    own: list[object] = [show.title, show.model, show.goal_pose.tolist(), show.start_pose.tolist()]
    for track, world in zip(show.tracks, show.worlds, strict=True):
        own += [track.law, track.session.controller, track.session.target, world.scene, world.T_wc.tolist()]
    return own


def test_a_scene_whose_middle_shows_nothing_leaves_the_old_one(scene: Scene, camera: Camera) -> None:
    """The new scene stayed, with the old one's goal images and laws."""
    texture = scene.texture.clone()
    h, w = texture.shape[1:]
    texture[:, h // 20 : -h // 20, w // 20 : -w // 20] = 0.5
    show = Simulation(setup(scene, camera, second="dvs", distance=0.4))
    show.another_start()
    before = state_of(show)
    with pytest.raises(SiameError, match="sees nothing"):
        show.show(replace(scene, name="blank", texture=texture))
    assert state_of(show) == before
    run(show)
    assert error(show, 0) < 1e-3
    assert error(show, 1) < 1e-3
    show.close()


def test_a_scene_that_one_of_two_cameras_cannot_have_leaves_the_old_one(scene: Scene, camera: Camera) -> None:
    made: list[str] = []

    def plant(scene: Scene) -> FlyingCameras:
        made.append(scene.name)
        if made[-2:] == ["another", "another"]:
            raise SiameError("no second one")
        return FlyingCameras(scene, camera)

    show = Simulation(setup(scene, camera, second="dvs", plant=plant))
    before = state_of(show)
    with pytest.raises(SiameError, match="no second one"):
        show.show(replace(scene, name="another"))
    assert state_of(show) == before
    run(show)
    assert error(show, 0) < 1e-3
    show.close()


@pytest.mark.parametrize(("dt", "fits"), [(0.2, False), (0.1, False), (0.09, True)])
def test_a_plant_of_slow_steps_is_refused(scene: Scene, camera: Camera, dt: float, fits: bool) -> None:
    """The watchdog stopped it between two steps, and each run halted as if it did not move as commanded."""

    def plant(scene: Scene) -> FlyingCameras:
        return FlyingCameras(scene, camera, dt=dt)

    made = setup(scene, camera, plant=plant, servo=ServoConfig(gain=2.0, max_iterations=1000, settle_steps=4))
    if not fits:
        with pytest.raises(InputError, match=rf"{dt:g} s a step: .* more than 10 frames a second"):
            Simulation(made)
        return
    show = Simulation(made)
    run(show)
    assert error(show) < 1e-3
    show.close()


def test_pause_holds_time_and_stop_ends_a_pause(endless: Simulation) -> None:
    endless.start()
    wait_for(lambda: bool(endless.tracks[0].plant.asked.any()), 10)
    endless.pause(True)
    assert endless.paused
    time.sleep(0.1)  # what was on its way
    T = endless.worlds[0].T_wc
    time.sleep(0.15)
    assert torch.equal(endless.worlds[0].T_wc, T)
    assert endless.tracks[0].moving
    endless.pause(False)
    wait_for(lambda: not torch.equal(endless.worlds[0].T_wc, T), 10)
    endless.pause(True)
    endless.stop()
    endless.tracks[0].wait()
    assert not endless.paused


def test_what_stands_still_cannot_be_paused(simulation: Simulation) -> None:
    simulation.pause(True)
    assert not simulation.paused
    run(simulation)


def test_gain_and_limits_change_while_it_moves(endless: Simulation) -> None:
    def speed() -> float:
        return float(endless.tracks[0].plant.asked.norm())

    endless.start()
    wait_for(lambda: speed() == pytest.approx(0.04), 10)
    endless.set_servo(ServoConfig(gain=8.0, max_iterations=10_000))
    wait_for(lambda: speed() == pytest.approx(0.08), 10)
    endless.set_servo(ServoConfig(gain=8.0, max_v=0.03, max_iterations=10_000))
    wait_for(lambda: speed() == pytest.approx(0.03), 10)
    assert endless.tracks[0].moving


def test_another_law_goes_on_where_the_first_was(scene: Scene, camera: Camera) -> None:
    show = Simulation(setup(scene, camera, law="auto"))
    show.start()
    wait_for(lambda: bool(show.tracks[0].plant.asked.any()), 10)
    show.set_law("handoff")
    show.tracks[0].wait()
    assert error(show) < 1e-3
    show.close()


def test_a_law_that_cannot_be_leaves_the_old_one(simulation: Simulation) -> None:
    with pytest.raises(LawError, match="no network of this scene"):
        simulation.set_law("neural")
    assert simulation.tracks[0].law == "handoff"
    run(simulation)
    assert error(simulation) < 1e-3


def test_laws_that_need_the_simulator_s_poses_are_not_offered() -> None:
    assert {"handoff", "auto", "neural", "dvs"} <= set(page_laws())
    assert not {"pbvs", "ibvs", "2.5d"} & set(page_laws())


def test_disturbances_change_while_it_moves_and_hold_for_a_second_law(endless: Simulation) -> None:
    endless.start()
    wait_for(lambda: bool(endless.tracks[0].plant.asked.any()), 10)
    endless.disturb(frozenset({"noise", "occlusion"}))
    T = endless.worlds[0].T_wc
    wait_for(lambda: not torch.equal(endless.worlds[0].T_wc, T), 10, "it stands still")
    endless.set_second("dvs")
    assert endless.worlds[1].disturbances.on == {"noise", "occlusion"}


def test_another_scene_begins_anew_with_the_same_law(simulation: Simulation, photo: Scene) -> None:
    simulation.show(photo)
    assert simulation.title.startswith("coffee")
    assert error(simulation) > 0.1
    goal = simulation.tracks[0].session.target
    assert goal is not None
    assert goal.image is not None
    torch.testing.assert_close(goal.image, photo.render(simulation.setup.camera, simulation.goal_pose[None])[0])
    run(simulation)
    assert error(simulation) < 1e-3


def test_stop_acts_at_once_while_a_law_computes(scene: Scene, camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    computing, go_on = threading.Event(), threading.Event()

    class Slow(Endless):
        steps = 0

        def aim(self, target: View) -> tuple[Law, State]:
            inner, state = super().aim(target)

            def law(view: View, state: State) -> tuple[Output, State]:
                Slow.steps += 1
                if Slow.steps == 6:
                    computing.set()
                    go_on.wait(30)
                return inner(view, state)

            return law, state

    monkeypatch.setitem(LAWS, "slow", Slow)
    show = Simulation(setup(scene, camera, law="slow"))
    world = show.worlds[0]
    stopped = threading.Event()
    stop = world.stop

    def heard() -> None:
        stop()
        stopped.set()

    show.start()
    assert computing.wait(20)
    monkeypatch.setattr(world, "stop", heard)
    began = time.perf_counter()
    show.stop()
    assert stopped.wait(5)
    taken = time.perf_counter() - began
    T = world.T_wc
    go_on.set()
    show.tracks[0].wait()
    assert torch.equal(world.T_wc, T), "it moved after the stop"
    assert taken < 1.0, "it waited for the law"
    show.close()


def test_a_place_out_of_reach_leaves_it_where_it_was(simulation: Simulation) -> None:
    """A pose that is none: what a browser sends is not to be trusted."""
    before = simulation.worlds[0].T_wc
    wrong = torch.full((4, 4), torch.nan, dtype=torch.float64)
    with pytest.raises(SiameError, match="no pose"):
        simulation.place(wrong)
    assert torch.equal(simulation.worlds[0].T_wc, before)


def test_the_trace_of_a_run_is_kept_until_the_next(simulation: Simulation) -> None:
    track = simulation.tracks[0]
    simulation.start()
    while track.moving:
        track.look()
    track.look()
    errors: Tensor = torch.from_numpy(track.trace.column("t"))
    assert len(errors) > 5
    assert float(errors[0]) > 100
    assert float(errors[-1]) < 1
    assert float((errors[1:] - errors[:-1]).max()) < 1e-6, "they rise"
    simulation.reset()
    track.look()
    assert len(track.trace) == len(errors)


def test_homing_is_a_law(scene: Scene, camera: Camera, simulation: Simulation) -> None:
    """The double keeps a law's promise that matters here: zero at the goal."""
    target = simulation.tracks[0].session.target
    assert target is not None
    law, state = Homing().aim(target)
    assert float(law(target, state)[0].v.abs().max()) == 0


@pytest.mark.slow  # engines of two networks are built
def test_a_network_that_has_learned_the_scene_is_taken() -> None:
    model = checkpoint.load(bundled(BUNDLED_MODEL))
    show = Simulation(setup(coffee(), default_camera(224), law="dvs", controllers=controller_for, servo=SLOWER))
    with pytest.raises(LawError, match="no network of this scene"):
        show.set_law("neural")
    show.take(model)
    show.set_law("neural")
    run(show)
    assert error(show) < 0.02
    show.take(None)
    assert show.tracks[0].law == "handoff", "the law of a network that is gone"
    show.close()


def test_what_is_changed_while_paused_waits_for_start(endless: Simulation) -> None:
    """It went on moving by itself."""
    said: list[str] = []
    endless.hear(said.append)
    endless.start()
    wait_for(lambda: endless.moving, 20)
    endless.pause(True)
    assert endless.paused
    endless.set_servo(replace(SLOWER, gain=2.0))
    assert not endless.moving
    assert any("press Start" in line for line in said)
    endless.start()
    wait_for(lambda: endless.moving, 20)
