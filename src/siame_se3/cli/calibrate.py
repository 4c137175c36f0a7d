"""siame calibrate camera | hand-eye | board; siame check: what a real robot needs before it moves."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from siame_se3.cli.options import LawName, check_writable, load_model
from siame_se3.cli.output import Output
from siame_se3.cli.robot import Robot
from siame_se3.commissioning.boards import Board
from siame_se3.errors import InputError, RobotError, SiameError
from siame_se3.files import doing
from siame_se3.servo.safety import Safety

if TYPE_CHECKING:
    from siame_se3.laws.types import Controller


@dataclass(frozen=True)
class Calibrate:
    """Calibrate a camera, and its mounting on the robot, from pictures.

    camera: from a folder of pictures (15 or so, the board tilted, near and far, in all corners) to a ROS camera_info YAML.
    hand-eye: from pictures of a board that lies still, and the robot's poses (a CSV with lines picture,x,y,z,rx,ry,rz: the tool in the
    base's frame, metres, rotation vector in radians; or files of ViSP, easy_handeye2 or MoveIt), to the YAML that --hand-eye takes; a CSV
    needs --pictures and --camera, files that have the board's poses too need neither. board: the board as a picture. Ends with status 2 and writes nothing where the pictures do not determine the result, or
    contradict each other.
    """

    essential = ("what", "pictures", "out", "camera", "poses", "board.columns", "board.rows", "board.square")

    what: Positional[Literal["camera", "hand-eye", "board"]]
    """Which."""
    pictures: Path = Path("pictures")
    """Folder of the pictures."""
    out: Path | None = None
    """File to write; default: camera.yaml, hand-eye.yaml or board.png."""
    board: Board = field(default_factory=Board)
    """The board."""
    lens: Literal["plumb_bob", "equidistant"] = "plumb_bob"
    """Of camera: an ordinary lens, or a fisheye."""
    camera: Path | None = None
    """Of hand-eye: the camera's YAML."""
    poses: Path | None = None
    """Of hand-eye: the robot's poses: a CSV, ViSP's folder of pose_fPe_*.yaml, or samples of easy_handeye2 or MoveIt."""
    rectified: bool = False
    """Of hand-eye: the pictures are rectified already (image_rect): P of the camera's YAML holds for them, not K and D."""
    eye_in_hand: bool = False
    """Of hand-eye: the camera is on the tool, though poses in a frame near the board look as if it stood beside the robot."""
    json: bool = False
    """Print the result as JSON; what is for people goes to standard error."""

    def __call__(self) -> None:
        out = self.out or Path({"camera": "camera.yaml", "hand-eye": "hand-eye.yaml", "board": "board.png"}[self.what])
        check_writable(out, "--out")
        if self.what != "board":
            self._check_no_input(out)
        output, there = Output(self.json), out.is_file()
        result = {"camera": self._camera, "hand-eye": self._hand_eye, "board": self._board}[self.what](out, output)
        output.wrote(out)
        if there:
            output.say(f"replaced: {out}")
        output.end(result, quiet=there or self.what == "board")

    def _check_no_input(self, out: Path) -> None:
        """Refuse to write over what is read.

        Raises:
            InputError: naming the input.
        """
        if not out.is_file():
            return
        names = ("pictures", "camera", "poses") if self.what == "hand-eye" else ("pictures",)
        for name in names:
            given: Path | None = getattr(self, name)
            if given is not None and given.exists() and (out.samefile(given) or _among(out, given)):
                raise InputError(f"{out}: the file to write is read too, by --{name}; give another place", "out")

    def _board(self, out: Path, output: Output) -> dict[str, Any]:
        from siame_se3.images.encode import write_picture

        pixels = 60  # a square
        write_picture(out, self.board.picture(pixels), dpi=pixels / (1000 * self.board.square / 25.4))
        across, down = self.board.size
        output.say(
            f"{out}: print it at 100 %: the board is {1000 * across:g} x {1000 * down:g} mm then; measure a square, and give --board.square in metres"
        )
        kept = dataclasses.asdict(self.board).items()
        given = [f"--board.{name} {value}" for name, value in kept if value != getattr(Board, name)]
        output.say(f"next: siame calibrate camera --pictures FOLDER {' '.join(given)}".rstrip())
        return {"size_m": self.board.size, "board": self.board}

    def _camera(self, out: Path, output: Output) -> dict[str, Any]:
        from siame_se3.commissioning import boards
        from siame_se3.commissioning.camera import calibrate_camera

        paths = boards.pictures(self.pictures)
        with doing(f"looking for the board in {len(paths)} pictures of {self.pictures}"):
            seen = boards.look(paths, self.board, least=5)
        with doing("fitting the camera"):
            fit = calibrate_camera(seen, self.lens)
        for k, (s, error, moved) in enumerate(zip(seen, fit.errors, fit.influence, strict=True)):
            far = "  (WARNING: the others contradict it: blurred, zoomed, or badly found?)" if k in fit.odd else ""
            output.say(
                f"{s.path.name}: {error:.3f} px; without it fx moves by {moved[0]:+.2f} px, cx by {moved[2]:+.2f} px{far}"
            )
        for path in sorted({*paths} - {s.path for s in seen}):
            output.say(f"{path.name}: board not found")
        fit.camera.to_yaml(out)
        values = (fit.camera.fx, fit.camera.fy, fit.camera.cx, fit.camera.cy)
        named = zip(("fx", "fy", "cx", "cy"), values, fit.std, strict=True)
        output.say(
            ", ".join(f"{name} {value:.2f} +- {std:.2f}" for name, value, std in named)
            + f" px; {fit.rms:.3f} px unexplained over {len(seen)} pictures; rectified corners and edges +- {fit.edges_std:.2g} px"
        )
        if fit.loose:
            output.say(
                "WARNING: the lens is hardly determined there: show the board in the corners and at the edges too"
            )
        return {
            "camera": fit.camera,
            "std_px": dict(zip(("fx", "fy", "cx", "cy"), map(float, fit.std), strict=False)),
            "rms_px": float(fit.rms),
            "edges_std_px": float(fit.edges_std),
            "errors_px": {s.path.name: float(error) for s, error in zip(seen, fit.errors, strict=True)},
            "not_found": [path.name for path in sorted({*paths} - {s.path for s in seen})],
        }

    def _hand_eye(self, out: Path, output: Output) -> dict[str, Any]:
        from siame_se3.commissioning.hand_eye_data import hand_eye_of_boards, hand_eye_of_pictures
        from siame_se3.commissioning.hand_eye_file import hand_eye_to_yaml

        if self.poses is None:
            raise SiameError("calibrate hand-eye: give --camera camera.yaml and --poses poses.csv")
        with doing(f"fitting the camera's mounting to {self.poses}"):
            if self.camera is None:
                if self.rectified:
                    raise InputError("rectified pictures need the camera's calibration; give it", "camera")
                names, fit, notes = hand_eye_of_boards(self.poses, self.eye_in_hand)
            else:
                given = (self.poses, self.pictures, self.camera, self.board, self.rectified, self.eye_in_hand)
                names, fit, notes = hand_eye_of_pictures(*given)
        for note in notes:
            output.say(note)
        if fit.places < len(names):
            output.say(
                f"{len(names)} pictures from {fit.places} places of the tool: {len(names) - fit.places} are copies, and do not count"
            )
        for k, (name, residual, moved) in enumerate(
            zip(names, fit.residuals.tolist(), fit.influence.tolist(), strict=True)
        ):
            far = (
                "  (WARNING: the others contradict it: was its pose read while the robot moved?)"
                if k in fit.odd
                else ""
            )
            output.say(
                f"{name}: {1000 * residual[0]:.2f} mm, {math.degrees(residual[1]):.3f} deg; without it the camera moves by "
                f"{1000 * moved[0]:.2f} mm, {math.degrees(moved[1]):.3f} deg{far}"
            )
        std = f"{1000 * max(fit.std_t):.2f} mm, {math.degrees(max(fit.std_r)):.3f} deg"
        spread = f"{1000 * fit.spread.t:.2f} mm, {math.degrees(fit.spread.r):.3f} deg"
        hand_eye_to_yaml(
            fit.T_tc, out, f"{len(names)} pictures; standard deviation {std}; the board's place differs by {spread}"
        )
        output.say(f"camera in tool: {fit.line()}; standard deviation {std}")
        output.say(
            f"the board's place differs by {spread} over {len(names)} pictures; squares {fit.scale:.3f} +- {fit.scale_std:.3f} times as large would fit best"
        )
        if fit.misfit:
            output.say(
                f"WARNING: with such squares the camera moves by {1000 * fit.scale_moves:.1f} mm: measure a square, and check that the camera's calibration is of "
                "this image size"
            )
        return {
            "T_tc": fit.T_tc.tolist(),
            "std_t_m": max(map(float, fit.std_t)),
            "std_r_rad": max(map(float, fit.std_r)),
            "squares_scale": float(fit.scale),
            "squares_scale_std": float(fit.scale_std),
            "residuals_m_rad": dict(zip(names, fit.residuals.tolist(), strict=True)),
            "notes": list(notes),
        }


def _among(file: Path, folder: Path) -> bool:
    """Whether a file is one of a folder's pictures, or of its files of poses, which are numbered."""
    from siame_se3.commissioning.boards import ENDINGS

    ending = file.suffix.lower()
    inside = folder.is_dir() and file.resolve().parent == folder.resolve()
    return inside and (ending in ENDINGS or (ending in (".yaml", ".yml") and file.stem[-1:].isdecimal()))


@dataclass(frozen=True)
class Check:
    """Find wrong axes, colours and calibrations of a robot by small motions.

    Put the camera where the scene fills its view. The robot moves by 3 cm and 4 deg along and about each axis and back, slowly, after Enter
    (or --yes). Ends with status 1 if something is wrong, or a motion was stopped.
    """

    essential = (
        *("robot.robot", "robot.host", "robot.camera_source", "robot.source", "robot.camera", "robot.hand_eye"),
        *("depth", "photo", "target", "yes"),
    )

    robot: Annotated[Robot, arg(name="")] = field(default_factory=Robot)
    """Which robot, which camera."""
    depth: float = 0.6
    """Distance from camera to scene, about [m]."""
    photo: Path | None = None
    """Photo of the scene, to check the colours against."""
    target: Path | None = None
    """The goal image, taken by this camera: the law is asked for the way there, and how sure it is."""
    law: LawName = "handoff"
    """That is asked, as in 'siame live'."""
    model: Path | None = None
    """As in 'siame live'."""
    translation: float = 0.03
    """Of the test motions [m]."""
    rotation: float = 4.0
    """Of the test motions [deg]."""
    yes: bool = False
    """Do not ask before moving."""
    safety: Safety = field(default_factory=Safety)
    """Limits, and when to stand still."""
    json: bool = False
    """Print the result as JSON; what is for people goes to standard error."""

    def __call__(self) -> None:
        from siame_se3.commissioning import check
        from siame_se3.commissioning.diagnosis import diagnose
        from siame_se3.commissioning.targets import target_from
        from siame_se3.plants.robots.pulse import Pulse
        from siame_se3.plants.robots.signals import StopSignals
        from siame_se3.plants.robots.text import printable
        from siame_se3.plants.robots.typed import wait_for_enter
        from siame_se3.plants.types import sound

        output = Output(self.json)
        with contextlib.ExitStack() as closing:
            asked = closing.enter_context(Pulse())  # before anything is loaded: by --yes it is asked to move now
            self._check()
            controller = self._controller() if self.target else None
            signals = closing.enter_context(StopSignals())
            plant, _ = self.robot.open(closing, self.depth, safety=self.safety)
            signals.stop = plant.ask_to_stop
            if self.yes:
                plant.watch(asked.void)
            closing.callback(plant.stop)
            findings = [check.colours(sound(plant.reset(None)), self.photo)] if self.photo else []
            if controller and self.target:
                target = target_from(self.target, plant, say=output.say)
                findings.append(check.law_at(controller, target, sound(plant.reset(None))))
            if not self.yes:
                wait_for_enter(
                    f"the robot will move by {100 * self.translation:g} cm and {self.rotation:g} deg; Enter to go on, Ctrl-C to leave "
                )
            motions = check.Motions(self.translation, math.radians(self.rotation))
            try:
                seen = check.move(plant, motions, self.safety, output.say)
            except RobotError as error:
                print(f"siame: {printable(error)}", file=sys.stderr)
                sys.exit(1)
            T_tc = self.robot.hand_eye_pose()
            findings += diagnose(seen, plant.camera, self.depth, T_tc)
        for finding in findings:
            output.say(("WRONG  " if finding.wrong else "ok     ") + finding.text)
        output.end({"findings": findings})
        if any(finding.wrong for finding in findings):
            sys.exit(1)

    def _check(self) -> None:
        """Refuse what cannot be, before anything is opened."""
        if self.robot.robot == "none":
            raise SiameError("check: it has to move the robot; give --robot ros2 or ur")
        if not (0.005 <= self.translation <= 0.2 and 1 <= self.rotation <= 15 and self.depth > 0):
            raise SiameError(
                "check: give --translation from 0.005 to 0.2 m, --rotation from 1 to 15 deg, --depth above 0"
            )
        _ = self.robot.checked  # before networks are built, which takes seconds
        for name, path in (("photo", self.photo), ("target", self.target)):
            if path is not None and not path.exists():
                raise InputError(f"{path}: no such file; give a picture", name)

    def _controller(self) -> Controller:
        """The law that is asked.

        Raises:
            InputError: it needs a model, or poses that no robot knows.
        """
        from siame_se3.laws.reduced import reduced
        from siame_se3.laws.registry import controller_for

        if self.law == "neural" and self.model is None:
            raise InputError("--law neural: give --model FILE, or --model any-scene")
        model = load_model(self.model) if self.model else None
        with doing(f"preparing the law {self.law}"):
            controller = reduced(controller_for(self.law, model))
        if "pose" in controller.needs:
            raise InputError(
                f"--law {self.law}: needs the simulator's poses; take handoff, auto, neural, dvs or another"
            )
        return controller
