"""Does the image move as the camera does? A frozen image, an occlusion, another scene, a camera that moves by itself: seen in small
copies of the images and the motion that was commanded, which for a plane square to the first view predicts each image from an
earlier one."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import homography
from siame_se3.servo.safety import Halt, Safety

_EQUAL_PIXELS = 0.1  # a motion that changes the grey levels of any texture
_MOST_EQUAL_PIXELS = 0.25  # one that changes nearly all of a strong texture's
_TEXTURE, _SHARE, _LEAST = (
    8 / 255,
    0.9,
    50,
)  # such a texture's step from pixel to pixel; how many have to be equal; how many there are
_STANDS = 0.02  # of the image's: a motion that is none [px]
_MOVED = 0.3  # of the small image's pixels: a motion that shows in it
_DEPTHS = (
    0.6,
    0.8,
    1.25,
    1.7,
)  # of the assumed one: what is seen may be there, where a shift and a turn cancel each other
_MEMORY = 0.5  # [s] of images to compare with: an occlusion may come slowly
_FAR = 0.12  # share of the image that it may have moved since: the plane's prediction is not quite that of the scene
_SIDE, _BLOCKS, _SEARCH = 64, 8, 5  # the view is compared at 64 x 64 px, in 8 x 8 blocks, each within +-5 px
_FLOOR = 0.004  # of the range: differences below this are the sensor's noise
_PREDICTED = 0.75  # share of the predicted motion by which it may be wrong: distance, focal length, latency


@dataclass(frozen=True)
class _Seen:
    time: float
    small: np.ndarray  # grey, side x side
    T_wc: Float[Tensor, "4 4"]  # by the commanded motion


class ImageWatch:
    """Compares each image of one camera with earlier ones. Poses T_wc are in a world whose plane z = 0 is square to the first view."""

    def __init__(self, safety: Safety) -> None:
        self._safety = safety
        self._seen: deque[_Seen] = deque()
        self._still: _Seen | None = None  # the image since which none has moved
        self._equal: tuple[Tensor, float, Tensor] | None = None  # the first of equal images, its time and pose

    def look(
        self, image: Float[Tensor, "3 h w"], camera: Camera, time: float, T_wc: Float[Tensor, "4 4"]
    ) -> Halt | None:
        """Is there a reason to stand still in the image taken at this time [s], where the commanded motion has led to T_wc?"""
        grey = image.mean(0).float().cpu().numpy()
        now = _Seen(time, cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), T_wc)
        return self._same_pixels(image, camera, now) or self._frozen(camera, now) or self._otherwise(camera, now)

    def _same_pixels(self, image: Tensor, camera: Camera, now: _Seen) -> Halt | None:
        """An image whose pixels are those of an earlier one; all of them, or nearly all: a clock in the picture goes on."""
        share = 0.0 if self._equal is None else _equal_share(image, self._equal[0])
        if self._equal is None or share < _SHARE:
            self._equal = image, now.time, now.T_wc
            return None
        first, since, T_then = self._equal
        if _shift(T_then, now.T_wc, camera) <= _STANDS:  # time without a motion tells nothing
            self._equal = first, now.time, T_then
            return None
        enough = _EQUAL_PIXELS if torch.equal(image, first) else _MOST_EQUAL_PIXELS
        if now.time - since < self._safety.frozen - 1e-9 or _shift(T_then, now.T_wc, camera) <= enough:
            return None
        return Halt(f"frozen image: the same pixels for {now.time - since:.2f} s of motion", True)

    def _frozen(self, camera: Camera, now: _Seen) -> Halt | None:
        """An image that differs, by noise or a clock in the picture, and yet has not moved while the camera did."""
        then = self._still
        if then is None:
            self._still = now
            return None
        if _shift(then.T_wc, now.T_wc, camera) <= _STANDS:
            self._still = replace(then, time=now.time)
            return None
        if _shift(then.T_wc, now.T_wc, camera) * _SIDE / min(camera.width, camera.height) < _MOVED:
            return None
        predicted, known = _predicted(camera, then, now)
        if known.mean() < 0.2:  # too little in common to say
            self._still = now
            return None
        unmoved, moved = (_difference(now.small, other, known) for other in (then.small, predicted))
        if unmoved > moved and unmoved >= _FLOOR:  # the motion explains it better than none does
            self._still = now
            return None
        if unmoved > 0.5 * moved or moved < _FLOOR:  # too little motion, or texture, to say: wait for more
            return None
        if now.time - then.time < self._safety.frozen - 1e-9:
            return None
        for depth in _DEPTHS:
            predicted, known = _predicted(camera, then, replace(now, T_wc=_as_if_at(depth, then.T_wc, now.T_wc)))
            if known.mean() < 0.2 or _difference(now.small, then.small, known) > 0.5 * _difference(
                now.small, predicted, known
            ):
                return None
        return Halt(f"frozen image: it has not moved in {now.time - then.time:.2f} s of motion", True)

    def _otherwise(self, camera: Camera, now: _Seen) -> Halt | None:
        """Compares with what the motion makes of the last image, and of one up to `_MEMORY` old."""
        far = _FAR * min(camera.width, camera.height)
        while len(self._seen) > 1 and (
            now.time - self._seen[0].time > _MEMORY or _shift(self._seen[0].T_wc, now.T_wc, camera) > far
        ):
            self._seen.popleft()
        changed = drift = 0.0
        for other in (self._seen[0], self._seen[-1]) if self._seen else ():
            predicted, known = _predicted(camera, other, now)
            changed = max(changed, self._changed(now.small, predicted, known))
            moved = _shift(other.T_wc, now.T_wc, camera) / min(camera.width, camera.height)
            drift = max(drift, _shifted(now.small, predicted, known) - _PREDICTED * moved)
        self._seen.append(now)
        if changed > self._safety.jump:
            return Halt(f"the view changed otherwise than by its motion, over {100 * changed:.0f} % of it", True)
        if self._safety.drift and drift > self._safety.drift:
            return Halt(f"the view moves otherwise than commanded, by {100 * drift:.0f} % of its width", True)
        return None

    def _changed(self, small: np.ndarray, predicted: np.ndarray, known: np.ndarray) -> float:
        """Share of the blocks that differ from the prediction, wherever they fit best nearby: camera, distance and time may be assumed a
        little wrong."""
        whole = cv2.resize(known.astype(np.float32), (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA) > 0.99
        if whole.sum() < _BLOCKS:  # too little in common to say
            return 0.0
        small = small - np.median((small - predicted)[known])  # the light's
        around = cv2.copyMakeBorder(small, _SEARCH, _SEARCH, _SEARCH, _SEARCH, cv2.BORDER_REPLICATE)
        n, changed = _SIDE // _BLOCKS, 0
        for row, column in np.argwhere(whole) * n:
            block = predicted[row : row + n, column : column + n]
            place = around[row : row + n + 2 * _SEARCH, column : column + n + 2 * _SEARCH]
            least = max(0.0, float(cv2.matchTemplate(place, block, cv2.TM_SQDIFF).min())) / n**2
            changed += math.sqrt(least) > self._safety.jump_contrast + 0.6 * float(block.std())
        return changed / int(whole.sum())


def _equal_share(image: Float[Tensor, "3 h w"], first: Float[Tensor, "3 h w"]) -> float:
    """Of the pixels with a strong texture, the share that is equal to the bit; of all, where too few have one."""
    if image.shape != first.shape:
        return 0.0
    equal = (image == first).all(0)
    steps = (
        (first[:, :-1, 1:] - first[:, :-1, :-1])
        .abs()
        .amax(0)
        .maximum((first[:, 1:, :-1] - first[:, :-1, :-1]).abs().amax(0))
    )
    strong = steps >= _TEXTURE
    if int(strong.sum()) < _LEAST:
        return float(equal.all())
    return float(equal[:-1, :-1][strong].float().mean())


def _shift(T_then: Float[Tensor, "4 4"], T_now: Float[Tensor, "4 4"], camera: Camera) -> float:
    """How far the motion between two poses moves the image's middle or a corner, at most [px]."""
    w, h = camera.width - 1.0, camera.height - 1.0
    points = torch.tensor([[w / 2, h / 2, 1], [0, 0, 1], [w, 0, 1], [0, h, 1], [w, h, 1]], dtype=torch.float64)
    moved = points @ homography(camera, T_then, T_now).T
    return float((moved[:, :2] / moved[:, 2:] - points[:, :2]).norm(dim=1).max())


def _as_if_at(depth: float, T_then: Float[Tensor, "4 4"], T_now: Float[Tensor, "4 4"]) -> Float[Tensor, "4 4"]:
    """The pose from which the plane looks as the scene does after the motion, if that is `depth` times as far away as assumed."""
    motion = lie.inverse(T_then) @ T_now
    motion[:3, 3] /= depth
    return T_then @ motion


def _predicted(camera: Camera, other: _Seen, now: _Seen) -> tuple[np.ndarray, np.ndarray]:
    """What the motion makes of an earlier small image, and where that is known."""
    # pixels of the small image from those of the large one, pixel centres at whole numbers
    x, y = _SIDE / camera.width, _SIDE / camera.height
    S = np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5], [0, 0, 1]])
    H = S @ homography(camera, other.T_wc, now.T_wc).numpy() @ np.linalg.inv(S)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    predicted = cv2.warpPerspective(other.small, H, (_SIDE, _SIDE), flags=flags)
    return predicted, cv2.warpPerspective(np.ones_like(other.small), H, (_SIDE, _SIDE), flags=flags) > 0.99


def _difference(a: np.ndarray, b: np.ndarray, known: np.ndarray) -> float:
    """Root mean square of the difference where it is known, less the light's."""
    apart = (a - b)[known]
    return float(np.sqrt(np.square(apart - np.median(apart)).mean()))


def _shifted(small: np.ndarray, predicted: np.ndarray, known: np.ndarray) -> float:
    """By what share of the width the image is shifted against the prediction, by phase correlation; 0 where a shift explains little."""
    before = _difference(small, predicted, known) if known.mean() > 0.5 else 0.0
    if before < 2 * _FLOOR:
        return 0.0
    a, b = (np.where(known, z - z[known].mean(), 0.0).astype(np.float64) for z in (predicted, small))
    (dx, dy), _ = cv2.phaseCorrelate(a, b, cv2.createHanningWindow((_SIDE, _SIDE), cv2.CV_64F))
    move = np.array([[1, 0, -dx], [0, 1, -dy]])
    back = cv2.warpAffine(small.astype(np.float64), move, (_SIDE, _SIDE))
    seen = cv2.warpAffine(known.astype(np.float64), move, (_SIDE, _SIDE)) > 0.99
    both = known & seen
    if both.mean() < 0.3 or _difference(back, predicted, both) > 0.5 * before:
        return 0.0
    return math.hypot(dx, dy) / _SIDE
