"""Typed errors. A message is one line that says what is wrong, where, and what to do; it has no word of the command line.

An error may name the settings that would help, dotted as in the configuration ('width', 'safety.max_twist'): the command line
adds them to the message as its flags (`--width`, `--safety.max-twist`).
"""

from __future__ import annotations

import numbers
import sys
from typing import Any

_LONGEST = 950  # characters of a message


class SiameError(Exception):
    """Something that a user can put right; the base of all others here.

    Not a ValueError: the command line's parser would put a frame of its own around that.

    Args:
        message: one line: what is wrong, where, and what to do. Of a very long one, as a value in a file may make it, the middle is left out.
        settings: names of the settings that would help, most helpful first.
    """

    def __init__(self, message: str, *settings: str) -> None:
        super().__init__(message if len(message) <= _LONGEST else f"{message[:600]} ... {message[-300:]}")
        self.settings = settings


class InputError(SiameError):
    """A value, a file or a combination of them that cannot be used."""


class CameraError(InputError):
    """Intrinsics, an image or a calibration that cannot be used."""


class SceneError(InputError):
    """A scene that cannot be used, or that the cameras do not see."""


class ModelError(InputError):
    """A network, a checkpoint or a combination of a network's parts that cannot be used."""


class LawError(InputError):
    """A law that does not exist, or that lacks what it needs."""


class TrainingError(SiameError):
    """A training that cannot start, go on, or reach its aim."""


class RobotError(SiameError):
    """A robot, a camera or a connection that does not answer, refuses, or reports a fault."""


def require_number(
    owner: object,
    name: str,
    low: float | None = None,
    high: float | None = None,
    *,
    open_low: bool = False,
    open_high: bool = False,
    whole: bool = False,
    what: str = "",
) -> None:
    """Refuse an attribute that is not a finite number within its limits; for `__post_init__` of settings.

    Args:
        owner: whose attribute it is.
        name: the attribute, and the setting that the error names.
        low, high: its limits; None leaves that side open.
        open_low, open_high: the limit itself is refused too.
        whole: only whole numbers.
        what: the attribute in a user's words, where its name does not say it.

    Raises:
        InputError: a string, a bool, NaN, an infinity, or a number outside the limits.
    """
    value = getattr(owner, name)
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    fits = (
        _is_finite(value)
        and (not whole or value == int(value))
        and (low is None or (value > low if open_low else value >= low))
        and (high is None or (value < high if open_high else value <= high))
    )
    if not fits:
        wanted = "a whole number" if whole else "a finite number"
        limits = [f"above {low:g}" if open_low else f"at least {low:g}"] if low is not None else []
        limits += [f"below {high:g}" if open_high else f"at most {high:g}"] if high is not None else []
        too_long = isinstance(value, int) and abs(value) > sys.float_info.max  # Python refuses to print many digits
        shown = "too large" if too_long else (str(value) if number else repr(value))[:60]
        raise InputError(f"{what or name} is {shown}; give {' '.join([wanted, ' and '.join(limits)]).strip()}", name)


def require_numbers(owner: object, name: str, count: int | None = None) -> None:
    """Refuse an attribute that is no tuple of finite numbers.

    Args:
        owner, name: see `require_number`.
        count: how many they are; None for any number.

    Raises:
        InputError: something else.
    """
    value = getattr(owner, name)
    fits = isinstance(value, tuple | list) and all(map(_is_finite, value))
    if not fits or (count is not None and len(value) != count):
        wanted = f"{count} finite numbers" if count is not None else "finite numbers"
        raise InputError(f"{name} is {repr(value)[:60]}; give {wanted}", name)


def require_promise(kept: bool, broken: str) -> None:
    """Raise AssertionError unless a promise is kept: as `assert`, and also under `python -O`; for the checks of laws, plants and scenes.

    Args:
        kept: whether it is.
        broken: one line on what was found, where it is not.

    Raises:
        AssertionError: it is not.
    """
    if not kept:
        raise AssertionError(broken)


def _is_finite(value: Any) -> bool:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    # The comparison is false of NaN; unlike isfinite(), it takes integers of any size.
    return number and bool(abs(value) <= sys.float_info.max)
