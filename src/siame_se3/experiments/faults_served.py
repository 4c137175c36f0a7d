"""Faults between processes: the simulated arm is served over DDS in real time, and a session in another process (`fault_host`) drives it."""

from __future__ import annotations

import contextlib
import queue
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from siame_se3.errors import RobotError
from siame_se3.experiments.fault_host import DOMAIN
from siame_se3.experiments.fault_trials import Outcome, Speeds
from siame_se3.experiments.script import bundled_print
from siame_se3.geometry import lie
from siame_se3.geometry.camera import default_camera
from siame_se3.images.decode import as_pixels
from siame_se3.images.encode import write_picture
from siame_se3.plants.arm import ArmConfig, ArmPlant
from siame_se3.plants.robots.bus import Publisher
from siame_se3.plants.robots.bus_dds import DdsBus
from siame_se3.plants.robots.served import ArmServer
from siame_se3.scenes.poses import Workspace, reference_pose

_PATIENCE = 60.0  # [s] for a line that has to come
_STARTS = 3  # of a run that has to move
_WATCHED = 3.0  # [s] after a fault in which the arm has to stand still, and stay so


class CutBus(DdsBus):
    """A bus whose wire can be cut: then nothing comes and nothing goes."""

    cut = False

    def subscribe(self, topic: str, kind: type, heard: Callable[[Any], None], reliable: bool = False) -> None:
        super().subscribe(topic, kind, lambda message: None if self.cut else heard(message), reliable)

    def publisher(self, topic: str, kind: type) -> Publisher:
        sound = super().publisher(topic, kind)
        return Publisher(lambda message: None if self.cut else sound(message), sound.listeners)


class Host:
    """The process of a session, and what it says."""

    def __init__(self, target: Path, kind: str) -> None:
        command = [sys.executable, "-m", "siame_se3.experiments.fault_host", "--target", str(target), "--kind", kind]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.wait_for("ready")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def say(self, *words: str) -> None:
        """Commands, at once."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("".join(f"{word}\n" for word in words))
            self._process.stdin.flush()

    def has_said(self, beginning: str) -> bool:
        """Whether one of the lines that nobody has waited for has this beginning."""
        found = False
        with contextlib.suppress(queue.Empty):
            while True:
                found |= self._lines.get_nowait().startswith(beginning)
        return found

    def wait_for(self, *beginnings: str) -> str:
        """The next line with one of these beginnings; '' where the process ends before it.

        Raises:
            RobotError: none came within a minute.
        """
        until = time.monotonic() + _PATIENCE
        while (left := until - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                line = self._lines.get(timeout=left)
                if not line or line.startswith(beginnings):
                    return line.strip()
        raise RobotError(
            f"the session did not say '{beginnings[0]}' within {_PATIENCE:g} s; try again on a quiet machine"
        )

    def signal(self, number: int) -> None:
        """Send one."""
        self._process.send_signal(number)

    def end(self) -> None:
        """It has ended, or is made to."""
        self.say("quit")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()


@dataclass
class Trials:
    """A session and a fault, one start after the other; run by a thread, as the arm is served by the main one (its renderer's)."""

    kind: str
    rng: random.Random
    arm: ArmPlant
    bus: CutBus
    speeds: Speeds
    goal: Tensor
    target: Path
    starts: list[Tensor]
    outcome: Outcome = field(default_factory=Outcome)
    todo: queue.Queue[tuple[Tensor, threading.Event]] = field(default_factory=queue.Queue)
    ended: threading.Event = field(default_factory=threading.Event)
    _host: Host | None = None

    def __call__(self) -> None:
        try:
            for start in self.starts:
                self._trial(start)
        finally:
            if self._host:
                self._host.end()
            self.ended.set()

    def _host_now(self) -> Host:
        if self._host is None:
            self._host = Host(self.target, self.kind if self.kind in ("busy", "blocked") else "none")
        return self._host

    def _trial(self, start: Tensor) -> None:
        placed = threading.Event()
        self.todo.put((start, placed))
        placed.wait()
        time.sleep(0.3)  # until the session has seen the new place
        host = self._host_now()
        at, reason, goes_on = self._fault_of_a_run(host)
        until = at + _WATCHED
        time.sleep(max(0.0, until - time.monotonic()))
        self.outcome.stop(self.speeds, at, reason)
        if not goes_on:
            host.end()
            self._host = None
        host = self._host_now()
        host.say("start")
        said = host.wait_for("stands still")
        time.sleep(0.2)
        self.outcome.restart(self.arm.T_wc, self.goal, said)
        host.wait_for("ready")

    def _set_off(self, host: Host) -> None:
        """Start, until the arm moves: on a machine that is busy otherwise the guard may end a run before that.

        Raises:
            RobotError: it does not.
        """
        for _ in range(_STARTS):
            # of two starts at once one counts; the other is void, also after the stop
            host.say(*["start"] * (2 if self.kind == "queued" else 1))
            host.wait_for("moving")
            until = time.monotonic() + _WATCHED
            while time.monotonic() < until:
                if self.speeds.log and self.speeds.log[-1][1] >= 0.01:
                    return
                time.sleep(0.01)
            host.say("stop")
            host.wait_for("ready")
        raise RobotError(f"the arm did not move after {_STARTS} starts; try again on a quiet machine")

    def _fault_of_a_run(self, host: Host) -> tuple[float, str, bool]:
        """A run at a random moment of which the fault comes, see `_fault`; where the guard ends it before that, another one.

        Raises:
            RobotError: no run lasts.
        """
        for _ in range(_STARTS):
            self._set_off(host)
            time.sleep(self.rng.uniform(0.1, 1.2))
            self.speeds.log.clear()
            if not host.has_said("stands still") and (found := self._fault(host)):
                return found
            time.sleep(0.5)  # until it has said that it is ready
        raise RobotError(f"{_STARTS} runs ended before their fault; try again on a quiet machine")

    def _fault(self, host: Host) -> tuple[float, str, bool] | None:
        """When it began [s], the reason that the session gives, and whether the session goes on; None where the run has ended before it."""
        at = time.monotonic()
        if self.kind == "killed":
            host.signal(signal.SIGKILL)
            return at, "the arm's watchdog", False
        if self.kind == "cut":
            self.bus.cut = True
            time.sleep(0.5)
            self.bus.cut = False
        elif self.kind == "SIGTERM":
            host.signal(signal.SIGTERM)
        elif self.kind == "queued":
            host.signal(signal.SIGINT)
        else:
            host.say("fault")
            began = host.wait_for("fault", "stands still")
            if not began.startswith("fault"):
                return None
            at = float(began.split()[1])
        said = host.wait_for("stands still")
        reason = said.split(": ", 1)[1].split(":")[0].split(" for ")[0] if said else "the program ends"
        goes_on = self.kind in ("cut", "busy", "queued")
        if goes_on:
            host.wait_for("ready")
        return at, reason, goes_on

    def running(self) -> bool:
        """Called by the arm's server between steps: put the arm where the next trial starts; False at the end."""
        with contextlib.suppress(queue.Empty):
            start, placed = self.todo.get_nowait()
            self.arm.reset(start[None])
            self.speeds.last = None
            self.speeds.log.clear()
            placed.set()
        return not self.ended.is_set()


def served(kind: str, times: int, seed: int) -> dict[str, Any]:
    """Two processes."""
    rng, speeds = random.Random(f"{seed} {kind}"), Speeds()
    speeds.wall = True
    arm = ArmPlant(bundled_print(), default_camera(), ArmConfig(), speeds)
    target = Path(tempfile.mkdtemp()) / "target.png"
    goal = reference_pose(Workspace.distance)
    desired = arm.look(goal[None]).image
    assert desired is not None
    write_picture(target, as_pixels(desired[0]))
    spread = torch.tensor([0.06, 0.06, 0.04, 0.1, 0.1, 0.2], dtype=torch.float64)
    generator = torch.Generator().manual_seed(rng.randrange(10**6))
    starts = [
        goal @ lie.pose_from_vector(spread * torch.randn(6, generator=generator, dtype=torch.float64))
        for _ in range(times)
    ]
    arm.reset(starts[0][None])
    bus = CutBus(DOMAIN)
    trials = Trials(kind, rng, arm, bus, speeds, goal, target, starts)
    worker = threading.Thread(target=trials)
    worker.start()
    ArmServer(bus, arm).run(trials.running)
    worker.join()
    bus.close()
    arm.close()
    return trials.outcome.row(kind)
