"""What 'siame live' leaves: a report and a recording."""

from __future__ import annotations

import shlex
from pathlib import Path

import cv2
import numpy as np
import torch

from cli_helpers import Siame
from siame_se3.cli.live import Arm
from siame_se3.laws.types import View
from siame_se3.servo.recordings.reading import read


def test_live_writes_a_report_and_a_recording(siame: Siame, tmp_path: Path) -> None:
    """Of pictures in a row, with nothing that moves."""
    rng = np.random.default_rng(0)
    still = cv2.resize(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), (64, 48), interpolation=cv2.INTER_CUBIC)
    for k in range(40):
        cv2.imwrite(str(tmp_path / f"{k:03d}.png"), np.roll(still, 1, 1))
    cv2.imwrite(str(tmp_path / "goal.png"), still)
    words = [
        "--robot",
        "none",
        "--dry-run",
        "--camera-source",
        "opencv",
        "--source",
        "%03d.png",
        "--target",
        "goal.png",
    ]
    words += ["--start", "--law", "dvs", "--max-iterations", "4", "--safety.max-age", "60", "--rate", "50"]
    status, _, err = siame("live", *words, "--report", "out.html", "--record", "run.mcap")
    assert status == 1, err  # of four iterations
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "dvs, a run of the robot" in page
    assert page.count("<img ") >= 4
    assert "nothing was sent: it has not moved" in page
    (run,) = read(tmp_path / "run.mcap")
    assert run.count >= 5
    status, out, _ = siame("replay", "run.mcap")
    assert (status, "dvs gives what was recorded: 4 velocities" in out) == (0, True)


def test_the_command_that_the_arm_says_can_be_copied(tmp_path: Path) -> None:
    """Names may have spaces."""
    target, depth = tmp_path / "my goal.png", tmp_path / "my goal-depth.png"
    given = Arm(target=target)._write_target(View(torch.rand(1, 3, 8, 8), depth=torch.ones(1, 8, 8)))
    assert shlex.split(given) == ["--target", str(target), "--goal-depth", str(depth)]
    assert target.is_file()
    assert depth.is_file()
