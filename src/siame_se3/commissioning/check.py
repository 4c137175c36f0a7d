"""Is a robot told rightly? Small test motions, and the image motion that they should make against the one that is seen.

Each of the six axes of the camera's twist is moved out and back. Of the matched points of the images before and after, what the told camera,
hand-eye transform and distance predict is compared with what is there, and with what would be there if something known were wrong: axes swapped
or inverted, an image mirrored or turned, the hand-eye transform inverted; then focal length, distance and the size of motions are fitted.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import homography
from siame_se3.images.decode import as_image, as_pixels, read_picture, to_bytes
from siame_se3.laws.matched import MatchedPoints, matched_pixels
from siame_se3.laws.types import Advice, View
from siame_se3.plants.types import Plant
from siame_se3.servo.guard import Safety
from siame_se3.servo.loop import ServoConfig, servo
from siame_se3.servo.trajectory import Trajectory

_POINTS = MatchedPoints(features=800, ratio=0.75, least=8)  # more and surer ones than a law has time for
AXES = ("x", "y", "z", "about x", "about y", "about z")


@dataclass(frozen=True)
class Motions:
    """The test motions.

    Attributes:
        translation: along each axis [m].
        rotation: about each axis [rad].
        seconds: that each takes, one way.
        wait: for the image to show it [s].
    """

    translation: float = 0.03
    rotation: float = math.radians(4)
    seconds: float = 1.5
    wait: float = 0.4


@dataclass(frozen=True)
class _Script:
    """A law that commands one twist for some iterations, then nothing."""

    twist: Float[Tensor, "6"]
    left: int
    needs = frozenset({"image"})

    def aim(self, target: View) -> _Script:
        return self

    def advise(self, view: View) -> Advice:
        v = self.twist if self.left > 0 else torch.zeros(6, dtype=torch.float64)
        assert view.image is not None
        v = v.expand(*view.image.shape[:-3], 6)
        return Advice(v, ("",), replace(self, left=self.left - 1), torch.zeros(1, dtype=torch.long))

    def __call__(self, view: View) -> Tensor:
        return self.advise(view).v

    def updated(self, runs: Tensor, part: _Script) -> _Script:
        return part

    def __getitem__(self, index: object) -> _Script:
        return self


@dataclass(frozen=True)
class Seen:
    """One motion: what was told, and the points that both images have.

    Attributes:
        told: (t, theta u) of the camera after in its frame before, as commanded [m, rad].
        before, after: matched pixels.
    """

    told: Float[Tensor, "6"]
    before: np.ndarray
    after: np.ndarray


@dataclass(frozen=True)
class Finding:
    """What the check has to say; `wrong` if something is to be mended."""

    text: str
    wrong: bool


def _image(view: View) -> Float[Tensor, "3 h w"]:
    """Of one camera."""
    assert view.image is not None
    return view.image.reshape(view.image.shape[-3:]).float().cpu()


def move(
    plant: Plant,
    motions: Motions,
    safety: Safety,
    say: Callable[[str], None] = lambda line: None,
) -> list[Seen]:
    """Make the test motions, each out and back.

    Raises:
        SiameError: the robot was stopped, or images do not match.
    """
    # A wrong set-up moves the image otherwise than told: that is what is looked for here, and no reason to stop.
    safety = replace(safety, jump=2.0, reach=min(safety.reach or math.inf, 3 * motions.translation))
    seen = []
    moving = max(1, round(motions.seconds / plant.dt))
    waiting = max(1, round(motions.wait / plant.dt))
    config = ServoConfig(gain=1.0, max_iterations=moving + waiting, settle_steps=moving + waiting, max_v=1.0, max_w=3.0)
    for k, axis in enumerate(AXES):
        size = motions.translation if k < 3 else motions.rotation
        say(f"moving {axis}: " + (f"{100 * size:g} cm" if k < 3 else f"{math.degrees(size):g} deg") + " and back")
        twist = torch.zeros(6, dtype=torch.float64)
        twist[k] = size / (moving * plant.dt)
        before = plant.reset(None)
        there = servo(plant, _Script(twist, moving), before, None, config, safety=safety)
        _went(there, axis)  # nothing goes back by itself
        after = plant.step(torch.zeros(*_axes(before), 6, dtype=torch.float64))[0]
        _went(servo(plant, _Script(-twist, moving), after, None, config, safety=safety), axis)
        # the integral of what was commanded: one axis at a time, so that the twists commute
        told = (there.twist.reshape(-1, 6) * plant.dt).sum(0)
        pa, pb = matched_pixels(_image(before), _image(after), _POINTS)
        if not len(pa):
            raise SiameError(
                f"check: the images before and after moving {axis} do not match; is the scene textured, and in focus?"
            )
        seen.append(Seen(told, pa, pb))
    return seen


def _went(run: Trajectory, axis: str) -> None:
    """Raise SiameError where a motion was stopped."""
    if run.reason[0] != "iterations":
        raise SiameError(f"check: stopped while moving {axis}: {run.reason[0]}")


def _axes(view: View) -> torch.Size:
    assert view.image is not None
    return view.image.shape[:-3]


@dataclass(frozen=True)
class _Wrong:
    """A hypothesis: the camera's true motion is `A` times the told twist."""

    name: str
    A: Float[Tensor, "6 6"]


def _hypotheses(T_tc: Float[Tensor, "4 4"] | None) -> list[_Wrong]:
    """As told first; then signed permutations of axes, once as vectors all (a robot whose axes are others), once with the sign that
    rotations have in a mirror (an image that is)."""
    eye = torch.eye(3, dtype=torch.float64)
    found = [_Wrong("", torch.eye(6, dtype=torch.float64))]
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            P = eye[list(order)] * torch.tensor(signs, dtype=torch.float64)[:, None]
            proper = float(torch.linalg.det(P)) > 0
            if torch.equal(P, eye):
                continue
            axes = ", ".join(f"{'-' if s < 0 else '+'}{AXES[o]}" for s, o in zip(signs, order, strict=True))
            if proper:
                name = f"the camera's axes are turned: x, y, z of the camera move along {axes} as told; mend the hand-eye rotation, or the image's"
                found.append(_Wrong(name, torch.block_diag(P, P)))
                continue
            kind = "swapped" if order != (0, 1, 2) else "inverted"
            name = f"axes are {kind}: x, y, z of the twist come out as {axes}; mend the order and signs of the twist's axes"
            found.append(_Wrong(name, torch.block_diag(P, P)))
            mirror = {(-1.0, 1.0, 1.0): "left to right", (1.0, -1.0, 1.0): "upside down"}.get(
                (signs[0], signs[1], signs[2]), ""
            )
            if order == (0, 1, 2) and mirror:
                found.append(_Wrong(f"the image is mirrored, {mirror}; flip it back", torch.block_diag(P, -P)))
            elif order == (1, 0, 2) and signs[2] > 0:
                found.append(
                    _Wrong(
                        "the image is mirrored and turned (rows and columns swapped); mend its layout",
                        torch.block_diag(P, -P),
                    )
                )
    if T_tc is not None:
        # Told the inverse: the tool gets Ad(T_ct) v, and the camera Ad(T_ct) Ad(T_ct) v, with T_ct the inverse of the true T_tc,
        # which is what was told.
        told = lie.adjoint(T_tc)
        found.append(
            _Wrong(
                "the hand-eye transform is inverted; give the camera in the tool's frame, not the tool in the camera's",
                told @ told,
            )
        )
    return found


def _predicted(camera: Camera, scales: Sequence[float], wrong: _Wrong, depth: float, seen: Seen) -> np.ndarray:
    """Pixels after the motion; scales: of focal length, distance and motions."""
    focal, far, much = scales
    true = replace(camera, fx=focal * camera.fx, fy=focal * camera.fy)
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -far * depth
    moved = T @ lie.exp(wrong.A @ seen.told * much)
    H = homography(true, moved, T).numpy()
    p = np.concatenate((seen.before, np.ones((len(seen.before), 1))), 1) @ H.T
    return p[:, :2] / p[:, 2:]


def _residuals(
    camera: Camera, scales: Sequence[float], wrong: _Wrong, depth: float, seen: Sequence[Seen]
) -> np.ndarray:
    """Of all matches, each motion with the same weight [px]."""
    parts = [(_predicted(camera, scales, wrong, depth, s) - s.after).ravel() / math.sqrt(s.after.size) for s in seen]
    return np.concatenate(parts)


def _fit(
    camera: Camera, wrong: _Wrong, depth: float, seen: Sequence[Seen], free: Sequence[int]
) -> tuple[np.ndarray, float]:
    """Scales of focal length, distance, motions (those in `free`) by damped Gauss-Newton on their logarithms; and the residual [px]."""
    logs = np.zeros(3)

    def residual(x: np.ndarray) -> np.ndarray:
        return _residuals(camera, np.exp(x).tolist(), wrong, depth, seen)

    r = residual(logs)
    for _ in range(15):
        J = np.zeros((len(r), len(free)))
        for column, k in enumerate(free):
            nudged = logs.copy()
            nudged[k] += 1e-4
            J[:, column] = (residual(nudged) - r) / 1e-4
        step = np.linalg.lstsq(J.T @ J + 1e-6 * np.eye(len(free)), -J.T @ r, rcond=None)[0]
        new = logs.copy()
        new[list(free)] += step.clip(-0.2, 0.2)
        new = new.clip(-1, 1)
        s = residual(new)
        if s @ s >= r @ r:
            break
        logs, r = new, s
    return np.exp(logs), float(np.sqrt(2 * (r @ r) / len(seen)))


def diagnose(
    seen: Sequence[Seen],
    camera: Camera,
    depth: float,
    T_tc: Float[Tensor, "4 4"] | None = None,
    tolerance: float = 0.05,
) -> list[Finding]:
    """What the motions tell.

    Args:
        seen: of each axis.
        camera: as told. depth: distance as told [m].
        T_tc: camera in the tool's frame, as told; None where twists are the camera's own.
        tolerance: focal lengths wrong by more are found.
    """
    told_rightly, *others = _hypotheses(T_tc)
    as_told = (1.0, 1.0, 1.0)
    others.sort(key=lambda wrong: float(np.square(_residuals(camera, as_told, wrong, depth, seen)).sum()))
    fits = [(*_fit(camera, wrong, depth, seen, (1,)), wrong) for wrong in (told_rightly, *others[:6])]
    told = fits[0]
    best = min(fits, key=lambda fit: fit[1])
    flow = math.sqrt(np.mean([np.square(s.after - s.before).sum(1).mean() for s in seen]))
    # Something else is wrong only if it explains clearly more: half of what is left unexplained.
    if best[2].name and best[1] < 0.5 * told[1] and best[1] < 0.5 * flow:
        return [Finding(f"{best[2].name} ({best[1]:.1f} px left of {told[1]:.1f} px)", True)]
    (focal, far, much), left = _fit(camera, told[2], depth, seen, (0, 1, 2))
    if left > max(1.0, 0.25 * flow):
        return [
            Finding(
                f"the image does not move as commanded ({left:.1f} px of {flow:.1f} px of motion), and not as by a fault that this check knows; "
                "check the hand-eye rotation, the twist's frame, and that nothing else moves",
                True,
            )
        ]
    findings = [Finding(f"axes and transform are right: {left:.2f} px unexplained of {flow:.1f} px of motion", False)]
    for value, name, mend, limit in (
        (
            focal,
            "focal length",
            f"it is about {focal * camera.fx:.0f} px; calibrate the camera (siame calibrate camera)",
            tolerance,
        ),
        (much, "size of motions", "check the units (m/s, rad/s) and the rate at which twists are sent", 0.15),
        (far, "distance", f"it is about {far * depth:.2f} m (--depth)", 0.25),
    ):
        wrong = bool(abs(value - 1) > limit)
        text = f"{name}: {100 * (value - 1):+.1f} % of what was told"
        findings.append(Finding(f"{text}; {mend}" if wrong else text, wrong))
    return findings


def colours(view: View, photo: Path) -> Finding:
    """Whether red is red: the view against the photo of the scene, where their points match.

    Raises:
        SiameError: no such photo.
    """
    if not photo.is_file():
        raise SiameError(f"{photo}: no such photo; give the photo of the scene")
    picture = to_bytes(read_picture(photo, upright=True))
    scale = min(1.0, 800 / max(picture.shape[:2]))
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    seen = _image(view)
    pa, pb = matched_pixels(as_image(picture), seen, _POINTS)
    if not len(pa):
        if len(matched_pixels(as_image(picture), seen.flip(-1), _POINTS)[0]):
            return Finding("the image is mirrored: only its mirror image shows the photo; flip it back", True)
        return Finding("colours: the view does not match the photo; is this the scene?", True)
    image = as_pixels(seen)
    H, _ = cv2.findHomography(pa, pb, cv2.RANSAC, 2.0)
    h, w = image.shape[:2]
    expected = cv2.warpPerspective(picture, H, (w, h))
    inside = cv2.warpPerspective(np.ones(picture.shape[:2], np.uint8), H, (w, h), flags=cv2.INTER_NEAREST) > 0
    # Of each channel what the grey level does not tell: that is the same in any order.
    a, b = (x[inside].astype(np.float64) for x in (expected, image))
    a, b = (x - x.mean(1, keepdims=True) for x in (a, b))
    if min(a.std(), b.std()) < 3:
        return Finding("colours: the scene has none that could tell", False)
    agree = {order: float((a * b[:, order]).sum()) for order in itertools.permutations(range(3))}
    best = max(agree, key=lambda order: agree[order])
    if best == (0, 1, 2):
        return Finding("colours are right", False)
    if best == (2, 1, 0):
        return Finding("red and blue are swapped: the image is BGR; give RGB", True)
    return Finding(
        f"the image's channels are in another order: {''.join('RGB'[best.index(k)] for k in range(3))}", True
    )
