"""What the tests of the page share: a quick simulation, a page of it at a free port."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from siame_se3.commissioning.session import Session
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.networks.checkpoint import Model
from siame_se3.page.robot import LiveRobot
from siame_se3.page.setup import Setup
from siame_se3.plants.robots.interfaces import Frame, RobotState
from siame_se3.plants.robots.live import LivePlant
from siame_se3.plants.robots.threads import Worker
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.safety import Safety

PNG = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8))[1].tobytes()


class Homing:
    """A law that knows where the camera is by its world, and goes home: no image is looked at, so it takes no time."""

    needs = frozenset({"image"})

    def aim(self, target: View) -> tuple[Law, State]:
        assert target.T_bc is not None
        return HomingLaw(target.T_bc[0]), State()


class HomingLaw:
    def __init__(self, T_bd: Tensor) -> None:
        self._T_bd = T_bd

    def __call__(self, view: View, state: State) -> tuple[Output, State]:
        T_bc = self._T_bd if view.T_bc is None else view.T_bc[0]
        return Output.of(-lie.log(lie.inverse(self._T_bd) @ T_bc)[None]), state


class Endless(Homing):
    """A law that moves along x for ever."""

    def aim(self, target: View) -> tuple[Law, State]:
        def law(view: View, state: State) -> tuple[Output, State]:
            v = torch.zeros(*view.batch, 6, dtype=torch.float64)
            v[:, 0] = 0.01
            return Output.of(v), state

        return law, State()


LAWS: dict[str, Any] = {"handoff": Homing, "dvs": Homing, "auto": Endless}


def controllers(law: str, model: Model | None) -> Any:
    return LAWS[law]()


def setup(scene: Scene, camera: Camera, **changed: Any) -> Setup:
    """Of a simulation that goes as fast as it can."""
    options: dict[str, Any] = {
        "servo": ServoConfig(gain=12.0, max_iterations=100_000, settle_steps=4),
        "paced": False,
        "controllers": controllers,
    }
    return Setup(scene, camera, **options | changed)


class Still:
    """Camera source and velocity driver of a robot that stands, and counts what it is sent."""

    frame = "camera"

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.moves = self.stops = 0
        self._clock = 0.0
        self.now: Any = None

    def latest(self, after: float, wait: float) -> Frame | None:
        return Frame(torch.full((3, self.camera.height, self.camera.width), 0.5), self.now())

    def prepared(self, pixels: np.ndarray) -> Tensor:
        raise AssertionError("no picture is prepared here")

    def state(self) -> RobotState:
        return RobotState()

    def move(self, twist: Tensor) -> None:
        self.moves += 1

    def stop(self) -> None:
        self.stops += 1

    def close(self) -> None:
        pass


# The machine may be slow: ages and motions are tested elsewhere.
_SAFETY = Safety(max_age=60.0, frozen=60.0, jump=2.0, reach=0.0, no_progress=0.0)


class Desk:
    """A robot, its session, its page's show, and a clock of the arming."""

    def __init__(self, camera: Camera, dry: bool = False) -> None:
        self.robot = Still(camera)
        self.robot.now = time.monotonic
        self.plant = LivePlant(self.robot, self.robot, None, 0.01, dry=dry, late=60.0, answer=20.0)
        target = View(torch.full((1, 3, *camera.size), 0.5), None, None, camera)
        self.lines: list[str] = []
        config = ServoConfig(max_iterations=100_000)
        self.session = Session(self.plant, Endless(), config, _SAFETY, target, self.lines.append)
        self.now = 0.0
        self.show = LiveRobot(self.session, "test", lambda: self.now)
        self.worker = Worker("session", self.session.run, endless=False)
        assert self.session.wait_until_idle(20)

    def close(self) -> None:
        self.session.command("quit")
        assert self.worker.join(20)
        self.plant.close()

    def moving(self) -> bool:
        return not self.session.wait_until_idle(0)
