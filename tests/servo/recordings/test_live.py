"""A robot's run, recorded: its clock, its base, its halt; and what its loop sees."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from siame_se3.commissioning.session import Session
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_image, as_pixels
from siame_se3.laws.photometric import DVS
from siame_se3.laws.types import View
from siame_se3.plants.robots.interfaces import Frame, RobotState
from siame_se3.plants.robots.live import LivePlant
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.render import render
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.recordings import messages as m
from siame_se3.servo.recordings.laws import controller_of, description
from siame_se3.servo.recordings.reading import read
from siame_se3.servo.recordings.recorder import Recording
from siame_se3.servo.recordings.replay import compare, replay
from siame_se3.servo.safety import Safety
from siame_se3.servo.trajectory import Trajectory

CAMERA = Camera.from_focal(60, 48)
CALM = Safety(max_age=60.0, frozen=60.0, jump=2.0, reach=0.0, no_progress=0.0, drift=0.0)


class Robot:
    """A camera source of 8 bits, and a driver that knows its pose, over a print."""

    camera = sensor = CAMERA
    frame = "camera"

    def __init__(self, scene: Scene) -> None:
        self.scene, self.T = scene, torch.eye(4, dtype=torch.float64)
        self.T[2, 3] = -0.6
        self.images: list[Tensor] = []

    def latest(self, after: float, wait: float) -> Frame | None:
        image = as_image(as_pixels(render(self.scene, CAMERA, self.T[None])[0][0]))
        self.images.append(image)
        return Frame(image, time.monotonic())

    def prepared(self, pixels: np.ndarray) -> Tensor:
        return as_image(pixels)

    def move(self, twist: Tensor) -> None:
        self.T = self.T @ lie.exp(twist * 0.04)

    def stop(self) -> None:
        pass

    def state(self) -> RobotState:
        return RobotState(self.T)

    def close(self) -> None:
        pass


@pytest.fixture
def robot(scene: Scene) -> Robot:
    return Robot(scene)


def session(robot: Robot, done: list[Trajectory], make_run: Any, **changes: Any) -> Session:
    plant = LivePlant(robot, robot, None, 0.002, 0.6)
    view = plant.reset(None)
    robot.T = robot.T @ lie.pose_from_vector(torch.tensor([0.03, -0.02, 0.01, 0.02, 0.0, 0.05], dtype=torch.float64))
    config = ServoConfig(gain=4.0, max_iterations=changes.pop("steps", 6))
    return Session(
        *(plant, DVS(), config, changes.pop("safety", CALM), View(view.image, None, view.depth, CAMERA)),
        *(lambda line: None, done.append, {"law": "dvs"}),
        make_run=make_run,
    )


def test_a_session_is_recorded_and_replayed(robot: Robot, tmp_path: Path) -> None:
    done: list[Trajectory] = []
    with Recording(tmp_path / "run.mcap", description("dvs"), wait=False) as recording:
        running = session(robot, done, recording.servo)
        robot.images.clear()
        running.run_once()
        running.run_once()
        running.plant.close()
    runs = read(tmp_path / "run.mcap")
    assert [run.count for run in runs] == [len(trajectory.twist) + 1 for trajectory in done]
    images = iter(robot.images)
    for run, trajectory in zip(runs, done, strict=True):
        views = [one.view for one in run.views()]
        times = [view.time for view in views if view.time is not None]
        assert times == sorted(times)
        assert len(times) == len(views)
        for view, T in zip(views, trajectory.T_wc[:, 0], strict=True):
            assert view.T_wc is None
            assert view.T_bc is not None
            assert torch.equal(view.T_bc[0], T)
            assert view.image is not None
            assert torch.equal(view.image[0], next(images)), "a camera of 8 bits is recorded as it is"
        controller, _ = controller_of(run.law, "run.mcap")
        past, found = replay(run.views(), run.goal, {"dvs": controller})
        assert compare("dvs", found["dvs"], past).reproduced
        assert run.settings["law"] == "dvs"
    # at the end the robot comes to rest over views that the law was not asked for
    assert runs[0].count > len(past.velocities())
    assert runs[0].end == "iterations (run 0, 6 iterations)"


def test_a_halt_is_an_event(robot: Robot, tmp_path: Path) -> None:
    done: list[Trajectory] = []
    with Recording(tmp_path / "run.mcap", description("dvs"), wait=False) as recording:
        running = session(robot, done, recording.servo, safety=Safety(max_age=60.0, reach=0.001), steps=300)
        running.run_once()
        running.plant.close()
    (run,) = read(tmp_path / "run.mcap")
    assert run.events[-1].kind == "halt"
    assert run.events[-1].text.startswith("the camera went 0.001 m from its start, the limit")
    assert done[0].reason[0] in run.end


def test_the_base_s_poses_are_in_its_frame(robot: Robot, tmp_path: Path) -> None:
    import json

    from mcap.reader import make_reader

    done: list[Trajectory] = []
    with Recording(tmp_path / "run.mcap", {}, wait=False) as recording:
        running = session(robot, done, recording.servo, steps=2)
        running.run_once()
        running.plant.close()
    with (tmp_path / "run.mcap").open("rb") as stream:
        found = [json.loads(x.data) for _, _, x in make_reader(stream).iter_messages([m.POSE])]
    assert {message["frame_id"] for message in found} == {"base"}
    assert len(found) == len(done[0].twist) + 1
