"""What commands do with --record, --report and --video."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siame_se3.cli.options import check_writable
from siame_se3.cli.output import command_line
from siame_se3.errors import InputError
from siame_se3.files.optional import needs

if TYPE_CHECKING:
    from siame_se3.analysis.html_align import Followed
    from siame_se3.analysis.metrics import Row
    from siame_se3.commissioning.align import Reference
    from siame_se3.geometry.camera import Camera
    from siame_se3.servo.recordings.pictures import Pictures
    from siame_se3.servo.recordings.recorder import Recording
    from siame_se3.servo.simulation import Task
    from siame_se3.servo.trajectory import Trajectory

PAGES, VIDEOS = (".html", ".htm"), (".mp4", ".gif")
"""Endings of reports and of videos."""
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
def recording_to(
    path: Path | None, law: dict[str, Any], wait: bool, say: Callable[[str], None] = print
) -> Iterator[Recording | None]:
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
        say(
            f"recording: {path} ({path.stat().st_size / 1e6:.1f} MB{lost}); next: siame replay {shlex.quote(str(path))}"
        )


def run_of(recording: Recording | None, task: Task | None = None) -> Callable[..., Trajectory]:
    """What makes a simulation's runs: `servo`, or a recording; that of a batch with its task."""
    from siame_se3.servo.loop import servo

    if recording is None:
        return servo
    if task is None:
        return recording.servo
    from siame_se3.servo.recordings.simulated import one_by_one

    return one_by_one(recording, task)


def write_run_report(path: Path, trajectory: Trajectory, task: Task, table: Sequence[Row]) -> None:
    """The report of simulated runs."""
    from siame_se3.analysis import frames, html, html_run

    run = frames.farthest(table)
    pictures = frames.strip_of(task, trajectory, run)
    html.write_page(path, html_run.run_page(trajectory, pictures, task.scene, task.camera, run, table=table))


def write_run_video(path: Path, trajectory: Trajectory, task: Task, table: Sequence[Row]) -> None:
    """The video of the run that reports show first."""
    from siame_se3.analysis import frames, video

    run = frames.farthest(table)
    law, goal = trajectory.settings.get("law", ""), frames.goal_of(task, trajectory, run)
    title = f"{law} on {task.scene.name}, run {run}"
    pictures = video.frames(frames.images_of(task, trajectory, run), goal, trajectory, run, title)
    video.write_video(path, pictures, 1 / trajectory.dt)


def numbered(path: Path, number: int) -> Path:
    """The file of a session's run: the path itself for the first, with a number from the second on."""
    return path.with_stem(f"{path.stem}-{number}") if number else path


def write_live_report(path: Path, trajectory: Trajectory, pictures: Pictures, camera: Camera) -> None:
    """The report of a robot's run."""
    from siame_se3.analysis import html, html_run

    title = f"{trajectory.settings.get('law', 'a law')}, a run of the robot"
    html.write_page(path, html_run.run_page(trajectory, pictures.strip(), None, camera, 0, title))


def write_align_report(
    path: Path, title: str, reference: Reference, followed: Followed, settings: dict[str, Any]
) -> None:
    """The report of an alignment."""
    from siame_se3.analysis import html, html_align

    command = command_line()
    html.write_page(path, html_align.align_page(title, reference, followed, settings, command))


def write_bench_report(path: Path, folders: list[Path]) -> None:
    """The report of experiments, from the pages that they have written."""
    from siame_se3.analysis import html, html_bench

    html.write_page(path, html_bench.bench_page(folders, command_line()))
