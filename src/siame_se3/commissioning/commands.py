"""Commands of a session, and for how long they count."""

from __future__ import annotations

from dataclasses import dataclass

COMMANDS = ("start", "stop", "target", "quit")
LASTS = 2.0  # [s] for which a command counts
BEGINS = 5.0  # [s] after a start within which the robot begins to move, or not at all
MOST = 8  # commands that may wait


@dataclass(frozen=True)
class Asked:
    """A command, when it was given [s], and how often commands had been voided before."""

    word: str
    at: float
    voided: int
