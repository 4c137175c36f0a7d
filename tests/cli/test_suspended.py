"""A program that was asked to move at once, and was suspended while it got ready, moves nothing: whoever asked is not there any more."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from cli_helpers import Siame
from session_helpers import CAMERA, Robot
from siame_se3.cli import robot as options
from siame_se3.plants.robots.interfaces import RobotState
from siame_se3.plants.robots.live import LivePlant
from siame_se3.scenes.render import render

pytestmark = pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the clock is moved that Linux has")
LOOSE = ("--safety.max-age", 60, "--safety.frozen", 60, "--safety.jump", 2, "--safety.drift", 0)
COMMANDS: dict[str, tuple[Any, ...]] = {
    "live": ("live", "--start", "--target", "target.png", "--law", "pbvs-sift", "--max-iterations", 3, *LOOSE),
    "check": ("check", "--yes", *LOOSE),
    "target": (
        *("target", "--scan", "--yes", "--ros2.pose", "/pose", "--hand-eye", "hand-eye.yaml"),
        *("--pattern.views", 2, "--pattern.wait", 0, *LOOSE),
    ),
}


class Posed(Robot):
    """Knows where its tool is."""

    def state(self) -> RobotState:
        return RobotState(self.T_wc)


@pytest.fixture
def robot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Posed:
    """What the commands open; `late` is for how long the program is suspended meanwhile [s]."""
    made = Posed()
    made.late = 0.0  # type: ignore[attr-defined]
    away, clock = [0.0], time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda which: clock(which) + away[0])

    def opened(self: Any, closing: contextlib.ExitStack, *arguments: Any, **more: Any) -> tuple[LivePlant, None]:
        away[0] += made.late  # type: ignore[attr-defined]
        time.sleep(0.3)  # a beat
        plant = LivePlant(made, made, torch.eye(4, dtype=torch.float64), 0.04, 0.6, answer=20.0)
        closing.callback(plant.close)
        return plant, None

    monkeypatch.setattr(options.Robot, "open", opened)
    image, _ = render(made.scene, CAMERA, made.T_wc[None])
    cv2.imwrite(str(tmp_path / "target.png"), (255 * image[0]).round().byte().permute(1, 2, 0).numpy()[..., ::-1])
    (tmp_path / "hand-eye.yaml").write_text("camera_in_tool: {translation: [0, 0, 0], rotation_vector: [0, 0, 0]}\n")
    made.T_wc[0, 3] += 0.03
    return made


@pytest.mark.parametrize("command", COMMANDS)
def test_it_does_not_move(command: str, siame: Siame, robot: Posed) -> None:
    robot.late = 12.0  # type: ignore[attr-defined]
    status, out, err = siame(*COMMANDS[command])
    assert "the program was suspended for 12." in out + err
    assert "before it moved; start it again" in out + err
    assert status in (1, 2)
    assert robot.moves == 0


def test_it_moves_where_it_was_not_suspended(siame: Siame, robot: Posed) -> None:
    _, out, _ = siame(*COMMANDS["live"])
    assert robot.moves > 0, out
