"""Faults between processes: the simulated arm is served over DDS, `siame live` drives it, and is killed or cut off."""

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

from siame_se3.experiments.fault_trials import Outcome, Speeds
from siame_se3.experiments.script import bundled_print
from siame_se3.files import BUNDLED_MODEL, bundled
from siame_se3.geometry import lie
from siame_se3.geometry.camera import default_camera
from siame_se3.images.decode import as_pixels
from siame_se3.images.encode import write_picture
from siame_se3.plants.arm import ArmConfig, ArmPlant
from siame_se3.plants.robots.bus import Publisher
from siame_se3.plants.robots.bus_dds import DdsBus
from siame_se3.plants.robots.served import ArmServer
from siame_se3.scenes.poses import Workspace, reference_pose

DOMAIN = 77  # ROS_DOMAIN_ID


class CutBus(DdsBus):
    """A bus whose wire can be cut: then nothing comes and nothing goes."""

    cut = False

    def subscribe(self, topic: str, kind: type, heard: Callable[[Any], None], reliable: bool = False) -> None:
        super().subscribe(topic, kind, lambda message: None if self.cut else heard(message), reliable)

    def publisher(self, topic: str, kind: type) -> Publisher:
        sound = super().publisher(topic, kind)
        return Publisher(lambda message: None if self.cut else sound(message), sound.listeners)


def driver(target: Path) -> subprocess.Popen[str]:
    """`siame live` in a process of its own, up to its first motion."""
    command = [
        sys.executable,
        "-m",
        "siame_se3.cli",
        "live",
        "--model",
        str(bundled(BUNDLED_MODEL)),
        "--target",
        str(target),
    ]
    options = ["--start", "--ros2.bus", "dds", "--ros2.domain", str(DOMAIN), "--ros2.command", "", "--ros2.status", ""]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    for said in process.stdout:
        if said.startswith("moving"):
            return process
    raise SystemExit("siame live ended before it moved")


@dataclass
class Trials:
    """`siame live` and a fault, one start after the other; run by a thread, as the arm is served by the main one (its renderer's)."""

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

    def __call__(self) -> None:
        try:
            for start in self.starts:
                self._trial(start)
        finally:
            self.ended.set()

    def _trial(self, start: Tensor) -> None:
        placed = threading.Event()
        self.todo.put((start, placed))
        placed.wait()
        process = driver(self.target)
        assert process.stdout is not None
        while not self.speeds.log or self.speeds.log[-1][1] < 0.01:  # until the arm moves
            time.sleep(0.01)
        time.sleep(self.rng.uniform(0.1, 1.2))
        self.speeds.log.clear()
        at = time.monotonic()
        if self.kind == "killed":
            process.send_signal(signal.SIGKILL)
            reason = "the arm's watchdog"
        else:
            if self.kind == "SIGTERM":
                process.send_signal(signal.SIGTERM)
            else:
                self.bus.cut = True
                time.sleep(0.5)
                self.bus.cut = False
            last = [text for text in process.stdout if text.startswith("stands still")]
            reason = last[-1].split(": ", 1)[1].split(":")[0].strip() if last else "none given"
        process.wait()
        time.sleep(0.8)
        self.outcome.stopped.append(self.speeds.still_after(at))
        self.outcome.reasons[reason] += 1
        said = driver(self.target).communicate(timeout=120)[0]
        self.outcome.restart(self.arm.T_wc, self.goal, said.splitlines()[-1] if said else "nothing said")

    def running(self) -> bool:
        """Called by the arm's server between steps: put the arm where the next trial starts; False at the end."""
        with contextlib.suppress(queue.Empty):
            start, placed = self.todo.get_nowait()
            self.arm.reset(start[None])
            self.speeds.last = None
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
