"""Faults on the arm in MuJoCo, each at random moments: does it stand still in time, and does a restart converge?

    python -m siame_se3.experiments.faults [--times 20] [--only stops freezes ...]

Camera faults and a law that gives NaN: in one process, in simulated time, the camera's speed seen every 8 ms. 'killed' and 'cut': the arm is served
over DDS by this process in real time, and `siame live` drives it from another, which is killed (SIGKILL) or whose connection is cut (the arm's
side of it is closed, and opened again half a second later).
"""

from __future__ import annotations

import argparse
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor

from siame_se3.files import BUNDLED_MODEL, BUNDLED_PHOTO, bundled, hardware
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
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, draw_starts, reference_pose
from siame_se3.servo.guard import Safety
from siame_se3.servo.loop import ServoConfig, servo

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


def simulated(kind: str, times: int, scene: Scene, rng: random.Random) -> None:
    """In one process."""
    speeds = Speeds()
    model = checkpoint.load(bundled(BUNDLED_MODEL))
    camera = model.camera
    arm = ArmPlant(scene, camera, ArmConfig(), speeds)
    controller = controller_for("handoff", model)
    T_wd, T_wc = draw_starts("table1", 4 * times, scene, camera, Workspace(), rng.randrange(10**6))
    stopped: list[float] = []
    reasons: dict[str, int] = {}
    restarted = done = 0
    for goal, start in zip(T_wd, T_wc, strict=True):
        if done == times:
            break
        target = arm.look(goal)
        try:
            arm.reset(start)
        except Exception:  # out of reach
            continue
        done += 1
        speeds.log.clear()
        speeds.last = None
        frames = rng.randrange(8, 50)
        at = frames * arm.dt
        plant = FaultyCamera(arm, kind, at) if kind in CAMERA_FAULTS else arm  # type: ignore[arg-type]  # is one of them
        law = FaultyLaw(controller, frames) if kind == "NaN" else controller
        run = servo(plant, law, target, start, CONFIG, safety=SAFETY)
        reasons[run.reason[0].split(":")[0].split(",")[0]] = (
            reasons.get(run.reason[0].split(":")[0].split(",")[0], 0) + 1
        )
        for _ in range(25):
            arm.step(torch.zeros(1, 6) if target.image is not None and target.image.ndim == 4 else torch.zeros(6))
        late = speeds.still_after(at)
        stopped.append(late)
        again = servo(arm, controller, target, None, CONFIG, safety=SAFETY)
        restarted += converged(arm.T_wc, goal)
        if not converged(arm.T_wc, goal):
            print(f"  restart ended at {error_of(arm.T_wc, goal)}: {again.reason[0]}", flush=True)
    arm.close()
    line(kind, stopped, restarted, reasons)


def line(kind: str, stopped: list[float], restarted: int, reasons: dict[str, int]) -> None:
    limit = LIMITS[kind]
    in_time = sum(t <= limit + 0.1 + 1e-9 for t in stopped)
    said = "; ".join(f"{reason} ({n})" for reason, n in reasons.items())
    print(
        f"| {kind} | {1e3 * limit:.0f} ms | {1e3 * statistics.median(stopped):.0f} / {1e3 * max(stopped):.0f} ms | "
        f"{in_time} of {len(stopped)} | {restarted} of {len(stopped)} | {said} |",
        flush=True,
    )


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


def served(kind: str, times: int, scene: Scene, rng: random.Random) -> None:
    """Two processes. The arm is served by the main thread, which its renderer belongs to; trials are run by another."""
    speeds = Speeds()
    speeds.wall = True
    arm = ArmPlant(scene, default_camera(224), ArmConfig(), speeds)
    target = Path(tempfile.mkdtemp()) / "target.png"
    goal = reference_pose(0.6)
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
    todo: queue.Queue[tuple[Tensor, threading.Event]] = queue.Queue()
    ended = threading.Event()
    stopped: list[float] = []
    reasons: dict[str, int] = {}
    restarted = 0

    def trials() -> None:
        nonlocal restarted
        try:
            for start in starts:
                placed = threading.Event()
                todo.put((start, placed))
                placed.wait()
                process = driver(target)
                assert process.stdout is not None
                while not speeds.log or speeds.log[-1][1] < 0.01:  # until the arm moves
                    time.sleep(0.01)
                time.sleep(rng.uniform(0.1, 1.2))
                speeds.log.clear()
                at = time.monotonic()
                if kind == "killed":
                    process.send_signal(signal.SIGKILL)
                    reason = "the arm's watchdog"
                else:
                    bus.cut = True
                    time.sleep(0.5)
                    bus.cut = False
                    last = [text for text in process.stdout if text.startswith("stands still")]
                    reason = last[-1].split(": ", 1)[1].split(":")[0].strip() if last else "none told"
                process.wait()
                time.sleep(0.8)
                stopped.append(speeds.still_after(at))
                reasons[reason] = reasons.get(reason, 0) + 1
                again = driver(target)
                said = again.communicate(timeout=120)[0]
                restarted += converged(arm.T_wc, goal)
                if not converged(arm.T_wc, goal):
                    print(f"  restart ended at {error_of(arm.T_wc, goal)}: {said.splitlines()[-1]}", flush=True)
        finally:
            ended.set()

    def running() -> bool:
        with contextlib.suppress(queue.Empty):
            start, placed = todo.get_nowait()
            arm.reset(start)
            speeds.last = None
            placed.set()
        return not ended.is_set()

    worker = threading.Thread(target=trials)
    worker.start()
    ArmServer(bus, arm).run(running)
    worker.join()
    bus.close()
    arm.close()
    line(kind, stopped, restarted, reasons)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--only", nargs="*", choices=list(LIMITS), default=list(LIMITS))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"{' '.join(sys.argv)}   {hardware()}\n")
    print(
        "| fault | limit | standing still after, median / most | within limit + 100 ms | restart converges (1 mm, 0.1 deg) | reason told |"
    )
    print("|---|---|---|---|---|---|")
    scene = Scene.from_photo(bundled(BUNDLED_PHOTO), 0.8)
    for kind in options.only:
        rng = random.Random(f"{options.seed} {kind}")
        (served if kind in ("killed", "cut") else simulated)(kind, options.times, scene, rng)


if __name__ == "__main__":
    main()
