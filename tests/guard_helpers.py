"""What the tests of the guard share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.types import WrappedPlant
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.guard import Guard
from siame_se3.servo.loop import servo
from siame_se3.servo.safety import Safety
from siame_se3.servo.trajectory import Trajectory

PHOTO = Path(__file__).parent / "data" / "visp" / "coffee.png"


CAMERA = Camera.from_focal(300, 224)


CONFIG = ServoConfig(gain=2.0, max_iterations=400)


def pose(*vector: float) -> Tensor:
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    return T @ lie.pose_from_vector(torch.tensor(vector or (0.0,) * 6, dtype=torch.float64))


START = pose(0.1, -0.08, 0.05, 0.1, -0.05, 0.3)


def run(plant: Any, controller: Any = None, safety: Safety | None = None, config: ServoConfig = CONFIG) -> Trajectory:
    sound = plant
    while isinstance(sound, WrappedPlant):
        sound = sound.plant
    return servo(plant, controller or PBVS(), sound.look(pose()[None]), START, config, safety=safety or Safety())


def guard_of(plant: Any, safety: Safety | None = None, **changes: Any) -> Guard:
    """At the goal's pose; `changes` are of its first view."""
    return Guard(safety or Safety(), plant, replace(plant.look(pose()[None]), **changes))


class Broken(WrappedPlant):
    """A plant that does something else at its n-th step."""

    def __init__(self, plant: FlyingCameras, at: int, *what: Any) -> None:
        super().__init__(plant)
        self.at, self.what, self.stops, self.last = at, list(what), 0, torch.zeros(1, 6)

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        self.at -= 1
        self.last = v
        if self.at <= 0 and self.what:
            what = self.what.pop(0)
            if callable(what):
                return what(*self.plant.step(v))
            raise what
        return self.plant.step(v)

    def stop(self) -> None:
        self.stops += 1


@dataclass(frozen=True, eq=False)
class SaysState(State):
    k: Tensor


@dataclass(frozen=True)
class Says:
    """A law that gives the k-th of given velocities and faults."""

    v: Callable[[int], tuple[float, ...]]
    fault: Callable[[int], str] = lambda k: ""
    needs = frozenset({"image"})

    def aim(self, target: View) -> tuple[Law, SaysState]:
        return self.law, SaysState(torch.zeros(*target.batch, dtype=torch.long))

    def law(self, view: View, state: SaysState) -> tuple[Output, SaysState]:
        k = int(state.k[0])
        v = torch.tensor([self.v(k)], dtype=torch.float64)
        return Output.of(v, (self.fault(k),)), SaysState(state.k + 1)


ALONG = Says(lambda k: (0.05, 0, 0, 0, 0, 0))
