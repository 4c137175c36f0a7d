"""siame demo | train | servo | bench | export | plot | live | arm | calibrate | check: a file a command.

Each command is a dataclass: its fields are the flags, their docstrings the help.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import tyro

from siame_se3.cli.bench import Bench
from siame_se3.cli.calibrate import Calibrate, Check
from siame_se3.cli.demo import Demo
from siame_se3.cli.export import Export
from siame_se3.cli.live import Arm, Live
from siame_se3.cli.plot import Plot
from siame_se3.cli.servo import Servo
from siame_se3.cli.train import Train
from siame_se3.errors import SiameError


def main() -> None:
    """Entry point: one clear line for bad input, exit status 2."""
    commands: dict[str, Callable[..., Any]] = {
        "demo": Demo,
        "train": Train,
        "servo": Servo,
        "bench": Bench,
        "export": Export,
        "plot": Plot,
        "live": Live,
        "arm": Arm,
        "calibrate": Calibrate,
        "check": Check,
    }
    command: Any = None
    try:
        command = tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="siame",
            description="Move a robot's camera to where a photo was taken. Start with: siame demo",
        )
        command()
    except SiameError as error:
        print(f"siame: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"siame: {error.filename or 'file'}: {error.strerror or error}; give another place", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        resumes = isinstance(command, Train | Bench)
        print("siame: stopped" + "; the same command goes on where it was" * resumes, file=sys.stderr)
        sys.exit(130)
