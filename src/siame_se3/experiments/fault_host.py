"""`siame live` as the fault trials drive it: the same session on the served arm, with a law or a driver that fails when it is asked to.

    python -m siame_se3.experiments.fault_host --target FILE [--kind busy]

It takes the session's commands from standard input, a line each, and one more, 'fault': from then on the law computes for two seconds ('busy'),
or the driver's next call does not come back for a minute ('blocked').
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.session import Session
from siame_se3.commissioning.targets import target_from
from siame_se3.experiments.fault_trials import SAFETY
from siame_se3.experiments.script import run_script
from siame_se3.files import BUNDLED_MODEL, bundled
from siame_se3.laws.registry import controller_for
from siame_se3.laws.types import Controller, Law, Output, View
from siame_se3.networks import checkpoint
from siame_se3.plants.robots.bus_dds import DdsBus
from siame_se3.plants.robots.interfaces import RobotState, VelocityDriver
from siame_se3.plants.robots.live import LivePlant
from siame_se3.plants.robots.ros2_camera import Ros2Camera
from siame_se3.plants.robots.ros2_driver import Ros2Driver
from siame_se3.plants.robots.served import IMAGE, INFO, POSE, TWIST
from siame_se3.plants.robots.signals import StopSignals
from siame_se3.servo.config import ServoConfig

DOMAIN = 77  # ROS_DOMAIN_ID
BUSY, BLOCKED = 2.0, 60.0  # [s]


class Once:
    """Sleeps once after `set`."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._due = seconds, threading.Event()

    def set(self) -> None:
        """The next `wait` takes long."""
        self._due.set()

    def wait(self) -> None:
        """Sleep, if it is due; say when that began, by the clock that all processes share."""
        if self._due.is_set():
            self._due.clear()
            print(f"fault {time.monotonic():.6f}", flush=True)
            time.sleep(self._seconds)


@dataclass(frozen=True)
class Busy:
    """A controller whose law computes for long when it is asked to."""

    controller: Controller
    wait: Callable[[], None]

    @property
    def needs(self) -> frozenset[str]:
        """See `Controller`."""
        return self.controller.needs

    def aim(self, target: View) -> tuple[Law, Any]:
        """See `Controller`."""
        law, state = self.controller.aim(target)

        def busy(view: View, state: Any) -> tuple[Output, Any]:
            self.wait()
            return law(view, state)

        return busy, state


class Blocking:
    """A velocity driver whose `move` does not come back when it is asked so."""

    def __init__(self, driver: VelocityDriver, wait: Callable[[], None]) -> None:
        self.frame, self._driver, self._wait = driver.frame, driver, wait

    def state(self) -> RobotState:
        """See `VelocityDriver`."""
        return self._driver.state()

    def move(self, v: Float[Tensor, "6"]) -> None:
        """See `VelocityDriver`."""
        self._wait()
        self._driver.move(v)

    def stop(self) -> None:
        """See `VelocityDriver`."""
        self._driver.stop()

    def close(self) -> None:
        """See `VelocityDriver`."""
        self._driver.close()


def main() -> None:
    """A session until 'quit'."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--target", type=Path, required=True)
    options.add_argument("--kind", choices=("none", "busy", "blocked"), default="none")
    given = options.parse_args()
    torch.set_num_threads(1)
    fault = Once(BUSY if given.kind == "busy" else BLOCKED)
    model = checkpoint.load(bundled(BUNDLED_MODEL))
    controller: Controller = controller_for("handoff", model)
    with contextlib.ExitStack() as closing:
        signals = closing.enter_context(StopSignals())
        bus = DdsBus(DOMAIN)
        closing.callback(bus.close)
        driver: VelocityDriver = Ros2Driver(bus, TWIST, "camera", "camera", POSE)
        if given.kind == "blocked":
            driver = Blocking(driver, fault.wait)
        if given.kind == "busy":
            controller = Busy(controller, fault.wait)
        plant = LivePlant(Ros2Camera(bus, IMAGE, INFO), driver, depth=model.distance)
        closing.callback(plant.close)
        plant.watch(bus.fault)
        signals.stop = plant.ask_to_stop
        session = Session(
            *(plant, controller, ServoConfig(gain=2.0, max_iterations=2000), SAFETY, target_from(given.target, plant)),
            say=lambda line: print(line, flush=True),
        )

        def hear() -> None:
            for line in sys.stdin:
                if line.strip() == "fault":
                    fault.set()
                else:
                    session.command(line)
            session.disconnected("the keyboard", alone=True)

        threading.Thread(target=hear, daemon=True).start()
        session.run()


if __name__ == "__main__":
    run_script(main)
