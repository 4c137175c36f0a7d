"""What Ctrl-C leaves of a simulation's runs, in words."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from siame_se3.analysis.report import counted
from siame_se3.servo.stopping import CTRL_C

if TYPE_CHECKING:
    from siame_se3.cli.output import Output
    from siame_se3.servo.trajectory import Trajectory


def say_keeping(trajectory: Trajectory) -> bool:
    """Whether Ctrl-C ended the runs; then say at once that they are being written."""
    stopped = bool(trajectory.settings.get("stopped"))
    if stopped:
        print("siame: Ctrl-C: writing what is done (Ctrl-C again leaves at once)", file=sys.stderr, flush=True)
    return stopped


def say_kept(trajectory: Trajectory, asked: int, output: Output) -> None:
    """In one line, what was kept of so many runs, and where."""
    kept = len(trajectory.reason)
    cut = trajectory.reason.count(CTRL_C)
    line = f"stopped: {kept - cut} of {counted(asked, 'run')} had ended"
    if cut:
        last = max(
            int(k) for k, reason in zip(trajectory.iterations, trajectory.reason, strict=True) if reason == CTRL_C
        )
        are = "is kept as it was" if cut == 1 else "are kept as they were"
        line += f", {cut} more {are} at iteration {last}, marked '{CTRL_C}'"
    where = f"all in {', '.join(output.written)}" if output.written else "no file was asked for, so the table is all"
    print(f"siame: {line}; {where}", file=sys.stderr, flush=True)
