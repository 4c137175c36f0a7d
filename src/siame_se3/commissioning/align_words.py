"""What an alignment means for the person behind the camera: whether it is right, where to move, in words and as plain data.

Directions are those in which the camera has to move, as the person behind it sees them: right and down along the picture as it is held (`upright`), forward
into it. Turns are made in the order right or left, up or down, clockwise or not: R_cd = R_y(pan) R_x(tilt) R_z(roll).
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
_LEAST = 5e-5  # [m, or share of the distance]: less is not said, unless the tolerance is finer
_LEAST_TURN = math.radians(0.005)
_LEAST_SHARE = 0.1  # of the tolerance: less is not said
_LENGTHS = {"um": 1e-6, "\u00b5m": 1e-6, "\u03bcm": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0, "%": 0.01}
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
        """Of '2mm' (um, cm, m, or %, shares of the distance) and '0.2deg' (rad, mrad), in any order.

        Args:
            words: the two.
            setting: which one it is, for errors.
            depth: distance of the reference [m]; None where it is not known.

        Raises:
            InputError: something else, or a length where the distance is not known.
        """
        found: dict[str, float] = {}
        for word in words:
            match = re.fullmatch(r"\s*([0-9.]+(?:e-?[0-9]+)?)\s*([a-z%\u00b5\u03bc]+)\s*", word.lower())
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

    def text(self, unit: str) -> str:
        """'2 mm and 0.2 deg', for lengths in that unit."""
        return f"{length(self.distance, unit, exact=True)} and {angle(self.angle, exact=True)}"

    def exceeded(self, motion: tuple[float, float], known: tuple[float, float] = (0.0, 0.0)) -> bool:
        """Whether a motion, a length and an angle [rad], is beyond it by more than what it is known to."""
        return motion[0] - known[0] > self.distance or motion[1] - known[1] > self.angle


@dataclass(frozen=True)
class Judge:
    """Decides what alignments mean.

    Attributes:
        within: how near is right.
        sure: two standard deviations that a motion which is to be made may have.
    """

    within: Tolerance
    sure: Tolerance

    def verdict(self, found: Alignment) -> tuple[Verdict, str]:
        """And why, where it is not sure."""
        if found.T_cd is None or found.doubt:
            return Verdict.NOT_SURE, found.doubt
        known = _SIGMAS * found.sigmas[0], _SIGMAS * found.sigmas[1]
        if not all(map(math.isfinite, known)):
            return Verdict.NOT_SURE, "nothing says how well the motion is known"
        precision = f"known to {length(known[0], found.unit)} and {angle(known[1])} only (2 sigma)"
        if found.guessed:
            precision += ", the field of view being a guess"
        within, fine = self.within, not self.within.exceeded(known)
        away = within.exceeded(found.motion)
        if fine and not away:
            return Verdict.RIGHT, ""
        if self.sure.exceeded(known):
            alike = " with " in least_known(torch.from_numpy(found.covariance))
            return Verdict.NOT_SURE, precision + ("; a shift and a turn look alike here" if alike else "")
        if not away:
            return Verdict.NOT_SURE, f"it looks right, {precision}"
        # what is known to less than the tolerance counts as it is
        doubts = tuple(k if k > limit else 0.0 for k, limit in zip(known, (within.distance, within.angle), strict=True))
        if not within.exceeded(found.motion, (doubts[0], doubts[1])):
            return Verdict.NOT_SURE, f"it may be right, {precision}"
        return Verdict.MOVE, ""

    def sentence(self, found: Alignment) -> str:
        """One line for a person."""
        verdict, why = self.verdict(found)
        ends = f"confidence {max(0.0, found.confidence):.2f}; overlap {100 * found.overlap:.0f} %"
        if found.T_cd is None or found.doubt:
            return f"not sure: {why}; {ends}"
        if verdict is Verdict.NOT_SURE:
            return f"not sure: {motion(found, 'about ', self.within)}; {why}; {ends}"
        if verdict is Verdict.MOVE:
            return f"{motion(found, within=self.within)}; {ends}"
        t, r = found.motion
        off = f"{length(t, found.unit)} and {angle(r)} off"
        return f"right: within {self.within.text(found.unit)} ({off}); {ends}"

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


def upright(found: Alignment) -> np.ndarray:
    """T_cd as the person behind the camera sees it: S T_cd S^-1, with S the roll by which the current picture is turned upright."""
    assert found.T_cd is not None
    S = np.eye(4)
    S[:3, :3] = _roll(found.quarters * math.pi / 2)
    T: np.ndarray = S @ found.T_cd @ S.T
    return T


def _roll(angle: float) -> np.ndarray:
    """R_z (3, 3)."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def pan_tilt_roll(found: Alignment) -> tuple[float, float, float]:
    """Turns to the right, up, and clockwise, in this order [rad]."""
    R = upright(found)[:3, :3]
    return math.atan2(R[0, 2], R[2, 2]), math.asin(float(np.clip(-R[1, 2], -1, 1))), math.atan2(R[1, 0], R[1, 1])


def values(found: Alignment) -> list[float]:
    """Of the six directions `WAYS`: to the right, down and forward [unit], turns to the right, up and clockwise [rad]."""
    return [*upright(found)[:3, 3].tolist(), *pan_tilt_roll(found)]


def spreads(found: Alignment) -> np.ndarray:
    """Standard deviations of `values` (6,); NaN where they are not known.

    The covariance's omega is about the reference's axes, R exp(omega). With R = R_y(pan) R_x(tilt) R_z(roll),

        omega = R_z^T (R_x^T e_y dpan + e_x dtilt + e_z droll).
    """
    _, tilt, roll = pan_tilt_roll(found)
    S = _roll(found.quarters * math.pi / 2)
    omega_by = _roll(-roll) @ np.array([[0, 1, 0], [math.cos(tilt), 0, 0], [-math.sin(tilt), 0, 1]])
    D = np.zeros((6, 6))
    D[:3, :3], D[3:, 3:] = S, np.linalg.inv(omega_by) @ S
    return np.sqrt(np.maximum(np.diag(D @ found.covariance @ D.T), 0))


def motion(found: Alignment, about: str = "", within: Tolerance | None = None) -> str:
    """'move 32 mm left and 11 mm back, turn 4.1 deg clockwise': what the camera has to do.

    Args:
        found: the alignment.
        about: stands before the numbers.
        within: how near is right: what is small beside that is not said.
    """
    ways, spread = values(found), np.nan_to_num(spreads(found))
    least, least_turn = _LEAST, _LEAST_TURN
    if within is not None:
        least = min(least, _LEAST_SHARE * within.distance)
        least_turn = min(least_turn, _LEAST_SHARE * within.angle)
    moves = [
        f"{_length(abs(ways[k]), found.unit, exact=True)} {WAYS[k][ways[k] < 0]}"
        for k in _said(ways[:3], spread[:3], least)
    ]
    if moves and found.unit == "distance":
        moves[0] = moves[0].replace("%", "% of the distance")
    turns = [
        f"{angle(abs(ways[3 + k]), exact=True)} {_TURNS[k][ways[3 + k] < 0]}"
        for k in _said(ways[3:], spread[3:], least_turn)
    ]
    parts = [f"{word} {about}{_listed(some)}" for word, some in (("move", moves), ("turn", turns)) if some]
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


def length(value: float, unit: str, exact: bool = False) -> str:
    """Of a length, in micrometres, millimetres or metres, or in per cent of the distance; `exact`: however small."""
    return _length(value, unit, exact) + (" of the distance" if unit == "distance" else "")


def _length(value: float, unit: str, exact: bool) -> str:
    if unit == "distance":
        return f"{_short(100 * value, exact)} %"
    if value < 0.995e-4:
        return f"{_short(1e6 * value, exact)} um"
    return f"{_short(1e3 * value, exact)} mm" if value < 0.9995 else f"{value:.2f} m"


def angle(value: float, exact: bool = False) -> str:
    """Of an angle [rad], in degrees; `exact`: however small."""
    return f"{_short(math.degrees(value), exact)} deg"


def _short(value: float, exact: bool) -> str:
    """Two digits that count, or whole numbers."""
    if value < 0.005:
        return f"{value:.2g}" if exact else "under 0.01"
    text = f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
