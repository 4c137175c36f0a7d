from __future__ import annotations

import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from siame_se3 import cli
from siame_se3.commissioning.session import Session, target_from, told
from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_image
from siame_se3.laws.matched import MatchedPoints
from siame_se3.plants.robots.live import Frame, LivePlant, RobotState
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.render import render
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.safety import Safety
from siame_se3.servo.trajectory import Trajectory

PHOTO = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
CAMERA = Camera.from_focal(300, 224)
# The machine may be slow, and the robot here has a time of its own: ages and motions are tested elsewhere.
SAFETY = Safety(max_age=60.0, frozen=60.0, jump=2.0, reach=0.0, no_progress=0.0)


class Robot:
    """Eye and mover of a camera that flies over a print, in its own time: a twist moves it for `dt`."""

    camera = CAMERA
    frame = "camera"
    dt = 0.04

    def __init__(self) -> None:
        self.scene = Scene.from_photo(PHOTO)
        self.T_wc = torch.eye(4, dtype=torch.float64)
        self.T_wc[2, 3] = -0.6
        self.moves = 0

    def latest(self, after: float, wait: float) -> Frame | None:
        image, _ = render(self.scene, CAMERA, self.T_wc[None])
        return Frame(image[0], time.monotonic())

    def move(self, twist: Tensor) -> None:
        self.T_wc = self.T_wc @ lie.exp(twist * self.dt)
        self.moves += 1

    def stop(self) -> None:
        pass

    def state(self) -> RobotState:
        return RobotState()

    def prepared(self, pixels: np.ndarray) -> Tensor:
        if pixels.shape[:2] != (224, 284):
            raise SiameError(
                f"frame of {pixels.shape[1]} x {pixels.shape[0]} px; the camera is calibrated for 284 x 224"
            )
        return as_image(pixels[:, 30:254])

    def close(self) -> None:
        pass


class Running:
    """A session in a thread, and what it says."""

    def __init__(self, robot: Robot, **changes: Any) -> None:
        self.said: queue.Queue[str] = queue.Queue()
        self.runs: list[Trajectory] = []
        plant = LivePlant(robot, robot, None, changes.pop("dt", 0.002), 0.6, changes.pop("dry", False))
        config = changes.pop("config", ServoConfig(gain=10.0))
        self.session = Session(
            plant,
            changes.pop("law", MatchedPoints()),
            config,
            SAFETY,
            say=self.said.put,
            done=self.runs.append,
            **changes,
        )
        self.thread = threading.Thread(target=self.session.run, daemon=True)
        self.thread.start()

    def wait(self, words: str) -> str:
        while True:
            line = self.said.get(timeout=60)
            if words in line:
                return line

    def quit(self) -> None:
        self.session.command("quit")
        self.thread.join(60)
        assert not self.thread.is_alive()


def away(robot: Robot) -> None:
    robot.T_wc = robot.T_wc @ lie.pose_from_vector(
        torch.tensor([0.05, -0.03, 0.02, 0.05, 0.02, 0.2], dtype=torch.float64)
    )


def test_target_then_start_brings_it_there() -> None:
    robot = Robot()
    running = Running(robot, dt=0.02)
    running.wait("say 'target'")
    running.session.command("start")
    running.wait("no target")
    assert robot.moves == 0, "nothing moves before it has a target and a start"
    goal = robot.T_wc
    running.session.command(" Target\n")
    running.wait("this view is the target")
    away(robot)
    time.sleep(0.05)
    assert robot.moves == 0, "a target is no start"
    robot.dt = 0.02  # the plant's
    running.session.command("start")
    assert "settled" in running.wait("stands still")
    t, r = lie.error_norms(lie.inverse(goal) @ robot.T_wc)
    assert float(t) < 2e-3
    assert float(r) < 4e-3
    running.quit()
    assert running.runs[0].reason == ["settled"]


def test_stop_stops_and_nothing_goes_on() -> None:
    robot = Robot()
    running = Running(robot, config=ServoConfig(gain=0.01, max_iterations=100_000))
    running.session.command("target")
    running.wait("this view is the target")
    away(robot)
    running.session.command("start")
    running.wait("moving")
    while robot.moves < 3:
        time.sleep(0.01)
    running.session.command("target")
    running.wait("say 'stop' first")
    running.session.command("dance")
    running.wait("'dance' is not known")
    running.session.command("stop")
    assert "'stop' was said" in running.wait("stands still")
    moves = robot.moves
    time.sleep(0.1)
    assert robot.moves == moves
    running.quit()


def test_a_stop_said_while_the_law_is_made_ready_counts() -> None:
    robot = Robot()

    class Slow:
        needs = frozenset({"image"})
        stop: Callable[[], None] = staticmethod(lambda: None)

        def aim(self, target: Any) -> Any:
            self.stop()
            return MatchedPoints().aim(target)

    law = Slow()
    running = Running(robot, law=law)
    law.stop = lambda: running.session.command("stop")  # type: ignore[method-assign]
    running.session.command("target")
    running.wait("this view is the target")
    away(robot)
    running.session.command("start")
    assert "'stop' was said" in running.wait("stands still after 0 iterations")
    assert robot.moves == 0
    # ...and one said right after 'start', before the session has taken it
    with running.session._lock:
        running.session._asked.put(("start", running.session._stops - 1))
    running.session.command("target")
    running.wait("this view is the target")
    assert robot.moves == 0
    running.quit()


def test_errors_are_said_and_the_session_goes_on() -> None:
    robot = Robot()
    running = Running(robot)
    latest = robot.latest
    robot.latest = lambda after, wait: None  # type: ignore[method-assign]  # the camera is gone
    running.session.command("target")
    running.wait("error: camera: no image")
    robot.latest = latest  # type: ignore[method-assign]
    running.session.command("target")
    running.wait("this view is the target")
    running.quit()


def test_dry_runs_show_twists_and_move_nothing() -> None:
    robot = Robot()
    running = Running(robot, dry=True, dt=0.02, config=ServoConfig(max_iterations=60, settle_v=1e-9, settle_w=1e-9))
    running.session.command("target")
    running.wait("this view is the target")
    away(robot)
    running.session.command("start")
    running.wait("dry run")
    assert "(not sent)" in running.wait("iteration")
    running.wait("stands still")
    assert robot.moves == 0
    running.quit()


def test_targets_from_pictures(tmp_path: Path) -> None:
    robot = Robot()
    plant = LivePlant(robot, robot, None, 0.01, 0.6)
    image, _ = render(robot.scene, CAMERA, robot.T_wc[None])
    pixels = (255 * image[0]).round().byte().permute(1, 2, 0).numpy()[..., ::-1]
    wide = np.pad(pixels, ((0, 0), (30, 30), (0, 0)))
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    target = target_from(tmp_path / "wide.png", plant)
    assert target.image is not None
    assert float((target.image - image[0]).abs().max()) <= 0.5 / 255 + 1e-6
    assert target.camera == CAMERA
    cv2.imwrite(str(tmp_path / "cut.png"), pixels)
    assert torch.equal(target_from(tmp_path / "cut.png", plant).image, target.image)  # type: ignore[arg-type]  # both are there
    cv2.imwrite(str(tmp_path / "small.png"), pixels[:100, :100])
    (tmp_path / "bad.png").write_text("no")
    for name, words in (
        ("small.png", "frame of 100 x 100 px; the camera is calibrated"),
        ("bad.png", "not an image"),
        ("no.png", "no such file"),
    ):
        with pytest.raises(SiameError, match=words):
            target_from(tmp_path / name, plant)


def test_twists_for_people() -> None:
    assert told(torch.tensor([0.01, -0.02, 0.0, 0.0, 0.1, 0.0])) == "+1.0 -2.0 +0.0 cm/s, +0.0 +5.7 +0.0 deg/s"


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
        (["--robot", "none", "--dry-run", "--eye", "opencv", "--source", "no.mp4"], "no such file"),
        (["--safety.reach", "-1"], "--safety.reach is -1.0"),
    ],
)
def test_bad_options_are_one_line(
    words: list[str], error: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command(monkeypatch, "live", *words)
    assert error in capsys.readouterr().err


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
    options = ["--robot", "none", "--dry-run", "--eye", "opencv", "--source", str(tmp_path / "v%02d.png")]
    runs = [
        "--target",
        str(tmp_path / "target.png"),
        "--start",
        "--max-iterations",
        "8",
        "--save",
        str(tmp_path / "run.npz"),
    ]
    command(monkeypatch, "live", *options, *runs, "--safety.max-age", "60")
    out = capsys.readouterr().out
    assert "dry run: nothing is sent" in out
    assert "stands still" in out
    trajectory = Trajectory.load(tmp_path / "run.npz")
    assert len(trajectory.twist) > 0
    assert bool(trajectory.T_wc.isnan().all()), "no pose is known"
    assert not bool(trajectory.applied.any())
