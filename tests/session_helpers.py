"""What the tests of a session share: a robot that is where its twists bring it."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from siame_se3.commissioning.session import Session
from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_image
from siame_se3.laws.matched import MatchedPoints
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.plants.robots.interfaces import Frame, RobotState
from siame_se3.plants.robots.live import LivePlant
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.render import render
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.safety import Safety
from siame_se3.servo.trajectory import Trajectory

PHOTO = Path(__file__).parent / "data" / "visp" / "coffee.png"


CAMERA = Camera.from_focal(300, 224)


# The machine may be slow, and the robot here has a time of its own: ages and motions are tested elsewhere.
SAFETY = Safety(max_age=60.0, frozen=60.0, jump=2.0, reach=0.0, no_progress=0.0)


class Robot:
    """Camera source and velocity driver of a camera that flies over a print, in its own time: a twist moves it for `dt`."""

    camera = CAMERA
    sensor = Camera(300.0, 300.0, 141.5, 111.5, 284, 224)
    frame = "camera"
    dt = 0.04

    def __init__(self) -> None:
        self.scene = Scene.from_photo(PHOTO)
        self.T_wc = torch.eye(4, dtype=torch.float64)
        self.T_wc[2, 3] = -0.6
        self.moves = self.stops = 0
        self.fault = ""

    def latest(self, after: float, wait: float) -> Frame | None:
        image, _ = render(self.scene, CAMERA, self.T_wc[None])
        return Frame(image[0], time.monotonic())

    def move(self, twist: Tensor) -> None:
        self.T_wc = self.T_wc @ lie.exp(twist * self.dt)
        self.moves += bool(twist.any())

    def stop(self) -> None:
        self.stops += 1

    def state(self) -> RobotState:
        return RobotState(fault=self.fault)

    def prepared(self, pixels: np.ndarray) -> Tensor:
        if pixels.shape[:2] != (224, 284):
            raise SiameError(
                f"frame of {pixels.shape[1]} x {pixels.shape[0]} px; the camera is calibrated for 284 x 224"
            )
        return as_image(pixels[:, 30:254])

    def close(self) -> None:
        pass


class Grey(Robot):
    """Without a renderer: noise at once."""

    def latest(self, after: float, wait: float) -> Frame | None:
        return Frame(torch.rand(3, 8, 8), time.monotonic())


class Steady:
    """A law that moves along x, slowly, for ever."""

    needs = frozenset({"image"})

    def aim(self, target: View) -> tuple[Law, State]:
        return self.law, State()

    @staticmethod
    def law(view: View, state: State) -> tuple[Output, State]:
        v = torch.zeros(*view.batch, 6, dtype=torch.float64)
        v[:, 0] = 0.01
        return Output.of(v), state


class Running:
    """A session in a thread, and what it says."""

    def __init__(self, robot: Robot, **changes: Any) -> None:
        self.said: queue.Queue[str] = queue.Queue()
        self.lines: list[str] = []
        self.runs: list[Trajectory] = []
        answer = changes.pop("answer", 1.0)  # for a driver's call: the machine may be slow
        self.plant = LivePlant(
            *(robot, robot, None, changes.pop("dt", 0.002), 0.6, changes.pop("dry", False)), answer=answer
        )
        config = changes.pop("config", ServoConfig(gain=10.0))
        self.session = Session(
            self.plant,
            changes.pop("law", MatchedPoints()),
            config,
            SAFETY,
            say=self.said.put,
            done=self.runs.append,
            **changes,
        )
        self.thread = threading.Thread(target=self.session.run, daemon=True)

    def start(self) -> Running:
        self.thread.start()
        return self

    def wait(self, words: str) -> str:
        while True:
            self.lines.append(self.said.get(timeout=20))
            if words in self.lines[-1]:
                return self.lines[-1]

    def tell(self, word: str, answer: str) -> str:
        self.session.command(word)
        return self.wait(answer)

    def take_target(self) -> None:
        self.wait("ready")
        self.tell("target", "this view is the target")
        self.wait("ready")

    def quit(self) -> None:
        self.session.command("quit")
        self.thread.join(60)
        assert not self.thread.is_alive()
        self.plant.close()
