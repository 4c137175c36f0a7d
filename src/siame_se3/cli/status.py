"""The exit statuses of `siame`: the one place that knows them. docs/start.md documents them."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """What a shell sees after a command."""

    DONE = 0
    """It did what was asked."""
    NOT_CONVERGED = 1
    """It ran, but no run converged, safety stopped it, or a check found something wrong."""
    WRONG_INPUT = 2
    """An option, a file or a device could not be used; one line says which, and what to do."""
    NOT_SURE = 3
    """siame align: the pictures do not say well enough where the camera is."""
    INTERRUPTED = 130
    """Ctrl-C."""
