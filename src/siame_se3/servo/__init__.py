"""How do a law and a plant meet?

loop (`servo`), guard (safety), trajectory, simulation (whole simulated runs).
A file here closes the loop or watches it; what to command is for laws, what moves is for plants.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    """This room has the name of its main function, so that `from siame_se3 import servo` gives the room as soon as anything of it is
    imported: calling the room calls the function."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """`siame_se3.servo.loop.servo`: see there."""
        from siame_se3.servo.loop import servo

        return servo(*arguments, **options)


sys.modules[__name__].__class__ = _Room
