"""Whole simulated runs of a task."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from siame_se3.errors import InputError, RobotError, SceneError
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import Law, View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.mismatch import Mismatch
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, draw_starts
from siame_se3.servo import simulation
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.recordings.reading import read
from siame_se3.servo.recordings.recorder import Recording
from siame_se3.servo.recordings.simulated import one_by_one
from siame_se3.servo.safety import Safety
from siame_se3.servo.simulation import Task, simulate

CONFIG = ServoConfig(gain=8.0, max_iterations=6)


@pytest.fixture
def task(scene: Scene, camera: Camera) -> Task:
    return Task(scene, camera, runs=3, seed=5)


def test_a_task_is_its_starts_its_plant_and_the_loop(task: Task) -> None:
    """With each part of it: scaled, disturbed, and of another size than assumed."""
    task = replace(task, distance=0.5, disturbance=Augmentation(occlusion_rate=1.0), mismatch=Mismatch(size=1.2))
    trajectory, desired, last = simulate(PBVS(), task, CONFIG, {"law": "pbvs"}, quiet=True)
    T_wd, T_wc = draw_starts("table1", 3, task.scene, task.camera, Workspace(distance=0.5), 5)
    plant = FlyingCameras(task.scene, task.camera, conditions=task.disturbance, seed=5, mismatch=Mismatch(size=1.2))
    expected = servo(plant, PBVS(), plant.look(T_wd), T_wc, CONFIG)
    assert torch.equal(trajectory.T_wc, expected.T_wc)
    assert torch.equal(trajectory.T_wd, T_wd)
    assert desired.image is not None
    assert last.image is not None
    assert torch.equal(desired.image, plant.look(T_wd).image)
    assert torch.equal(last.image, plant.look(expected.T_wc[-1]).image)
    assert trajectory.settings["law"] == "pbvs"
    assert trajectory.settings["seconds"] >= 0


def test_seeds_and_distances_make_other_starts(task: Task) -> None:
    T_wd, _ = task.draw()
    for other in (replace(task, seed=6), replace(task, distance=0.7)):
        assert not torch.equal(other.draw()[0], T_wd)
    assert torch.equal(replace(task, disturbance=Augmentation()).draw()[0], T_wd)
    assert len(task.draw(7)[0]) == 7


def test_a_file_has_its_own_number_of_starts(task: Task, tmp_path: Path) -> None:
    (tmp_path / "starts.csv").write_text("0.05,0,0,0,0,0\n0,0.05,0,0,0,0.1\n", encoding="utf-8")
    trajectory, _, _ = simulate(PBVS(), replace(task, starts=str(tmp_path / "starts.csv")), CONFIG, quiet=True)
    assert len(trajectory.reason) == 2
    assert float(trajectory.error_norms[0][0, 0]) == pytest.approx(0.05)


def test_cameras_that_see_nothing_are_refused(task: Task, tmp_path: Path) -> None:
    dark = Scene(torch.zeros_like(task.scene.texture), 0.8, 0.6, name="dark")
    with pytest.raises(SceneError, match="dark: the desired camera sees nothing") as caught:
        simulate(PBVS(), replace(task, scene=dark), CONFIG, quiet=True)
    assert "width" in caught.value.settings


@dataclass
class Noting:
    """PBVS that notes its goals."""

    goals: list[View] = field(default_factory=list)
    needs: frozenset[str] = frozenset({"pose"})

    def aim(self, target: View) -> tuple[Law, Any]:
        self.goals.append(target)
        return PBVS().aim(target)


@pytest.mark.parametrize("depth", [torch.tensor(0.7), torch.full((32, 32), 0.5)], ids=["number", "map"])
def test_laws_are_given_the_goals_depth_of_the_task(task: Task, depth: Tensor) -> None:
    law = Noting()
    simulate(law, replace(task, goal_depth=depth), CONFIG, quiet=True)
    (goal,) = law.goals
    assert goal.depth is not None
    assert torch.equal(goal.depth, torch.stack([depth] * 3))
    assert (goal.depth_map is None) == (depth.ndim == 0)


def test_a_depth_map_of_another_size_than_the_images_is_refused(task: Task) -> None:
    with pytest.raises(InputError, match="depth map of 8 x 9 px; the goal images have 32 x 32"):
        simulate(PBVS(), replace(task, goal_depth=torch.ones(9, 8)), CONFIG, quiet=True)


@dataclass
class Pressed:
    """PBVS, and Ctrl-C at a call."""

    at: int
    calls: int = 0
    needs: frozenset[str] = frozenset({"pose"})

    def aim(self, target: View) -> tuple[Law, Any]:
        law, state = PBVS().aim(target)

        def pressed(view: View, state: Any) -> Any:
            self.calls += 1
            if self.calls == self.at:
                signal.raise_signal(signal.SIGINT)
            return law(view, state)

        return pressed, state


def test_ctrl_c_keeps_flying_cameras_as_far_as_they_came(task: Task) -> None:
    whole, _, _ = simulate(PBVS(), task, CONFIG, quiet=True)
    assert "stopped" not in whole.settings
    trajectory, desired, last = simulate(Pressed(5), task, CONFIG, {"law": "pbvs"}, quiet=True, keep=True)
    assert trajectory.reason == ["Ctrl-C"] * 3
    assert trajectory.settings["stopped"]
    assert trajectory.settings["law"] == "pbvs"
    assert torch.equal(trajectory.T_wc, whole.T_wc[:5])
    assert desired.batch == last.batch == (3,)
    for law, keep in ((Pressed(5), False), (Pressed(1), True)):  # not asked for; nothing there yet
        with pytest.raises(KeyboardInterrupt):
            simulate(law, task, CONFIG, quiet=True, keep=keep)


@pytest.mark.parametrize("at", [9, 7], ids=["within a run", "at a run's start"])
def test_ctrl_c_keeps_recorded_runs(task: Task, tmp_path: Path, at: int) -> None:
    with Recording(tmp_path / "runs.mcap", {"name": "pbvs"}) as recording:
        run = one_by_one(recording, task)
        trajectory, desired, _ = simulate(Pressed(at), task, CONFIG, quiet=True, run=run, keep=True)
    assert trajectory.reason == ["iterations", "Ctrl-C"][: 2 if at == 9 else 1]
    assert trajectory.settings["stopped"]
    assert desired.batch == (len(trajectory.reason),)
    assert read(tmp_path / "runs.mcap")[-1].end.startswith("Ctrl-C (run 1")


def test_ctrl_c_keeps_the_runs_of_an_arm_that_have_ended(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """All were lost, or it had to be pressed once for each run that was left."""

    class Arm(FlyingCameras):
        def __init__(self, scene: Scene, camera: Camera, config: object, depth_camera: object = None) -> None:
            super().__init__(scene, camera)
            self.starts = 0

        def reset(self, start: torch.Tensor | None) -> View:
            self.starts += 1
            return super().reset(start)

        def step(self, v: torch.Tensor) -> tuple[View, torch.Tensor]:
            if self.starts > pressed_in:  # each run is preceded by a look whether its start is reached
                raise KeyboardInterrupt
            return super().step(v)

    monkeypatch.setattr(simulation, "ArmPlant", Arm)
    safety = Safety(jump=1.0, drift=0.0)
    pressed_in = 4
    trajectory, desired, last = simulation.simulate_on_arm(PBVS(), task, CONFIG, safety=safety, quiet=True)
    assert trajectory.settings["stopped"]
    assert trajectory.T_wd.shape[0] == 2
    assert desired.image is not None
    assert last.image is not None
    assert len(desired.image) == len(last.image) == 2
    pressed_in = 0
    with pytest.raises(KeyboardInterrupt):
        simulation.simulate_on_arm(PBVS(), task, CONFIG, safety=safety, quiet=True)
    pressed_in = 100
    assert not simulation.simulate_on_arm(PBVS(), task, CONFIG, safety=safety, quiet=True)[0].settings["stopped"]


def test_goals_that_an_arm_cannot_scan_are_passed_over_and_counted(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    class Arm(FlyingCameras):
        def __init__(self, scene: Scene, camera: Camera, config: object, depth_camera: object = None) -> None:
            super().__init__(scene, camera)

    monkeypatch.setattr(simulation, "ArmPlant", Arm)
    asked: list[torch.Tensor] = []
    heard: list[View] = []

    class Heard(PBVS):
        def aim(self, target: View) -> tuple[Any, Any]:
            heard.append(target)
            return super().aim(target)

    def scan(plant: FlyingCameras, T_wd: torch.Tensor) -> View:
        asked.append(T_wd)
        if len(asked) in fails:
            raise InputError("scan: no texture")
        depth = torch.full((1, *task.camera.size), 0.1 * len(asked))
        return replace(plant.look(T_wd), depth=depth)

    fails = {2}
    safety = Safety(jump=1.0, drift=0.0)
    trajectory, desired, _ = simulation.simulate_on_arm(Heard(), task, CONFIG, safety=safety, quiet=True, scan=scan)
    assert trajectory.settings["not_scanned"] == ["scan: no texture"]
    assert len(asked) == task.runs + 1  # another start for the one that was passed over
    assert torch.equal(trajectory.T_wd, torch.cat([T for k, T in enumerate(asked, 1) if k != 2]))
    assert [float(target.depth.mean()) for target in heard] == pytest.approx([0.1, 0.3, 0.4])  # what the law aims at
    assert desired.batch == (task.runs,)
    fails = set(range(100))
    with pytest.raises(RobotError, match="30 of 30 goals could not be scanned; the first: scan: no texture"):
        simulation.simulate_on_arm(Heard(), task, CONFIG, safety=safety, quiet=True, scan=scan)
