"""siame calibrate camera | hand-eye | board; siame check: what a real robot needs before it moves."""

from __future__ import annotations

import contextlib
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from siame_se3.cli.options import check_writable
from siame_se3.cli.robot import Robot
from siame_se3.commissioning.calibration import Board
from siame_se3.errors import SiameError
from siame_se3.servo.guard import Safety


@dataclass(frozen=True)
class Calibrate:
    """Calibrate a camera from pictures of a board, or where it sits in the robot's hand; or write a board to print.

    camera: from a folder of pictures (15 or so, the board tilted, near and far, in all corners) to a ROS camera_info YAML.
    hand-eye: from pictures of a board that lies still, and a CSV of the robot's poses (picture,x,y,z,rx,ry,rz: the tool in the base's
    frame, metres, rotation vector in radians), to the YAML that --hand-eye takes; it needs --camera. board: the board as a picture.
    """

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
    """Of hand-eye: CSV of the robot's poses."""

    def __call__(self) -> None:
        import cv2

        from siame_se3.commissioning import calibration
        from siame_se3.geometry import lie
        from siame_se3.geometry.camera import Camera

        out = self.out or Path({"camera": "camera.yaml", "hand-eye": "hand-eye.yaml", "board": "board.png"}[self.what])
        check_writable(out, "--out")
        if self.what == "board":
            if not cv2.imwrite(str(out), self.board.picture()):
                raise SiameError(f"--out {out}: cannot be written; give a .png")
            print(f"{out}: print it, measure a square, and give --board.square in metres")
            return
        paths = calibration.pictures(self.pictures)
        if self.what == "camera":
            seen = calibration.look(paths, self.board)
            camera, rms, errors = calibration.calibrate_camera(seen, self.lens)
            for s, error in zip(seen, errors, strict=True):
                print(
                    f"{s.path.name}: {error:.3f} px"
                    + ("  (far off: blurred, or badly found?)" if error > 3 * rms else "")
                )
            for path in sorted({*paths} - {s.path for s in seen}):
                print(f"{path.name}: board not found")
            camera.to_yaml(out)
            print(
                f"fx {camera.fx:.2f}, fy {camera.fy:.2f}, cx {camera.cx:.2f}, cy {camera.cy:.2f} px; {rms:.3f} px unexplained over {len(seen)} pictures"
            )
            print(f"written: {out}")
            return
        if self.camera is None or self.poses is None:
            raise SiameError("calibrate hand-eye: give --camera camera.yaml and --poses poses.csv")
        camera = Camera.from_yaml(self.camera)
        poses = calibration.read_poses(self.poses)
        used = [s for s in calibration.look(paths, self.board) if s.path.name in poses]
        if used and used[0].size != camera.size:
            raise SiameError(
                f"{used[0].path}: {used[0].size[1]} x {used[0].size[0]} px, the camera is calibrated for {camera.width} x {camera.height}"
            )
        T_tc, t, r = calibration.calibrate_hand_eye(
            [poses[s.path.name] for s in used], [calibration.board_pose(s, camera) for s in used]
        )
        calibration.hand_eye_to_yaml(T_tc, out)
        p = lie.vector_from_pose(T_tc).tolist()
        print(
            f"camera in tool: {', '.join(f'{1000 * x:.1f}' for x in p[:3])} mm; rotation vector {', '.join(f'{math.degrees(x):.2f}' for x in p[3:])} deg"
        )
        print(f"the board's place differs by {1000 * t:.2f} mm, {math.degrees(r):.3f} deg over {len(used)} pictures")
        print(f"written: {out}")


@dataclass(frozen=True)
class Check:
    """Look at live frames and small test motions, and say whether axes, colours, hand-eye transform and intrinsics are right.

    Put the camera where the scene fills its view. The robot moves by 3 cm and 4 deg along and about each axis and back, slowly, after Enter
    (or --yes). Ends with status 1 if something is wrong.
    """

    robot: Annotated[Robot, arg(name="")] = field(default_factory=Robot)
    """Which robot, which camera."""
    depth: float = 0.6
    """Distance from camera to scene, about [m]."""
    photo: Path | None = None
    """Photo of the scene, to check the colours against."""
    translation: float = 0.03
    """Of the test motions [m]."""
    rotation: float = 4.0
    """Of the test motions [deg]."""
    yes: bool = False
    """Do not ask before moving."""
    safety: Safety = field(default_factory=Safety)
    """Limits, and when to stand still."""

    def __call__(self) -> None:
        from siame_se3.commissioning import check
        from siame_se3.plants.robots.signals import StopSignals

        if self.robot.robot == "none":
            raise SiameError("check: it has to move the robot; give --robot ros2 or ur")
        if not (0.005 <= self.translation <= 0.2 and 1 <= self.rotation <= 15 and self.depth > 0):
            raise SiameError(
                "check: give --translation from 0.005 to 0.2 m, --rotation from 1 to 15 deg, --depth above 0"
            )
        with contextlib.ExitStack() as closing:
            signals = closing.enter_context(StopSignals())
            plant, _ = self.robot.open(closing, self.depth)
            signals.stop = plant.ask_to_stop
            closing.callback(plant.stop)
            findings = [check.colours(plant.reset(None), self.photo)] if self.photo else []
            if not self.yes:
                input(
                    f"the robot will move by {100 * self.translation:g} cm and {self.rotation:g} deg; Enter to go on, Ctrl-C to leave "
                )
            motions = check.Motions(self.translation, math.radians(self.rotation))
            seen = check.move(plant, motions, self.safety, lambda line: print(line, flush=True))
            T_tc = self.robot.hand_eye_pose()
            findings += check.diagnose(seen, plant.camera, self.depth, T_tc)
        for finding in findings:
            print(("WRONG  " if finding.wrong else "ok     ") + finding.text)
        if any(finding.wrong for finding in findings):
            sys.exit(1)
