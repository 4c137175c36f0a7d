"""siame train: one photo (or several) in, a model out."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shlex
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from siame_se3.cli.options import camera_of, check_seed, check_writable, device_of, fill_of, load_model
from siame_se3.cli.output import Output, command_line
from siame_se3.cli.threads import Cores, only_free
from siame_se3.errors import InputError, ModelError
from siame_se3.files import doing, hardware
from siame_se3.files.optional import needs
from siame_se3.geometry.camera import default_camera
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import LossConfig
from siame_se3.scenes.poses import Workspace
from siame_se3.training.data import MOST_RELIEF, DataConfig
from siame_se3.training.recipe import MINUTES, Recipe, TrainConfig, for_photos

if TYPE_CHECKING:
    import torch

    from siame_se3.networks.siamese import SiameseNetwork
    from siame_se3.scenes.planar import Scene
    from siame_se3.servo.simulation import Task
    from siame_se3.training.driver import Progress

_EVALUATED, _REHEARSED = 60, 4  # iterations of an evaluation, and of a trial of it
_CONVERGES = 90.0  # of the starts [%]: a network that does less often is trained too little


@dataclass(frozen=True)
class Train:
    """Train a network on a photo of your scene.

    The scene is flat, or has things that stand out (--relief); several photos give one network for several scenes. Views of the photo are rendered on the fly; nothing is downloaded, no data set is made. Press Ctrl-C at any moment and
    run the same command again: it goes on from the state that is saved every 30 s.
    """

    essential = ("photos", "out", "width", "distance", "minutes", "camera", "fov")

    photos: Positional[tuple[Path, ...]]
    """Photo of the scene, square to it; several photos or folders give one network for several scenes."""
    out: Path = Path("model.safetensors")
    """Where to save the model; the training state stands beside it until the end."""
    force: bool = False
    """Replace what --out names, also a finished model of another photo, or a file that is no model."""
    width: float = 0.8
    """Width of the scene that the photo shows [m]."""
    distance: float = Workspace.distance
    """Distance of the camera from the scene at the desired pose [m]; goal poses vary it by about a tenth, so it need not be exact."""
    relief: float = 0.0
    """How far things may stand out of the scene, as a share of the distance (0.2: a fifth): in half of the steps the photo lies over boxes, cylinders, steps and hills, others
    in each step. 0: flat."""
    minutes: float | None = None
    """Train for about this long, evaluations on the way included; the number of steps is measured at the start, and again on the way. 5 when --steps is not
    given. An interrupted training goes on with the time that it began with, and refuses another --minutes."""
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
    json: bool = False
    """Print the result as JSON; what is for people goes to standard error."""
    network: NetworkConfig = field(default_factory=lambda: for_photos().network)
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=lambda: for_photos().data)
    train: Annotated[TrainConfig, arg(name="train")] = field(default_factory=lambda: for_photos().train)
    workspace: Workspace = field(default_factory=Workspace)

    def __call__(self) -> None:
        cores = Cores()

        from siame_se3.scenes.planar import load_scenes
        from siame_se3.training.driver import fit
        from siame_se3.training.processes import process_group, world

        output = Output(self.json)
        recipe, given = self.recipe()
        device = self._device()
        with doing(f"reading {', '.join(map(str, self.photos[:3]))}"):
            scenes = load_scenes(list(self.photos), self.width, fill_of(self.fill))
        self._check_replaced([scene.name for scene in scenes])
        recipe = dataclasses.replace(recipe, scenes=len(scenes))
        if device.type == "cpu":
            only_free(cores)
        with process_group(device):
            if device.type == "cuda" and world()[1] > 1:
                device = type(device)("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            log = _TrainLog(self, scenes, recipe, output)
            log.say(_where(scenes, device))
            with contextlib.closing(log):
                fitted = fit(recipe, scenes, self.out, log.callbacks(), self._initial(recipe.network), device, given)
            if world()[0] > 0:
                return
        size = self.out.stat().st_size / 1e6
        output.say(f"saved {self.out} ({size:.1f} MB) after {fitted.steps} steps, {fitted.seconds:.0f} s")
        output.wrote(self.out, self.tensorboard)
        if advice := _poor(log.results, fitted.steps, self.steps_given):
            output.say(advice)
        output.end(
            {"steps": fitted.steps, "seconds": round(fitted.seconds, 1), "card": fitted.model.card},
            quiet=self.tensorboard is None,
        )
        model, scene = (shlex.quote(str(path)) for path in (self.out, self.photos[0]))
        output.say(f"next: siame servo --model {model} --scene {scene} --width {self.width} --distance {self.distance}")

    @property
    def steps_given(self) -> bool:
        """Whether the length of the training is a number of steps, and no time."""
        return self.train.steps is not None or self.steps is not None

    @property
    def saved(self) -> bool:
        """Whether the same command would go on from something."""
        from siame_se3.training import state

        return state.path_of(self.out).exists()

    def _check_replaced(self, names: list[str]) -> None:
        """Refuse to replace what cannot be made again by this command.

        Raises:
            ModelError: --out is a model of other photos, or no model.
        """
        if self.force or not self.out.is_file() or not self.out.stat().st_size:
            return
        from siame_se3.networks import checkpoint
        from siame_se3.training import state

        try:
            card = checkpoint.load(self.out).card
        except ModelError:
            raise ModelError(
                f"{self.out}: there is a file that is no model; it would be replaced", "out", "force"
            ) from None
        theirs = card.get("photo", card.get("scenes"))
        if theirs == names and not state.path_of(self.out).exists():
            steps = f" of {card['steps']} steps" if "steps" in card else ""
            print(
                f"{self.out}: a finished model{steps} of this photo is replaced when this training has ended",
                file=sys.stderr,
            )
        if theirs != names:
            of = ", ".join(map(str, theirs)) if isinstance(theirs, list) else "other scenes"
            raise ModelError(
                f"{self.out}: there is a finished model of {of}, and this one is of {', '.join(names)}; give another place, or allow it "
                "to be replaced",
                *("out", "force"),
            )

    def recipe(self) -> tuple[Recipe, bool]:
        """What is to be trained, and whether a budget was given.

        Raises:
            InputError: options that do not go together.
        """
        steps = self.steps
        if self.train.steps is not None:
            print("siame: --train.steps: give the number of steps as --steps", file=sys.stderr)
            if steps not in (None, self.train.steps):
                raise InputError(f"--steps {steps} and --train.steps {self.train.steps}: give one of them")
            steps = self.train.steps
        if self.minutes is not None and steps is not None:
            raise InputError("--minutes and --steps: give one of them")
        if (self.minutes is not None and not 0 < self.minutes < math.inf) or (steps is not None and steps < 1):
            raise InputError("--minutes and --steps: give a number above 0")
        if self.workspace.distance != Workspace.distance:
            raise InputError("--workspace.distance: give the distance as --distance")
        if self.data.relief:
            raise InputError("--data.relief: give the relief as --relief")
        if not 0 <= self.relief <= MOST_RELIEF:
            raise InputError(f"relief {self.relief:g}: give a share of the distance from 0 to {MOST_RELIEF}", "relief")
        if not 0 < self.distance < math.inf:
            raise InputError(f"distance {self.distance:g} m: give metres above 0", "distance")
        if not self.photos:
            raise InputError(
                f"no photo given; siame train PHOTO --width 0.8 --distance {Workspace.distance} --out model.safetensors"
            )
        check_seed(self.seed)
        check_writable(self.out, "--out")
        full = camera_of(self.camera, self.fov, default_camera())
        scale = self.distance / Workspace.distance  # the offsets belong to that: the same views at another distance
        unit = self.network.output_scale
        recipe = Recipe(
            network=dataclasses.replace(self.network, output_scale=(*(s * scale for s in unit[:3]), *unit[3:])),
            loss=self.loss,
            data=dataclasses.replace(self.data, relief=self.relief),
            workspace=self.workspace.at(self.distance),
            width=self.width,
            init=str(self.init or ""),
            camera=full.square(self.network.image_size),
            train=dataclasses.replace(self.train, steps=steps),
            minutes=MINUTES if self.minutes is None else self.minutes,
            seed=self.seed,
        )
        return recipe, steps is not None or self.minutes is not None

    def _device(self) -> torch.device:
        return device_of(self.device)

    def _initial(self, network: NetworkConfig) -> dict[str, Any] | None:
        """Weights of --init."""
        if self.init is None:
            return None
        theirs = load_model(self.init).network
        mine, other = dataclasses.asdict(network), dataclasses.asdict(theirs.config)
        # backbone and pooling do not know these
        for name in ("fusion", "head", "output", "zero_at_goal", "pretrained", "output_scale", "rays", "half_width"):
            mine.pop(name), other.pop(name)
        for name in ("log_scale", "fit"):  # constants around the weights
            mine["homography"].pop(name), other["homography"].pop(name)
        if differing := [name for name in mine if mine[name] != other[name]]:
            name = differing[0]
            raise InputError(
                f"--init {self.init}: its {name} is {other[name]}; give --network.{name.replace('_', '-')} {other[name]}, or leave --init out"
            )
        return theirs.weights_for(network)


def _poor(results: list[dict[str, Any]], steps: int, given: bool) -> str:
    """What to do where the finished network converges on few of its own starts; '' where it does, or was not tried."""
    if not results or results[-1]["step"] < steps or results[-1]["converged_percent"] >= _CONVERGES:
        return ""
    more = (
        f"more than its {steps} steps (--steps {2 * steps})"
        if given
        else f"more time (--minutes), or --steps {2 * steps} where the machine is busy"
    )
    return (
        f"{results[-1]['converged_percent']:.0f} % of its own starts converge, which is little: give it {more}; until then let the hand-off "
        "(the law of 'siame servo' and 'siame live') end its motions, or take the law auto"
    )


def _where(scenes: list[Scene], device: torch.device) -> str:
    """What is trained, and on what: 'training on coffee, on the CPU (AMD EPYC, 2 cores, PyTorch 2.14; 1 thread)'."""
    import torch

    names = ", ".join(scene.name for scene in scenes[:3]) + (f" and {len(scenes) - 3} more" if len(scenes) > 3 else "")
    if device.type == "cuda":
        return f"training on {names}, on the GPU ({hardware()})"
    threads = torch.get_num_threads()
    return f"training on {names}, on the CPU ({hardware('cpu')}; {threads} thread{'s' * (threads > 1)})"


def _reading(name: str, value: float, width: float) -> str:
    """A training error in the units that a person reads."""
    if name == "match":
        return f"match {100 * value / 2:.2f}% of the image"
    if name.startswith("w_") or name == "w":
        return f"{name} {math.degrees(value):.2f}deg"
    return f"{name} {100 * value * (width / 2 if name == 'where' else 1):.2f}cm"


class _TrainLog:
    """Progress bar, TensorBoard, closed-loop evaluations of a training."""

    def __init__(self, command: Train, scenes: list[Scene], recipe: Recipe, output: Output) -> None:
        self.command, self.scenes, self.recipe, self.output = command, scenes, recipe, output
        self.kept: dict[str, Any] = {"closed_loop": [], "spent": 0.0}  # the evaluations, and what they took [s]
        self.each = 0.0  # [s] of an evaluation
        self.bar: Any = None
        self.writer: Any = None

    def callbacks(self) -> Any:
        from siame_se3.training.driver import Callbacks
        from siame_se3.training.processes import world

        if self.command.tensorboard is not None and world()[0] == 0:
            self.writer = needs("torch.utils.tensorboard", "train").SummaryWriter(str(self.command.tensorboard))
        evaluated = self.command.eval_runs > 0
        return Callbacks(
            self.report,
            self.evaluate if evaluated else None,
            rehearse=self.rehearse if evaluated else None,
            say=self.say,
            card=self.card,
            kept=self.kept,
        )

    @property
    def results(self) -> list[dict[str, float]]:
        """The evaluations, those before an interruption too."""
        found: list[dict[str, float]] = self.kept["closed_loop"]
        return found

    def say(self, line: str) -> None:
        """A line for people, by the first process; above the bar where there is one."""
        from siame_se3.training.processes import world

        if world()[0] > 0:
            return
        if self.bar is not None and not self.bar.disable:
            self.bar.write(line, file=sys.stderr)
        else:
            self.output.say(line)

    def card(self) -> dict[str, Any]:
        return {
            "photo": [scene.name for scene in self.scenes],
            "command": command_line(),
            "closed_loop": self.results,
        }

    def _open(self, steps: int) -> None:
        """The bar, once the number of steps is known."""
        from tqdm import tqdm

        if self.bar is None:
            self.bar = tqdm(total=steps, unit="step", dynamic_ncols=True, disable=not sys.stderr.isatty())

    def report(self, p: Progress) -> None:
        self._open(p.steps)
        self.bar.update(p.step - self.bar.n)
        errors = " ".join(_reading(name, value, self.command.width) for name, value in p.groups.items())
        self.bar.set_postfix_str(f"loss {p.loss:.3f} {errors}")
        every = self.recipe.train.log_every
        if not sys.stderr.isatty() and (p.step % max(1, p.steps // 20) < every or p.step == p.steps):
            left = p.seconds / p.step * (p.steps - p.step)
            self.say(
                f"step {p.step}/{p.steps}  loss {p.loss:.3f}  {errors}  {p.images / p.seconds:.0f} images/s  {left:.0f} s left"
            )
        scalars = {"loss": p.loss, "lr": p.lr, "images_per_second": p.images / p.seconds}
        scalars |= {f"error/{name}": value for name, value in p.groups.items()}
        scalars |= {f"share_of_time/{name}": value for name, value in p.shares.items()}
        self._log(scalars, p.step)

    def evaluate(self, network: SiameseNetwork, p: Progress) -> None:
        """Runs of the network as it would be kept, on each scene in turn."""
        from siame_se3.analysis.report import small
        from siame_se3.experiments.evaluation import closed_loop

        self._open(p.steps)
        minutes = self.recipe.budget or math.inf
        if p.step < p.steps and self.kept["spent"] + 2 * self.each > 60 * minutes / 3:
            return  # there would be no time for the last one
        began = time.monotonic()
        with doing("evaluating: runs in closed loop"):
            s = closed_loop(network, self._task(p.step), iterations=_EVALUATED)
        self.each = time.monotonic() - began
        self.kept["spent"] += self.each
        result = {
            "step": p.step,
            "seconds": round(p.seconds, 1),
            "converged_percent": s.converged_percent,
            "end_t_m": s.end_t_m[0],
            "end_r_deg": s.end_r_deg[0],
        }
        self.results.append(result)
        self.say(
            f"closed loop at step {p.step}: {s.converged_percent:.0f} % of {s.runs} converged, end error "
            f"{small(100 * s.end_t_m[0])} cm {small(s.end_r_deg[0])} deg ({p.seconds:.0f} s of training)"
        )
        self._log({f"closed_loop/{name}": value for name, value in result.items()}, p.step)

    def rehearse(self, network: SiameseNetwork) -> float:
        """How long an evaluation takes [s], from the few first iterations of one."""
        from siame_se3.experiments.evaluation import closed_loop

        began = time.monotonic()
        closed_loop(network, self._task(0), iterations=_REHEARSED)
        first = time.monotonic()
        closed_loop(network, self._task(0), iterations=2 * _REHEARSED)
        preparing = max(0.0, 2 * (first - began) - (time.monotonic() - first))
        each = max(0.0, first - began - preparing) / _REHEARSED
        self.each = preparing + _EVALUATED * each
        return self.each

    def _task(self, seed: int) -> Task:
        """The runs of an evaluation, on each scene in turn."""
        from siame_se3.servo.simulation import Task

        scene = self.scenes[len(self.results) % len(self.scenes)]
        runs, distance = self.command.eval_runs, self.recipe.workspace.distance
        return Task(scene, self.recipe.seen_by, runs=runs, seed=seed, distance=distance)

    def _log(self, scalars: dict[str, float], step: int) -> None:
        if self.writer is not None:
            for name, value in scalars.items():
                self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the bar and the logs."""
        for opened in (self.bar, self.writer):
            if opened is not None:
                opened.close()
