"""What test motions say of a robot's set-up: the image motion that is seen against that which each hypothesis predicts.

Of the matched points before and after each motion, what the assumed camera, hand-eye transform and distance predict is compared with
what is there, and with what would be there if something known were wrong: axes swapped or inverted, an image mirrored or turned, the
hand-eye transform inverted; then focal length, distance and the size of motions are fitted.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import homography

AXES = ("x", "y", "z", "about x", "about y", "about z")


@dataclass(frozen=True)
class Seen:
    """One motion: what was commanded, and the points that both images have.

    Attributes:
        commanded: (t, theta u) of the camera after in its frame before [m, rad].
        before, after: matched pixels.
    """

    commanded: Float[Tensor, "6"]
    before: np.ndarray
    after: np.ndarray


@dataclass(frozen=True)
class Finding:
    """What the check has to say; `wrong` if something is to be corrected."""

    text: str
    wrong: bool


@dataclass(frozen=True)
class _Wrong:
    """A hypothesis: the camera's true motion is `A` times the commanded twist."""

    name: str
    A: Float[Tensor, "6 6"]


def _hypotheses(T_tc: Float[Tensor, "4 4"] | None) -> list[_Wrong]:
    """As assumed first; then signed permutations of axes, once as vectors all (a robot whose axes are others), once with the sign that
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
                name = f"the camera's axes are turned: x, y, z of the camera move along the assumed {axes}; correct the hand-eye rotation, or that of the image"
                found.append(_Wrong(name, torch.block_diag(P, P)))
                continue
            kind = "swapped" if order != (0, 1, 2) else "inverted"
            name = f"axes are {kind}: x, y, z of the twist come out as {axes}; correct the order and signs of the twist's axes"
            found.append(_Wrong(name, torch.block_diag(P, P)))
            mirror = {(-1.0, 1.0, 1.0): "left to right", (1.0, -1.0, 1.0): "upside down"}.get(
                (signs[0], signs[1], signs[2]), ""
            )
            if order == (0, 1, 2) and mirror:
                found.append(_Wrong(f"the image is mirrored, {mirror}; flip it back", torch.block_diag(P, -P)))
            elif order == (1, 0, 2) and signs[2] > 0:
                found.append(
                    _Wrong(
                        "the image is mirrored and turned (rows and columns swapped); correct its layout",
                        torch.block_diag(P, -P),
                    )
                )
    if T_tc is not None:
        # With the inverse assumed, the tool gets Ad(T_ct) v, and the camera Ad(T_ct) Ad(T_ct) v, with T_ct the inverse of the true
        # T_tc, which is what was assumed.
        assumed = lie.adjoint(T_tc)
        found.append(
            _Wrong(
                "the hand-eye transform is inverted; give the camera in the tool's frame, not the tool in the camera's",
                assumed @ assumed,
            )
        )
    return found


def _predicted(camera: Camera, scales: Sequence[float], wrong: _Wrong, depth: float, seen: Seen) -> np.ndarray:
    """Pixels after the motion; scales: of focal length, distance and motions."""
    focal, far, much = scales
    true = replace(camera, fx=focal * camera.fx, fy=focal * camera.fy)
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -far * depth
    moved = T @ lie.exp(wrong.A @ seen.commanded * much)
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
    """What the motions show.

    Args:
        seen: of each axis.
        camera: as assumed. depth: distance as assumed [m].
        T_tc: camera in the tool's frame, as assumed; None where twists are the camera's own.
        tolerance: focal lengths wrong by more are found.
    """
    as_assumed, *others = _hypotheses(T_tc)
    ones = (1.0, 1.0, 1.0)
    others.sort(key=lambda wrong: float(np.square(_residuals(camera, ones, wrong, depth, seen)).sum()))
    fits = [(*_fit(camera, wrong, depth, seen, (1,)), wrong) for wrong in (as_assumed, *others[:6])]
    assumed = fits[0]
    best = min(fits, key=lambda fit: fit[1])
    flow = math.sqrt(np.mean([np.square(s.after - s.before).sum(1).mean() for s in seen]))
    # Something else is wrong only if it explains clearly more: half of what is left unexplained.
    if best[2].name and best[1] < 0.5 * assumed[1] and best[1] < 0.5 * flow:
        return [Finding(f"{best[2].name} ({best[1]:.1f} px left of {assumed[1]:.1f} px)", True)]
    (focal, far, much), left = _fit(camera, assumed[2], depth, seen, (0, 1, 2))
    if left > max(1.0, 0.25 * flow):
        return [
            Finding(
                f"the image does not move as commanded ({left:.1f} px of {flow:.1f} px of motion), and not as by a fault that this check knows; "
                "check the hand-eye rotation, the twist's frame, and that nothing else moves",
                True,
            )
        ]
    findings = [Finding(f"axes and transform are right: {left:.2f} px unexplained of {flow:.1f} px of motion", False)]
    for value, name, remedy, limit in (
        (
            focal,
            "focal length",
            f"it is about {focal * camera.fx:.0f} px; calibrate the camera",
            tolerance,
        ),
        (much, "size of motions", "check the units (m/s, rad/s) and the rate at which twists are sent", 0.15),
        (far, "distance", f"it is about {far * depth:.2f} m ", 0.25),
    ):
        wrong = bool(abs(value - 1) > limit)
        text = f"{name}: {100 * (value - 1):+.1f} % of what is assumed"
        findings.append(Finding(f"{text}; {remedy}" if wrong else text, wrong))
    return findings
