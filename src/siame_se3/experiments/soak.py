"""One unbroken run of many iterations: is all of it finite, does an iteration take longer in the end, does memory grow?

    python -m siame_se3.experiments.soak [--iterations 100000] [--what batched live]

batched: four flying cameras at once, the hand-off of the bundled network, with sensor noise that keeps them moving. live: the arm in MuJoCo behind what
`siame live` puts between a law and a robot (gate, watchdog, guard), as fast as it goes: their clock is the simulated arm's, so all limits of `Safety`
hold as on a robot, but the one on progress (noise never lets it settle). A call of the driver may take 5 s of real time instead of 0.1 s: the arm's time
stands still meanwhile, and what else the machine does is not to end the run; the column 'ended' says what has. Machines that are shared change their speed
by a third within an hour: so the same call of the law, on the same view, is timed at each reading, and the drift is that of iterations over calls. Memory is read while the run goes on: its record lies in a temporary file.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.experiments.script import bundled_print, parser, run_script, table
from siame_se3.files import BUNDLED_MODEL, bundled
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_image
from siame_se3.laws.registry import controller_for
from siame_se3.laws.types import Controller, View
from siame_se3.networks import checkpoint
from siame_se3.plants.arm import ArmConfig, ArmPlant
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.robots.interfaces import Frame, RobotState
from siame_se3.plants.robots.live import LivePlant
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.poses import Workspace, draw_starts
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.safety import Safety
from siame_se3.servo.trajectory import Trajectory

_EVERY = 500  # iterations between two readings
_CALLS = 25  # calls of the law at each reading, for the machine's speed
_ANSWER = 5.0  # [s] for a call of the driver: the machine may be busy


class Readings:
    """Memory, and the processor's time that an iteration took since the last reading: other work on the machine counts little.

    Args:
        iterations: that are asked for.
        call: always the same computation, for the speed of the machine at that moment.
    """

    def __init__(self, iterations: int, call: Callable[[], object]) -> None:
        self._iterations, self._call = iterations, call
        self.memory: list[float] = []  # [bytes]
        self.seconds: list[float] = []  # an iteration
        self.calls: list[float] = []  # [s], each
        self._last, self._began = time.process_time(), time.monotonic()

    def __call__(self, iteration: int, moving: int) -> None:
        """As `servo` reports."""
        if iteration % _EVERY:
            return
        now = time.process_time()
        self.seconds.append((now - self._last) / _EVERY)
        self.memory.append(float(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        began = time.process_time()
        for _ in range(_CALLS):
            self._call()
        self._last = time.process_time()
        self.calls.append((self._last - began) / _CALLS)
        if iteration % (4 * _EVERY) == 0:
            left = (time.monotonic() - self._began) * (self._iterations / iteration - 1) / 60
            shown = f"{1e3 * self.seconds[-1]:.2f} ms, {self.memory[-1] / 1e6:.1f} MB, {left:.0f} min left"
            print(f"  {iteration} of {self._iterations}: {shown}", flush=True)

    def row(self, what: str, run: Trajectory) -> dict[str, Any]:
        """First and last tenth, without the first reading, in which everything is built.

        Raises:
            SiameError: the run ended before there was anything to compare.
        """
        if len(self.memory) < 3:
            raise SiameError(
                f"{what}: ended after {int(run.iterations.max())} iterations ({run.reason[0]}); nothing to compare"
            )
        tenth = max(1, (len(self.seconds) - 1) // 10)
        parts = slice(1, 1 + tenth), slice(-tenth, None)
        first, last = (statistics.median(self.seconds[part]) for part in parts)
        fixed, fixed_last = (statistics.median(self.calls[part]) for part in parts)
        ratios = [a / b for a, b in zip(self.seconds, self.calls, strict=True)]
        ratio, ratio_last = (statistics.median(ratios[part]) for part in parts)
        kept = sum(x.numel() * x.element_size() for x in (run.T_wc, run.twist, run.applied, run.active, run.stage))
        grown = self.memory[-1] - self.memory[1]
        finite = all(bool(x.isfinite().all()) for x in (run.twist, run.applied))
        return {
            "what": what,
            "iterations": f"{int(run.iterations.max())} of {self._iterations}",
            "ended": run.reason[0],
            "finite": "yes" if finite else "no",
            "an iteration, first / last tenth": f"{1e3 * first:.2f} / {1e3 * last:.2f} ms",
            "a fixed call then": f"{1e3 * fixed:.2f} / {1e3 * fixed_last:.2f} ms",
            "drift of their ratio": f"{100 * (ratio_last / ratio - 1):+.1f} %",
            "memory": f"{self.memory[1] / 1e6:.1f} to {self.memory[-1] / 1e6:.1f} MB",
            "growth": f"{100 * grown / self.memory[1]:+.2f} %",
            "the trajectory, in a file": f"{kept / 1e6:.0f} MB",
        }


class SimulatedTime:
    """The arm's clock, for all that a live plant times. It is ahead of the real one, by which the guard judges the law's delay: there is none."""

    def __init__(self) -> None:
        self._now = time.monotonic() + 1e6

    def __call__(self) -> float:
        """Now [s]."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Time goes on."""
        self._now += seconds


class ServedHere:
    """The arm as camera source and driver of a live plant; it moves and is looked at in the main thread, its renderer's."""

    frame = "camera"

    def __init__(self, arm: ArmPlant, clock: SimulatedTime) -> None:
        self._arm, self._clock, self._twist = arm, clock, torch.zeros(1, 6, dtype=torch.float64)

    @property
    def camera(self) -> Camera:
        """Of the arm."""
        return self._arm.camera

    @property
    def sensor(self) -> Camera:
        """The arm's pictures come as they are."""
        return self._arm.camera

    def latest(self, after: float, wait: float) -> Frame | None:
        """A step of the arm, and what it sees."""
        view, _ = self._arm.step(self._twist)
        assert view.image is not None
        return Frame(view.image[0], self._clock())

    def prepared(self, rgb: np.ndarray) -> Float[Tensor, "3 h w"]:
        """See `CameraSource`."""
        return as_image(rgb)

    def state(self) -> RobotState:
        """The tool's pose: what is commanded is compared with it."""
        return RobotState(self._arm.T_wt)

    def move(self, v: Float[Tensor, "6"]) -> None:
        """See `VelocityDriver`."""
        self._twist = v[None].clone()

    def stop(self) -> None:
        """See `VelocityDriver`."""
        self._twist = torch.zeros(1, 6, dtype=torch.float64)

    def close(self) -> None:
        """See `VelocityDriver`."""


def _same_call(law: Controller, target: View) -> Callable[[], object]:
    """The law at its goal, always of one state."""
    function, state = law.aim(target)
    return lambda: function(target, state)


def run(what: str, iterations: int) -> dict[str, Any]:
    """One of both."""
    torch.set_num_threads(1)
    model, scene = checkpoint.load(bundled(BUNDLED_MODEL)), bundled_print()
    law = controller_for("handoff", model)
    config = ServoConfig(gain=2.0, max_iterations=iterations, settle_v=1e-15, settle_w=1e-15)
    if what == "batched":
        T_wd, T_wc = draw_starts("table1", 4, scene, model.camera, Workspace(), 3)
        cameras = FlyingCameras(scene, model.camera, conditions=Augmentation(noise=0.02))
        target = cameras.look(T_wd)
        readings = Readings(iterations, _same_call(law, target))
        return readings.row(what, servo(cameras, law, target, T_wc, config, None, readings))
    T_wd, T_wc = draw_starts("table1", 1, scene, model.camera, Workspace(offset_t=0.03), 3)
    arm = ArmPlant(scene, model.camera, ArmConfig(noise=0.02))
    image = arm.look(T_wd).image
    arm.reset(T_wc)
    clock = SimulatedTime()
    here = ServedHere(arm, clock)
    plant = LivePlant(here, here, arm.T_tc, arm.dt, Workspace.distance, clock=clock, sleep=clock.sleep, answer=_ANSWER)
    safety = Safety(no_progress=0.0)
    target = View(image, None, None, model.camera)
    readings = Readings(iterations, _same_call(law, target))
    try:
        return readings.row(what, servo(plant, law, target, None, config, None, readings, safety))
    finally:
        plant.close()
        arm.close()


def main() -> None:
    """Both."""
    options = parser(__doc__)
    options.add_argument("--iterations", type=int, default=100_000)
    options.add_argument("--what", nargs="*", choices=("batched", "live"), default=("batched", "live"))
    given = options.parse_args()
    rows = {what: lambda what=what: run(what, given.iterations) for what in given.what}
    table(given, rows, choices=("what",))


if __name__ == "__main__":
    run_script(main)
