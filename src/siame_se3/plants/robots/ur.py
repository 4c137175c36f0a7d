"""Universal Robots by ur_rtde (extra `ur`): speedL at the controller's rate. Tested against a double with ur_rtde's interface; it has not met
hardware.
"""

from __future__ import annotations

import importlib
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import RobotError
from siame_se3.geometry import lie
from siame_se3.plants.robots.checks import HardLimits, joint_fault
from siame_se3.plants.robots.interfaces import WATCHDOG, RobotState
from siame_se3.plants.robots.threads import Worker, describe

log = logging.getLogger(__name__)

_LOST = "lost connection to the robot"


class UrDriver:
    """A VelocityDriver of a UR robot.

    A thread of its own makes all calls that command the robot: it sends the newest twist at `rate`; one older than `WATCHDOG` counts as
    zero. The robot's own watchdog, which that thread feeds, ends the robot's program when the thread is gone or a call of it does not
    return. A protective stop, an emergency stop, a lost connection or a joint near its limit is reported as a fault; nothing goes on by
    itself after it: after a protective stop, see to its cause, unlock the robot on its pendant, and start the program again.

    Args:
        host: of the robot.
        rate: of the controller [1/s]: 500 for e-Series, 125 for CB3.
        acceleration: of speedL, the one number that it takes for both [m/s^2, rad/s^2]: no less than the commands' own change (the largest of
            `Safety.max_change`), else the robot lags behind them.
        limits: +- of the joints [rad].
        control, receive: instead of ur_rtde's interfaces, for tests.
        dry: only read the robot's state; no program is started on it.
        hard: limits of what is sent.

    Raises:
        RobotError: ur_rtde is not installed, or the robot cannot be reached, or is stopped.
    """

    frame = "base"

    def __init__(
        self,
        host: str,
        rate: float = 500.0,
        acceleration: float = 2.0,
        limits: tuple[float, ...] = (6.28,) * 6,
        control: Any = None,
        receive: Any = None,
        dry: bool = False,
        hard: HardLimits | None = None,
    ) -> None:
        if receive is None or (control is None and not dry):
            control, receive = _connect(host, rate, dry)
        self._control, self._receive = control, receive
        self._rate, self._acceleration, self._limits, self._hard = rate, acceleration, limits, hard or HardLimits()
        self._changed = (
            threading.Condition()
        )  # of what follows; never held during a call of ur_rtde, which may not return
        self._twist: list[float] | None = None  # None: at rest, nothing is sent
        self._due = 0.0
        self._fault = ""
        self._braking = False  # a speedStop has not succeeded yet
        self._asked = self._taken = 0  # stops asked for, and the last one that the robot has taken
        self._calling: float | None = None  # since when a call has been going on
        self._ended = threading.Event()
        self._sender: Worker | None = None
        if dry:
            return
        try:
            self._check(host)
        except BaseException:  # whatever it is: nobody closes a driver that was not made
            self.close()
            raise
        self._sender = Worker("UR sender", self._send, failed=self._sender_failed)

    def _check(self, host: str) -> None:
        """Whether the robot obeys, and stops by itself when this program is gone."""
        if fault := self._reported():
            raise RobotError(f"UR {host}: {fault}; see to that on the pendant first", "host")
        try:
            why = "" if self._control.setWatchdog(1 / WATCHDOG) is not False else "refused"
        except RuntimeError as error:
            why = describe(error)
        if why:
            raise RobotError(
                f"UR {host}: the robot's own watchdog is not set ({why}); see to the robot's program on the pendant first",
                "host",
            )

    def _reported(self) -> str:
        """What the robot says is wrong."""
        try:
            if not (self._receive.isConnected() and self._control.isConnected()):
                return _LOST
            if self._receive.isEmergencyStopped():
                return "emergency stop"
            if self._receive.isProtectiveStopped():
                return "protective stop"
            if not self._control.isProgramRunning():
                return "the robot's program has ended"
            q = self._receive.getActualQ()
        except RuntimeError as error:
            return f"{_LOST} ({describe(error)})"
        if len(q) != len(self._limits) or not all(map(math.isfinite, q)):
            return f"{_LOST}: it sent {len(q)} joint angles ({len(self._limits)} finite ones are expected)"
        return joint_fault(q, self._limits)

    def _send(self) -> None:
        """The sender's thread."""
        while not self._ended.wait(1 / self._rate):
            self._calling = time.monotonic()  # what the robot says may not come either
            reported = self._reported()
            self._calling = None
            with self._changed:
                self._fault = self._fault or reported
                if self._twist is not None and (self._fault or time.monotonic() > self._due):
                    self._twist, self._braking = None, True
                twist, braking, asked = self._twist, self._braking, self._asked
            if braking:
                braking = not self._call(self._control.speedStop)
                with self._changed:
                    if not braking:
                        self._taken = asked
                        self._braking = self._asked != asked
                    self._changed.notify_all()
            elif twist is not None:
                self._call(self._control.speedL, twist, self._acceleration, 0.0)
            if not braking and not self._fault:  # else the robot's own watchdog ends its program
                self._call(self._control.kickWatchdog)

    def _sender_failed(self, error: BaseException) -> None:
        """In the sender's thread, after what ended it: nothing feeds the robot's watchdog any more."""
        with self._changed:
            self._fault = self._fault or f"{_LOST} (the sender failed: {describe(error)})"
        self._call(self._control.speedStop)

    def _call(self, function: Callable[..., Any], *args: Any) -> bool:
        """Whether it succeeded. ur_rtde reconnects by itself and sends again what it was sending: a call that failed or took long is a
        fault, which stays."""
        began = self._calling = time.monotonic()
        try:
            done, why = function(*args) is not False, ""
        except Exception as error:  # of ur_rtde, RuntimeError mostly
            done, why = False, f" ({describe(error)})"
        self._calling = None
        if not done or time.monotonic() - began > WATCHDOG:
            with self._changed:
                self._fault = self._fault or _LOST + why
        return done

    def _present_fault(self) -> str:
        """Of the robot, of the sender, or of a call that does not return; the lock is held."""
        since = self._calling
        if since is not None and time.monotonic() - since > WATCHDOG:
            self._fault = self._fault or f"{_LOST}: a call has not returned for {WATCHDOG:g} s"
        return self._fault or (self._sender.fault if self._sender else "")

    def move(self, twist: Float[Tensor, "6"]) -> None:
        """See `VelocityDriver`; a twist of zero brakes as `stop` does, without waiting for it.

        Raises:
            RobotError: a twist that must not be sent, or the robot has a fault.
        """
        if self._control is None:
            raise RobotError("UR: a dry run's robot does not move")
        if fault := self._hard.fault_of(twist):
            self.stop()
            raise RobotError(f"UR: {fault}")
        with self._changed:
            if fault := self._present_fault():
                raise RobotError(f"UR: {fault}")
            if not bool(twist.any()):  # by speedStop: speedL would brake no faster than it follows
                self._braking = self._braking or self._twist is not None
                self._twist = None
                return
            self._twist, self._due = twist.tolist(), time.monotonic() + WATCHDOG

    def stop(self) -> None:
        """See `VelocityDriver`.

        Raises:
            RobotError: the robot has not taken it within half of `WATCHDOG`; it is tried again and again, and the robot's own watchdog is
                not fed meanwhile.
        """
        if self._control is None or self._ended.is_set():
            return
        with self._changed:
            self._twist, self._braking = None, True
            self._asked += 1
            asked = self._asked
            if self._changed.wait_for(lambda: self._taken >= asked, WATCHDOG / 2):
                return
            self._fault = self._fault or f"{_LOST}: it has not taken a stop"
            raise RobotError(f"UR: {self._present_fault()}")

    def state(self) -> RobotState:
        """See `VelocityDriver`; the tool is the TCP that is set on the robot."""
        T_bt, fault = None, ""
        try:
            pose = self._receive.getActualTCPPose()
        except RuntimeError as error:
            fault = f"{_LOST} ({describe(error)})"
        else:
            if len(pose) == 6 and all(map(math.isfinite, pose)):
                T_bt = lie.pose_from_vector(torch.tensor(pose, dtype=torch.float64))
            else:
                fault = f"{_LOST}: it sent {len(pose)} numbers as the tool's pose (6 finite ones are expected)"
        with self._changed:
            self._fault = self._fault or fault
            return RobotState(T_bt, self._present_fault())

    def close(self) -> None:
        """See `VelocityDriver`.

        Raises:
            RobotError: a call to the robot has not returned; it is left behind, and the robot's own watchdog ends its program.
        """
        if self._ended.is_set():
            return
        self._ended.set()
        try:
            if self._sender is not None and not self._sender.join(1):
                raise RobotError(f"UR: {_LOST}: a call has not returned; check that the robot stands still")
            if self._control is not None:
                self._call(self._control.speedStop)
                self._control.stopScript()
                self._control.disconnect()
        except (
            RuntimeError
        ) as error:  # ur_rtde's, of a connection that is lost: there is nothing left to stop through it
            log.warning("UR: closing: %s", describe(error))
        finally:
            self._receive.disconnect()


def _connect(host: str, rate: float, dry: bool) -> tuple[Any, Any]:
    """ur_rtde's control (None for a dry run) and receive interfaces."""
    try:
        rtde_control = None if dry else importlib.import_module("rtde_control")
        rtde_receive = importlib.import_module("rtde_receive")
    except ImportError:
        raise RobotError("UR: ur_rtde is not installed; pip install 'siame-se3[ur]'") from None
    receive = None
    try:
        receive = rtde_receive.RTDEReceiveInterface(host)
        return rtde_control.RTDEControlInterface(host, rate) if rtde_control else None, receive
    except RuntimeError as error:
        if receive is not None:
            receive.disconnect()
        wanted = "check the address, remote control mode, and that no other program has it"
        raise RobotError(f"UR {host}: {describe(error)}; {wanted}", "host") from None
