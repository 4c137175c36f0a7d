"""siame demo | train | servo | export | plot.

Each command is a dataclass: its fields are the flags, their docstrings the help.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional, arg

from siame_se3.augment import Augmentation
from siame_se3.data import DataConfig
from siame_se3.errors import SiameError
from siame_se3.loop import ServoConfig
from siame_se3.loss import LossConfig
from siame_se3.network import NetworkConfig
from siame_se3.sampling import Workspace
from siame_se3.simulate import BUNDLED_MODEL, BUNDLED_PHOTO, bundled, default_camera, hardware, run_servo
from siame_se3.train import TrainConfig

if TYPE_CHECKING:
    from siame_se3.camera import Camera


def _fill(text: str) -> Any:
    if text in ("mean", "edge"):
        return text
    try:
        values = tuple(float(x) for x in text.split(","))
    except ValueError:
        raise SiameError(
            f"--fill {text}: give a grey level (0 to 1), three of them (r,g,b), 'mean' or 'edge'"
        ) from None
    if len(values) not in (1, 3) or not all(0 <= x <= 1 for x in values):
        raise SiameError(f"--fill {text}: give a grey level (0 to 1), three of them (r,g,b), 'mean' or 'edge'")
    return values[0] if len(values) == 1 else values


def _may_write(path: Path | None, option: str) -> None:
    """Say now, not after hours of work, that a result cannot be written."""
    if path is None:
        return
    if path.is_dir():
        raise SiameError(f"{option} {path}: a folder; give a file name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SiameError(f"{option} {path}: {error.strerror}; give a place that can be written") from None
    if not os.access(path.parent, os.W_OK):
        raise SiameError(f"{option} {path}: that folder cannot be written; give another place")


@dataclass(frozen=True)
class Demo:
    """Servo many cameras at once over a bundled photo with the bundled model; print a table, write a figure.

    Needs no photo, no robot, no network connection; ends within a minute on two cores.
    """

    runs: int = 256
    """How many starts, in parallel."""
    seed: int = 7
    """Of the starts."""
    out: Path = Path("siame-out")
    """Folder of the figure and of runs.csv."""

    def __call__(self) -> None:
        from siame_se3 import checkpoint, metrics, plots
        from siame_se3.scene import Scene

        _may_write(self.out / "demo.png", "--out")
        model = checkpoint.load(bundled(BUNDLED_MODEL))
        scene = Scene.from_photo(bundled(BUNDLED_PHOTO), model.scene_width)
        print(f"{self.runs} cameras start 12.5 +- 7.5 cm and 17.5 +- 12 deg away from where their photo was taken;")
        print("a network that learned this scene from one photo, in simulation, drives each of them back.")
        settings = {"command": "siame demo", "scene": scene.name, "seed": self.seed}
        config = ServoConfig(gain=8.0, max_iterations=150)
        trajectory, desired, last = run_servo(
            model,
            scene,
            model.camera,
            "neural",
            "table1",
            self.runs,
            self.seed,
            model.distance,
            config,
            settings=settings,
        )
        table = metrics.rows(trajectory)
        print(
            metrics.format_summary(
                metrics.summary(table), f"{scene.name}, {trajectory.settings['seconds']} s, {hardware()}"
            )
        )
        metrics.write_csv(table, self.out / "runs.csv")
        plots.save(plots.overview(trajectory, scene, model.camera, desired, last), self.out / "demo.png")
        print(f"figure: {self.out / 'demo.png'}   runs: {self.out / 'runs.csv'}")
        print("next: siame train YOUR_PHOTO.jpg --width 0.8 --distance 0.6 --minutes 5 --out mine.safetensors")


@dataclass(frozen=True)
class Train:
    """Train a network on one photo of a flat scene (or on several), and save it.

    Views of the photo are rendered on the fly; nothing is downloaded, no data set is made. Press Ctrl-C at any moment and
    run the same command again: it goes on from the state that is saved every 30 s.
    """

    photos: Positional[tuple[Path, ...]]
    """Photo of the scene, square to it; several photos or folders give one network for several scenes."""
    out: Path = Path("model.safetensors")
    """Where to save the model; the training state stands beside it until the end."""
    width: float = 0.8
    """Width of the scene that the photo shows [m]."""
    distance: float = 0.6
    """Distance of the camera from the scene at the desired pose [m]; a tenth is allowed for by itself."""
    minutes: float | None = None
    """Train for about this long; the number of steps is measured at the start. 5 when --steps is not given."""
    steps: int | None = None
    """Train for this many steps instead."""
    seed: int = 0
    """Of weights and views: the same seed and number of steps give the same model."""
    camera: Path | None = None
    """ROS camera_info YAML of your camera; default: f = 300 px at 224 x 224 (41 deg)."""
    fill: str = "0"
    """What lies beyond the print: grey level 0 to 1, r,g,b, 'mean' or 'edge'."""
    tensorboard: Path | None = None
    """Folder of TensorBoard logs."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""
    eval_runs: int = 64
    """Closed-loop runs of each evaluation on the way."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: Annotated[TrainConfig, arg(name="train")] = field(default_factory=TrainConfig)
    workspace: Workspace = field(default_factory=Workspace)

    def __call__(self) -> None:
        import torch

        from siame_se3 import checkpoint
        from siame_se3.camera import Camera
        from siame_se3.data import BatchSource
        from siame_se3.scene import load_scenes
        from siame_se3.train import Trainer, process_group, steps_in, train, world

        if self.minutes is not None and self.steps is not None:
            raise SiameError("--minutes and --steps: give one of them")
        if (self.minutes is not None and not 0 < self.minutes < math.inf) or (
            self.steps is not None and self.steps < 1
        ):
            raise SiameError("--minutes and --steps: give a number above 0")
        if self.train.steps != TrainConfig().steps:
            raise SiameError("--train.steps: give the number of steps as --steps")
        if self.workspace.distance != Workspace().distance:
            raise SiameError("--workspace.distance: give the distance as --distance")
        if not self.photos:
            raise SiameError("no photo given; siame train PHOTO --width 0.8 --distance 0.6 --out model.safetensors")
        _may_write(self.out, "--out")
        device = torch.device(
            "cuda" if self.device == "auto" and torch.cuda.is_available() else self.device.replace("auto", "cpu")
        )
        if device.type == "cuda" and not torch.cuda.is_available():
            raise SiameError("--device cuda: no CUDA GPU here; use --device cpu")
        scenes = load_scenes(list(self.photos), self.width, _fill(self.fill))
        full = Camera.from_yaml(self.camera) if self.camera else default_camera(224)
        camera = full.square(self.network.image_size)
        scale = self.distance / 0.6  # the set-up's offsets belong to 0.6 m: the same views at another distance
        w = self.workspace
        workspace = dataclasses.replace(
            w,
            distance=self.distance,
            desired_sideways=w.desired_sideways * scale,
            desired_height=w.desired_height * scale,
            offset_t=w.offset_t * scale,
            min_height=w.min_height * scale,
        )
        unit = self.network.output_scale
        network = dataclasses.replace(self.network, output_scale=(*(s * scale for s in unit[:3]), *unit[3:]))
        with process_group(device):
            if device.type == "cuda" and world()[1] > 1:
                device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            source = BatchSource(scenes, camera, workspace, self.data, self.seed, network.output, device)
            state = self.out.with_name(self.out.name + ".state")
            steps = self.steps or self._steps_of(state)
            if steps is None:
                steps = steps_in(self.minutes or 5.0, network, self.loss, source, self.train)
            trainer = Trainer(network, self.loss, source, dataclasses.replace(self.train, steps=steps))
            log = _TrainLog(self, trainer, camera, workspace) if world()[0] == 0 else None
            result = train(trainer, state, log.report if log else lambda p: None, log.evaluate if log else None)
            if log is None:
                return
            log.close()
            card = {
                "photo": [s.name for s in scenes],
                "command": " ".join(["siame", *sys.argv[1:]]),
                "seed": self.seed,
                "steps": steps,
                "images": steps * self.data.groups * self.data.views,
                "seconds": round(trainer.seconds, 1),
                "hardware": hardware(),
                "date": time.strftime("%Y-%m-%d"),
                "closed_loop": log.results,
                "train": dataclasses.asdict(trainer.config),
                "data": dataclasses.asdict(self.data),
                "loss": dataclasses.asdict(self.loss),
            }
            checkpoint.save(checkpoint.Model(result.float().cpu(), camera, self.distance, self.width, card), self.out)
            state.unlink(missing_ok=True)
            photo = self.photos[0]
            print(
                f"saved {self.out} ({self.out.stat().st_size / 1e6:.1f} MB) after {steps} steps, {trainer.seconds:.0f} s"
            )
            print(
                f"next: siame servo --model {self.out} --scene {photo} --width {self.width} --distance {self.distance}"
            )

    def _steps_of(self, state: Path) -> int | None:
        """How many steps an interrupted training was to make."""
        if not state.is_file():
            return None
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(state), framework="pt") as file:
                return int(json.loads((file.metadata() or {})["identity"])["train"]["steps"])
        except (SafetensorError, KeyError, ValueError, OSError):
            raise SiameError(f"{state}: a damaged training state; remove it to start anew") from None


def _reading(name: str, value: float, width: float) -> str:
    """A training error in the units that a person reads."""
    if name.startswith("w_") or name == "w":
        return f"{name} {math.degrees(value):.2f}deg"
    return f"{name} {100 * value * (width / 2 if name == 'where' else 1):.2f}cm"


class _TrainLog:
    """Progress bar, TensorBoard, closed-loop evaluations of a training."""

    def __init__(self, command: Train, trainer: Any, camera: Camera, workspace: Workspace) -> None:
        from tqdm import tqdm

        self.command, self.trainer, self.camera, self.workspace = command, trainer, camera, workspace
        self.results: list[dict[str, float]] = []
        self.bar = tqdm(total=trainer.config.steps, unit="step", dynamic_ncols=True, disable=not sys.stderr.isatty())
        self.writer: Any = None
        if command.tensorboard is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(command.tensorboard))

    def report(self, p: Any) -> None:
        self.bar.update(p.step - self.bar.n)
        errors = " ".join(_reading(name, value, self.command.width) for name, value in p.groups.items())
        self.bar.set_postfix_str(f"loss {p.loss:.3f} {errors}")
        if not sys.stderr.isatty() and (
            p.step % max(1, p.steps // 20) < self.trainer.config.log_every or p.step == p.steps
        ):
            left = p.seconds / p.step * (p.steps - p.step)
            print(
                f"step {p.step}/{p.steps}  loss {p.loss:.3f}  {errors}  {p.images / p.seconds:.0f} images/s  {left:.0f} s left",
                flush=True,
            )
        if self.writer is not None:
            self.writer.add_scalar("loss", p.loss, p.step)
            self.writer.add_scalar("lr", p.lr, p.step)
            self.writer.add_scalar("images_per_second", p.images / p.seconds, p.step)
            for name, value in p.groups.items():
                self.writer.add_scalar(f"error/{name}", value, p.step)
            for name, value in p.shares.items():
                self.writer.add_scalar(f"share_of_time/{name}", value, p.step)

    def evaluate(self, network: Any, step: int) -> None:
        from siame_se3 import checkpoint, metrics

        if self.command.eval_runs < 1:
            return
        engine = "cuda" if next(network.parameters()).is_cuda else "auto"
        scene = self.trainer.data.scenes[len(self.results) % len(self.trainer.data.scenes)]
        model = checkpoint.Model(network, self.camera, self.workspace.distance, scene.width)
        config = ServoConfig(gain=10.0, max_iterations=60)
        trajectory, _, _ = run_servo(
            model,
            scene,
            self.camera,
            "neural",
            "table1",
            self.command.eval_runs,
            step,
            self.workspace.distance,
            config,
            engine=engine,
            quiet=True,
        )
        s = metrics.summary(metrics.rows(trajectory))
        result = {
            "step": step,
            "seconds": round(self.trainer.seconds, 1),
            "converged_percent": s.converged_percent,
            "end_t_m": s.end_t_m[0],
            "end_r_deg": s.end_r_deg[0],
        }
        self.results.append(result)
        self.bar.write(
            f"closed loop at step {step}: {s.converged_percent:.0f} % of {s.runs} converged, end error "
            f"{100 * s.end_t_m[0]:.2f} cm {s.end_r_deg[0]:.2f} deg ({self.trainer.seconds:.0f} s of training)",
        )
        if self.writer is not None:
            for name, value in result.items():
                self.writer.add_scalar(f"closed_loop/{name}", value, step)

    def close(self) -> None:
        self.bar.close()
        if self.writer is not None:
            self.writer.close()


@dataclass(frozen=True)
class Servo:
    """Servo simulated cameras over a scene and print a table; write runs.csv, trajectories, a figure."""

    model: Path | None = None
    """Model that 'siame train' wrote; default: the bundled one."""
    scene: Path | None = None
    """Photo of the scene; default: the bundled one."""
    width: float | None = None
    """Width of the scene [m]; default: what the model was trained for."""
    distance: float | None = None
    """Distance of the desired camera from the scene [m]; default: what the model was trained for."""
    camera: Path | None = None
    """ROS camera_info YAML; default: the camera that the model was trained for."""
    law: Literal["neural", "pbvs", "ibvs", "2.5d"] = "neural"
    """Which law: the network, or one that knows the simulator's poses."""
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
    engine: str = "auto"
    """auto, torch, cuda, openvino or openvino-bf16."""
    servo: Annotated[ServoConfig, arg(name="")] = field(default_factory=ServoConfig)
    """Gain, limits and stop rules."""

    def __call__(self) -> None:
        from siame_se3 import checkpoint, metrics, plots
        from siame_se3.camera import Camera
        from siame_se3.scene import Scene

        if self.runs < 1:
            raise SiameError(f"--runs {self.runs}: give 1 or more")
        for path, option in ((self.out, "--out"), (self.save, "--save"), (self.figure, "--figure")):
            _may_write(path, option)
        model = checkpoint.load(self.model or bundled(BUNDLED_MODEL)) if self.law == "neural" or self.model else None
        if self.model is not None and self.scene is None:
            raise SiameError(f"--model {self.model}: give its photo too, --scene PHOTO")
        width = self.width or (model.scene_width if model else 0.8)
        distance = self.distance or (model.distance if model else 0.6)
        photo = self.scene or bundled(BUNDLED_PHOTO)
        scene = Scene.from_photo(photo, width, fill=_fill(self.fill))
        camera = model.camera if model else default_camera(112)
        if self.camera is not None:
            camera = Camera.from_yaml(self.camera).square()
        conditions = Augmentation(occlusion_rate=1.0) if self.perturb else None
        settings = {
            "command": " ".join(["siame", *sys.argv[1:]]),
            "law": self.law,
            "model": str(self.model or BUNDLED_MODEL),
            "scene": str(photo),
            "width": width,
            "fill": self.fill,
            "distance": distance,
            "starts_from": self.starts_from,
            "seed": self.seed,
            "camera": dataclasses.asdict(camera),
            "conditions": dataclasses.asdict(conditions) if conditions else None,
        }
        trajectory, desired, last = run_servo(
            *(
                model,
                scene,
                camera,
                self.law,
                self.starts_from,
                self.runs,
                self.seed,
                distance,
                self.servo,
                conditions,
                self.engine,
            ),
            settings=settings,
        )
        table = metrics.rows(trajectory)
        title = f"{self.law} on {scene.name}, starts '{self.starts_from}', seed {self.seed}, {trajectory.settings['seconds']} s, {hardware()}"
        print(metrics.format_summary(metrics.summary(table), title))
        if self.out:
            metrics.write_csv(table, self.out)
        if self.save:
            trajectory.save(self.save)
        if self.figure:
            plots.save(plots.overview(trajectory, scene, camera, desired, last), self.figure)


@dataclass(frozen=True)
class Export:
    """Export a model to ONNX or OpenVINO: 'embed' (image -> S(I)) and 'step' (image, S(I*) -> output), and check them."""

    model: Positional[Path | None] = None
    """Model that 'siame train' wrote; default: the bundled one."""
    format: Literal["onnx", "openvino", "both"] = "both"
    """What to write."""
    out: Path | None = None
    """Stem of the files; default: the model's name. Writes OUT-embed.onnx, OUT-step.onnx, OUT-embed.xml, ..."""

    def __call__(self) -> None:
        from siame_se3 import checkpoint

        path = self.model or bundled(BUNDLED_MODEL)
        model = checkpoint.load(path)
        stem = self.out or Path(path.name).with_suffix("")
        _may_write(stem.with_name(stem.name + "-step.xml"), "--out")
        worst = 0.0
        for kind in ("onnx", "openvino") if self.format == "both" else (self.format,):
            for name, difference in checkpoint.export(model, stem, kind).items():
                print(f"{stem.parent / name}: largest difference to PyTorch {difference:.1e} of the largest value")
                worst = max(worst, difference)
        if worst > 1e-3:
            raise SiameError(f"{path}: an exported file differs by {worst:.1e}; do not use it, and report this")
        print("parity: ok (below 1e-3)")


@dataclass(frozen=True)
class Plot:
    """Draw the figure of a saved trajectory (siame servo --save): images, errors, twists, 3D paths."""

    trajectory: Positional[Path]
    """An .npz that 'siame servo --save' wrote."""
    out: Path = Path("servo.png")
    """Figure to write (.png, .pdf or .svg)."""
    scene: Path | None = None
    """Photo of the scene, if it is no longer where the run found it."""
    run: int | None = None
    """Which run to show in images and twists; default: the one with the largest start error among the converged."""

    def __call__(self) -> None:
        from siame_se3 import plots
        from siame_se3.camera import Camera
        from siame_se3.checkpoint import from_dict
        from siame_se3.plant import HomographyPlant
        from siame_se3.scene import Scene
        from siame_se3.view import Trajectory

        _may_write(self.out, "--out")
        trajectory = Trajectory.load(self.trajectory)
        s = trajectory.settings
        try:
            camera = from_dict(Camera, s["camera"], str(self.trajectory))
            scene = Scene.from_photo(self.scene or s["scene"], s["width"], fill=_fill(s["fill"]))
        except KeyError as error:
            raise SiameError(
                f"{self.trajectory}: its settings lack {error}; save it again with 'siame servo --save'"
            ) from None
        count = trajectory.T_wc.shape[1]
        if self.run is not None and not 0 <= self.run < count:
            raise SiameError(f"--run {self.run}: the trajectory has runs 0 to {count - 1}")
        plant = HomographyPlant(scene, camera)
        desired, last = plant.look(trajectory.T_wd), plant.look(trajectory.T_wc[-1])
        plots.save(plots.overview(trajectory, scene, camera, desired, last, self.run), self.out)
        print(f"figure: {self.out}")


def main() -> None:
    """Entry point: one clear line for bad input, exit status 2."""
    commands: dict[str, Callable[..., Any]] = {
        "demo": Demo,
        "train": Train,
        "servo": Servo,
        "export": Export,
        "plot": Plot,
    }
    try:
        command = tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="siame",
            description="Move a robot's camera to where a photo was taken. Start with: siame demo",
        )
        command()
    except SiameError as error:
        print(f"siame: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"siame: {error.filename or 'file'}: {error.strerror or error}; give another place", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("siame: stopped; the same command goes on from a training's last saved state", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
