"""What keeps a robot safe while a law moves it, in one place for every plant.

`servo(..., safety=Safety())` asks a `Guard` at each iteration. A reason to halt ends the run: the twist goes to zero, at once where what is
seen or known is wrong, over `ramp` seconds where it can wait; nothing goes on by itself. What a stalled computer or a cut wire would leave
moving is for the watchdogs of `plants.robots` and of what drives the joints.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.geometry import lie
from siame_se3.laws.types import View
from siame_se3.plants.types import Plant
from siame_se3.servo.limits import Limit
from siame_se3.servo.safety import Halt, Safety
from siame_se3.servo.watch import ImageWatch

_WINDOW = 0.5  # [s] over which the measured motion is compared with the commanded one
_APART_T, _APART_R = 0.02, math.radians(4)  # by which they may differ [m, rad]...
_APART_SHARE = 0.5  # ...and by this share of the commanded one
_STUCK, _STUCK_T, _STUCK_R, _LAG = (
    0.1,
    0.01,
    math.radians(2),
    0.2,
)  # less than this share of a commanded motion of so much [m, rad], so long ago [s]: no motion
_LARGE = 480  # [px]: a law over an image of a larger side may be slow by that alone
_LOOKS = 4  # in a row at fresh images, of a robot that stands and whose law takes too long
_STANDS = 2.0  # [s] after which a robot that has stood so long does not begin to move by a law that takes too long


class Unguarded:
    """No guard, of cameras in simulation: as `Guard`, and never a reason."""

    limits: tuple[Limit, ...] = ()
    ramp = 0.0

    def seen(self, view: View, applied: Tensor | None = None, command: Tensor | None = None) -> Halt | None:
        """Never."""
        return None

    def judged(self, v: Float[Tensor, "n 6"]) -> Halt | None:
        """Never."""
        return None

    def waits(self, command: Float[Tensor, "n 6"]) -> bool:
        """Never."""
        return False

    def sent(self, command: Float[Tensor, "n 6"]) -> Halt | None:
        """Never."""
        return None


class Guard:
    """Watches one run of one camera.

    Times are the plant's (`View.time`); of a plant without a clock, the number of steps times dt.

    Args:
        safety: the limits.
        plant: what moves; its dt and the tool that carries the camera, whose twist has the same limits.
        view: at the start.
        clock: of plants with a clock [s].

    Raises:
        InputError: several cameras, or a box for a plant that does not know its pose.
    """

    def __init__(self, safety: Safety, plant: Plant, view: View, clock: Callable[[], float] = time.monotonic) -> None:
        if view.batch != (1,):
            raise InputError("safety is of one robot with one camera; servo several without it, in simulation")
        if safety.box and _pose_of(view) is None:
            raise InputError(
                "box: this plant does not know its pose; use the reach, the distance from the start",
                *("safety.box", "safety.reach"),
            )
        self.safety, self._dt, self._clock = safety, plant.dt, clock
        self.limits = safety.limits(plant.T_tc)
        self._first = view
        self._began = self._time = 0.0 if view.time is None else view.time
        self._T_wc = torch.eye(4, dtype=torch.float64)  # in a world whose z = 0 is a plane square to the first view
        distance = math.nan if view.distance is None else float(view.distance[0])
        self._T_wc[2, 3] = -max(1e-3, distance) if 0 < distance < math.inf else -0.6
        self._T_start = self._T_wc
        self._watch = ImageWatch(safety)
        self._measured: deque[tuple[float, Tensor, Tensor]] = deque()  # time, measured pose, commanded pose
        self._T_commanded = torch.eye(4, dtype=torch.float64)
        self._least, self._least_time = math.inf, self._time
        self._age = view.age
        self._moves, self._waited, self._moved = False, 0, self._time

    @property
    def ramp(self) -> float:
        """How long a smooth stop takes [s]."""
        return self.safety.ramp

    def seen(
        self, view: View, applied: Float[Tensor, "1 6"] | None = None, command: Float[Tensor, "1 6"] | None = None
    ) -> Halt | None:
        """Look at a view, after the motion `applied` of the `command` (None at the start): is there a reason to stand still?"""
        s = self.safety
        if fault := self._unusable(view, applied):
            return Halt(fault, True)
        self._age = view.age
        if applied is not None:
            before, self._time = self._time, self._time + self._dt if view.time is None else view.time
            self._T_wc = self._T_wc @ lie.exp(applied[0].double().cpu() * self._dt)
            if not bool(
                applied.any()
            ):  # it stands still, in a dry run or for a fault: such time does not count as one without progress
                self._least_time += self._time - before
        if view.fault:
            return Halt(view.fault, True)
        if view.age < -0.02:
            return Halt(f"an image from the future: {-view.age:.2f} s; set the camera's clock", True)
        if view.age > s.max_age:
            return Halt(f"stale image: {1e3 * view.age:.0f} ms old, limit {1e3 * s.max_age:.0f} ms", True)
        halt = None
        if view.image is not None and view.camera is not None:
            halt = self._watch.look(view.image[0], view.camera, self._time, self._T_wc)
        return halt or self._astray(view, applied, command) or self._outside(view)

    def _unusable(self, view: View, applied: Tensor | None) -> str:
        """What of a view or a reported motion is not finite, or not as it was at the start; '' for nothing."""
        if not math.isfinite(view.age):
            return "the image's age is not finite"
        if view.time is not None and not math.isfinite(view.time):
            return "the view's time is not finite"
        for name, now, first in (
            ("image", view.image, self._first.image),
            ("pose", view.T_wc, self._first.T_wc),
            ("base pose", view.T_bc, self._first.T_bc),
        ):
            if (now is None) != (first is None) or (now is not None and first is not None and now.shape != first.shape):
                return f"the {name} is not as it was at the start"
            if now is not None and first is not None and now.dtype != first.dtype:
                return f"the {name} is of another kind of numbers than at the start ({now.dtype})"
            if now is not None and not bool(torch.isfinite(now).all()):
                return f"the {name} has values that are not finite"
        if applied is not None and (applied.shape != (1, 6) or not bool(torch.isfinite(applied).all())):
            return "the motion that the robot reports is not finite"
        return ""

    def _astray(self, view: View, applied: Tensor | None, command: Tensor | None) -> Halt | None:
        """The measured motion against the commanded one, where the plant measures its pose."""
        measured = _pose_of(view)
        if measured is None:
            return None
        # A plant with a clock reports for how long it obeyed; one without obeys for dt, and what it reports may be measured.
        made = applied if view.time is not None else command
        if made is not None:
            self._T_commanded = self._T_commanded @ lie.exp(made[0].double().cpu() * self._dt)
        self._measured.append((self._time, measured, self._T_commanded))
        while self._time - self._measured[0][0] > _WINDOW:
            self._measured.popleft()
        _, T_then, C_then = self._measured[0]
        moved, wanted = lie.inverse(T_then) @ measured, lie.inverse(C_then) @ self._T_commanded
        t, r = lie.error_norms(lie.inverse(wanted) @ moved)
        way = tuple(float(x) for x in lie.error_norms(wanted))
        most_t, most_r = (base + _APART_SHARE * x for base, x in zip((_APART_T, _APART_R), way, strict=True))
        if (way[0] > _STUCK_T or way[1] > _STUCK_R) and self._stuck(moved):
            return Halt("the robot does not move as commanded: its measured pose stays", True)
        if float(t) <= most_t and float(r) <= most_r:
            return None
        return Halt(
            f"the robot does not move as commanded: {1e3 * float(t):.0f} mm and {math.degrees(float(r)):.1f} deg apart",
            True,
        )

    def _stuck(self, moved: Tensor) -> bool:
        """Whether the measured pose has hardly moved over the window, while the robot was commanded to, long enough ago for it to be seen."""
        _, _, C_then = self._measured[0]
        seen = [C for time, _, C in self._measured if self._time - time >= _LAG]
        if not seen or self._time - self._measured[0][0] < 0.8 * _WINDOW:
            return False
        made = lie.error_norms(moved)
        wanted = lie.error_norms(lie.inverse(C_then) @ seen[-1])
        commanded = float(wanted[0]) > _STUCK_T or float(wanted[1]) > _STUCK_R
        return commanded and all(float(m) <= _STUCK * float(w) for m, w in zip(made, wanted, strict=True))

    def _outside(self, view: View) -> Halt | None:
        s = self.safety
        measured, first = _pose_of(view), _pose_of(self._first)
        apart = float((self._T_wc - self._T_start)[:3, 3].norm())
        if (
            measured is not None and first is not None
        ):  # and not rather: a pose that stays, or is too small, is no way to go farther
            apart = max(apart, float((measured - first)[:3, 3].norm()))
        if s.reach and apart > s.reach:
            return Halt(f"the camera went {s.reach:g} m from its start, the limit", False)
        if s.box and measured is not None:
            at = measured[:3, 3].tolist()
            if any(not low <= x <= high for x, low, high in zip(at, s.box[:3], s.box[3:], strict=True)):
                return Halt("the camera left its workspace box", False)
        return None

    def judged(self, v: Float[Tensor, "1 6"]) -> Halt | None:
        """Look at a law's velocity at gain 1 (zero where it has a fault): is there a reason to stand still?"""
        s = self.safety
        if not bool(torch.isfinite(v).all()):
            return Halt("law not finite", True)
        t, r = float(v[0, :3].norm()), float(v[0, 3:].norm())
        if t > s.max_law or r > 2 * math.pi:
            return Halt(f"the law exploded: {t:.2f} m/s, {math.degrees(r):.0f} deg/s at gain 1", True)
        size = t + 0.5 * r
        if size < 0.95 * self._least:
            self._least, self._least_time = size, self._time
        elif s.no_progress and size > 0.01 and self._time - self._least_time > s.no_progress:
            return Halt(f"no progress for {s.no_progress:g} s: the target may be out of sight", False)
        return None

    def waits(self, command: Float[Tensor, "1 6"]) -> bool:
        """Whether a robot that stands goes on standing, for another image, as the law took too long over this one: a law that looks for the goal
        everywhere does so at its first look, and follows it at the second. So often in a row at most, as a law may be without a velocity, and not
        once it has stood for `_STANDS`: nothing begins to move when nobody expects it any more."""
        if self._moves or not bool(command.any()) or self._late() <= self.safety.max_age:
            return False
        self._waited += 1
        return self._waited <= _LOOKS and self._clock() - self._moved <= _STANDS

    def _late(self) -> float:
        """How old the image is by now, for plants with a clock [s]."""
        return 0.0 if self._first.time is None else self._clock() - self._time + self._age

    def _large(self) -> str:
        """What makes many a law slow: images of many pixels; '' where they are not."""
        image = self._first.image
        if image is None or min(image.shape[-2:]) <= _LARGE:
            return ""
        return f"; images of {image.shape[-1]} x {image.shape[-2]} px take long: give a smaller --image-size, or let the camera give fewer pixels"

    def sent(self, command: Float[Tensor, "1 6"]) -> Halt | None:
        """The last look, at what is to be sent: finite, within the limits of each axis, and computed from an image that is not stale by
        now."""
        if not bool(torch.isfinite(command).all()):
            return Halt("the command is not finite", True)
        if bool((command.abs() > 1.001 * command.new_tensor(self.safety.max_twist)).any()):
            return Halt("the command is beyond the limits", True)
        if bool(command.any()):
            if (late := self._late()) > self.safety.max_age:
                took, limit = late - self._age, self.safety.max_age
                if took > limit:
                    return Halt(
                        f"the law took {took:.2f} s: its image is stale, limit {limit:g} s{self._large()}", True
                    )
                old = f"{1e3 * late:.0f} ms old when the law has answered, which took {1e3 * took:.0f}"
                return Halt(f"stale image: {old}, limit {1e3 * limit:.0f} ms{self._large()}", True)
            self._waited, self._moved = 0, self._time
        self._moves = bool(command.any())
        return None


def _pose_of(view: View) -> Float[Tensor, "4 4"] | None:
    """The measured pose of one camera, in the scene's or the base's frame."""
    pose = view.T_wc if view.T_wc is not None else view.T_bc
    return None if pose is None else pose[0].double().cpu()
