"""Methods that are called as `siame_se3.servo.loop.servo` is: its signature, its defaults, declared once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from siame_se3.servo.loop import servo
from siame_se3.servo.trajectory import Trajectory

_P = ParamSpec("_P")
_Self = TypeVar("_Self")
_SIGNATURE = inspect.signature(servo)


def _called_as(
    function: Callable[_P, Trajectory],
) -> Callable[[Callable[[_Self, dict[str, Any]], Trajectory]], Callable[Concatenate[_Self, _P], Trajectory]]:
    def decorate(make: Callable[[_Self, dict[str, Any]], Trajectory]) -> Callable[Concatenate[_Self, _P], Trajectory]:
        @functools.wraps(make)
        def method(self: _Self, /, *arguments: _P.args, **options: _P.kwargs) -> Trajectory:
            given = _SIGNATURE.bind(*arguments, **options)
            given.apply_defaults()
            return make(self, given.arguments)

        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        method.__signature__ = _SIGNATURE.replace(parameters=[own, *_SIGNATURE.parameters.values()])  # type: ignore[attr-defined]  # what help() shows
        return method

    return decorate


like_servo = _called_as(servo)
"""Decorates a method that takes the arguments of a `servo` by name, defaults filled in, as one mapping, such as for a changed plant:

    @like_servo
    def servo(self, given):
        return servo(**{**given, "plant": Watched(given["plant"])})
"""
