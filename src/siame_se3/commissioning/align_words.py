"""What an alignment means for the person behind the camera: whether it is right, where to move, in words and as plain data.

Directions are those in which the camera has to move, as the person behind it sees them: right and down along the picture, forward into it. Turns are made in
the order right or left, up or down, clockwise or not: R_cd = R_y(pan) R_x(tilt) R_z(roll).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch

from siame_se3.commissioning.align import Alignment
from siame_se3.errors import InputError
from siame_se3.laws.certainty import least_known

_SIGMAS = 2.0  # standard deviations by which a motion is said to be known
_SHOWN = 0.1  # of the largest component: smaller ones are not said
_LEAST = 5e-5  # [m, or share of the distance]: less is not said
_LEAST_TURN = math.radians(0.005)
_LENGTHS = {"mm": 1e-3, "cm": 1e-2, "m": 1.0, "%": 0.01}
_ANGLES = {"deg": math.pi / 180, "rad": 1.0, "mrad": 1e-3}
_MOVES = (("right", "left"), ("down", "up"), ("forward", "back"))
_NAMES = ("right", "down", "forward", "turn_right_deg", "turn_up_deg", "turn_clockwise_deg")
_TURNS = (("right", "left"), ("up", "down"), ("clockwise", "counterclockwise"))
WAYS = (*_MOVES, *_TURNS)
"""Names of the six directions of `values`, where the value is above zero and where it is below."""


class Verdict(Enum):
    """What an alignment says."""

    RIGHT = "right"
    """The camera is where the reference was taken, within the tolerance."""
    MOVE = "move"
    """It is not, and the motion is known."""
    NOT_SURE = "not sure"
    """The place may be another one, or the motion is not known well enough."""


@dataclass(frozen=True)
class Tolerance:
    """A distance [m, or share of the reference's distance] and an angle [rad]."""

    distance: float
    angle: float

    @staticmethod
    def parse(words: tuple[str, str], setting: str, depth: float | None) -> Tolerance:
        """Of '2mm' (cm, m, or %, shares of the distance) and '0.2deg' (rad, mrad), in any order.

        Args:
            words: the two.
            setting: which one it is, for errors.
            depth: distance of the reference [m]; None where it is not known.

        Raises:
            InputError: something else, or a length where the distance is not known.
        """
        found: dict[str, float] = {}
        for word in words:
            match = re.fullmatch(r"\s*([0-9.]+(?:e-?[0-9]+)?)\s*([a-z%]+)\s*", word.lower())
            unit = match[2] if match else ""
            kind = "distance" if unit in _LENGTHS else "angle" if unit in _ANGLES else ""
            try:
                value = float(match[1]) if match else 0.0
            except ValueError:
                value = 0.0
            if not kind or kind in found or not 0 < value < math.inf:
                both = " ".join(words)
                raise InputError(
                    f"{setting} {both}: give a length and an angle, as 2mm 0.2deg, or 0.3% 0.2deg", setting
                )
            if kind == "distance" and depth is None and unit != "%":
                raise InputError(
                    f"{setting} {word}: a length, and the distance of the scene is not known; give that, or a share of it, as 0.3%",
                    *("goal_depth", setting),
                )
            share = (depth or 1.0) if unit == "%" else 1.0
            found[kind] = value * (_LENGTHS | _ANGLES)[unit] * share
        return Tolerance(found["distance"], found["angle"])


@dataclass(frozen=True)
class Judge:
    """Decides what alignments mean.

    Attributes:
        within: how near is right.
        sure: two standard deviations that a motion which is said may have.
    """

    within: Tolerance
    sure: Tolerance

    def verdict(self, found: Alignment) -> tuple[Verdict, str]:
        """And why, where it is not sure."""
        if found.T_cd is None or found.doubt:
            return Verdict.NOT_SURE, found.doubt
        known = tuple(_SIGMAS * sigma for sigma in found.sigmas)
        if not all(map(math.isfinite, known)):
            return Verdict.NOT_SURE, "nothing says how well the motion is known"
        precision = f"known to {length(known[0], found.unit)} and {angle(known[1])} only (2 sigma)"
        if found.guessed:
            precision += ", the field of view being a guess"
        if known[0] > self.sure.distance or known[1] > self.sure.angle:
            alike = " with " in least_known(torch.from_numpy(found.covariance))
            return Verdict.NOT_SURE, precision + ("; a shift and a turn look alike here" if alike else "")
        t, r = found.motion
        if t > self.within.distance or r > self.within.angle:
            return Verdict.MOVE, ""
        if known[0] > self.within.distance or known[1] > self.within.angle:
            return Verdict.NOT_SURE, f"it looks right, {precision}"
        return Verdict.RIGHT, ""

    def sentence(self, found: Alignment) -> str:
        """One line for a person."""
        verdict, why = self.verdict(found)
        ends = f"confidence {max(0.0, found.confidence):.2f}; overlap {100 * found.overlap:.0f} %"
        if found.T_cd is None or found.doubt:
            return f"not sure: {why}; {ends}"
        if verdict is Verdict.NOT_SURE:
            return f"not sure: {motion(found, 'about ')}; {why}; {ends}"
        if verdict is Verdict.MOVE:
            return f"{motion(found)}; {ends}"
        limit = f"within {length(self.within.distance, found.unit)} and {angle(self.within.angle)}"
        t, r = found.motion
        return f"right: {limit} ({length(t, found.unit)} and {angle(r)} off); {ends}"

    def data(self, found: Alignment) -> dict[str, Any]:
        """The same as plain data: lengths in `unit`, None for what is not known."""
        verdict, why = self.verdict(found)
        t, r = found.motion
        sigma_t, sigma_r = found.sigmas
        T = found.T_cd
        ways: list[float | None] = [None] * 6
        if T is not None:
            *moves, pan, tilt, roll = values(found)
            ways = [*moves, *map(math.degrees, (pan, tilt, roll))]
        return {
            "verdict": verdict.value,
            "reason": why,
            "text": self.sentence(found),
            "unit": found.unit,
            **dict(zip(_NAMES, ways, strict=True)),
            "distance": _finite(t),
            "angle_deg": _finite(math.degrees(r)),
            "sigma_distance": _finite(sigma_t),
            "sigma_angle_deg": _finite(math.degrees(sigma_r)),
            "confidence": _finite(found.confidence),
            "overlap": _finite(found.overlap),
            "T_cd": None if T is None else T.tolist(),
            "covariance": found.covariance.tolist() if np.isfinite(found.covariance).all() else None,
            "within": {"distance": self.within.distance, "angle_deg": math.degrees(self.within.angle)},
            "sure": {"distance": self.sure.distance, "angle_deg": math.degrees(self.sure.angle)},
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def pan_tilt_roll(found: Alignment) -> tuple[float, float, float]:
    """Turns to the right, up, and clockwise, in this order [rad]."""
    assert found.T_cd is not None
    R = found.T_cd[:3, :3]
    return math.atan2(R[0, 2], R[2, 2]), math.asin(float(np.clip(-R[1, 2], -1, 1))), math.atan2(R[1, 0], R[1, 1])


def values(found: Alignment) -> list[float]:
    """Of the six directions `WAYS`: to the right, down and forward [unit], turns to the right, up and clockwise [rad]."""
    assert found.T_cd is not None
    return [*found.T_cd[:3, 3].tolist(), *pan_tilt_roll(found)]


def motion(found: Alignment, about: str = "") -> str:
    """'move 32 mm left and 11 mm back, turn 4.1 deg clockwise': what the camera has to do; `about` stands before the numbers."""
    assert found.T_cd is not None
    t, turns = found.T_cd[:3, 3].tolist(), pan_tilt_roll(found)
    spread = np.sqrt(np.maximum(np.nan_to_num(np.diag(found.covariance)), 0))
    moves = [f"{_length(abs(t[k]), found.unit)} {_MOVES[k][t[k] < 0]}" for k in _said(t, spread[:3], _LEAST)]
    if moves and found.unit == "distance":
        moves[0] = moves[0].replace("%", "% of the distance")
    # about x the angle is up, about y to the right
    order = (spread[4], spread[3], spread[5])
    ways = [f"{angle(abs(turns[k]))} {_TURNS[k][turns[k] < 0]}" for k in _said(turns, order, _LEAST_TURN)]
    parts = [f"{word} {about}{_listed(some)}" for word, some in (("move", moves), ("turn", ways)) if some]
    return ", ".join(parts) or "stay"


def _said(values: Any, spread: Any, least: float) -> list[int]:
    """Which components are worth saying: the largest, and those beyond their standard deviation that are not small beside it."""
    largest = max(abs(x) for x in values)
    return [
        k
        for k, x in enumerate(values)
        if abs(x) >= least and (abs(x) == largest or (abs(x) >= _SHOWN * largest and abs(x) > spread[k]))
    ]


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def length(value: float, unit: str) -> str:
    """Of a length, in millimetres or metres, or in per cent of the distance."""
    return _length(value, unit) + (" of the distance" if unit == "distance" else "")


def _length(value: float, unit: str) -> str:
    if unit == "distance":
        return f"{_short(100 * value)} %"
    return f"{_short(1e3 * value)} mm" if value < 0.9995 else f"{value:.2f} m"


def angle(value: float) -> str:
    """Of an angle [rad], in degrees."""
    return f"{_short(math.degrees(value))} deg"


def _short(value: float) -> str:
    """Two digits that count, or whole numbers."""
    if value < 0.005:
        return "under 0.01"
    text = f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
