"""Faults on the arm in MuJoCo, each at random moments: does it stand still in time, and does a restart converge?

    python -m siame_se3.experiments.faults [--times 20] [--only stops freezes ...]

Faults of camera and robot, and a law that gives NaN: in one process, in simulated time, the camera's speed seen every 8 ms. The others: the arm
is served over DDS by this process in real time, and a session as `siame live` has it drives it from another, which is killed (SIGKILL), asked to
end (SIGTERM), whose connection is cut (the arm's side of it is closed, and opened again half a second later), whose law computes for two seconds
(busy), whose driver's call does not return (blocked), or which is asked to start twice at once, and stopped by Ctrl-C (queued). Three seconds after
the fault tell whether the camera moves again by itself.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import torch

from siame_se3.errors import SiameError
from siame_se3.experiments.fault_trials import LIMITS, SAFETY, SERVED, Outcome, Speeds
from siame_se3.experiments.faults_served import served
from siame_se3.experiments.script import bundled_print, parser, run_script, table
from siame_se3.files import BUNDLED_MODEL, bundled
from siame_se3.laws.registry import controller_for
from siame_se3.networks import checkpoint
from siame_se3.plants.arm import ArmConfig, ArmPlant
from siame_se3.plants.faults import CAMERA_FAULTS, ROBOT_FAULTS, FaultyCamera, FaultyLaw, FaultyRobot
from siame_se3.plants.types import Plant
from siame_se3.scenes.poses import Workspace, draw_starts
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo

CONFIG = ServoConfig(gain=2.0, max_iterations=1000)


def _faulty(arm: ArmPlant, kind: Any, at: float) -> Plant:
    if kind in CAMERA_FAULTS:
        return FaultyCamera(arm, kind, at)
    return FaultyRobot(arm, kind, at) if kind in ROBOT_FAULTS else arm


def simulated(kind: str, times: int, seed: int) -> dict[str, Any]:
    """In one process."""
    rng, scene, speeds, outcome = random.Random(f"{seed} {kind}"), bundled_print(), Speeds(), Outcome()
    model = checkpoint.load(bundled(BUNDLED_MODEL))
    arm = ArmPlant(scene, model.camera, ArmConfig(), speeds)
    controller = controller_for("handoff", model)
    T_wd, T_wc = draw_starts("table1", 4 * times, scene, model.camera, Workspace(), rng.randrange(10**6))
    for goal, start in zip(T_wd, T_wc, strict=True):
        if len(outcome.stopped) == times:
            break
        target = arm.look(goal[None])
        try:
            arm.reset(start[None])
        except SiameError:  # out of reach
            continue
        speeds.log.clear()
        speeds.last = None
        frames = rng.randrange(8, 50)
        at = frames * arm.dt
        plant = _faulty(arm, kind, at)
        law = FaultyLaw(controller, frames) if kind == "NaN" else controller
        run = servo(plant, law, target, start[None], CONFIG, safety=SAFETY)
        for _ in range(75):  # three seconds
            arm.step(torch.zeros(1, 6))
        outcome.stop(speeds, at, run.reason[0].split(":")[0].split(",")[0])
        again = servo(arm, controller, target, None, CONFIG, safety=SAFETY)
        outcome.restart(arm.T_wc, goal, again.reason[0])
    arm.close()
    return outcome.row(kind)


def main() -> None:
    """All faults."""
    options = parser(__doc__)
    options.add_argument("--times", type=int, default=20)
    options.add_argument("--only", nargs="*", choices=list(LIMITS), default=list(LIMITS))
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    rows = {
        kind: partial(served if kind in SERVED else simulated, kind, given.times, given.seed) for kind in given.only
    }
    table(given, rows, choices=("only",))


if __name__ == "__main__":
    run_script(main)
