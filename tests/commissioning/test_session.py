from __future__ import annotations

import io
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from siame_se3 import cli
from siame_se3.commissioning.session import MOST, Session
from siame_se3.commissioning.targets import target_from
from siame_se3.errors import InputError, RobotError, SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_image
from siame_se3.laws.matched import MatchedPoints
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.plants.robots.interfaces import Frame, RobotState
from siame_se3.plants.robots.live import LivePlant
from siame_se3.plants.robots.signals import Interrupted
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.render import render
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.safety import Safety
from siame_se3.servo.trajectory import Trajectory

PHOTO = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
CAMERA = Camera.from_focal(300, 224)
# The machine may be slow, and the robot here has a time of its own: ages and motions are tested elsewhere.
SAFETY = Safety(max_age=60.0, frozen=60.0, jump=2.0, reach=0.0, no_progress=0.0)
LONG = ServoConfig(gain=0.01, max_iterations=100_000)


lie.exp(torch.zeros(6, dtype=torch.float64))  # the first call is slow, and a driver's call has 0.1 s


class Robot:
    """Camera source and velocity driver of a camera that flies over a print, in its own time: a twist moves it for `dt`."""

    camera = CAMERA
    sensor = Camera(300.0, 300.0, 141.5, 111.5, 284, 224)
    frame = "camera"
    dt = 0.04

    def __init__(self) -> None:
        self.scene = Scene.from_photo(PHOTO)
        self.T_wc = torch.eye(4, dtype=torch.float64)
        self.T_wc[2, 3] = -0.6
        self.moves = self.stops = 0
        self.fault = ""

    def latest(self, after: float, wait: float) -> Frame | None:
        image, _ = render(self.scene, CAMERA, self.T_wc[None])
        return Frame(image[0], time.monotonic())

    def move(self, twist: Tensor) -> None:
        self.T_wc = self.T_wc @ lie.exp(twist * self.dt)
        self.moves += bool(twist.any())

    def stop(self) -> None:
        self.stops += 1

    def state(self) -> RobotState:
        return RobotState(fault=self.fault)

    def prepared(self, pixels: np.ndarray) -> Tensor:
        if pixels.shape[:2] != (224, 284):
            raise SiameError(
                f"frame of {pixels.shape[1]} x {pixels.shape[0]} px; the camera is calibrated for 284 x 224"
            )
        return as_image(pixels[:, 30:254])

    def close(self) -> None:
        pass


class Grey(Robot):
    """Without a renderer: noise at once."""

    def latest(self, after: float, wait: float) -> Frame | None:
        return Frame(torch.rand(3, 8, 8), time.monotonic())


class Steady:
    """A law that moves along x, slowly, for ever."""

    needs = frozenset({"image"})

    def aim(self, target: View) -> tuple[Law, State]:
        return self.law, State()

    @staticmethod
    def law(view: View, state: State) -> tuple[Output, State]:
        v = torch.zeros(*view.batch, 6, dtype=torch.float64)
        v[:, 0] = 0.01
        return Output.of(v), state


class Sure(Steady):
    """That law, and how sure it is."""

    def aim(self, target: View) -> tuple[Law, State]:
        return self, State()  # type: ignore[return-value]  # it is a law too

    def __call__(self, view: View, state: State) -> tuple[Output, State]:
        confidence = torch.full(view.batch, 0.625, dtype=torch.float64)
        return replace(self.law(view, state)[0], confidence=confidence), state

    def covariance(self, view: View, state: State) -> Tensor:
        return torch.diag(torch.tensor([1e-6, 1e-8, 1e-8, 1e-8, 1e-8, 1e-8], dtype=torch.float64))[None]


class Running:
    """A session in a thread, and what it says."""

    def __init__(self, robot: Robot, **changes: Any) -> None:
        self.said: queue.Queue[str] = queue.Queue()
        self.lines: list[str] = []
        self.runs: list[Trajectory] = []
        self.plant = LivePlant(robot, robot, None, changes.pop("dt", 0.002), 0.6, changes.pop("dry", False))
        config = changes.pop("config", ServoConfig(gain=10.0))
        self.session = Session(
            self.plant,
            changes.pop("law", MatchedPoints()),
            config,
            SAFETY,
            say=self.said.put,
            done=self.runs.append,
            **changes,
        )
        self.thread = threading.Thread(target=self.session.run, daemon=True)

    def start(self) -> Running:
        self.thread.start()
        return self

    def wait(self, words: str) -> str:
        while True:
            self.lines.append(self.said.get(timeout=60))
            if words in self.lines[-1]:
                return self.lines[-1]

    def tell(self, word: str, answer: str) -> str:
        self.session.command(word)
        return self.wait(answer)

    def take_target(self) -> None:
        self.wait("ready")
        self.tell("target", "this view is the target")
        self.wait("ready")

    def quit(self) -> None:
        self.session.command("quit")
        self.thread.join(60)
        assert not self.thread.is_alive()
        self.plant.close()


@pytest.fixture
def begun() -> Iterator[Callable[..., Running]]:
    """Begins sessions, and ends them."""
    all_of_them: list[Running] = []

    def begin(robot: Robot, **changes: Any) -> Running:
        all_of_them.append(Running(robot, **changes).start())
        return all_of_them[-1]

    yield begin
    for running in all_of_them:
        running.quit()


def moving(robot: Robot, more: int = 3) -> None:
    """Wait until it has moved some more."""
    before, until = robot.moves, time.monotonic() + 20
    while robot.moves < before + more:
        assert time.monotonic() < until, "it does not move"
        time.sleep(0.002)


def stands_still(robot: Robot) -> None:
    moves = robot.moves
    time.sleep(0.1)
    assert robot.moves == moves, "it moves, and nobody asked for it"


def away(robot: Robot) -> None:
    robot.T_wc = robot.T_wc @ lie.pose_from_vector(
        torch.tensor([0.05, -0.03, 0.02, 0.05, 0.02, 0.2], dtype=torch.float64)
    )


@pytest.mark.slow
def test_target_then_start_brings_it_there(begun: Callable[..., Running]) -> None:
    robot = Robot()
    running = begun(robot, dt=0.02)
    running.wait("say 'target'")
    running.tell("start", "no target")
    assert robot.moves == 0, "nothing moves before it has a target and a start"
    goal = robot.T_wc
    running.wait("ready")
    running.tell(" Target\n", "this view is the target")
    assert "the target is the view of" in running.wait("ready"), "what it would go to is shown before a start counts"
    away(robot)
    stands_still(robot)
    robot.dt = 0.02  # the plant's
    running.session.command("start")
    assert "settled" in running.wait("stands still")
    t, r = lie.error_norms(lie.inverse(goal) @ robot.T_wc)
    assert float(t) < 2e-3
    assert float(r) < 4e-3
    running.wait("ready")
    assert running.runs[0].reason == ["settled"]


def test_it_says_how_sure_the_law_is(begun: Callable[..., Running]) -> None:
    running = begun(Grey(), dt=0.2, law=Sure(), config=ServoConfig(gain=0.01, max_iterations=5))
    running.take_target()
    running.tell("start", "moving")
    assert running.wait("iteration 5").endswith("; confidence 0.62")
    running.wait("stands still")
    assert running.wait("pose known") == "pose known to 3 mm and 0.03 deg (3 sigma); least along shift x"
    running.wait("ready")
    (run,) = running.runs
    assert run.confidences[:5].tolist() == [[0.625]] * 5  # and on the ramp to zero it is not asked


def test_a_law_that_does_not_know_says_nothing_of_it(begun: Callable[..., Running]) -> None:
    running = begun(Grey(), dt=0.2, law=Steady(), config=ServoConfig(gain=0.01, max_iterations=5))
    running.take_target()
    running.tell("start", "moving")
    running.wait("ready")
    assert any("iteration 5" in line for line in running.lines)
    assert not any("confidence" in line or "known" in line for line in running.lines)


def test_stop_stops_and_nothing_goes_on(begun: Callable[..., Running]) -> None:
    robot = Grey()
    running = begun(robot, law=Steady(), config=LONG)
    running.take_target()
    running.tell("start", "moving")
    moving(robot)
    running.tell("target", "say 'stop' first")
    running.tell("dance", "'dance' is not known")
    running.session.command("stop")
    assert "'stop' was said" in running.wait("stands still")
    stands_still(robot)


@pytest.mark.parametrize("end", ["stop", "fault", "run ends", "keyboard closes"])
def test_two_starts_start_one_run(begun: Callable[..., Running], end: str) -> None:
    """The second one does not make it move again after the first run, however that ends."""
    robot = Grey()
    config = ServoConfig(gain=0.01, max_iterations=20) if end == "run ends" else LONG
    running = begun(robot, law=Steady(), config=config)
    running.take_target()
    with running.session._changed:  # both before the session has taken the first
        running.session.command("start")
        running.session.command("start")
    running.wait("moving")
    moving(robot)
    if end == "stop":
        running.session.command("stop")
    elif end == "keyboard closes":
        running.session.keyboard(io.BytesIO(b""))
    elif end == "fault":
        robot.fault = "protective stop"
    running.wait("stands still")
    robot.fault = ""
    running.wait("ready, the target is")
    stands_still(robot)
    assert any("said too early, and void: start" in line for line in running.lines) == (end in ("fault", "run ends"))
    running.tell("start", "moving")  # a new one counts
    moving(robot)


def test_a_start_said_before_the_target_is_shown_is_void(begun: Callable[..., Running]) -> None:
    robot = Grey()
    running = begun(robot, law=Steady(), config=LONG)
    running.wait("ready")
    with running.session._changed:
        running.session.command("target")
        running.session.command("start")
    running.wait("this view is the target")
    running.wait("said too early, and void: start")
    running.wait("ready, the target is")
    stands_still(robot)


def test_commands_expire_and_few_may_wait() -> None:
    robot, now = Grey(), [100.0]
    running = Running(robot, law=Steady(), config=LONG, clock=lambda: now[0], target=View(torch.rand(1, 3, 8, 8)))
    running.session.command("start")
    now[0] += 2.1
    running.start()
    assert "said 2.1 s ago, and is void" in running.wait("void")
    stands_still(robot)
    running.quit()
    idle = Running(Grey(), law=Steady())  # nobody takes its commands
    for _ in range(10_000):
        idle.session.command("target")
    assert len(idle.session._asked) == MOST
    said = list(idle.said.queue)
    assert len(said) == 10_000 - MOST
    assert said[0] == f"'target' is refused: {MOST} commands wait already"
    idle.session.command("quit")
    assert [asked.word for asked in idle.session._asked] == ["quit"], "what matters has a place always"
    idle.plant.close()


def test_a_stop_voids_a_start_that_waits(begun: Callable[..., Running]) -> None:
    robot = Grey()
    running = begun(robot, law=Steady(), config=LONG)
    running.take_target()
    with running.session._changed:
        running.session.command("start")
        running.session.command("stop")
    running.tell("target", "this view is the target")
    stands_still(robot)


def test_a_stop_said_while_the_law_is_made_ready_counts(begun: Callable[..., Running]) -> None:
    robot = Grey()

    class Slow(Steady):
        stop: Callable[[], None] = staticmethod(lambda: None)

        def aim(self, target: View) -> tuple[Law, State]:
            self.stop()
            return super().aim(target)

    law = Slow()
    running = begun(robot, law=law)
    law.stop = lambda: running.session.command("stop")  # type: ignore[method-assign]
    running.take_target()
    running.session.command("start")
    assert "'stop' was said" in running.wait("stands still after 0 iterations")
    assert robot.moves == 0


def test_errors_are_said_and_the_session_goes_on(begun: Callable[..., Running]) -> None:
    robot = Grey()
    running = begun(robot)
    latest = robot.latest
    robot.latest = lambda after, wait: None  # type: ignore[method-assign]  # the camera is gone
    running.tell("target", "error: camera: no image")
    robot.latest = latest  # type: ignore[method-assign]
    running.wait("ready")
    running.tell("target", "this view is the target")


def test_dry_runs_show_twists_and_move_nothing(begun: Callable[..., Running]) -> None:
    robot = Grey()
    config = ServoConfig(max_iterations=60, settle_v=1e-9, settle_w=1e-9)
    running = begun(robot, dry=True, dt=0.02, law=Steady(), config=config)
    running.take_target()
    running.tell("start", "dry run")
    assert "(not sent)" in running.wait("iteration")
    running.wait("stands still")
    assert robot.moves == robot.stops == 0


def test_what_is_shown_has_no_control_characters(begun: Callable[..., Running]) -> None:
    running = begun(Grey())
    said = running.tell("\x1b[2J\x1b]0;owned\x07\nsiame: stands still" + 10**6 * "x", "is not known")
    assert said.isprintable()
    assert len(said) < 120


@pytest.mark.parametrize("last", [b"", b"quit\n"])
def test_the_keyboard_may_send_anything(begun: Callable[..., Running], last: bytes) -> None:
    robot = Grey()
    running = begun(robot, law=Steady(), config=LONG)
    running.wait("ready")
    running.session.keyboard(io.BytesIO(b"st\xf6p\n\n" + 9000 * b"x" + b"\n" + last), alone=not last)
    assert "is not known" in running.wait("st\ufffdp")
    assert "is not known" in running.wait("'xxx")
    running.thread.join(10)
    assert not running.thread.is_alive(), "nobody is left who could command"


def test_a_keyboard_that_fails_is_a_fault(begun: Callable[..., Running]) -> None:
    class Broken(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            raise OSError("gone")

    robot = Grey()
    running = begun(robot, law=Steady(), config=LONG)
    running.take_target()
    running.tell("start", "moving")
    moving(robot)
    running.session.keyboard(Broken())
    assert "the keyboard is gone" in running.wait("stands still")
    stands_still(robot)
    running.wait("ready")
    running.session.command("start")
    assert "thread 'keyboard' failed (OSError: gone)" in running.wait("stands still after 0 iterations")


@pytest.mark.slow
def test_the_program_ends_while_the_keyboard_is_read() -> None:
    """Python aborts at its end where a thread reads sys.stdin itself."""
    code = """
from siame_se3.commissioning.session import Session
class Plant:
    def ask_to_stop(self, reason): print(reason)
    def watch(self, fault): self.fault = fault
plant = Plant()
session = Session(plant, None, None, None, say=print)
session.keyboard()
"""
    reading = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert reading.wait(120) == 0
    assert reading.stdin is not None
    assert reading.stdout is not None
    reading.stdin.close()
    reading.stdout.close()


class Alone:
    """A session in the main thread, where signals arrive."""

    def __init__(self, robot: Robot, at: dict[int, list[int]], config: ServoConfig = LONG) -> None:
        """at: signals to send at numbers of moves."""
        self.said: list[str] = []
        self.runs: list[Trajectory] = []
        self.plant = LivePlant(robot, robot, None, 0.01, 0.6)
        self.session = Session(
            *(self.plant, Steady(), config, SAFETY, View(torch.rand(1, 3, 8, 8)), self.said.append, self.runs.append)
        )
        latest = robot.latest

        def looked(after: float, wait: float) -> Frame | None:
            for number in at.pop(robot.moves, []):
                signal.raise_signal(number)
            return latest(after, wait)

        robot.latest = looked  # type: ignore[method-assign]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGQUIT"])
def test_signals_end_the_session_after_the_stop(name: str) -> None:
    robot = Grey()
    number = getattr(signal, name)
    before = signal.getsignal(number)
    alone = Alone(robot, {5: [number, number]})  # the second one skips nothing
    alone.session.command("start")
    with pytest.raises(Interrupted, match=name):
        alone.session.run()
    assert robot.moves == 5
    assert robot.stops >= 2
    assert alone.runs[0].reason[0] in ("Ctrl-C", name)
    assert signal.getsignal(number) == before
    alone.plant.close()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTSTP"])
def test_ctrl_c_ends_a_run_and_voids_what_was_asked(name: str) -> None:
    robot = Grey()
    alone = Alone(robot, {5: [getattr(signal, name)], 12: [signal.SIGTERM]})
    alone.session.command("start")
    alone.session.command("start")
    done: list[int] = []

    def again(trajectory: Trajectory) -> None:
        done.append(robot.moves)

    alone.session._done = again
    said = alone.said.append

    def say(line: str) -> None:
        said(line)
        if line.startswith("ready") and len(done) == 1:
            done.append(robot.moves)
            alone.session.command("start")  # asked for after it stood still

    alone.session._print = say
    with pytest.raises(Interrupted):
        alone.session.run()
    assert done == [5, 5, 12], "it moved by itself, or did not obey a new start"
    assert any("void: start" in line for line in alone.said)
    alone.plant.close()


def test_one_run_for_scripts() -> None:
    robot = Grey()
    alone = Alone(robot, {}, ServoConfig(gain=0.01, max_iterations=4))
    assert alone.session.run_once().reason == ["iterations"]
    assert int(alone.runs[0].iterations) == 4
    alone = Alone(Grey(), {3: [signal.SIGINT]})
    with pytest.raises(Interrupted):
        alone.session.run_once()
    assert len(alone.runs) == 1, "it is kept"
    alone.session.command("stop")
    with pytest.raises(RobotError, match="'stop' was said"):
        alone.session.run_once()


def test_targets_from_pictures(tmp_path: Path) -> None:
    robot = Robot()
    plant = LivePlant(robot, robot, None, 0.01, 0.6)
    image, _ = render(robot.scene, CAMERA, robot.T_wc[None])
    pixels = (255 * image[0]).round().byte().permute(1, 2, 0).numpy()[..., ::-1]
    wide = np.pad(pixels, ((0, 0), (30, 30), (0, 0)))
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    target = target_from(tmp_path / "wide.png", plant)
    assert target.image is not None
    assert target.image.shape == (1, 3, 224, 224)
    assert float((target.image - image).abs().max()) <= 0.5 / 255 + 1e-6
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
        with pytest.raises(InputError, match=words):
            target_from(tmp_path / name, plant)
    plant.close()


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_target_is_in_the_sensors_raster_however_the_camera_was_held(tmp_path: Path, orientation: int) -> None:
    robot = Robot()
    plant = LivePlant(robot, robot, None, 0.01, 0.6)
    pixels = np.random.default_rng(0).integers(0, 256, (224, 284, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name, tags in (("plain.png", Image.Exif()), ("tagged.png", exif)):
        Image.fromarray(pixels).save(tmp_path / name, exif=tags)
    plain, tagged = (target_from(tmp_path / name, plant).image for name in ("plain.png", "tagged.png"))
    assert plain is not None
    assert tagged is not None
    assert torch.equal(plain[0], as_image(pixels[:, 30:254]))
    assert torch.equal(tagged, plain)
    plant.close()


def test_a_target_in_a_file_with_its_depth(tmp_path: Path) -> None:
    """In the raster of the camera's pictures, or of their square."""
    robot = Robot()
    plant = LivePlant(robot, robot, None, 0.01, 0.6)
    cv2.imwrite(str(tmp_path / "target.png"), np.random.default_rng(0).integers(0, 256, (224, 284, 3), dtype=np.uint8))
    wide = np.linspace(0.3, 0.9, 224 * 284).reshape(224, 284).astype(np.float32)
    wide[:50, :50] = np.nan
    for depth in (wide, wide[:, 30:254]):
        target = target_from(tmp_path / "target.png", plant, depth)
        assert target.depth_map is not None
        np.testing.assert_array_equal(target.depth_map[0].numpy(), wide[:, 30:254])
    flat = target_from(tmp_path / "target.png", plant)
    assert flat.depth_map is None
    assert flat.distance is not None
    assert float(flat.distance[0]) == pytest.approx(0.6)
    with pytest.raises(
        InputError, match="depth map of 142 x 112 px; the camera's pictures have 284 x 224, their square 224 x 224"
    ):
        target_from(tmp_path / "target.png", plant, wide[::2, ::2])
    plant.close()


class Seeing:
    """A depth source; `depth` is what it gives."""

    def __init__(self) -> None:
        self.depth: Tensor | None = torch.full((8, 8), 0.5)
        self.depth[:2] = torch.nan

    def near(self, stamp: float, wait: float) -> Tensor | None:
        return self.depth


def test_this_view_is_the_target_with_its_depth(begun: Callable[..., Running]) -> None:
    source, seen = Seeing(), []

    class Noting(Steady):
        def aim(self, target: View) -> tuple[Law, State]:
            seen.append(target)
            return super().aim(target)

    running = begun(Grey(), law=Noting(), config=ServoConfig(gain=1.0, max_iterations=2))
    running.plant.depth_source = source
    running.wait("ready")
    assert running.tell("target", "this view is the target").endswith(
        "depth known in 75 % of it, 0.50 m (0.50 to 0.50)"
    )
    running.wait("ready")
    running.tell("start", "stands still")
    assert seen[0].depth_map is not None
    torch.testing.assert_close(seen[0].depth_map[0], source.depth, rtol=0, atol=0, equal_nan=True)
    # where none comes, the target stays what it was
    source.depth = None
    running.wait("ready")
    running.tell("target", "error: depth: no depth map near the image's time")
    running.wait("ready, the target is the view of")


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
