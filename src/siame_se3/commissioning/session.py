"""A session with a real robot: 'target' (this view is it), 'start', 'stop', 'quit', from a keyboard or from topics. Nothing moves before 'start'."""

from __future__ import annotations

import contextlib
import math
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from siame_se3.errors import SiameError
from siame_se3.laws.types import Controller, View
from siame_se3.plants.robots.live import LivePlant
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.safety import Safety
from siame_se3.servo.trajectory import Trajectory

COMMANDS = ("start", "stop", "target", "quit")


def target_from(path: Path, plant: LivePlant) -> View:
    """The desired view from a picture that the robot's camera took: as it came, or rectified and cut to the centred square.

    Raises:
        SiameError: not a picture, or of another size than the camera's.
    """
    from siame_se3.images.decode import as_image, read_picture, to_bytes

    if not path.is_file():
        raise SiameError(f"{path}: no such file; give a picture that this camera took, or say 'target' at the place")
    rgb = to_bytes(read_picture(path))
    view = plant.reset(None)
    assert view.image is not None
    if rgb.shape[:2] == view.image.shape[-2:]:  # rectified and cut already, or there is nothing to do
        image = as_image(rgb)
    else:
        try:
            image = plant.eye.prepared(rgb)
        except SiameError as error:
            raise SiameError(f"{path}: {error}; take it with this camera") from None
    return View(image, None, view.depth, view.camera)


class Session:
    """Runs of one robot, one after the other.

    Args:
        plant: the robot.
        controller: the law.
        config: gain and stop rules. safety: limits.
        target: the desired view; None until 'target' is said.
        say: told of each event in a line: what is waited for, progress, why a run ended.
        done: given each run's trajectory.
    """

    def __init__(
        self,
        plant: LivePlant,
        controller: Controller,
        config: ServoConfig,
        safety: Safety,
        target: View | None = None,
        say: Callable[[str], None] = print,
        done: Callable[[Trajectory], None] = lambda trajectory: None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.plant, self.controller, self.config, self.safety = plant, controller, config, safety
        self.target, self._say, self._done, self._settings = target, say, done, settings or {}
        self._asked: queue.Queue[tuple[str, int]] = queue.Queue()
        self._lock = threading.Lock()
        self._moving = False
        self._stops = 0  # how often 'stop' or 'quit' was said: a start said before the last of them does not count

    def command(self, word: str) -> None:
        """One of COMMANDS, from any thread."""
        word = word.strip().lower()
        if word not in COMMANDS:
            self._say(f"'{word}' is not known; say {', '.join(COMMANDS)}")
            return
        with self._lock:
            moving = self._moving
            if word in ("stop", "quit"):
                self._stops += 1
                self.plant.ask_to_stop(f"'{word}' was said")
            if word != "stop" and (word == "quit" or not moving):
                self._asked.put((word, self._stops))
        if moving and word in ("start", "target"):
            self._say(f"'{word}' while it moves: say 'stop' first")

    def run(self, once: bool = False) -> None:
        """Until 'quit', or Ctrl-C while it stands still; `once`: until the first run has ended."""
        try:
            while True:
                self._say("ready: say 'start'" if self.target else "ready: say 'target' at the desired place")
                word, said = self._asked.get()
                if word == "quit":
                    return
                with self._reported():
                    if word == "target":
                        self.plant.ask_to_stop("")  # of an earlier run; a start has a look of its own at what was said
                        view = self.plant.reset(None)
                        if view.fault:
                            raise SiameError(view.fault)
                        self.target = replace(view, age=0.0)
                        self._say("this view is the target")
                    elif word == "start":
                        self._run_once(said)
                if once and word == "start":
                    return
        finally:
            self.plant.stop()

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """Errors are said; the session goes on, the robot stands still."""
        try:
            yield
        except (SiameError, OSError) as error:
            self._say(f"error: {error}")

    def _run_once(self, said: int) -> Trajectory | None:
        """One run; `said`: how often 'stop' had been said when 'start' was."""
        if self.target is None:
            self._say("no target: say 'target' at the desired place first")
            return None
        with self._lock:
            if self._stops != said:
                return None
            self._moving = True
            self.plant.ask_to_stop("")
        try:
            self._say("moving" + (" (dry run: nothing is sent)" if self.plant.dry else ""))
            trajectory = servo(
                *(self.plant, self.controller, self.target, None, self.config, self._settings),
                self._progress,
                self.safety,
            )
        finally:
            with self._lock:
                self._moving = False
        self._say(f"stands still after {int(trajectory.iterations)} iterations: {trajectory.reason[0]}")
        self._done(trajectory)
        return trajectory

    def _progress(self, iteration: int, moving: int) -> None:
        if iteration % max(1, round(1 / self.plant.dt)) == 0:
            self._say(f"iteration {iteration}: {told(self.plant.asked)}" + (" (not sent)" if self.plant.dry else ""))

    def keyboard(self) -> None:
        """Take commands from the terminal, a line each, in a thread of its own."""

        def read() -> None:
            for line in sys.stdin:
                if line.strip():
                    self.command(line)

        threading.Thread(target=read, daemon=True).start()


def told(v: torch.Tensor) -> str:
    """A twist, for people."""
    t, r = v[:3].tolist(), v[3:].tolist()
    return (
        " ".join(f"{100 * x:+.1f}" for x in t) + " cm/s, " + " ".join(f"{math.degrees(x):+.1f}" for x in r) + " deg/s"
    )
