"""Numbers, models and coefficients of a lens as camera files write them; OpenCV's order of the coefficients."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from siame_se3.errors import CameraError

_MODEL_NAMES = {  # how other tools call ROS's models
    "": "plumb_bob", "none": "plumb_bob", "radtan": "plumb_bob", "radial-tangential": "plumb_bob", "pinhole": "plumb_bob",
    "brown_conrady": "plumb_bob", "equi": "equidistant", "kannala_brandt": "equidistant", "kannalabrandt8": "equidistant",
    "kannala_brandt4": "equidistant", "fisheye": "equidistant", "opencv_fisheye": "equidistant", "opencv": "plumb_bob",
    "rational": "rational_polynomial",
}  # fmt: skip
_TERMS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")  # in OpenCV's order
_OPENCV = ("plumb_bob", "rational_polynomial")
_FISHEYE = ("k1", "k2", "k3", "k4")
_NO_TERM = "metric_radius"  # Azure Kinect's: how far from the axis the others hold
_TERM = re.compile(r"[kps]\d+|tau_?[xy]|cod_?[xy]")  # as a key beside others
_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
COMMA_HINT = "where numbers have a decimal comma, write a point: 610.3"


def model_name(model: str) -> str:
    """A distortion model by ROS's name, however it is written ('Brown Conrady', 'PLUMB_BOB', 'radial-tangential', 'distortion.brown_conrady')."""
    name = re.sub(r"[\s-]+", "_", model.strip().lower()).removeprefix("distortion.")
    return _MODEL_NAMES.get(name, _MODEL_NAMES.get(name.replace("_", "-"), name))


def is_term(name: str) -> bool:
    """Whether a key, in small letters, is that of a coefficient; known or not (k7, s1, tau_x)."""
    return _TERM.fullmatch(name) is not None


def named_coefficients(given: Mapping[str, Any], stated: str) -> tuple[tuple[float, ...], str]:
    """Coefficients that are given by their names, in OpenCV's order, and the model that they are of.

    Args:
        given: by OpenCV's names; one that is not there is 0.
        stated: the model by ROS's name; '' where the file has none.

    Raises:
        CameraError: a name that is not known and not 0, or names that do not say which model they are of.
    """
    values = {name.strip().lower(): number(value, name) for name, value in given.items() if value is not None}
    values.pop(_NO_TERM, None)
    if unknown := [name for name, value in values.items() if value and name not in _TERMS]:
        raise CameraError(
            f"distortion coefficient '{unknown[0][:40]}' is not known, only {', '.join(_TERMS)}; calibrate without it"
        )
    if "k1" not in values and any(values.values()):
        raise CameraError(f"distortion coefficients {', '.join(values)} without k1; give k1 too, 0 where it is none")
    if stated == "equidistant":
        if others := [name for name, value in values.items() if value and name not in _FISHEYE]:
            raise CameraError(f"{others[0]} is no coefficient of a fisheye, which has k1 to k4; correct the model")
        return tuple(values.get(name, 0.0) for name in _FISHEYE), stated
    alone = "k4" in values and not {"p1", "p2", "k5", "k6"} & set(values)
    if alone and any(values.values()) and stated != "rational_polynomial" and (values["k4"] or not stated):
        raise CameraError(
            "coefficients k1 to k4 alone may be a fisheye's; give distortion_model: equidistant, or rational_polynomial and p1, p2"
        )
    rational = any(values.get(name) for name in ("k4", "k5", "k6"))
    terms = tuple(values.get(name, 0.0) for name in (_TERMS if rational else _TERMS[:5]))
    return terms, stated if stated not in ("", *_OPENCV) else _OPENCV[rational]


def coefficients_of(model: str, given: tuple[float, ...]) -> tuple[float, ...]:
    """Those of a model as it is written: librealsense gives five of each, and its fisheye has four."""
    librealsense = re.sub(r"[\s-]+", "_", model.strip().lower()).removeprefix("distortion.") == "kannala_brandt4"
    return given[:4] if librealsense and len(given) == 5 and not given[4] else given


def number(value: Any, name: str) -> float:
    """A number, also as text.

    Raises:
        CameraError: something else, as one with a decimal comma.
    """
    if isinstance(value, str) and _COMMA.fullmatch(value.strip()):
        shown = value.strip()[:40]
        raise CameraError(f"{name}: {shown!r} has a decimal comma; write a point: {shown.replace(',', '.')}")
    try:
        if isinstance(value, bool):
            raise TypeError("true or false")
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:100]
        raise CameraError(f"{name}: a value is not a number ({reason}); see ROS camera_info") from None


def listed(text: str) -> list[str] | None:
    """The values of a list that is a text: numpy's 'array([610., 0.], dtype=float32)' and '[610. 0.]', librealsense's '0 0 0 0 0'.

    None for a text that is no list of numbers.
    """
    inner = re.sub(r"\barray\(|,\s*dtype=[^)]*|[\[\]()]", " ", text)
    words = inner.split()
    if not any(_COMMA.fullmatch(word.rstrip(",")) for word in words):
        words = [word for word in re.split(r"[,\s]+", inner) if word]
    numbers = all(re.match(r"[+-]?(\.?\d|nan|inf)", word, re.IGNORECASE) for word in words)
    return [word.rstrip(",") for word in words] if numbers and (words or "[" in text) else None


def refuse_commas(coefficients: Sequence[float]) -> None:
    """Refuse what a decimal comma makes of coefficients: [-0,25, 0,05] are the four numbers 0, 25, 0, 5.

    Raises:
        CameraError: they are whole numbers that no lens has.
    """
    if all(abs(x) < 1e6 and x == int(x) for x in coefficients) and any(abs(x) >= 2 for x in coefficients):
        raise CameraError(f"distortion coefficients are whole numbers, which no lens has; {COMMA_HINT}")


def matrix(fx: float, fy: float, cx: float, cy: float) -> tuple[float, ...]:
    """K, row by row."""
    return (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)
