"""Universal Robots by ur_rtde (extra `ur`): speedL at the controller's rate. Tested against a double with ur_rtde's interface; it has not met
hardware.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.plants.robots.live import WATCHDOG, RobotState

_NEAR = 0.035  # [rad] of a joint's limit


class UrMover:
    """A Mover of a UR robot.

    A thread sends the newest twist at `rate`; one older than `live.WATCHDOG` counts as zero, and the robot's own watchdog ends its program
    when the thread itself is gone. A protective stop, an emergency stop, a lost connection or a joint near its limit is told as a fault;
    nothing goes on by itself after it: after a protective stop, mend its cause, unlock the robot on its pendant, and start the program anew.

    Args:
        host: of the robot.
        rate: of the controller [1/s]: 500 for e-Series, 125 for CB3.
        acceleration: of speedL [m/s^2].
        limits: +- of the joints [rad].
        control, receive: instead of ur_rtde's interfaces, for tests.
        dry: only read the robot's state; no program is started on it.

    Raises:
        SiameError: ur_rtde is not installed, or the robot cannot be reached, or is stopped.
    """

    frame = "base"

    def __init__(
        self,
        host: str,
        rate: float = 500.0,
        acceleration: float = 0.5,
        limits: tuple[float, ...] = (6.28,) * 6,
        control: Any = None,
        receive: Any = None,
        dry: bool = False,
    ) -> None:
        if receive is None or (control is None and not dry):
            try:
                rtde_control = None if dry else importlib.import_module("rtde_control")
                rtde_receive = importlib.import_module("rtde_receive")
            except ImportError:
                raise SiameError("UR: ur_rtde is not installed; pip install 'siame-se3[ur]'") from None
            try:
                receive = rtde_receive.RTDEReceiveInterface(host)
                control = rtde_control.RTDEControlInterface(host, rate) if rtde_control else None
            except RuntimeError as error:
                raise SiameError(
                    f"UR {host}: {error}; check the address, remote control mode, and that no other program has it"
                ) from None
        self._control, self._receive = control, receive
        self._rate, self._acceleration, self._limits = rate, acceleration, limits
        self._lock = threading.Lock()
        self._twist: list[float] | None = None  # None: at rest, nothing is sent
        self._due = 0.0
        self._fault = ""
        self._ended = threading.Event()
        self._braking = False  # a speedStop has not succeeded yet
        self._thread: threading.Thread | None = None
        if dry:
            return
        if fault := self._reported():
            raise SiameError(f"UR {host}: {fault}; mend that on the pendant first")
        self._control.setWatchdog(1 / WATCHDOG)
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _reported(self) -> str:
        """What the robot says is wrong."""
        try:
            if not (self._receive.isConnected() and self._control.isConnected()):
                return "lost connection to the robot"
            if self._receive.isEmergencyStopped():
                return "emergency stop"
            if self._receive.isProtectiveStopped():
                return "protective stop"
            if not self._control.isProgramRunning():
                return "the robot's program has ended"
            for k, (q, most) in enumerate(zip(self._receive.getActualQ(), self._limits, strict=True)):
                if abs(q) > most - _NEAR:
                    return f"joint {k} is within 2 deg of its limit"
        except RuntimeError as error:
            return f"lost connection to the robot ({error})"
        return ""

    def _send(self) -> None:
        while not self._ended.wait(1 / self._rate):
            with self._lock:
                if not self._fault:
                    self._fault = self._reported()
                if self._twist is not None and (self._fault or time.monotonic() > self._due):
                    self._twist, self._braking = None, True
                if self._braking:
                    self._braking = not self._call(self._control.speedStop)
                elif self._twist is not None:
                    self._call(self._control.speedL, self._twist, self._acceleration, 0.0)
                if not self._braking and not self._fault:  # else the robot's own watchdog ends its program
                    self._call(self._control.kickWatchdog)

    def _call(self, function: Callable[..., Any], *args: Any) -> bool:
        """Whether it succeeded. ur_rtde reconnects by itself and sends again what it was sending: a call that failed or took long is a fault, which
        stays; with the lock."""
        began = time.monotonic()
        try:
            done = function(*args) is not False
        except Exception as error:  # of ur_rtde, RuntimeError mostly
            self._fault = self._fault or f"lost connection to the robot ({error})"
            return False
        if not done or time.monotonic() - began > WATCHDOG:
            self._fault = self._fault or "lost connection to the robot"
        return done

    def move(self, twist: Float[Tensor, "6"]) -> None:
        """See Mover.

        Raises:
            SiameError: the robot has a fault.
        """
        if self._control is None:
            raise SiameError("UR: a dry run's robot does not move")
        if not bool(torch.isfinite(twist).all()):
            self.stop()
            raise SiameError("UR: a twist that is not finite")
        with self._lock:
            if self._fault:
                raise SiameError(f"UR: {self._fault}")
            self._twist, self._due = twist.tolist(), time.monotonic() + WATCHDOG

    def stop(self) -> None:
        """See Mover."""
        if self._control is None:
            return
        with self._lock:
            self._twist, self._braking = None, not self._call(self._control.speedStop)

    def state(self) -> RobotState:
        """See Mover; the tool is the TCP that is set on the robot."""
        T_bt = None
        try:
            T_bt = lie.pose_from_vector(torch.tensor(self._receive.getActualTCPPose(), dtype=torch.float64))
        except RuntimeError as error:
            with self._lock:
                self._fault = self._fault or f"lost connection to the robot ({error})"
        with self._lock:
            return RobotState(T_bt, self._fault)

    def close(self) -> None:
        """See Mover."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(1)
            self.stop()
            with contextlib.suppress(Exception):  # of a lost connection
                self._control.stopScript()
                self._control.disconnect()
        self._receive.disconnect()
