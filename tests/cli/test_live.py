"""siame live, as a user types it."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import pytest
import torch

from session_helpers import CAMERA, PHOTO, Robot
from siame_se3 import cli
from siame_se3.geometry import lie
from siame_se3.scenes.render import render
from siame_se3.servo.trajectory import Trajectory


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["siame", *words])
    cli.main()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--robot", "none"], "add --dry-run"),
        (["--robot", "ur"], "--hand-eye: this robot takes twists of its tool"),
        (["--ros2.frame", "base"], "--hand-eye: this robot takes twists of its tool"),
        (["--rate", "10"], "give more than 10 steps"),
        (["--start"], "--target FILE"),
        (["--law", "neural"], "give --model"),
        (["--law", "pbvs"], "needs the simulator's poses"),
        (["--hand-eye", "no.yaml"], "no such file"),
        (["--robot", "none", "--dry-run", "--camera-source", "opencv", "--source", "no.mp4"], "no such file"),
        (
            ["--robot", "none", "--dry-run", "--eye", "opencv", "--source", "no.mp4"],
            "--eye is called --camera-source now",
        ),
        (["--hard-limits.speed", "nan"], "hard limit of speed: nan"),
        (["--image-size", "8"], "image_size is 8; give a whole number at least 32 (--image-size)"),
        (["--safety.reach", "-1"], "(--safety.reach)"),
        (["--goal-depth", "-1"], "give a number above 0, or a depth map's file (--goal-depth)"),
        (["--goal-depth", "nan"], "depth of the goal: nan m"),
        (["--goal-depth", "no.png"], "no.png: no such file; give a depth map"),
        (["--goal-depth", str(PHOTO)], "coffee.png: a picture of 1 x 8 bits a pixel, no depth map"),
        (["--depth", "0"], "--depth is called --goal-depth now"),
        (["--ros2.depth-info", "/depth/info"], "give --ros2.depth too"),
        (["--ros2.depth", "/d", "--ros2.depth-pose", *"100000"], "give its camera_info too, --ros2.depth-info"),
    ],
)
def test_bad_options_are_one_line(
    words: list[str], error: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command(monkeypatch, "live", *words)
    assert ended.value.code == 2
    assert error in capsys.readouterr().err


def test_nobody_on_the_network_commands_unless_a_topic_is_named() -> None:
    from siame_se3.cli.robot import Ros2

    assert Ros2().command == ""
    assert Ros2().status == "/siame/status"


def test_command_on_a_video_and_no_robot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    robot = Robot()

    def picture(name: str) -> None:
        image, _ = render(robot.scene, CAMERA, robot.T_wc[None])
        cv2.imwrite(str(tmp_path / name), (255 * image[0]).round().byte().permute(1, 2, 0).numpy()[..., ::-1])

    picture("target.png")
    for k in range(40):
        away_a_little = torch.tensor([0.001, 0.0, 0.0, 0.0, 0.0, 0.002], dtype=torch.float64)
        robot.T_wc = robot.T_wc @ lie.pose_from_vector(away_a_little)
        picture(f"v{k:02d}.png")
    options = ["--robot", "none", "--dry-run", "--camera-source", "opencv", "--source", str(tmp_path / "v%02d.png")]
    options += ["--law", "pbvs-sift"]  # one that begins at once
    runs = [
        "--target",
        str(tmp_path / "target.png"),
        "--start",
        "--max-iterations",
        "8",
        "--save",
        str(tmp_path / "run.npz"),
    ]
    with pytest.raises(SystemExit) as ended:
        command(monkeypatch, "live", *options, *runs, "--safety.max-age", "60")
    assert ended.value.code == 1, "eight iterations are not enough: it has not converged"
    out = capsys.readouterr().out
    assert "dry run: nothing is sent" in out
    assert "stands still" in out
    trajectory = Trajectory.load(tmp_path / "run.npz")
    assert len(trajectory.twist) > 0
    assert bool(trajectory.T_wc.isnan().all()), "no pose is known"
    assert not bool(trajectory.applied.any())
    # The same, settled at once by a loose stop rule; and stopped by safety, as the images are too old.
    loose = ["--max-iterations", "40", "--settle-v", "9", "--settle-w", "9", "--safety.max-age", "60"]
    for more, status, words in ((loose, 0, "settled"), ([*runs[-4:], "--safety.max-age", "1e-9"], 1, "stale image")):
        with pytest.raises(SystemExit) as ended:
            command(monkeypatch, "live", *options, *runs[:-4], *more)
        assert ended.value.code == status
        assert words in capsys.readouterr().out
