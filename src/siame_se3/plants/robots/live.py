"""A real robot as a plant: any camera source with any velocity driver, paced by the wall clock.

A step never waits longer than a frame: when no new image comes, the last one is handed out with its age, and `safety` ends the run. What is
sent passes the `Gate`, which also stops the robot when the loop is late; what stands between a dead program and a moving arm is the
driver's own watchdog: it stands still when no twist has come for `WATCHDOG`.
"""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError, RobotError, SiameError, require_number
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import View
from siame_se3.plants.robots.checks import HardLimits, pose_fault
from siame_se3.plants.robots.gate import Gate
from siame_se3.plants.robots.interfaces import WATCHDOG, CameraSource, DepthSource, Frame, VelocityDriver
from siame_se3.plants.robots.threads import describe

_FIRST = 5.0  # [s] for the first image
_DEPTH = 2.0  # [s] for the depth map of an image


class LivePlant:
    """One camera on one robot: a batch of one.

    Views have the image (1, 3, h, w), the distance of the scene as given, and, where the driver knows the tool's pose, the camera's pose in
    the robot's base, T_bc. Where the scene is in that frame nobody knows: there is no T_wc.

    Args:
        camera_source: gives images.
        driver: obeys twists.
        T_tc: camera in the tool's frame (hand-eye); None where the tool's frame is the camera's.
        dt: between steps [s].
        depth: distance of the scene, as given [m]; None where it is not known.
        dry: send nothing to the robot.
        limits: hard limits of what is sent.
        late: a loop that stays away for this long while the robot moves is at fault [s].
        clock: [s]; the one that frames are stamped with.
        sleep: waits for some seconds of that clock.
        answer: a driver call that has not returned within this is given up [s], see `Gate`.
        depth_source: gives the depth of images, for `with_depth`; None for none.

    Raises:
        InputError: a hand-eye transform that is no pose, or a distance that is none.
    """

    def __init__(
        self,
        camera_source: CameraSource,
        driver: VelocityDriver,
        T_tc: Float[Tensor, "4 4"] | None = None,
        dt: float = 0.04,
        depth: float | None = None,
        dry: bool = False,
        limits: HardLimits | None = None,
        late: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        answer: float = WATCHDOG,
        depth_source: DepthSource | None = None,
    ) -> None:
        given = SimpleNamespace(rate=dt, depth=depth)
        require_number(given, "rate", 0, 10, open_low=True, what="time between steps")
        if depth is not None:
            require_number(given, "depth", 0, 1000, open_low=True, what="distance of the scene")
        self.camera_source, self.driver, self.dt, self.dry = camera_source, driver, dt, dry
        self.depth_source = depth_source
        if T_tc is not None and (fault := pose_fault(T_tc)):
            raise InputError(f"hand-eye transform: {fault}; calibrate it again", "hand_eye")
        self.T_tc = None if T_tc is None else T_tc.double()
        self._hand_eye = torch.eye(4, dtype=torch.float64) if T_tc is None else T_tc.double()
        self._gate = Gate(driver, self._hand_eye, limits, late, clock, dry, answer)
        self._depth, self._clock, self._sleep = depth, clock, sleep
        self._frame: Frame | None = None
        self._tick = self._returned = 0.0
        self._sent = torch.zeros(6, dtype=torch.float64)
        self._stop_reason = ""
        self._begins = math.inf  # until when the first twist that moves may be sent
        self._monitors: list[Callable[[], str]] = []
        self.asked = torch.zeros(6, dtype=torch.float64)  # the last twist, sent or not
        self.seen: View | None = None  # the last view handed out
        known = self._gate.state().T_bt is not None
        self.provides = frozenset({"image", *(["depth"] if depth else []), *(["base_pose"] if known else [])})

    @property
    def camera(self) -> Camera:
        """Rectified intrinsics of the images."""
        return self.camera_source.camera

    def watch(self, fault: Callable[[], str]) -> None:
        """Stop the robot when something else fails that it depends on: a bus, the thread that reads the keyboard.

        Args:
            fault: what is wrong, '' for nothing; it is asked at each step.
        """
        self._monitors.append(fault)

    def unwatch(self, fault: Callable[[], str]) -> None:
        """Depend on it no longer; see `watch`."""
        self._monitors.remove(fault)

    def ask_to_stop(self, reason: str) -> None:
        """From another thread or a signal's handler: the robot is stopped at once, without waiting for it, no further twist is sent, and
        the next view has this fault; '' takes it back."""
        self._stop_reason = reason
        if reason:
            self._gate.halt()

    def begin_within(self, seconds: float) -> None:
        """Whoever asks for a run expects it to begin: where the first twist that moves comes later than this from now, it is not sent, and the
        next view has a fault. It holds for the next run."""
        self._begins = self._clock() + seconds

    def reset(self, start: Float[Tensor, "1 4 4"] | None) -> View:
        """Stand still where the robot is, and look.

        Raises:
            InputError: a start pose: no real robot jumps.
            RobotError: no image within five seconds, or a robot that cannot be reached any more.
        """
        if start is not None:
            raise InputError("a real robot starts where it is; give no start pose")
        self._gate.stop()
        halts = self._gate.halts
        self._frame = self._latest(self._clock() - 0.5, _FIRST)
        if self._frame is None:
            raise RobotError(f"camera: no image within {_FIRST:g} s; check that it is connected and sends")
        self._tick = self._returned = self._clock()
        self._sent = torch.zeros(6, dtype=torch.float64)
        if not self._gate.release(halts):
            self._gate.fail("the robot was stopped before it began to move")
        view = self._view()
        if self._stop_reason:  # said before or meanwhile: it is not taken back by a start
            self._gate.halt()
        return view

    def _latest(self, after: float, wait: float) -> Frame | None:
        """The camera's, whose errors are a robot's."""
        try:
            frame = self.camera_source.latest(after, wait)
            if frame is not None and not (
                isinstance(frame, Frame) and isinstance(frame.image, Tensor) and isinstance(frame.stamp, numbers.Real)
            ):
                raise TypeError(f"{type(frame).__name__} is no Frame of a tensor and seconds")
            if frame is not None and not _is_image(frame.image):
                raise RobotError(
                    f"camera: an image of {frame.image.dtype}, {tuple(frame.image.shape)}; a camera source gives RGB in [0, 1], floating point, "
                    "(3, h, w)"
                )
        except (SiameError, OSError):
            raise
        except (Exception, SystemExit) as error:  # a camera's, of any kind
            raise RobotError(f"camera: it has failed ({describe(error)}); its driver is at fault") from None
        return frame

    def _ask_monitors(self) -> None:
        for monitor in self._monitors:
            try:
                fault = monitor()
            except Exception as error:  # of any kind: what cannot be watched is a fault
                fault = f"what watches the robot has failed ({describe(error)})"
            if fault:
                self._gate.fail(fault)

    def _view(self) -> View:
        assert self._frame is not None
        self._ask_monitors()
        state = self._gate.state()
        T_bc = None if state.T_bt is None else (state.T_bt.double() @ self._hand_eye)[None]
        depth = None if self._depth is None else torch.tensor([self._depth], dtype=torch.float64)
        now = self._clock()
        fault = self._stop_reason or state.fault
        image = self._frame.image[None]
        self.seen = View(image, None, depth, self.camera, now - self._frame.stamp, fault, T_bc, now)
        return self.seen

    def with_depth(self, view: View) -> View:
        """The last view with the depth of each pixel, where something gives it; else as it is. The robot should stand still.

        Raises:
            RobotError: no depth map belongs to its image, none of its pixels is known, or depth maps come that cannot be used.
        """
        if self.depth_source is None:
            return view
        assert self._frame is not None
        depth = self.depth_source.near(self._frame.stamp, _DEPTH)
        if depth is None:
            raise RobotError(
                f"depth: no depth map near the image's time within {_DEPTH:g} s; check its topic and stamps",
                "ros2.depth",
            )
        if not bool(depth.isfinite().any()):
            raise RobotError("depth: no pixel's depth is known; is the camera nearer than its least range?")
        return replace(view, depth=depth[None])

    def step(self, v: Float[Tensor, "1 6"]) -> tuple[View, Float[Tensor, "1 6"]]:
        """Send a camera-frame twist, wait for the next tick, and look.

        As applied counts what was sent for as long as it was obeyed, until the next one or for `WATCHDOG`, over dt: a slow law between two
        steps makes the motion longer.

        Raises:
            RobotError: before `reset`; or a twist that must not be sent (see `Gate`): zero is sent.
            OSError: the robot is lost.
        """
        if self._frame is None:
            raise RobotError("robot: step before reset; call reset(None) first")
        self.asked = v.double().reshape(6).clone()
        before, self._sent = self._sent, torch.zeros(6, dtype=torch.float64)
        if bool(self.asked.any()):
            if (late := self._clock() - self._begins) > 0:
                self._gate.fail(f"it would have begun to move {late:.1f} s too late after it was asked for; ask again")
            self._begins = math.inf
            self._ask_monitors()  # also before it moves: the view may be of before a suspension
        if self._gate.move(self.asked):
            self._sent = self.asked
        now = self._clock()
        more = min(now - self._returned, WATCHDOG)
        # A late step begins a new row of ticks: no two twists in a hurry.
        self._tick = max(self._tick + self.dt, now)
        self._sleep(self._tick - now)
        frame = self._latest(self._frame.stamp, 0.5 * self.dt)
        self._frame = frame or self._frame
        self._returned = self._clock()
        obeyed = min(self._returned - now, WATCHDOG)
        applied = (self._sent * obeyed + before * more) / self.dt
        return self._view(), applied.reshape(v.shape).to(v)

    def stop(self) -> None:
        """Stand still, at once: from any thread, any number of times; no twist is sent until `reset`.

        Raises:
            RobotError: the driver has not taken it within 0.2 s.
        """
        self._gate.stop()

    def close(self) -> None:
        """Stand still, and let camera and robot go.

        Raises:
            RobotError: the driver did not let go within two seconds.
        """
        try:
            self._gate.close()
        finally:
            self.camera_source.close()


def _is_image(image: Tensor) -> bool:
    return image.is_floating_point() and image.ndim == 3 and image.shape[0] == 3 and image.numel() > 0
