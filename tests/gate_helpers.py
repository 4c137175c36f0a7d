"""A robot that keeps what it is asked, behind a gate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.plants.robots.interfaces import RobotState

EYE = torch.eye(4, dtype=torch.float64)
V = torch.tensor([0.05, -0.03, 0.02, 0.1, 0.2, -0.3], dtype=torch.float64)
ZERO = torch.zeros(6, dtype=torch.float64)


def pose(*vector: float) -> Tensor:
    return lie.pose_from_vector(torch.tensor(vector, dtype=torch.float64))


def shifted(x: float) -> Tensor:
    T = EYE.clone()
    T[0, 3] = x
    return T


class Driver:
    """Keeps what it is asked, and when; `blocks` names the calls that wait for `freed`."""

    def __init__(self, frame: str = "camera", T_bt: Tensor | None = None) -> None:
        self.frame, self.T_bt, self.fault = frame, T_bt, ""
        self.calls: list[tuple[str, float, Any]] = []
        self.blocks: set[str] = set()
        self.fails: dict[str, BaseException] = {}
        self.freed = threading.Event()
        self.asked = threading.Event()  # a call that blocks has begun

    def _called(self, name: str, what: Any = None) -> None:
        if name in self.blocks:
            self.asked.set()
            self.freed.wait()
        if name in self.fails:
            raise self.fails[name]
        self.calls.append((name, time.monotonic(), what))

    def move(self, twist: Tensor) -> None:
        self._called("move", twist)

    def stop(self) -> None:
        self._called("stop")

    def state(self) -> RobotState:
        if "state" in self.blocks:
            self.freed.wait()
        if "state" in self.fails:
            raise self.fails["state"]
        return RobotState(self.T_bt, self.fault)

    def close(self) -> None:
        self._called("close")

    def named(self, name: str) -> list[tuple[str, float, Any]]:
        return [call for call in self.calls if call[0] == name]


def wait_for(what: Callable[[], Any], seconds: float = 5.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "did not come"
        time.sleep(0.001)
