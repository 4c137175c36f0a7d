"""siame train: one photo (or several) in, a model out."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from siame_se3.cli.options import camera_of, check_writable, fill_of
from siame_se3.errors import SiameError
from siame_se3.files import hardware, model_file
from siame_se3.files.optional import needs
from siame_se3.geometry.camera import default_camera
from siame_se3.laws.registry import controller_for
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import LossConfig
from siame_se3.scenes.poses import Workspace
from siame_se3.servo.loop import ServoConfig
from siame_se3.servo.simulation import run_servo
from siame_se3.training.batches import DataConfig
from siame_se3.training.trainer import TrainConfig

if TYPE_CHECKING:
    from siame_se3.geometry.camera import Camera


@dataclass(frozen=True)
class Train:
    """Train a network on a photo of your scene.

    The scene is flat; several photos give one network for several scenes. Views of the photo are rendered on the fly; nothing is downloaded, no data set is made. Press Ctrl-C at any moment and
    run the same command again: it goes on from the state that is saved every 30 s.
    """

    essential = ("photos", "out", "width", "distance", "minutes", "camera", "fov")

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
    fov: float | None = None
    """Or its field of view across the (square) image [deg]."""
    fill: str = "0"
    """What lies beyond the print: grey level 0 to 1, r,g,b, 'mean' or 'edge'."""
    tensorboard: Path | None = None
    """Folder of TensorBoard logs."""
    init: Path | None = None
    """Start from this model's weights (a file, or the name of a bundled one: coffee, any-scene) instead of random ones (those of its
    backbone, where the head is another): to go on with a model, or for another photo with the same network. A third of the usual learning rates suits it: --train.lr 0.001 --train.lr-muon 0.013."""
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

        from siame_se3.networks import checkpoint
        from siame_se3.scenes.planar import load_scenes
        from siame_se3.training.batches import BatchSource
        from siame_se3.training.trainer import Trainer, process_group, steps_in, train, world

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
        check_writable(self.out, "--out")
        device = torch.device(
            "cuda" if self.device == "auto" and torch.cuda.is_available() else self.device.replace("auto", "cpu")
        )
        if device.type == "cuda" and not torch.cuda.is_available():
            raise SiameError("--device cuda: no CUDA GPU here; use --device cpu")
        scenes = load_scenes(list(self.photos), self.width, fill_of(self.fill))
        full = camera_of(self.camera, self.fov, default_camera(224))
        camera = full.square(self.network.image_size)
        scale = self.distance / 0.6  # the set-up's offsets belong to 0.6 m: the same views at another distance
        workspace = self.workspace.at(self.distance)
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
            config = dataclasses.replace(self.train, steps=steps)
            trainer = Trainer(network, self.loss, source, config, self._initial(network))
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

    def _initial(self, network: NetworkConfig) -> dict[str, Any] | None:
        """Weights of --init."""
        if self.init is None:
            return None
        from siame_se3.networks import checkpoint

        theirs = checkpoint.load(model_file(self.init)).network
        mine, other = dataclasses.asdict(network), dataclasses.asdict(theirs.config)
        # backbone and pooling do not know these
        for name in ("fusion", "head", "output", "zero_at_goal", "pretrained", "output_scale", "rays", "half_width"):
            mine.pop(name), other.pop(name)
        if differing := [name for name in mine if mine[name] != other[name]]:
            name = differing[0]
            raise SiameError(
                f"--init {self.init}: its {name} is {other[name]}; give --network.{name.replace('_', '-')} {other[name]}, or leave --init out"
            )
        return theirs.weights_for(network)

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
    if name == "match":
        return f"match {100 * value / 2:.2f}% of the image"
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
            self.writer = needs("torch.utils.tensorboard", "train").SummaryWriter(str(command.tensorboard))

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
        from siame_se3.analysis import metrics
        from siame_se3.networks import checkpoint

        if self.command.eval_runs < 1:
            return
        engine = "cuda" if next(network.parameters()).is_cuda else "auto"
        scene = self.trainer.data.scenes[len(self.results) % len(self.trainer.data.scenes)]
        model = checkpoint.Model(network, self.camera, self.workspace.distance, scene.width)
        config = ServoConfig(gain=10.0, max_iterations=60)
        trajectory, _, _ = run_servo(
            controller_for("neural", model, engine),
            scene,
            self.camera,
            "table1",
            self.command.eval_runs,
            step,
            self.workspace.distance,
            config,
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
