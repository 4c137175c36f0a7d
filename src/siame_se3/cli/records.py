"""What 'siame servo' and 'siame live' do with --record."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siame_se3.cli.options import check_writable
from siame_se3.errors import InputError
from siame_se3.files.optional import needs

if TYPE_CHECKING:
    from siame_se3.servo.recordings.recorder import Recording
    from siame_se3.servo.simulation import Task
    from siame_se3.servo.trajectory import Trajectory

MOST_RUNS = 50  # of a simulation: a run of 100 views of 224 px takes some 10 MB


def check_recording(path: Path | None, runs: int = 1) -> None:
    """Say before the work what cannot be recorded.

    Raises:
        InputError: a name or place that cannot be written, a file that is there, too many runs, or a package that is not installed.
    """
    if path is None:
        return
    needs("mcap.writer", "record")
    check_writable(path, "--record", (".mcap",))
    if path.exists():
        raise InputError(
            f"{path}: there is such a file already, and a recording replaces none; give another name", "record"
        )
    if runs > MOST_RUNS:
        raise InputError(
            f"{runs} runs: a recording has every image of each, one run after the other; give {MOST_RUNS} or fewer",
            *("runs", "record"),
        )


@contextlib.contextmanager
def recording_to(path: Path | None, law: dict[str, Any], wait: bool) -> Iterator[Recording | None]:
    """A recording that is closed at the end, and said; None where none is asked for."""
    import siame_se3
    from siame_se3.servo.recordings.recorder import Recording

    if path is None:
        yield None
        return
    law = law | {"siame_se3": siame_se3.__version__}
    with Recording(path, law, wait, lambda line: print(f"siame: {line}", file=sys.stderr, flush=True)) as recording:
        yield recording
    if not recording.error:
        lost = f", {recording.lost} images lost" if recording.lost else ""
        print(f"recording: {path} ({path.stat().st_size / 1e6:.1f} MB{lost}); next: siame replay {path}")


def run_of(recording: Recording | None, task: Task | None = None) -> Callable[..., Trajectory]:
    """What makes a simulation's runs: `servo`, or a recording; that of a batch with its task."""
    from siame_se3.servo.loop import servo

    if recording is None:
        return servo
    if task is None:
        return recording.servo
    from siame_se3.servo.recordings.simulated import one_by_one

    return one_by_one(recording, task)
