"""Typed errors. A message is one line that says what is wrong, where, and what to do; it has no word of the command line.

An error may name the settings that would help, dotted as in the configuration ('width', 'safety.max_twist'): the command line
adds them to the message as its flags (`--width`, `--safety.max-twist`).
"""

from __future__ import annotations


class SiameError(Exception):
    """Something that a user can put right; the base of all others here.

    Not a ValueError: the command line's parser would put a frame of its own around that.

    Args:
        message: one line: what is wrong, where, and what to do.
        settings: names of the settings that would help, most helpful first.
    """

    def __init__(self, message: str, *settings: str) -> None:
        super().__init__(message)
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
