"""Is a robot set up as assumed? Small test motions of the camera along and about each axis, out and back, and a look at the colours.
What the motions say is found by `diagnosis`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from siame_se3.commissioning.diagnosis import AXES, Finding, Seen
from siame_se3.errors import InputError, LawError, RobotError, require_number
from siame_se3.files import require_types
from siame_se3.images.decode import as_image, as_pixels, read_picture, to_bytes
from siame_se3.laws.certainty import Certain, described
from siame_se3.laws.matched import MatchedPoints, matched_pixels
from siame_se3.laws.types import Controller, Law, Output, State, View
from siame_se3.plants.robots.pulse import awake
from siame_se3.plants.types import Plant, sound
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.safety import Safety
from siame_se3.servo.trajectory import Trajectory

_POINTS = MatchedPoints(features=800, ratio=0.75, least=8)  # more and surer ones than a law has time for


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

    def __post_init__(self) -> None:
        require_types(self, "motions")
        for name in ("translation", "rotation", "seconds"):
            require_number(self, name, 0, open_low=True)
        require_number(self, "wait", 0)


@dataclass(frozen=True)
class _Script:
    """A law that commands a twist which comes and goes smoothly, that one on average for some iterations, then nothing: a robot that lags, and brakes
    for a stop, so goes as far as it is commanded to."""

    twist: Float[Tensor, "6"]
    steps: int
    needs = frozenset({"image"})

    def aim(self, target: View) -> tuple[Law, _ScriptState]:
        return self.law, _ScriptState(torch.full(target.batch, self.steps))

    def law(self, view: View, state: _ScriptState) -> tuple[Output, _ScriptState]:
        left = state.left[:, None]
        share = 1 - torch.cos(2 * torch.pi * (left - 0.5).double() / self.steps)
        return Output.of(torch.where(left > 0, share * self.twist, 0.0)), _ScriptState(state.left - 1)


@dataclass(frozen=True, eq=False)
class _ScriptState(State):
    left: Int[Tensor, "n"]


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
        RobotError: the robot was stopped, or images do not match.
    """
    with awake(plant) as about_to_move:
        return _moved(plant, motions, safety, say, about_to_move)


def _moved(
    plant: Plant, motions: Motions, safety: Safety, say: Callable[[str], None], about_to_move: Callable[[], None]
) -> list[Seen]:
    # A wrong set-up moves the image in another way than commanded: that is what is looked for here, and no reason to stop.
    safety = replace(safety, jump=2.0, drift=0.0, reach=min(safety.reach or math.inf, 3 * motions.translation))
    seen = []
    moving = max(1, round(motions.seconds / plant.dt))
    waiting = max(1, round(motions.wait / plant.dt))
    config = ServoConfig(gain=1.0, max_iterations=moving + waiting, settle_steps=moving + waiting, max_v=1.0, max_w=3.0)
    for k, axis in enumerate(AXES):
        size = motions.translation if k < 3 else motions.rotation
        about_to_move()
        say(f"moving {axis}: " + (f"{100 * size:g} cm" if k < 3 else f"{math.degrees(size):g} deg") + " and back")
        twist = torch.zeros(6, dtype=torch.float64)
        twist[k] = size / (moving * plant.dt)
        before = sound(plant.reset(None))
        there = servo(plant, _Script(twist, moving), before, None, config, safety=safety)
        _went(there, axis)  # nothing goes back by itself
        after = sound(plant.step(torch.zeros(1, 6, dtype=torch.float64))[0])
        about_to_move()
        _went(servo(plant, _Script(-twist, moving), after, None, config, safety=safety), axis)
        # the integral of what was commanded: one axis at a time, so that the twists commute
        commanded = (there.twist[:, 0] * plant.dt).sum(0)
        pa, pb = matched_pixels(_image(before), _image(after), _POINTS)
        if not len(pa):
            raise RobotError(
                f"check: the images before and after moving {axis} do not match; is the scene textured, and in focus?"
            )
        seen.append(Seen(commanded, pa, pb))
    return seen


def _went(run: Trajectory, axis: str) -> None:
    """Raise SiameError where a motion was stopped."""
    if run.reason[0] != "iterations":
        raise RobotError(f"check: stopped while moving {axis}: {run.reason[0]}")


def law_at(controller: Controller, target: View, view: View) -> Finding:
    """What a law says of the way from here to the target, before anything moves: whether it knows one, and how sure it is.

    Raises:
        LawError: the law needs what the views do not have.
    """
    if missing := controller.needs - view.provides:
        raise LawError(f"check: the law needs {', '.join(sorted(missing))}, which this robot does not provide", "law")
    law, state = controller.aim(target)
    output, state = law(view, state)
    sure = "" if output.confidence is None else f", confidence {float(output.confidence[0]):.2f}"
    if fault := output.faults[0]:
        return Finding(f"the law knows no way to the target from here: {fault}", True)
    known = described(law.covariance(view, state)) if isinstance(law, Certain) else ""
    t, r = 100 * float(output.v[0, :3].norm()), math.degrees(float(output.v[0, 3:].norm()))
    text = f"the law sees the target {t:.1f} cm and {r:.1f} deg away{sure}"
    return Finding(text + (f"; pose known to {known}" if known else ""), False)


def colours(view: View, photo: Path) -> Finding:
    """Whether red is red: the view against the photo of the scene, where their points match.

    Raises:
        InputError: no such photo.
    """
    if not photo.is_file():
        raise InputError(f"{photo}: no such photo; give the photo of the scene", "photo")
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
    # Of each channel what the grey level does not say: that is the same in any order.
    a, b = (x[inside].astype(np.float64) for x in (expected, image))
    a, b = (x - x.mean(1, keepdims=True) for x in (a, b))
    if min(a.std(), b.std()) < 3:
        return Finding("colours: the scene has too little colour to compare", False)
    agree = {order: float((a * b[:, order]).sum()) for order in itertools.permutations(range(3))}
    best = max(agree, key=lambda order: agree[order])
    if best == (0, 1, 2):
        return Finding("colours are right", False)
    if best == (2, 1, 0):
        return Finding("red and blue are swapped: the image is BGR; give RGB", True)
    return Finding(
        f"the image's channels are in another order: {''.join('RGB'[best.index(k)] for k in range(3))}", True
    )
