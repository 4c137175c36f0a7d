"""Faults on the arm in MuJoCo, each at random moments: does it stand still in time, and does a restart converge?

    python -m siame_se3.experiments.faults [--times 20] [--only stops freezes ...]

Camera faults and a law that gives NaN: in one process, in simulated time, the camera's speed seen every 8 ms. 'killed' and 'cut': the arm is served
over DDS by this process in real time, and `siame live` drives it from another, which is killed (SIGKILL) or whose connection is cut (the arm's
side of it is closed, and opened again half a second later).
"""

from __future__ import annotations

import contextlib
import math
import queue
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.experiments.script import bundled_print, parser, run_script, table
from siame_se3.files import BUNDLED_MODEL, bundled
from siame_se3.geometry import lie
from siame_se3.geometry.camera import default_camera
from siame_se3.images.decode import as_pixels
from siame_se3.laws.registry import controller_for
from siame_se3.networks import checkpoint
from siame_se3.plants.arm import ArmConfig, ArmPlant
from siame_se3.plants.faults import CAMERA_FAULTS, FaultyCamera, FaultyLaw
from siame_se3.plants.robots.bus import Publisher
from siame_se3.plants.robots.bus_dds import DdsBus
from siame_se3.plants.robots.interfaces import WATCHDOG
from siame_se3.plants.robots.served import ArmServer
from siame_se3.scenes.poses import Workspace, draw_starts, reference_pose
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.safety import Safety

TICK = 0.008
DOMAIN = 77  # ROS_DOMAIN_ID of the served trials
SAFETY = Safety()
CONFIG = ServoConfig(gain=2.0, max_iterations=1000)
# What applies from the moment of the fault on, before the robot has to be standing within another 0.1 s.
LIMITS = {
    "stops": SAFETY.max_age,
    "freezes": SAFETY.frozen,
    "black": 0.0,
    "late": 0.0,
    "hand": 0.0,
    "NaN": 0.0,
    "killed": WATCHDOG,
    "cut": WATCHDOG,
}
STILL = 1e-3, math.radians(0.2)  # slower than this is standing still [m/s, rad/s]


class Speeds:
    """The camera's speed at each tick."""

    def __init__(self) -> None:
        self.last: Tensor | None = None
        self.log: list[tuple[float, float, float]] = []  # time, m/s, rad/s
        self.wall = False

    def __call__(self, T_wc: Tensor) -> None:
        now = time.monotonic() if self.wall else len(self.log) * TICK
        v = torch.zeros(6) if self.last is None else lie.log(lie.inverse(self.last) @ T_wc) / TICK
        self.last = T_wc
        self.log.append((now, float(v[:3].norm()), float(v[3:].norm())))

    def still_after(self, at: float) -> float:
        """Time from `at` until the camera stands still for good."""
        moving = [t for t, v, w in self.log if v > STILL[0] or w > STILL[1]]
        return max(0.0, max(moving, default=at) - at)


def error_of(T_wc: Tensor, goal: Tensor) -> str:
    t, r = lie.error_norms(lie.inverse(goal) @ T_wc)
    return f"{1e3 * float(t):.2f} mm {math.degrees(float(r)):.3f} deg"


def converged(T_wc: Tensor, goal: Tensor) -> bool:
    t, r = lie.error_norms(lie.inverse(goal) @ T_wc)
    return float(t) < 1e-3 and math.degrees(float(r)) < 0.1


@dataclass
class Outcome:
    """Of the trials with one fault: time until the camera stood still [s], reasons given, and how many restarts converged."""

    stopped: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    restarted: int = 0

    def restart(self, T_wc: Tensor, goal: Tensor, said: str) -> None:
        """Note where the restart ended."""
        self.restarted += converged(T_wc, goal)
        if not converged(T_wc, goal):
            print(f"  restart ended at {error_of(T_wc, goal)}: {said}", flush=True)

    def row(self, kind: str) -> dict[str, Any]:
        """A line of the table."""
        limit, n = LIMITS[kind], len(self.stopped)
        in_time = sum(t <= limit + 0.1 + 1e-9 for t in self.stopped)
        return {
            "fault": kind,
            "limit": f"{1e3 * limit:.0f} ms",
            "standing still after, median / most": f"{1e3 * statistics.median(self.stopped):.0f} / {1e3 * max(self.stopped):.0f} ms",
            "within limit + 100 ms": f"{in_time} of {n}",
            "restart converges (1 mm, 0.1 deg)": f"{self.restarted} of {n}",
            "reason given": "; ".join(f"{reason} ({count})" for reason, count in self.reasons.items()),
        }


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
        target = arm.look(goal)
        try:
            arm.reset(start)
        except SiameError:  # out of reach
            continue
        speeds.log.clear()
        speeds.last = None
        frames = rng.randrange(8, 50)
        at = frames * arm.dt
        plant = FaultyCamera(arm, kind, at) if kind in CAMERA_FAULTS else arm  # type: ignore[arg-type]  # is one of them
        law = FaultyLaw(controller, frames) if kind == "NaN" else controller
        run = servo(plant, law, target, start, CONFIG, safety=SAFETY)
        outcome.reasons[run.reason[0].split(":")[0].split(",")[0]] += 1
        for _ in range(25):
            arm.step(torch.zeros(1, 6) if target.image is not None and target.image.ndim == 4 else torch.zeros(6))
        outcome.stopped.append(speeds.still_after(at))
        again = servo(arm, controller, target, None, CONFIG, safety=SAFETY)
        outcome.restart(arm.T_wc, goal, again.reason[0])
    arm.close()
    return outcome.row(kind)


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
            self.arm.reset(start)
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
    desired = arm.look(goal).image
    assert desired is not None
    cv2.imwrite(str(target), as_pixels(desired)[..., ::-1])
    spread = torch.tensor([0.06, 0.06, 0.04, 0.1, 0.1, 0.2], dtype=torch.float64)
    generator = torch.Generator().manual_seed(rng.randrange(10**6))
    starts = [
        goal @ lie.pose_from_vector(spread * torch.randn(6, generator=generator, dtype=torch.float64))
        for _ in range(times)
    ]
    arm.reset(starts[0])
    bus = CutBus(DOMAIN)
    trials = Trials(kind, rng, arm, bus, speeds, goal, target, starts)
    worker = threading.Thread(target=trials)
    worker.start()
    ArmServer(bus, arm).run(trials.running)
    worker.join()
    bus.close()
    arm.close()
    return trials.outcome.row(kind)


def main() -> None:
    """All faults."""
    options = parser(__doc__)
    options.add_argument("--times", type=int, default=20)
    options.add_argument("--only", nargs="*", choices=list(LIMITS), default=list(LIMITS))
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    rows = {
        kind: partial(served if kind in ("killed", "cut") else simulated, kind, given.times, given.seed)
        for kind in given.only
    }
    table(given, rows, choices=("only",))


if __name__ == "__main__":
    run_script(main)
