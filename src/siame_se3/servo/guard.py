"""What keeps a robot safe while a law moves it, in one place for every plant: limits of twists and space, and reasons to stand still.

`servo(..., safety=Safety())` asks a `Guard` at each iteration. A reason ends the run: the twist goes to zero, at once where what is seen or
known is wrong, over `ramp` seconds where it can wait; nothing goes on by itself. What a stalled computer or a cut wire would leave moving is
for the watchdog of what drives the joints: see `plant.live`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import homography
from siame_se3.laws.types import View

_FROZEN_PIXELS = 0.1  # a motion that changes the grey levels of any texture
_MEMORY = 0.5  # [s] of images to compare with: what comes in front may come slowly
_FAR = 0.12  # share of the image that it may have moved since: what a plane square to the first view would do is not quite what this one does
_SIDE, _BLOCKS, _SEARCH = 64, 8, 5  # the view is compared at 64 x 64 px, in 8 x 8 blocks, each within +-5 px


@dataclass(frozen=True)
class Safety:
    """Limits; the default ones are slow.

    Attributes:
        max_twist: of each axis of the commanded twist [m/s, rad/s]; the whole twist is scaled, so that its direction stays.
        max_change: of each axis of its change [m/s^2, rad/s^2]; the change is scaled as a whole.
        reach: the camera stays within this distance of where it started [m]; 0 for any.
        box: corners (x, y, z low, x, y, z high) that the camera stays in, in the frame of the plant's poses [m]; () for none.
        max_age: an image older than this is stale [s].
        frozen: the same pixels for this long [s], while the motion made since should have moved them (by a tenth of a pixel), are a frozen image.
        jump: share of the view that may change otherwise than by the motion, within half a second: a hand in front, another scene.
        jump_contrast: a part of it has changed when it differs by this, of the range, and 0.6 of its own contrast, from what was nearby.
        max_law: a law's velocity at gain 1 above this has exploded [m/s]; rotations: 2 pi rad/s.
        no_progress: the law's velocity has not fallen for this long [s]: overlap is lost, or the motion is not what is commanded; 0 for
            no such limit.
        ramp: a smooth stop takes this long [s].
    """

    max_twist: tuple[float, ...] = (0.1, 0.1, 0.1, 0.35, 0.35, 0.35)
    max_change: tuple[float, ...] = (0.5, 0.5, 0.5, 2.0, 2.0, 2.0)
    reach: float = 0.8
    box: tuple[float, ...] = ()
    max_age: float = 0.2
    frozen: float = 0.25
    jump: float = 0.3
    jump_contrast: float = 0.03
    max_law: float = 5.0
    no_progress: float = 15.0
    ramp: float = 0.08

    def __post_init__(self) -> None:
        for name in ("max_twist", "max_change"):
            values = getattr(self, name)
            if len(values) != 6 or not all(0 < x < math.inf for x in values):
                raise SiameError(
                    f"--safety.{name.replace('_', '-')} {values}: give six numbers above 0, of vx vy vz wx wy wz"
                )
        for name in ("max_age", "frozen", "jump", "jump_contrast", "max_law"):
            if not 0 < getattr(self, name) < math.inf:
                raise SiameError(f"--safety.{name.replace('_', '-')} is {getattr(self, name)}; give a number above 0")
        for name in ("reach", "no_progress", "ramp"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SiameError(f"--safety.{name.replace('_', '-')} is {getattr(self, name)}; give 0 or more")
        low, high = self.box[:3], self.box[3:]
        if self.box and (len(self.box) != 6 or not all(a < b for a, b in zip(low, high, strict=True))):
            raise SiameError(f"--safety.box {self.box}: give x y z of the low corner, then of the high one [m]")


@dataclass(frozen=True)
class Halt:
    """Why the robot is to stand still, and whether at once."""

    reason: str
    at_once: bool


@dataclass(frozen=True)
class _Seen:
    time: float
    small: np.ndarray  # grey, side x side
    T_wc: Float[Tensor, "4 4"]  # by the motion that the plant told


class Guard:
    """Watches one run. What the motion should do to the image is that of a plane square to the first view's axis.

    Args:
        safety: the limits.
        dt: between iterations [s].
        view: at the start, batch axes () or (1,).
        T_tc: camera in the tool's frame, whose twist has the same limits; None where it is not known.

    Raises:
        SiameError: several cameras.
    """

    def __init__(self, safety: Safety, dt: float, view: View, T_tc: Float[Tensor, "4 4"] | None = None) -> None:
        self._tool_from_camera = torch.eye(6, dtype=torch.float64) if T_tc is None else lie.adjoint(T_tc.double())
        anchor = view.image if view.image is not None else view.T_wc
        assert anchor is not None
        if math.prod(anchor.shape[: -3 if view.image is not None else -2]) != 1:
            raise SiameError("safety: of one robot with one camera; servo several without it, in simulation")
        if safety.box and view.T_wc is None:
            raise SiameError(
                "--safety.box: this plant does not know its pose; use --safety.reach, the distance from the start"
            )
        self.safety, self.dt = safety, dt
        self._first_pose = None if view.T_wc is None else view.T_wc.reshape(4, 4)
        self._T_wc = torch.eye(4, dtype=torch.float64)  # in a world whose z = 0 is that plane
        self._T_wc[2, 3] = -0.6 if view.depth is None else -max(1e-3, float(view.depth.reshape(-1)[0]))
        self._T_start = self._T_wc
        self._seen: deque[_Seen] = deque()
        self._last_image: Tensor | None = None
        self._same_since = (0.0, self._T_wc)  # time and pose at the first of equal images
        self._time = 0.0
        self._least, self._least_time = math.inf, 0.0

    def seen(self, view: View, applied: Float[Tensor, "*B 6"] | None = None) -> Halt | None:
        """Look at a view, after the motion `applied` (None at the start): is there a reason to stand still?"""
        if applied is not None:
            self._time += self.dt
            self._T_wc = self._T_wc @ lie.exp(applied.double().cpu().reshape(6) * self.dt)
            if not bool(applied.any()):  # it stands still, in a dry run or for a fault: no progress is to be expected
                self._least_time = self._time
        s = self.safety
        if view.fault:
            return Halt(view.fault, True)
        if view.age < -0.02:
            return Halt(f"an image from the future: {-view.age:.2f} s; set the camera's clock", True)
        if view.age > s.max_age:
            return Halt(f"stale image: {1e3 * view.age:.0f} ms old, limit {1e3 * s.max_age:.0f} ms", True)
        if view.image is not None and view.camera is not None:
            image = view.image.reshape(view.image.shape[-3:])
            if halt := self._frozen(image, view.camera) or self._jumped(image, view.camera):
                return halt
        return self._outside(view)

    def _frozen(self, image: Tensor, camera: Camera) -> Halt | None:
        if self._last_image is None or not torch.equal(image, self._last_image):
            self._last_image, self._same_since = image, (self._time, self._T_wc)
            return None
        since, T_then = self._same_since
        if self._time - since < self.safety.frozen - 1e-9:
            return None
        if self._shift(T_then, camera) > _FROZEN_PIXELS:
            return Halt(f"frozen image: the same pixels for {self._time - since:.2f} s of motion", True)
        return None

    def _shift(self, T_then: Float[Tensor, "4 4"], camera: Camera) -> float:
        """How far the motion since has moved the image's middle or a corner, at most [px]."""
        w, h = camera.width - 1.0, camera.height - 1.0
        points = torch.tensor([[w / 2, h / 2, 1], [0, 0, 1], [w, 0, 1], [0, h, 1], [w, h, 1]], dtype=torch.float64)
        moved = points @ homography(camera, T_then, self._T_wc).T
        return float((moved[:, :2] / moved[:, 2:] - points[:, :2]).norm(dim=1).max())

    def _jumped(self, image: Tensor, camera: Camera) -> Halt | None:
        """Compares with what the motion makes of the last image, and of one up to `_MEMORY` old."""
        grey = image.mean(0).float().cpu().numpy()
        now = _Seen(self._time, cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), self._T_wc)
        far = _FAR * min(camera.width, camera.height)
        while len(self._seen) > 1 and (
            now.time - self._seen[0].time > _MEMORY or self._shift(self._seen[0].T_wc, camera) > far
        ):
            self._seen.popleft()
        # pixels of the small image from those of the large one, pixel centres at whole numbers
        x, y = _SIDE / camera.width, _SIDE / camera.height
        S = np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5], [0, 0, 1]])
        changed = 0.0
        for other in (self._seen[0], self._seen[-1]) if self._seen else ():
            H = S @ homography(camera, other.T_wc, now.T_wc).numpy() @ np.linalg.inv(S)
            changed = max(changed, self._changed(now.small, other.small, H))
        self._seen.append(now)
        if changed > self.safety.jump:
            return Halt(f"the view changed otherwise than by its motion, over {100 * changed:.0f} % of it", True)
        return None

    def _changed(self, small: np.ndarray, other: np.ndarray, H: np.ndarray) -> float:
        """Share of the blocks that differ from what the motion makes of another image, whose pixels are H times this one's."""
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        predicted = cv2.warpPerspective(other, H, (_SIDE, _SIDE), flags=flags)
        inside = cv2.warpPerspective(np.ones_like(other), H, (_SIDE, _SIDE), flags=flags)
        whole = cv2.resize(inside, (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA) > 0.99
        if whole.sum() < _BLOCKS:  # too little in common to say
            return 0.0
        known = inside > 0.99
        small = small - np.median((small - predicted)[known])  # the light's
        around = cv2.copyMakeBorder(small, _SEARCH, _SEARCH, _SEARCH, _SEARCH, cv2.BORDER_REPLICATE)
        n, changed = _SIDE // _BLOCKS, 0
        for row, column in np.argwhere(whole) * n:
            block = predicted[row : row + n, column : column + n]
            place = around[row : row + n + 2 * _SEARCH, column : column + n + 2 * _SEARCH]
            # wherever it fits best nearby: what was told of camera, distance and time may be a little wrong
            least = max(0.0, float(cv2.matchTemplate(place, block, cv2.TM_SQDIFF).min())) / n**2
            changed += math.sqrt(least) > self.safety.jump_contrast + 0.6 * float(block.std())
        return changed / int(whole.sum())

    def _outside(self, view: View) -> Halt | None:
        s = self.safety
        apart = (self._T_wc - self._T_start)[:3, 3]
        if view.T_wc is not None and self._first_pose is not None:  # measured, rather than the sum of what was told
            apart = (view.T_wc.reshape(4, 4) - self._first_pose)[:3, 3]
        if s.reach and float(apart.norm()) > s.reach:
            return Halt(f"the camera went {s.reach:g} m from its start, the limit", False)
        if s.box and view.T_wc is not None:
            at = view.T_wc.reshape(4, 4)[:3, 3].tolist()
            if any(not low <= x <= high for x, low, high in zip(at, s.box[:3], s.box[3:], strict=True)):
                return Halt("the camera left its workspace box", False)
        return None

    def judged(self, v: Float[Tensor, "*B 6"]) -> Halt | None:
        """Look at a law's velocity at gain 1 (zero where it has a fault): is there a reason to stand still?"""
        s = self.safety
        v = v.reshape(6)
        if not bool(torch.isfinite(v).all()):
            return Halt("law not finite", True)
        t, r = float(v[:3].norm()), float(v[3:].norm())
        if t > s.max_law or r > 2 * math.pi:
            return Halt(f"the law exploded: {t:.2f} m/s, {math.degrees(r):.0f} deg/s at gain 1", True)
        size = t + 0.5 * r
        if size < 0.95 * self._least:
            self._least, self._least_time = size, self._time
        elif s.no_progress and size > 0.01 and self._time - self._least_time > s.no_progress:
            return Halt(f"no progress for {s.no_progress:g} s: the target may be out of sight", False)
        return None

    def limited(self, v: Float[Tensor, "*B 6"], previous: Float[Tensor, "*B 6"]) -> Float[Tensor, "*B 6"]:
        """The twist within each axis's limits of speed (the camera's and the tool's) and acceleration."""
        most = v.new_tensor(self.safety.max_twist)
        both = torch.maximum(v.abs(), (v @ self._tool_from_camera.to(v).mT).abs())
        v = v / (both / most).amax(-1, keepdim=True).clamp(min=1)
        change = v - previous
        most = v.new_tensor(self.safety.max_change) * self.dt
        return previous + change / (change.abs() / most).amax(-1, keepdim=True).clamp(min=1)
