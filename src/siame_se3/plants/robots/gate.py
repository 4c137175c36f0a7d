"""The last step before a robot: checks what is sent, and stops the robot by a thread of its own.

A loop that is late, a law that computes for seconds, a driver call that never returns: none of them keeps a stop from the robot. The
driver is only called from threads of the gate, so that Ctrl-C never ends a call half-way.
"""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError, RobotError, SiameError, require_number
from siame_se3.geometry.twist import FRAMES, twist_in
from siame_se3.plants.robots.checks import HardLimits, pose_fault
from siame_se3.plants.robots.interfaces import WATCHDOG, RobotState, VelocityDriver
from siame_se3.plants.robots.text import printable
from siame_se3.plants.robots.threads import BlockedError, CallLane, Worker, describe

_TICK = 0.005  # [s] between looks of the watchdog while the robot moves
_RETRY = 0.05  # [s] between tries of a stop that failed
_LOOK = 0.002  # [s] between looks at whether a stop has been taken
_CLOSING = 2.0  # [s] for a driver to close


class Gate:
    """A velocity driver behind checks and a watchdog.

    What is sent is finite, within the hard limits (of the camera, of the tool, and in the frame that is sent), computed from a valid pose
    where the frame needs one, and not older than `WATCHDOG`; else zero is sent. `WATCHDOG` after a twist the robot is stopped, if no other
    has come; a loop that stays away for `late` s is a fault, as is a driver call that has not returned within `answer` s. A fault stays,
    and nothing is sent, until `release`.

    Args:
        driver: of the robot.
        T_tc: camera in the tool's frame; the identity where they are the same.
        limits: hard limits.
        late: a loop that sends no twist for this long while the robot moves is at fault [s].
        clock: [s].
        dry: check everything, send nothing.
        answer: a driver call that has not returned within this is given up [s], by the real clock. Longer than `WATCHDOG` only in simulation,
            where time stands still meanwhile.

    Raises:
        InputError: a T_tc that is no pose, a frame that is not known, or a `late` or `answer` that is no time.
    """

    def __init__(
        self,
        driver: VelocityDriver,
        T_tc: Float[Tensor, "4 4"],
        limits: HardLimits | None = None,
        late: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        dry: bool = False,
        answer: float = WATCHDOG,
    ) -> None:
        if fault := pose_fault(T_tc):
            raise InputError(f"hand-eye transform: {fault}; calibrate it again", "hand_eye")
        if driver.frame not in FRAMES:
            raise InputError(f"twist frame '{printable(driver.frame, 40)}': use one of {', '.join(FRAMES)}")
        times = SimpleNamespace(late=late, answer=answer)
        require_number(times, "answer", 0, 60, open_low=True, what="time of a driver's call")
        require_number(times, "late", 0, 60, open_low=True, what="time without a twist")
        self._driver, self._T_tc, self._limits, self._late = driver, T_tc.double(), limits or HardLimits(), late
        self._clock, self._dry, self._answer = clock, dry, answer
        self._state = RobotState()
        self._fault = ""  # what is wrong, until `release`
        self._halted = True  # nothing is sent; set by anybody at any time, also by a signal's handler: it takes no lock
        self.halts = 0  # how often it was set
        self._times = threading.Lock()  # of what the watchdog clears and a twist sets, which are the next two
        self._due = math.inf  # when the present twist lapses; inf: the robot was stopped
        self._last = math.inf  # when the last twist that moves was asked for; inf: it has stopped in order
        self._stop_due = False  # driver.stop() is to be called
        self._begun = self._taken = 0  # calls of driver.stop(), and the last one that the driver has taken
        self._counting = threading.Lock()  # of calls of stop
        # Neither an event nor a condition: Ctrl-C in the main thread may leave the lock of one taken.
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._closed = False
        self._lost = ""  # a call of stop that did not return in time: one cannot go on with such a driver
        self._moves, self._stops, self._reads = (CallLane(f"robot: {name}") for name in ("move", "stop", "state"))
        self._watchdog = Worker("robot watchdog", self._watch)

    def state(self) -> RobotState:
        """The driver's, checked: a pose that is none is a fault, and so is a driver that does not answer."""
        try:
            now = self._reads.call(self._driver.state, self._answer)
            if not isinstance(now, RobotState):
                raise TypeError(f"{type(now).__name__} is no RobotState")
            now = RobotState(now.T_bt, str(now.fault))
            if now.T_bt is not None and (fault := pose_fault(now.T_bt)):
                now = RobotState(None, now.fault or f"the robot's pose {fault}; its driver is at fault")
        except BlockedError as error:
            now = RobotState(None, str(error))
        except Exception as error:  # a driver's, of any kind: what cannot be read is a fault
            now = RobotState(None, f"robot: its state cannot be read ({describe(error)})")
        if fault := now.fault or self._watchdog.fault:
            self.fail(fault)
        # With a fault goes the last valid pose: a view has one where it had one before.
        kept = self._state.T_bt if now.T_bt is None and self._fault else now.T_bt
        self._state = RobotState(kept, self._fault)
        return self._state

    @property
    def fault(self) -> str:
        """What is wrong, since `release`; '' for nothing."""
        return self._fault

    def fail(self, fault: str) -> None:
        """Something is wrong: the robot is stopped, and nothing is sent until `release`."""
        if not self._fault:
            self._fault = printable(fault)
        if not self._halted:
            self.halt()

    def move(self, v_c: Float[Tensor, "6"]) -> bool:
        """Send a camera-frame twist [m/s, rad/s]; whether it was sent: not after `halt`, nor with a fault, nor in a dry run.

        Raises:
            RobotError: a twist that must not be sent; the robot stands still.
        """
        asked, halts = self._clock(), self.halts
        state = self.state()
        if self._halted or self._fault:
            return False
        twist = self._checked(v_c, state)
        if self._dry:
            return False
        # From here on the watchdog looks: before the call, which may not come back.
        with self._times:
            self._due = asked + WATCHDOG
            self._last = asked if bool(v_c.any()) else math.inf
        self._wake.put(None)
        try:
            return bool(self._moves.call(lambda: self._send(twist, asked, halts), self._answer))
        except BlockedError as error:
            self.fail(str(error))
            return False
        except (SiameError, OSError):  # it goes on after the robot has stopped
            self.halt()
            raise
        except Exception as error:  # a driver's, of any kind
            self.fail(f"robot: move failed ({describe(error)}); its driver is at fault")
            raise RobotError(self._fault) from error
        except BaseException:  # Ctrl-C
            self.halt()
            raise

    def _checked(self, v_c: Float[Tensor, "6"], state: RobotState) -> Float[Tensor, "6"]:
        """The twist as it is sent: the driver's own, which may do with it what it likes."""
        if not isinstance(v_c, Tensor) or v_c.shape != (6,) or v_c.is_complex():
            self.fail("robot: a twist that is not six real numbers; nothing is sent")
            raise RobotError(self._fault)
        v_c = v_c.double()
        try:
            sent = twist_in(self._driver.frame, v_c, self._T_tc, state.T_bt)
            tool = twist_in("tool", v_c, self._T_tc, None)
            places = (("the camera", v_c), ("the tool", tool), (f"frame {self._driver.frame}", sent))
            faults = (f"{fault} ({place})" for place, twist in places if (fault := self._limits.fault_of(twist)))
            fault = next(faults, "")
        except SiameError as error:
            fault = str(error)
        if fault:
            self.fail(f"robot: {fault}; nothing is sent")
            raise RobotError(self._fault)
        return sent.clone()

    def _send(self, twist: Float[Tensor, "6"], asked: float, halts: int) -> bool:
        """In the lane: the last look before the driver, and one after it, for a stop that came meanwhile, be it over already."""
        if self._halted or self.halts != halts or self._clock() - asked > WATCHDOG:
            return False
        try:
            self._driver.move(twist)
        finally:
            if self._closed:  # a call that was given up, and came back when no watchdog looks any more
                self._driver.stop()
            elif self._halted or self.halts != halts or self._clock() - asked > WATCHDOG:
                self._stop_due = not self._dry
                self._wake.put(None)
        return True

    def halt(self) -> None:
        """Stop the robot from whatever thread or signal handler, without waiting: nothing is sent until `release`."""
        self.halts += 1
        self._halted = True
        self._stop_due = not self._dry
        self._wake.put(None)

    def stop(self) -> None:
        """Stop the robot, and wait until the driver has taken it; nothing is sent until `release`.

        Raises:
            RobotError: it has not, within twice the time that a call has.
        """
        with self._counting:
            self.halt()
            needed = self._begun + 1
        until = time.monotonic() + 2 * self._answer
        while self._taken < needed and not (self._dry or self._closed):
            if time.monotonic() > until:
                fault = self._fault or "robot: the driver has not taken the stop"
                raise RobotError(f"{fault}; press the emergency stop")
            time.sleep(_LOOK)

    def release(self, halts: int | None = None) -> bool:
        """Forget faults that are over, and let twists pass again; whether they do: not where somebody has halted it meanwhile.

        Args:
            halts: how often it had been halted when this was decided; None for now.

        Raises:
            RobotError: the watchdog or a call of the driver is lost for good.
        """
        lanes = (lane for lane in (self._moves, self._stops, self._reads) if not lane.settled(self._answer))
        lost = self._lost or next((lane.name for lane in lanes), "")
        if lost or self._watchdog.fault:
            what = f"{lost}: a call has not returned in time" if lost else self._watchdog.fault
            raise RobotError(f"{what}; see to the robot, and start the program again")
        with self._times:
            self._fault = ""
            self._due = self._last = math.inf
            self._halted = False
        if halts is not None and self.halts != halts:
            self.halt()
        return not self._halted

    def _watch(self) -> None:
        """The watchdog's thread. While the robot moves, it looks every `_TICK`, at flags that need no lock."""
        again = 0.0  # when a stop that failed is tried again
        while not self._closed:
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=_RETRY if self._due == math.inf and not self._stop_due else _TICK)
                while True:
                    self._wake.get_nowait()
            with self._times:
                now = self._clock()
                if now > self._due:  # no twist has come: the robot has to stand still
                    self._due, self._stop_due = math.inf, True
                if (late := now - self._last) > self._late:
                    self._last = math.inf
            if late > self._late:
                self.fail(f"the loop is late: no twist for {late:.2f} s while the robot moved")
            if self._stop_due and time.monotonic() >= again:
                again = 0.0 if self._call_stop() else time.monotonic() + _RETRY

    def _call_stop(self) -> bool:
        """Whether the driver has taken a stop. One that was given up, and returns late, is tried again."""
        if self._stops.abandoned and not self._closed:
            if self._stops.unfinished:
                return False
            self._lost, self._stops = self._stops.name, CallLane(self._stops.name)
        with self._counting:
            self._begun += 1
            self._stop_due = False  # before the call: a twist that goes out meanwhile asks for another one
        try:
            self._stops.call(self._driver.stop, self._answer)
        except Exception as error:  # a driver's, of any kind: it is named, and the stop is tried again
            self._stop_due = not self._closed
            self.fail(f"robot: stop failed ({describe(error)})")
            return False
        with self._times:
            if self._halted:
                self._due = self._last = math.inf
        self._taken = self._begun
        return True

    def close(self) -> None:
        """Stop the robot and let it go.

        Raises:
            RobotError: the driver did not let go within two seconds; it is left behind.
        """
        if self._closed:
            return
        try:  # each step is made also where Ctrl-C comes in the one before
            with contextlib.suppress(RobotError):  # closing stops the robot too, and says where it cannot
                self.stop()
        finally:
            self._closed = True
            self._wake.put(None)
            try:
                self._watchdog.join(4 * WATCHDOG)
            finally:
                closing = CallLane("robot: close")
                try:
                    closing.finish(self._driver.close, _CLOSING)
                finally:
                    for lane in (closing, self._moves, self._stops, self._reads):
                        lane.close()
