"""siame servo: runs of a law in simulation, and their table."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import arg

from siame_se3.cli.advice import Asked, advise
from siame_se3.cli.options import (
    FIGURES,
    LawName,
    PlantName,
    camera_of,
    check_seed,
    check_writable,
    fill_of,
    goal_depth_of,
    load_model,
    plant_name,
)
from siame_se3.cli.output import Output, command_line
from siame_se3.cli.page import Page, Served_at
from siame_se3.cli.run_files import (
    PAGES,
    VIDEOS,
    check_recording,
    recording_to,
    run_of,
    write_run_report,
    write_run_video,
)
from siame_se3.cli.status import Status
from siame_se3.cli.stopped import say_keeping, say_kept
from siame_se3.errors import InputError, LawError, SceneError
from siame_se3.files import BUNDLED_MODEL, BUNDLED_PHOTO, bundled, doing, hardware, model_file
from siame_se3.geometry.camera import default_camera
from siame_se3.laws.certainty import described
from siame_se3.laws.light import LightDVS
from siame_se3.laws.matched import MatchedPoints
from siame_se3.laws.photometric import DVS
from siame_se3.laws.registry import REGISTRY as LAWS
from siame_se3.laws.registry import controller_for
from siame_se3.page.config import PageConfig
from siame_se3.plants.arm import ArmConfig
from siame_se3.plants.depth_camera import DepthCamera
from siame_se3.plants.registry import REGISTRY as PLANTS
from siame_se3.plants.registry import plant_for
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.poses import Workspace, starts_from_csv
from siame_se3.scenes.registry import scene_for
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.safety import Safety
from siame_se3.servo.simulation import Task, simulate, simulate_on_arm

if TYPE_CHECKING:
    import torch

    from siame_se3.analysis.metrics import Row
    from siame_se3.geometry.camera import Camera
    from siame_se3.laws.types import View
    from siame_se3.networks.checkpoint import Model
    from siame_se3.plants.arm import ArmPlant
    from siame_se3.scenes.types import Scene
    from siame_se3.servo.trajectory import Trajectory


# options that a live page has too
_OF_PAGE = ("scene", "model", "width", "distance", "camera", "fov", "law", "fill", "plant", "arm", "engine", "servo")


@dataclass(frozen=True)
class Servo:
    """Run a law from many start poses in simulation; print how well it ends.

    Without options: the bundled model over the bundled photo. A table of the runs, their trajectories and a figure are written
    where it is asked to. Exit status 1 if no run converged.
    """

    essential = ("model", "scene", "width", "law", "runs", "servo.gain", "figure")

    model: Path | None = None
    """Model that 'siame train' wrote, or the name of a bundled one: coffee (of the bundled photo, the default without --scene),
    any-scene (for photos that no training has seen)."""
    scene: Path | None = None
    """Photo of the scene; default: the bundled one. Or an MJCF file of MuJoCo (.xml), a folder of meshes that are dropped on a table, relief or
    objects (drawn ones), or a scene that a package brings: its name, or package.module:Name."""
    heights: Path | None = None
    """Height map over the photo: an NPY in metres, or a grey picture, with --tallest."""
    tallest: float | None = None
    """Height of the highest place of --heights [m]."""
    relief: float = 0.0
    """Draw boxes, cylinders, steps and hills under the photo, this share of the distance high."""
    depth: Literal["plane", "map", "camera", "scan"] = "plane"
    """What the goal image and the views know of their depths. plane: the distance to the print or table; map: the true depth of each pixel;
    camera: what a depth camera measures, with its noise and holes; scan: what the arm finds around each goal with its own camera (--plant arm)."""
    width: float | None = None
    """Width of the scene [m]; default: what the model was trained for, else 0.8."""
    distance: float | None = None
    """Distance of the desired camera from the scene [m]; default: what the model was trained for, else 0.6."""
    goal_depth: Annotated[str, arg(metavar="M|FILE")] = ""
    """What the law is given as the goal image's depth, instead of the scene's own: a distance [m], or a depth map of the goal image's raster (PNG of
    16 bits in mm, TIFF or .npy in m), where all starts have one goal."""
    goal_depth_scale: float | None = None
    """Metres a unit of that file; default: 0.001 of whole numbers, 1 of floating-point ones."""
    camera: Path | None = None
    """ROS camera_info YAML; default: the camera that the model was trained for, else f = 300 px at 224 x 224 px (41 deg)."""
    fov: float | None = None
    """Or its field of view across the (square) image [deg]."""
    law: LawName = "handoff"
    """handoff: the network (auto for a --scene without --model), then dvs-light; auto: guesses by points, network and search, each
    verified, for scenes that no network knows; neural: the network alone; dvs, dct:
    photometric, on pixels or their DCT; dvs-light: photometric, with lamps, gain and bias fitted along with the motion; pbvs-sift,
    pbvs-orb, ibvs-sift, ibvs-orb: matched points; pbvs, ibvs, 2.5d: laws that know the simulator's poses. Or a law of your own:
    package.module:Name."""
    runs: int = 1000
    """How many starts."""
    seed: int = 7
    """Of starts and conditions."""
    starts_from: str = "table1"
    """'table1' (12.5 +- 7.5 cm, 17.5 +- 12 deg), 'wide' (46 +- 17 cm, 74 +- 28 deg), or a CSV: one start a line,
    tx,ty,tz,tux,tuy,tuz of the current camera in the desired camera's frame (c*Tc), metres and radians."""
    perturb: bool = False
    """Put light spots, gain, bias, white balance, sensor noise and one occluding patch of up to 15 % of the image on each run."""
    out: Path | None = None
    """Write one line a run to this CSV."""
    save: Path | None = None
    """Write poses, twists and settings of all runs to this .npz."""
    figure: Path | None = None
    """Write a figure (.png, .pdf or .svg)."""
    json: bool = False
    """Print the result as JSON; what is for people goes to standard error."""
    report: Path | None = None
    """Write a page with table, paths, curves, pictures and settings, which opens without a network (.html)."""
    video: Path | None = None
    """Write a video of one run: current, goal and difference image, and the errors (.mp4 or .gif)."""
    record: Path | None = None
    """Write images, twists, poses and events of each run to this .mcap, for 'siame replay' and Foxglove (pip install
    "siame-se3[record]"). The runs are made one after the other, 50 at most; laws see the images with 8 bits, as they are recorded."""
    fill: str = "0"
    """What lies beyond the print: grey level 0 to 1, r,g,b, 'mean' or 'edge'."""
    plant: PlantName = "flying"
    """flying: free-flying cameras, all runs at once. arm: a 6-DOF arm that carries the camera, in MuJoCo (pip install
    "siame-se3[mujoco]"), one run after the other; starts that it cannot reach are passed over. Or a plant of your own:
    package.module:Name."""
    depth_camera: DepthCamera = field(default_factory=DepthCamera)
    """Of --depth camera."""
    arm: ArmConfig = field(default_factory=ArmConfig)
    """Options of the arm: light, latency, noise, errors of the assumed hand-eye transform and focal length."""
    safety: Safety = field(default_factory=Safety)
    """Of the arm: limits of twists, and when it stands still (docs/safety.md)."""
    engine: str = "auto"
    """auto, torch, cuda, openvino or openvino-bf16."""
    servo: Annotated[ServoConfig, arg(name="")] = field(default_factory=ServoConfig)
    """Gain, limits and stop rules."""
    conditions: Augmentation = field(default_factory=lambda: Augmentation(occlusion_rate=1.0))
    """How far --perturb goes; '--conditions.occlusion 0' leaves the patch out."""
    page: bool = False
    """Instead, one camera on a live page, with this scene, model, camera, law, plant, gain and limits, and no other options: see 'siame page'."""
    served: Served_at = field(default_factory=PageConfig)
    """Where that page is served, and to whom."""
    dvs: DVS = field(default_factory=DVS)
    """Options of dvs and dct."""
    light: LightDVS = field(default_factory=LightDVS)
    """Options of dvs-light, which ends a hand-off too."""
    points: MatchedPoints = field(default_factory=MatchedPoints)
    """Options of the laws on matched points."""

    def __call__(self) -> int:
        from siame_se3.analysis import metrics
        from siame_se3.analysis.failures import failures
        from siame_se3.scenes.planar import Scene

        if self.page:
            self._check_page()
            Page(**{name: getattr(self, name) for name in _OF_PAGE}, served=self.served)()
            return Status.DONE
        plant, output = plant_name(self.plant), Output(self.json)
        self._check(plant)
        learned = self.law == "neural" or (self.law == "handoff" and self.scene is None) or self.model is not None
        model = load_model(self.model) if learned else None
        if self.law == "handoff" and model is None:
            output.say(
                f"no model of {self.scene}: the hand-off begins with the law auto, made for any scene; train one (siame train) for this photo"
            )
        width = self.width if self.width is not None else model.scene_width if model else 0.8
        scene = self._scene(width, model)
        camera = camera_of(self.camera, self.fov, model.camera if model else default_camera(224)).square()
        if self.figure and not isinstance(scene, Scene):
            raise InputError(f"scene {scene.name}: figures show a photo's print, and this is none", "figure")
        (trajectory, desired, last), task = self._simulate(plant, scene, camera, model, output)
        table = metrics.rows(trajectory)
        summary = metrics.summary(table)
        took = trajectory.settings["seconds"]
        machine = hardware("cuda" if self.engine in ("auto", "cuda") else "cpu")
        stopped = say_keeping(trajectory)
        ended = ", stopped by Ctrl-C" * stopped
        title = f"{self.law} on {scene.name}, starts '{self.starts_from}', seed {self.seed}, {took} s, {machine}{ended}"
        output.say(metrics.format_summary(summary, title))
        arrived = [
            k for k, row in enumerate(table) if row.converged
        ]  # of one that ended elsewhere the law knows no better
        if known := described(trajectory.covariances[arrived]):
            output.say(
                f"  pose known to {known}" + f", of the {len(arrived)} that converged" * (len(arrived) < len(table))
            )
        found = [] if stopped else failures(trajectory, table, desired, last)
        hints = [] if stopped else advise(self._asked(scene, camera, model), found, summary.converged_percent > 0)
        for line in hints:
            print(f"siame: {line}", file=sys.stderr)
        with output.named():
            self._write(output, task, trajectory, table, desired, last)
        output.wrote(self.record)
        if stopped:
            say_kept(trajectory, self.runs, output)
        output.end({"settings": trajectory.settings, "summary": summary, "hints": hints}, quiet=stopped)
        if stopped:
            return Status.INTERRUPTED
        return Status.DONE if summary.converged_percent > 0 else Status.NOT_CONVERGED

    def _write(
        self, output: Output, task: Task, trajectory: Trajectory, table: Sequence[Row], desired: View, last: View
    ) -> None:
        """All that was asked for, what takes no time first."""
        from siame_se3.analysis import metrics, plots
        from siame_se3.scenes.planar import Scene

        output.write(self.out, lambda path: metrics.write_csv(table, path))
        output.write(self.save, trajectory.save)
        if self.figure and isinstance(task.scene, Scene):
            with doing(f"drawing {self.figure}"):
                figure = plots.overview(trajectory, task.scene, task.camera, desired, last)
                output.write(self.figure, lambda path: plots.save(figure, path))
        if self.report:
            with doing(f"drawing {self.report}"):
                output.write(self.report, lambda path: write_run_report(path, trajectory, task, table))
        if self.video:
            with doing(f"drawing {self.video}"):
                output.write(self.video, lambda path: write_run_video(path, trajectory, task, table))

    def _asked(self, scene: Scene, camera: Camera, model: Model | None) -> Asked:
        """What advice goes by."""
        return Asked(
            *(scene.name, str(self.scene or bundled(BUNDLED_PHOTO)), scene.width, self._distance(model), camera),
            *(self.law, self.servo.max_iterations, model, str(self.model or BUNDLED_MODEL)),
        )

    def _distance(self, model: Model | None) -> float:
        """Of the desired camera [m]."""
        return self.distance if self.distance is not None else model.distance if model else Workspace.distance

    def _scene(self, width: float, model: Model | None) -> Scene:
        """What there is to see.

        Raises:
            InputError: heights under something that is no photo.
        """
        from siame_se3.scenes import planar
        from siame_se3.scenes.relief import Relief

        scene = scene_for(self.scene, width, fill_of(self.fill))
        if self.heights is None and self.relief == 0:
            return scene
        if not isinstance(scene, planar.Scene):
            setting = "relief" if self.heights is None else "heights"
            raise InputError(f"scene {scene.name}: heights go under a photo, and this is none", setting)
        if self.heights is not None:
            return Relief.read(scene, self.heights, self.tallest)
        return Relief.drawn(scene, self.relief * self._distance(model), self.seed)

    def _check_page(self) -> None:
        """Refuse what a live page would leave out.

        Raises:
            InputError: options that it does not have.
        """
        allowed = {*_OF_PAGE, "page", "served"}
        others = [name for name in _changed(self, Servo()) if name.partition(".")[0] not in allowed]
        if others:
            raise InputError("some options are of runs without the live page; leave them out, or the page", *others)

    def _check(self, plant: str) -> None:
        """Refuse what cannot work, before anything is loaded.

        Raises:
            InputError: what that is.
        """
        if self.runs < 1:
            raise InputError(f"{self.runs} runs: give 1 or more", "runs")
        check_seed(self.seed)
        if self.width is not None and not 0 < self.width < math.inf:
            raise SceneError(f"a scene width of {self.width:g} m; give metres above 0", "width")
        if self.distance is not None and not 0 < self.distance < math.inf:
            raise InputError(f"distance {self.distance:g} m: give metres above 0", "distance")
        check_writable(self.out, "--out")
        check_writable(self.save, "--save")
        check_writable(self.figure, "--figure", FIGURES)
        check_writable(self.report, "--report", PAGES)
        check_writable(self.video, "--video", VIDEOS)
        check_recording(self.record, self.runs)
        camera_of(self.camera, self.fov, default_camera(224))
        LAWS.load(self.law)
        PLANTS.load(plant)
        if self.law == "neural" and self.scene is not None and self.model is None:
            raise LawError(
                f"scene {self.scene}: the bundled photo's model knows that photo only; give a model of this one, 'any-scene', "
                "or take the law handoff",
                *("model", "law"),
            )
        if self.model is not None and self.scene is None and model_file(self.model) != bundled(BUNDLED_MODEL):
            raise InputError(f"model {self.model}: give a photo of its scene too", "scene")
        if self.perturb and plant != "flying":
            raise InputError(
                "disturbances of the images are for flying cameras; the arm has its own",
                *("arm.lamps", "arm.gloss", "arm.noise"),
            )
        fill_of(self.fill)
        if self._depth is not None and self._depth.ndim and self.starts_from == "table1":
            raise InputError(
                f"depth map {self.goal_depth}: each of the starts 'table1' has a goal of its own; give 'wide', or a file of starts",
                *("starts_from", "goal_depth"),
            )
        if self.heights is not None and self.relief:
            raise InputError("a height map and drawn heights: give one of them", "heights", "relief")
        if not 0 <= self.relief < 1:
            raise InputError(f"relief {self.relief:g}: give a share of the distance, from 0 to below 1", "relief")
        if self.tallest is not None and self.heights is None:
            raise InputError("the height of a map's highest place, and no map", "heights")
        if self.depth != "plane" and plant not in ("flying", "arm"):
            raise InputError(f"depth {self.depth}: the plant {plant} says itself what it knows; leave it out", "depth")
        if self.depth == "scan" and plant != "arm":
            raise InputError("depth scan: the arm scans its goals itself; give --plant arm", "depth")
        if self.starts_from not in ("table1", "wide"):
            starts_from_csv(self.starts_from, Workspace())

    @cached_property
    def _depth(self) -> torch.Tensor | None:
        """Of the goal, as given."""
        import torch

        return torch.as_tensor(goal_depth_of(self.goal_depth, self.goal_depth_scale)) if self.goal_depth else None

    def _scan(self, distance: float) -> Callable[[ArmPlant, torch.Tensor], View]:
        """What gives the view at a pose of the arm's camera, with the depth that it finds by moving around it."""
        from siame_se3.commissioning.scan import scan

        return lambda plant, T_wd: scan(plant, distance, safety=self.safety, start=T_wd).goal

    def _law(self, model: Model | None) -> dict[str, Any]:
        """What makes the controller, for a recording; {} where there is none."""
        from siame_se3.servo.recordings.laws import description

        if self.record is None:
            return {}
        file = (self.model or Path("coffee")) if model else None
        return description(self.law, file, self.engine, self.dvs, self.light, self.points)

    def _simulate(
        self, plant: str, scene: Scene, camera: Camera, model: Model | None, output: Output
    ) -> tuple[tuple[Trajectory, View, View], Task]:
        """The runs, the views at the desired poses and those at the end; and what the task was."""
        from siame_se3.analysis import report

        conditions = self.conditions if self.perturb else None
        distance = self._distance(model)
        settings: dict[str, Any] = {
            "command": command_line(),
            "law": self.law,
            "model": str(self.model or BUNDLED_MODEL) if model else None,
            "scene": str(self.scene or bundled(BUNDLED_PHOTO)),
            "width": scene.width,
            "fill": self.fill,
            "distance": distance,
            "goal_depth": self.goal_depth,
            "depth": self.depth,
            "starts_from": self.starts_from,
            "seed": self.seed,
            "camera": dataclasses.asdict(camera),
            "conditions": dataclasses.asdict(conditions) if conditions else None,
        }
        with doing(f"preparing the law {self.law} (engine {self.engine})"):
            controller = controller_for(self.law, model, self.engine, self.dvs, self.light, self.points)
        task = Task(
            *(scene, camera, self.starts_from, self.runs, self.seed, distance, conditions),
            depth=self.depth,
            depth_camera=self.depth_camera,
            goal_depth=self._depth,
        )
        if plant != "flying":
            settings["plant"] = plant
        with recording_to(self.record, self._law(model), wait=True, say=output.say) as recording:
            if plant != "arm":
                own = None if plant == "flying" else plant_for(plant, scene, camera)
                run = run_of(recording, task)
                return simulate(controller, task, self.servo, settings, plant=own, run=run, keep=True), task
            settings |= {"arm": dataclasses.asdict(self.arm), "safety": dataclasses.asdict(self.safety)}
            run, scan = run_of(recording), self._scan(distance) if self.depth == "scan" else None
            made = simulate_on_arm(controller, task, self.servo, self.arm, self.safety, settings, run=run, scan=scan)
        trajectory = made[0]
        if failed := trajectory.settings["not_scanned"]:
            output.say(f"{report.counted(len(failed), 'goal')} passed over, as no depth was found there: {failed[0]}")
        if passed := trajectory.settings["out_of_reach"]:
            output.say(f"{report.counted(passed, 'start')} out of the arm's reach and passed over")
        most = (trajectory.twist.abs() / trajectory.twist.new_tensor(self.safety.max_twist)).max()
        ends = Counter(reason.split(":")[0] for reason in trajectory.reason)
        ended = ", ".join(f"{reason} ({n})" for reason, n in ends.most_common())
        output.say(f"runs ended: {ended}; the largest twist was {100 * float(most):.0f} % of its limit")
        return made, task


def _changed(options: Any, default: Any) -> list[str]:
    """Dotted names of the settings of a dataclass that are not those of `default`."""
    found: list[str] = []
    for setting in dataclasses.fields(options):
        now, before = getattr(options, setting.name), getattr(default, setting.name)
        if now == before:
            continue
        inner = _changed(now, before) if dataclasses.is_dataclass(now) else []
        found += [f"{setting.name}.{name}" for name in inner] or [setting.name]
    return found
