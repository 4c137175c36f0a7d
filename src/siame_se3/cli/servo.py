"""siame servo: runs of a law in simulation, and their table."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from siame_se3.cli.options import camera_of, check_writable, fill_of
from siame_se3.errors import SiameError
from siame_se3.files import BUNDLED_MODEL, BUNDLED_PHOTO, bundled, hardware, model_file
from siame_se3.geometry.camera import default_camera
from siame_se3.laws.light import LightDVS
from siame_se3.laws.matched import MatchedPoints
from siame_se3.laws.photometric import DVS
from siame_se3.laws.registry import LAWS, controller_for
from siame_se3.plants.arm import ArmConfig
from siame_se3.scenes.conditions import Augmentation
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.safety import Safety
from siame_se3.servo.simulation import Task, simulate, simulate_on_arm


@dataclass(frozen=True)
class Servo:
    """Servo simulated cameras over a scene and print a table; write runs.csv, trajectories, a figure."""

    model: Path | None = None
    """Model that 'siame train' wrote, or the name of a bundled one: coffee (of the bundled photo, the default without --scene),
    any-scene (for photos that no training has seen)."""
    scene: Path | None = None
    """Photo of the scene; default: the bundled one."""
    width: float | None = None
    """Width of the scene [m]; default: what the model was trained for."""
    distance: float | None = None
    """Distance of the desired camera from the scene [m]; default: what the model was trained for."""
    camera: Path | None = None
    """ROS camera_info YAML; default: the camera that the model was trained for."""
    fov: float | None = None
    """Or its field of view across the (square) image [deg]."""
    law: Literal[LAWS] = "handoff"  # type: ignore[valid-type]  # tyro reads the tuple's names
    """Which law. handoff: the network (pbvs-sift for a --scene without --model), then dvs-light; neural: the network alone;
    dvs, dct: photometric, on pixels or their DCT; dvs-light: photometric, with lamps, gain and bias fitted along with the
    motion; pbvs-sift, pbvs-orb, ibvs-sift, ibvs-orb: matched points; pbvs, ibvs, 2.5d: laws that know the simulator's poses."""
    runs: int = 1000
    """How many starts."""
    seed: int = 7
    """Of starts and conditions."""
    starts_from: str = "table1"
    """'table1' (12.5 +- 7.5 cm, 17.5 +- 12 deg), 'wide' (46 +- 17 cm, 74 +- 28 deg), or a CSV: one start a line,
    tx,ty,tz,tux,tuy,tuz of the current camera in the desired camera's frame (c*Tc), metres and radians."""
    perturb: bool = False
    """Put light spots, gain, bias, sensor noise and one occluding patch of up to 15 % of the image on each run."""
    out: Path | None = None
    """Write one line a run to this CSV."""
    save: Path | None = None
    """Write poses, twists and settings of all runs to this .npz."""
    figure: Path | None = None
    """Write a figure (.png, .pdf or .svg)."""
    fill: str = "0"
    """What lies beyond the print: grey level 0 to 1, r,g,b, 'mean' or 'edge'."""
    plant: Literal["homography", "arm"] = "homography"
    """homography: free-flying cameras, all runs at once. arm: a 6-DOF arm with the camera in its hand, in MuJoCo (pip install
    'siame-se3[mujoco]'), one run after the other; starts that it cannot reach are passed over."""
    arm: ArmConfig = field(default_factory=ArmConfig)
    """Options of the arm: light, latency, noise, what is wrong about hand-eye transform and focal length."""
    safety: Safety = field(default_factory=Safety)
    """Of the arm: limits of twists, and when it stands still (docs/safety.md)."""
    engine: str = "auto"
    """auto, torch, cuda, openvino or openvino-bf16."""
    servo: Annotated[ServoConfig, arg(name="")] = field(default_factory=ServoConfig)
    """Gain, limits and stop rules."""
    conditions: Augmentation = field(default_factory=lambda: Augmentation(occlusion_rate=1.0))
    """How far --perturb goes; '--conditions.occlusion 0' leaves the patch out."""
    dvs: DVS = field(default_factory=DVS)
    """Options of dvs and dct."""
    light: LightDVS = field(default_factory=LightDVS)
    """Options of dvs-light, which ends a hand-off too."""
    points: MatchedPoints = field(default_factory=MatchedPoints)
    """Options of matched points; --law says which of them."""

    def __call__(self) -> None:
        from siame_se3.analysis import metrics, plots
        from siame_se3.networks import checkpoint
        from siame_se3.scenes.planar import Scene

        if self.runs < 1:
            raise SiameError(f"--runs {self.runs}: give 1 or more")
        for path, option in ((self.out, "--out"), (self.save, "--save"), (self.figure, "--figure")):
            check_writable(path, option)
        if self.law == "neural" and self.scene is not None and self.model is None:
            raise SiameError(
                f"--scene {self.scene}: the bundled photo's model knows that one only; give --model FILE, --model any-scene, or --law handoff"
            )
        learned = self.law == "neural" or (self.law == "handoff" and self.scene is None) or self.model is not None
        model = checkpoint.load(model_file(self.model)) if learned else None
        if self.law == "handoff" and model is None:
            print(
                f"no --model for {self.scene}: the hand-off begins with matched points (pbvs-sift); or give --model any-scene"
            )
        if self.model is not None and self.scene is None and model_file(self.model) != bundled(BUNDLED_MODEL):
            raise SiameError(f"--model {self.model}: give a photo of the scene too, --scene PHOTO")
        width = self.width or (model.scene_width if model else 0.8)
        distance = self.distance or (model.distance if model else 0.6)
        photo = self.scene or bundled(BUNDLED_PHOTO)
        scene = Scene.from_photo(photo, width, fill=fill_of(self.fill))
        camera = camera_of(self.camera, self.fov, model.camera if model else default_camera(224)).square()
        conditions = self.conditions if self.perturb else None
        settings = {
            "command": " ".join(["siame", *sys.argv[1:]]),
            "law": self.law,
            "model": str(self.model or BUNDLED_MODEL) if learned else None,
            "scene": str(photo),
            "width": width,
            "fill": self.fill,
            "distance": distance,
            "starts_from": self.starts_from,
            "seed": self.seed,
            "camera": dataclasses.asdict(camera),
            "conditions": dataclasses.asdict(conditions) if conditions else None,
        }
        controller = controller_for(self.law, model, self.engine, self.dvs, self.light, self.points)
        task = Task(scene, camera, self.starts_from, self.runs, self.seed, distance, conditions)
        if self.plant == "arm":
            if self.perturb:
                raise SiameError(
                    "--perturb: of the homography plant; the arm has --arm.lamps, --arm.gloss, --arm.noise"
                )
            settings |= {"plant": "arm", "arm": dataclasses.asdict(self.arm), "safety": dataclasses.asdict(self.safety)}
            trajectory, desired, last = simulate_on_arm(controller, task, self.servo, self.arm, self.safety, settings)
            if passed := trajectory.settings["out_of_reach"]:
                print(f"{passed} starts were out of the arm's reach and passed over")
            most = (trajectory.twist.abs() / trajectory.twist.new_tensor(self.safety.max_twist)).max()
            ends = Counter(reason.split(":")[0] for reason in trajectory.reason)
            print(f"runs ended: {', '.join(f'{reason} ({n})' for reason, n in ends.most_common())}; ", end="")
            print(f"the largest twist was {100 * float(most):.0f} % of its limit")
        else:
            trajectory, desired, last = simulate(controller, task, self.servo, settings)
        table = metrics.rows(trajectory)
        title = f"{self.law} on {scene.name}, starts '{self.starts_from}', seed {self.seed}, {trajectory.settings['seconds']} s, {hardware()}"
        print(metrics.format_summary(metrics.summary(table), title))
        if self.out:
            metrics.write_csv(table, self.out)
        if self.save:
            trajectory.save(self.save)
        if self.figure:
            plots.save(plots.overview(trajectory, scene, camera, desired, last), self.figure)
