"""What a trial with a fault ends in: how soon the camera stands still, and whether a restart converges."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.plants.arm_model import TICK
from siame_se3.plants.robots.interfaces import WATCHDOG
from siame_se3.servo.safety import Safety

FRAME = 0.04  # between two images [s]
SAFETY = Safety()
# What applies from the moment of the fault on, before the robot has to be standing within another 0.1 s.
LIMITS = {
    "stops": SAFETY.max_age,
    "freezes": SAFETY.frozen,
    "flickers": SAFETY.frozen,
    "black": 0.0,
    "late": 0.0,
    "occluded": 0.0,
    "carried": 0.5,  # the guard looks at half a second of motion
    "pose NaN": FRAME,  # said after the motion of a frame was made
    "applied NaN": FRAME,
    "NaN": 0.0,
    "killed": WATCHDOG,
    "cut": WATCHDOG,
    "SIGTERM": 0.0,
    "busy": WATCHDOG,
    "blocked": WATCHDOG,
    "queued": 0.0,  # from the Ctrl-C that ends the first start's run
}
TITLES = {
    "stops": "the camera stops",
    "freezes": "frames freeze",
    "flickers": "frames freeze, but for one pixel that changes",
    "black": "frames turn black",
    "late": "frames arrive 300 ms late",
    "occluded": "a hand covers 60 %",
    "carried": "the camera is carried at 0.2 m/s on top of what is commanded",
    "pose NaN": "the robot reports a pose of NaN",
    "applied NaN": "the robot reports a motion of NaN",
    "NaN": "the law gives NaN",
    "busy": "the law computes for 2 s",
    "blocked": "a driver call does not return",
    "SIGTERM": "SIGTERM",
    "queued": "two starts at once, then Ctrl-C",
    "killed": "the driver is killed (SIGKILL)",
    "cut": "the connection is cut for half a second",
}
SERVED = ("killed", "cut", "SIGTERM", "busy", "blocked", "queued")
_GAP = 0.3  # [s]
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

    def moves_again(self, at: float) -> bool:
        """Whether it moves after it had stood still, for `_GAP` or longer, since `at`."""
        moving = [at, *(t for t, v, w in self.log if t > at and (v > STILL[0] or w > STILL[1]))]
        return any(b - a > _GAP for a, b in itertools.pairwise(moving))


def error_of(T_wc: Tensor, goal: Tensor) -> str:
    t, r = lie.error_norms(lie.inverse(goal) @ T_wc)
    return f"{1e3 * float(t):.2f} mm {math.degrees(float(r)):.3f} deg"


def converged(T_wc: Tensor, goal: Tensor) -> bool:
    t, r = lie.error_norms(lie.inverse(goal) @ T_wc)
    return float(t) < 1e-3 and math.degrees(float(r)) < 0.1


@dataclass
class Outcome:
    """Of the trials with one fault: time until the camera stood still [s], how many moved again by themselves, reasons
    given, and how many restarts converged."""

    stopped: list[float] = field(default_factory=list)
    moved_again: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    restarted: int = 0

    def stop(self, speeds: Speeds, at: float, reason: str) -> None:
        """Note what followed the fault of time `at`."""
        self.stopped.append(speeds.still_after(at))
        self.moved_again += speeds.moves_again(at)
        self.reasons[reason] += 1

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
            "moved again by itself": f"{self.moved_again} of {n}",
            "restart converges (1 mm, 0.1 deg)": f"{self.restarted} of {n}",
            "reason given": "; ".join(f"{reason} ({count})" for reason, count in self.reasons.items()),
        }
