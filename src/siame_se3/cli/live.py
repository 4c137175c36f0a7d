"""siame live: a real robot; siame arm: the simulated one, on ROS 2's topics."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from siame_se3.cli.options import LawName, check_writable, goal_depth_of, load_model
from siame_se3.cli.output import Output, command_line
from siame_se3.cli.page import Served_at, page_of_robot
from siame_se3.cli.robot import Robot
from siame_se3.cli.run_files import PAGES, check_recording, numbered, recording_to, run_of, write_live_report
from siame_se3.commissioning.goal_folder import distance_of
from siame_se3.errors import InputError, RobotError, require_number, require_numbers
from siame_se3.files import doing
from siame_se3.geometry.camera import default_camera
from siame_se3.laws.reduced import LEAST, PIXELS, reduced
from siame_se3.laws.registry import controller_for
from siame_se3.page import server
from siame_se3.page.config import PageConfig
from siame_se3.plants.arm import ArmConfig
from siame_se3.plants.depth_camera import DepthCamera
from siame_se3.scenes.poses import Workspace
from siame_se3.scenes.registry import scene_for
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.safety import Safety

if TYPE_CHECKING:
    import numpy as np

    from siame_se3.commissioning.session import Session
    from siame_se3.laws.types import Controller, View
    from siame_se3.plants.robots.bus import Bus
    from siame_se3.plants.robots.live import LivePlant
    from siame_se3.servo.recordings.recorder import Recording
    from siame_se3.servo.trajectory import Trajectory


@dataclass(frozen=True)
class Live:
    """Move a real robot's camera to where a picture was taken.

    Nothing moves before 'start'. Type target (this view is it), start, stop, quit; or send them to a command topic (--ros2.command). Ctrl-C
    stops the robot. Begin with --dry-run, which shows everything and sends nothing, and with 'siame check'. The default limits are slow
    (--safety.max-twist). Without a robot: 'siame arm' in one terminal, 'siame live' in another. Exit status of --start: 0 settled; 1 not
    converged, or stopped during the run by safety or by a fault; 2 wrong input, or a device that does not answer; 130 interrupted.
    """

    essential = (
        *("law", "target", "goal_depth", "dry_run", "start"),
        *("robot.robot", "robot.host", "robot.camera_source", "robot.camera", "robot.hand_eye"),
    )

    model: Path | None = None
    """Model that 'siame train' wrote for the scene, or the name of a bundled one: coffee, any-scene (for scenes that no training has
    seen); without one the coarse law is auto."""
    law: LawName = "handoff"
    """As in 'siame servo'; those that need the simulator's poses are of no use here."""
    target: Path | None = None
    """The goal image, taken by this camera, or the folder of 'siame target'; without one, type 'target' at the goal."""
    goal_depth: Annotated[str, arg(aliases=["--depth"], metavar="M|FILE")] = ""
    """Distance from camera to scene at the desired place [m], or the depth map of --target: a PNG of 16 bits (mm), a TIFF or .npy (m), in the
    camera's raster. Default: what a goal's folder says, else what the model was trained for, else 0.6. Where 'target' is said, --ros2.depth gives the map."""
    goal_depth_scale: float | None = None
    """Metres a unit of that file; default: 0.001 of whole numbers, 1 of floating-point ones (TUM's PNG have 0.0002)."""
    dry_run: bool = False
    """Compute and show everything, send nothing."""
    start: bool = False
    """Start at once, and leave when the run ends (for scripts); needs --target."""
    save: Path | None = None
    """Write each run's twists and poses to this .npz (a number is added from the second on)."""
    report: Path | None = None
    """Write a page on each run with paths, curves, pictures and settings (.html; a number is added from the second on)."""
    record: Path | None = None
    """Write images, twists, poses and events of all runs to this .mcap, for 'siame replay' and Foxglove (pip install
    "siame-se3[record]")."""
    page: bool = False
    """Show it on a live page too. The page can always stop the robot; it can start it only after 'arm' is typed here (docs/page.md)."""
    served: Served_at = field(default_factory=PageConfig)
    """Where that page is served, and to whom."""
    robot: Annotated[Robot, arg(name="")] = field(default_factory=Robot)
    """Which robot, which camera."""
    safety: Safety = field(default_factory=Safety)
    """Limits, and when to stand still."""
    engine: str = "auto"
    """auto, torch, cuda, openvino or openvino-bf16."""
    image_size: int = PIXELS
    """Laws see the image with this many pixels a side, at most; 0: as the camera gives it. More of them take more time, and end no nearer."""
    servo: Annotated[ServoConfig, arg(name="")] = field(
        default_factory=lambda: ServoConfig(gain=2.0, max_iterations=2000)
    )
    """Gain and stop rules."""

    def __call__(self) -> None:
        import numpy as np

        from siame_se3.plants.robots.pulse import Pulse
        from siame_se3.plants.robots.signals import StopSignals
        from siame_se3.plants.robots.typed import in_a_terminal

        with contextlib.ExitStack() as closing:
            asked = closing.enter_context(Pulse())  # before anything is loaded: by --start it is asked to move now
            controller, depth = self._law()
            distance = depth if isinstance(depth, float) else float(np.nanmedian(depth))
            signals = closing.enter_context(StopSignals())
            recording = closing.enter_context(self._recording())
            plant, bus = self.robot.open(closing, distance, self.dry_run, self.safety)
            signals.stop = plant.ask_to_stop
            if self.start:
                plant.watch(asked.void)
            session = self._session(plant, bus, controller, depth if self.goal_depth else None, run_of(recording))
            keyboard = session.keyboard
            if self.page:
                show = closing.enter_context(page_of_robot(session, self.law, self.served, distance))
                keyboard = partial(keyboard, take=show.terminal, disarm=show.disarm)
            if not self.start:
                keyboard(alone=not (bus and self.robot.ros2.command))
                session.run()
                return
            if in_a_terminal():  # a script may have none
                keyboard()
            try:
                settled = session.run_once().reason[0] == "settled"
            except (RobotError, OSError) as error:
                session.say(f"error: {error}")
                settled = False
        if not settled:
            sys.exit(1)

    def _law(self) -> tuple[Controller, float | np.ndarray]:
        """The law, and the distance of the scene or the depth map of the goal [m]; what cannot be is refused before anything is opened."""
        if self.robot.robot == "none" and not self.dry_run:
            raise InputError("--robot none: nothing can move; add --dry-run")
        if self.start and self.target is None:
            raise InputError("--start: give the goal image too, --target FILE")
        if self.law == "neural" and self.model is None:
            raise InputError("--law neural: give --model FILE, or --model any-scene")
        check_writable(self.save, "--save")
        check_writable(self.report, "--report", PAGES)
        check_recording(self.record)
        if self.page:
            server.check(self.served)
        if self.image_size:
            require_number(self, "image_size", LEAST, whole=True)
        depth = self._depth()
        saved = distance_of(self.target) if self.target and self.target.is_dir() else None
        _ = self.robot.checked  # before networks are built, which takes seconds
        model = load_model(self.model) if self.model else None
        with doing(f"preparing the law {self.law} (engine {self.engine})"):
            controller = reduced(controller_for(self.law, model, self.engine), self.image_size)
        if {"pose"} & controller.needs:
            raise InputError(
                f"--law {self.law}: needs the simulator's poses; take handoff, auto, neural, dvs or another"
            )
        if depth is not None:
            return controller, depth
        return controller, saved or (model.distance if model else Workspace.distance)

    def _depth(self) -> float | np.ndarray | None:
        """Of --goal-depth.

        Raises:
            InputError: neither a number nor a depth map, or a map without a picture that it belongs to.
        """
        if any(word.split("=")[0] == "--depth" for word in sys.argv):
            print("siame: --depth is called --goal-depth now; the old name goes with the next version", file=sys.stderr)
        if not self.goal_depth:
            return None
        depth = goal_depth_of(self.goal_depth, self.goal_depth_scale)
        if not isinstance(depth, float) and self.target is None:
            raise InputError(f"--goal-depth {self.goal_depth}: give the picture that it belongs to too, --target FILE")
        return depth

    def _recording(self) -> contextlib.AbstractContextManager[Recording | None]:
        """The recording, opened before the robot and closed after it."""
        from siame_se3.servo.recordings.laws import description

        law = description(self.law, self.model, self.engine, image_size=self.image_size) if self.record else {}
        return recording_to(self.record, law, wait=False)

    def _session(
        self,
        plant: LivePlant,
        bus: Bus | None,
        controller: Controller,
        depth: float | np.ndarray | None,
        make_run: Callable[..., Trajectory],
    ) -> Session:
        """The session, which shows its lines here and on the status topic, and hears the command topic."""
        from siame_se3.commissioning.keyboard import Words
        from siame_se3.commissioning.session import Session
        from siame_se3.commissioning.targets import target_from
        from siame_se3.plants.robots.bus import messages
        from siame_se3.servo.recordings.pictures import Pictures

        topics, runs = self.robot.ros2, itertools.count()
        shown = bus.publisher(topics.status, messages().String) if bus and topics.status else None

        def say(line: str) -> None:
            print(line, flush=True)
            if shown:
                shown(messages().String(line))

        pictures = Pictures(make_run)

        def done(trajectory: Trajectory) -> None:
            number, output = next(runs), Output()
            output.write(self.save and numbered(self.save, number), trajectory.save)
            output.write(
                self.report and numbered(self.report, number),
                lambda path: write_live_report(path, trajectory, pictures, plant.camera),
            )
            for name in output.written:
                say(f"written: {name}")
            if output.failed:
                raise InputError("; ".join(output.failed))

        settings = {
            "command": command_line(),
            "law": self.law,
            "safety": dataclasses.asdict(self.safety),
        }
        target = target_from(self.target, plant, depth, say) if self.target else None
        session = Session(
            *(plant, controller, self.servo, self.safety, target, say, done, settings),
            target_name=self.target.name if self.target else "",
            make_run=pictures.servo if self.report else make_run,
        )
        if bus and topics.command:
            words = Words("commands", session.heard)
            plant.watch(lambda: words.fault)
            by_header = topics.stamps == "header"  # else clocks do not agree
            bus.commands(topics.command, lambda word, age: words.put(word, age if by_header else 0.0))
        return session


@dataclass(frozen=True)
class Arm:
    """Serve a simulated arm over ROS 2, as a robot to try 'siame live' on.

    Topics: /camera/image_raw, /camera/camera_info, /arm/tool_pose, and /arm/twist, which it obeys for 0.1 s; with --depth camera also
    /camera/aligned_depth_to_color/image_raw. The picture from the desired pose is written to a file, for the --target of 'siame live'.
    """

    essential = ("scene", "width", "distance", "target", "depth", "seconds")

    scene: Path | None = None
    """Photo of the print; default: the bundled one. Or what 'siame servo' takes as a --scene: an MJCF file, a folder of meshes, relief, objects."""
    width: float = 0.8
    """Of the scene [m]."""
    depth: Literal["none", "camera"] = "none"
    """camera: a depth camera beside it, aligned, with noise and holes; what it measures at the desired pose is written to a PNG beside the
    goal image, for the --goal-depth of 'siame live'."""
    distance: float = Workspace.distance
    """Of the desired camera [m]."""
    start_from: tuple[float, float, float, float, float, float] = (0.08, -0.06, 0.03, 0.1, -0.08, 0.25)
    """Start pose c*Tc: tx ty tz [m], theta u [rad]."""
    target: Path = Path("target.png")
    """Where the goal image is written."""
    image_size: int = 224
    """Of the camera [px]."""
    seconds: float = 0.0
    """End after this time; 0: at Ctrl-C."""
    bus: Literal["auto", "rclpy", "dds"] = "auto"
    """As in 'siame live'."""
    domain: int | None = None
    """Default: ROS_DOMAIN_ID, else 0."""
    arm: ArmConfig = field(default_factory=ArmConfig)
    """Light, latency, noise, what is wrong about hand-eye transform and focal length."""
    depth_camera: DepthCamera = field(default_factory=DepthCamera)
    """Of --depth camera."""

    def __post_init__(self) -> None:
        require_numbers(self, "start_from", 6)

    def __call__(self) -> None:
        import time

        import torch

        from siame_se3.analysis.report import small
        from siame_se3.geometry import lie
        from siame_se3.plants.arm import ArmPlant
        from siame_se3.plants.robots.buses import bus_for
        from siame_se3.plants.robots.served import ArmServer
        from siame_se3.scenes.poses import reference_pose

        check_writable(self.target, "--target")
        goal = reference_pose(Workspace(distance=self.distance).distance)  # which refuses what is none
        depth_camera = self.depth_camera if self.depth == "camera" else None
        with doing("building the arm and its scene"):
            scene = scene_for(self.scene, self.width)
            arm = ArmPlant(scene, default_camera(self.image_size), self.arm, depth_camera=depth_camera)
        with contextlib.ExitStack() as closing:
            closing.callback(arm.close)
            replaced = self.target.exists()
            given = self._write_target(arm.look(goal[None]))
            print(f"{'replaced' if replaced else 'written'}: {self.target}", flush=True)
            start = goal @ lie.pose_from_vector(torch.tensor(self.start_from, dtype=torch.float64))
            arm.reset(start[None])
            bus = bus_for(self.bus, self.domain)
            closing.callback(bus.close)
            until = time.monotonic() + (self.seconds or float("inf"))
            print(f"serving; in another terminal: siame live {given}", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                ArmServer(bus, arm).run(lambda: time.monotonic() < until)
            t, r = lie.error_norms(lie.inverse(goal) @ arm.T_wc)
            print(f"left {small(1e3 * float(t))} mm and {small(math.degrees(float(r)), 3)} deg from the desired pose")

    def _write_target(self, desired: View) -> str:
        """The goal image, and its depth where it has a map; the options that give them to 'siame live'."""
        from siame_se3.images.decode import as_pixels
        from siame_se3.images.encode import millimetres, write_picture

        assert desired.image is not None
        write_picture(self.target, as_pixels(desired.image[0]))
        given = f"--target {shlex.quote(str(self.target))}"
        if desired.depth_map is not None:
            depth = self.target.with_name(f"{self.target.stem}-depth.png")
            write_picture(depth, millimetres(desired.depth_map[0].numpy()))
            given += f" --goal-depth {shlex.quote(str(depth))}"
        return given
