"""siame target: a goal's folder, from a robot's camera; with --scan its depth too."""

from __future__ import annotations

import contextlib
import math
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from siame_se3.cli.options import check_writable
from siame_se3.cli.output import command_line
from siame_se3.cli.robot import Robot
from siame_se3.commissioning.scan import ScanPattern
from siame_se3.commissioning.scan_depth import DepthSettings
from siame_se3.errors import InputError, RobotError
from siame_se3.plants.types import sound
from siame_se3.scenes.poses import Workspace
from siame_se3.servo.safety import Safety

if TYPE_CHECKING:
    from siame_se3.commissioning.scan import Scanned
    from siame_se3.plants.robots.live import LivePlant


@dataclass(frozen=True)
class Target:
    """Take the goal image from a robot's camera; with --scan its depth too.

    Put the camera where it is to come back to. The folder that is written (image, camera, depth) is the --target of 'siame live'. Without
    --scan nothing moves. With it the robot moves the camera around that place by --pattern.radius, after Enter (or --yes), and back; it has to
    report its pose (--ros2.pose, or --robot ur), and --hand-eye says where the camera is in it. --dry-run shows the places, and moves nothing.
    Ends with status 1 if the motion is stopped, with 2 and without a folder if the views do not determine a depth.
    """

    essential = (
        *("out", "scan", "depth", "pattern.radius", "yes", "dry_run"),
        *("robot.robot", "robot.host", "robot.ros2.pose", "robot.hand_eye"),
    )

    out: Path = Path("goal")
    """Folder to write."""
    force: bool = False
    """Replace a goal that has depths."""
    scan: bool = False
    """Find the image's depth by small motions around it."""
    depth: float = Workspace.distance
    """Distance from camera to scene, about [m]; depths from 0.4 to 2.5 times it are found."""
    pattern: ScanPattern = field(default_factory=ScanPattern)
    """The motion."""
    yes: bool = False
    """Do not ask before moving."""
    dry_run: bool = False
    """Show where the camera would go, send nothing, write nothing."""
    robot: Annotated[Robot, arg(name="")] = field(default_factory=Robot)
    """Which robot, which camera."""
    depths: DepthSettings = field(default_factory=DepthSettings)
    """What is assumed of poses, and accepted of depths."""
    safety: Safety = field(default_factory=Safety)
    """Limits, and when to stand still."""

    def __call__(self) -> int | None:
        from siame_se3.plants.robots.pulse import Pulse
        from siame_se3.plants.robots.signals import StopSignals

        with contextlib.ExitStack() as closing:
            asked = closing.enter_context(Pulse())  # before anything is loaded: by --yes it is asked to move now
            self._check()
            signals = closing.enter_context(StopSignals())
            plant, _ = self.robot.open(closing, self.depth, self.dry_run or not self.scan, self.safety)
            signals.stop = plant.ask_to_stop
            if self.scan and self.yes:
                plant.watch(asked.void)
            closing.callback(plant.stop)
            if self.scan:
                return self._scan(plant)
            view = plant.with_depth(sound(plant.reset(None)))
        from siame_se3.commissioning.goal_folder import Goal, write_goal
        from siame_se3.commissioning.targets import depths_of

        assert view.image is not None
        depth = None if view.depth_map is None else view.depth_map[0]
        write_goal(self.out, Goal(view.image[0], plant.camera, self.depth, depth, notes=self._notes()))
        print(f"written: {self.out}{depths_of(view)}; siame live --target {shlex.quote(str(self.out))}")
        return None

    def _check(self) -> None:
        """Refuse what cannot be, before anything is opened."""
        if self.dry_run and not self.scan:
            raise InputError(
                "nothing moves without a scan, and nothing is to be tried; leave the dry run out, or scan",
                "dry_run",
                "scan",
            )
        if self.scan and self.robot.robot == "none":
            raise InputError("a scan has to move the robot; give one", "robot")
        if self.scan and self.robot.hand_eye is None:
            raise InputError(
                "a scan needs the camera's place in the tool, whose pose the robot reports; give its file (zeros where that pose is the camera's)",
                "hand_eye",
            )
        if self.scan and self.robot.robot == "ros2" and not self.robot.ros2.pose:
            raise InputError("a scan needs the pose that the robot reports; give its topic", "ros2.pose")
        if not 0 < self.depth <= 1000:
            raise InputError(f"a distance of {self.depth:g} m; give metres, above 0", "depth")
        if self.scan:
            self.pattern.places(self.depth)
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"{self.out}: a file; give a folder", "out")
        if not self.dry_run:
            if (self.out / "depth.npz").exists() and not self.force:
                raise InputError(
                    f"{self.out}: there is a goal with its depths already; give another folder, or say that it may be replaced",
                    *("out", "force"),
                )
            check_writable(self.out / "goal.json", "--out")
        _ = self.robot.checked

    def _scan(self, plant: LivePlant) -> int | None:
        from siame_se3.commissioning.goal_folder import Goal, write_goal
        from siame_se3.commissioning.scan import check_box, check_plant_fits, pose_of, scan
        from siame_se3.plants.robots.text import printable
        from siame_se3.plants.robots.typed import wait_for_enter

        check_plant_fits(plant, self.pattern, self.safety)
        places = self.pattern.places(self.depth)
        check_box(pose_of(sound(plant.reset(None))), places, self.safety)
        turn = math.degrees(math.atan2(self.pattern.radius, self.depth))
        motion = f"{self.pattern.views} places around this one, {100 * self.pattern.radius:g} cm away, turned by {turn:.1f} deg"
        if self.dry_run:
            for number, T in enumerate(places, 1):
                x, y, z = (1e3 * T[:3, 3]).tolist()
                print(f"view {number}: {x:+.1f} {y:+.1f} {z:+.1f} mm in this camera's frame (not sent)")
            print(f"dry run: {motion}; nothing was sent")
            return None
        if not self.yes:
            wait_for_enter(f"the robot will move the camera to {motion}, and back; Enter to go on, Ctrl-C to leave ")
        try:
            found = scan(
                plant, self.depth, self.pattern, self.safety, self.depths, lambda line: print(line, flush=True)
            )
        except RobotError as error:
            print(f"siame: {printable(error)}", file=sys.stderr)
            with contextlib.suppress(OSError):  # it was made to see whether it can be written, and is empty
                self.out.rmdir()
            return 1
        assert found.goal.image is not None
        notes = {**self._notes(), **_found(found)}
        write_goal(self.out, Goal(found.goal.image[0], plant.camera, self.depth, found.map.depth, found.map.std, notes))
        print(_line(found))
        print(f"written: {self.out}; siame live --target {shlex.quote(str(self.out))}")
        return None

    def _notes(self) -> dict[str, object]:
        import time

        return {"command": command_line(), "time": time.strftime("%Y-%m-%d %H:%M:%S")}


def _found(found: Scanned) -> dict[str, object]:
    """What a scan says of itself, for the folder."""
    m = found.map
    return {
        "views": len(found.views),
        "T_gk": found.T_gk.tolist(),
        "filled": round(m.filled, 4),
        "relative_std": round(m.relative_std, 6),
        "noise": round(m.noise, 5),
        "poses_moved_m": round(m.moved_t, 6),
        "poses_moved_deg": round(math.degrees(m.moved_r), 4),
    }


def _line(found: Scanned) -> str:
    m = found.map
    distance = float(m.depth.nanmedian())
    return (
        f"depth of {100 * m.filled:.0f} % of the pixels, {float(m.depth.nan_to_num(9e9).min()):.3f} to {float(m.depth.nan_to_num(0).max()):.3f} m, "
        f"the median {distance:.3f} m, known to {100 * m.relative_std:.2f} %; the images moved the poses by up to {1e3 * m.moved_t:.2f} mm and "
        f"{math.degrees(m.moved_r):.2f} deg"
    )
