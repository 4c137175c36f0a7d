"""Simulated runs one after the other, recorded: a `run` for `siame_se3.servo.simulation`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor

from siame_se3.laws.types import Controller, View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.types import Plant
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.recordings.recorder import Recording
from siame_se3.servo.simulation import Task
from siame_se3.servo.stopping import CTRL_C
from siame_se3.servo.trajectory import Trajectory


def one_by_one(recording: Recording, task: Task) -> Callable[..., Trajectory]:
    """What `simulate` takes in place of `servo`: the runs of the batch, each by itself, as a recording is of one camera.

    Flying cameras get the disturbance and the model error of their number, so that a run is what it is in the batch. Where Ctrl-C keeps what is done,
    that is the runs until then; those that had not begun are left out.
    """

    def run(
        plant: Plant,
        controller: Controller,
        target: View,
        start: Float[Tensor, "n 4 4"],
        config: ServoConfig,
        settings: dict[str, Any] | None,
        report: Callable[[int, int], None],
        keep: bool = False,
    ) -> Trajectory:
        done: list[Trajectory] = []
        with contextlib.suppress(*[KeyboardInterrupt] * keep):  # between two runs; within one, it is the run's reason
            for k in range(len(start)):
                own = _alone(task, k) if isinstance(plant, FlyingCameras) else plant
                one = slice(k, k + 1)
                made = recording.servo(own, controller, target[one], start[one], config, settings, keep=keep)
                if len(made.twist) or made.reason != [CTRL_C]:
                    done.append(made)
                if made.reason == [CTRL_C]:
                    break
                report(len(made.twist), len(start) - k - 1)
        if not done:
            raise KeyboardInterrupt
        return Trajectory.joined(done)

    return run


def _alone(task: Task, number: int) -> FlyingCameras:
    return FlyingCameras(
        *(task.scene, task.camera),
        conditions=task.disturbance,
        seed=task.seed,
        first_run=number,
        mismatch=task.mismatch,
        depth_camera=task.measures,
    )
