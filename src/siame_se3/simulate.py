"""Simulated runs of a law, whole: starts, plant, controller, loop. What commands and benchmarks share.

Also the bundled photo and model, the paper's camera, and the line that says what machine this is.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siame_se3.augment import Augmentation
from siame_se3.errors import SiameError
from siame_se3.loop import ServoConfig
from siame_se3.sampling import Workspace

if TYPE_CHECKING:
    from siame_se3.camera import Camera
    from siame_se3.checkpoint import Model
    from siame_se3.control.base import Controller
    from siame_se3.control.illumination import LightDVS
    from siame_se3.control.matched import MatchedPoints
    from siame_se3.control.photometric import DVS
    from siame_se3.plant import Mismatch
    from siame_se3.plant.arm import ArmConfig
    from siame_se3.safety import Safety
    from siame_se3.scene import Scene
    from siame_se3.view import Trajectory, View

LAWS = (
    *("handoff", "neural", "dvs", "dvs-light", "dct", "pbvs-sift", "pbvs-orb", "ibvs-sift", "ibvs-orb"),
    *("pbvs", "ibvs", "2.5d"),  # these know the simulator's poses
)
BUNDLED_PHOTO, BUNDLED_MODEL = "coffee.jpg", "coffee.safetensors"
BUNDLED_MODELS = {"coffee": BUNDLED_MODEL, "any-scene": "any-scene.safetensors"}  # by the names that --model takes


def bundled(name: str) -> Path:
    """A file that came with the package."""
    with as_file(files("siame_se3") / "assets" / name) as path:
        return path


def model_file(model: Path | None) -> Path:
    """The file of a --model: a path, the name of a bundled model (`BUNDLED_MODELS`), or None for the bundled photo's.

    Raises:
        SiameError: neither a file nor a name.
    """
    if model is None:
        return bundled(BUNDLED_MODEL)
    if model.is_file():
        return model
    if str(model) not in BUNDLED_MODELS:
        names = ", ".join(BUNDLED_MODELS)
        raise SiameError(
            f"{model}: no such file; give a model that 'siame train' wrote, or a bundled one by its name: {names}"
        )
    return bundled(BUNDLED_MODELS[str(model)])


def hardware(device: str = "cuda") -> str:
    """One line on the machine, for reports: its GPU if it has one, or its CPU."""
    import torch

    if device == "cuda" and torch.cuda.is_available():
        return f"{torch.cuda.get_device_name(0)}, PyTorch {torch.__version__}"
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            name = next((line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} cores, PyTorch {torch.__version__}"


def default_camera(size: int) -> Camera:
    """The paper's: 224 px, f = 300 px, at another number of pixels."""
    from siame_se3.camera import Camera

    return Camera.from_focal(300, 224).resized(size)


def controller_for(
    law: str,
    model: Model | None = None,
    engine: str = "auto",
    dvs: DVS | None = None,
    light: LightDVS | None = None,
    points: MatchedPoints | None = None,
) -> Controller:
    """A law by its name (one of LAWS). `handoff` without a model begins with matched points (pbvs-sift)."""
    from dataclasses import replace

    from siame_se3.control.geometric import TEACHERS
    from siame_se3.control.handoff import Handoff
    from siame_se3.control.illumination import LightDVS
    from siame_se3.control.matched import MatchedPoints
    from siame_se3.control.neural import Neural, engine_for
    from siame_se3.control.photometric import DVS

    if law in TEACHERS:
        return TEACHERS[law]
    if law == "neural":
        if model is None:
            raise SiameError("--law neural: it needs a model; give --model, or --law handoff")
        ratio = model.camera.fx / model.camera.width
        return Neural(engine_for(model.network, engine), model.network.config.output, ratio)
    if law == "handoff":
        coarse = controller_for("neural" if model else "pbvs-sift", model, engine, points=points)
        return Handoff(coarse, light or LightDVS())
    if law == "dvs-light":
        return light or LightDVS()
    if law in ("dvs", "dct"):
        chosen = dvs or DVS()
        return replace(chosen, coefficients=(chosen.coefficients or 20) if law == "dct" else 0)
    kind, _, detector = law.partition("-")
    if (kind, detector) in {(k, d) for k in ("pbvs", "ibvs") for d in ("sift", "orb")}:
        return replace(points or MatchedPoints(), law=kind, detector=detector)  # type: ignore[arg-type]  # checked above
    raise SiameError(f"unknown law '{law}'; use one of {', '.join(LAWS)}")


def run_servo(
    controller: Controller,
    scene: Scene,
    camera: Camera,
    starts: str,
    runs: int,
    seed: int,
    distance: float,
    config: ServoConfig,
    conditions: Augmentation | None = None,
    quiet: bool = False,
    settings: dict[str, Any] | None = None,
    mismatch: Mismatch | None = None,
) -> tuple[Trajectory, View, View]:
    """Simulated runs of a law; the trajectory, the desired views, and the last ones."""
    from tqdm import tqdm

    from siame_se3 import sampling
    from siame_se3.loop import servo
    from siame_se3.plant import HomographyPlant

    workspace = Workspace(distance=distance)
    T_wd, T_wc = sampling.draw_starts(starts, runs, scene, camera, workspace, seed)
    plant = HomographyPlant(scene, camera, conditions=conditions, seed=seed, mismatch=mismatch)
    desired = plant.look(T_wd)
    assert desired.image is not None
    contrast = desired.image.flatten(-3).std(-1)
    if float(contrast.min()) < 1e-3:
        raise SiameError(
            f"{scene.name}: the desired camera sees nothing of the scene; check --width, --distance and the camera"
        )
    began = time.perf_counter()
    with tqdm(total=len(T_wc), desc="settled runs", unit="run", disable=quiet or not sys.stderr.isatty()) as bar:

        def report(iteration: int, moving: int) -> None:
            bar.update(len(T_wc) - moving - bar.n)
            bar.set_postfix(iteration=iteration)

        trajectory = servo(plant, controller, desired, T_wc, config, settings, report)
        bar.update(len(T_wc) - bar.n)
    trajectory.settings["seconds"] = round(time.perf_counter() - began, 2)
    trajectory.settings["hardware"] = hardware()
    return trajectory, desired, plant.look(trajectory.T_wc[-1])


def run_arm(
    controller: Controller,
    scene: Scene,
    camera: Camera,
    starts: str,
    runs: int,
    seed: int,
    distance: float,
    config: ServoConfig,
    arm: ArmConfig | None = None,
    quiet: bool = False,
    settings: dict[str, Any] | None = None,
    safety: Safety | None = None,
) -> tuple[Trajectory, View, View]:
    """As `run_servo`, with an arm in MuJoCo, one run after the other, within the limits of `safety`. Starts that the arm cannot reach are passed over, and counted in the
    trajectory's settings as 'out_of_reach'.

    Raises:
        SiameError: MuJoCo is missing, or nine of ten starts are out of reach.
    """
    import torch
    from tqdm import tqdm

    from siame_se3 import sampling
    from siame_se3.loop import servo
    from siame_se3.plant.arm import ArmPlant
    from siame_se3.view import Trajectory, View

    more = runs if Path(starts).suffix else 10 * runs  # a file's starts are what they are
    T_wd, T_wc = sampling.draw_starts(starts, more, scene, camera, Workspace(distance=distance), seed)
    plant = ArmPlant(scene, camera, arm)
    done: list[Trajectory] = []
    desired: list[View] = []
    last: list[View] = []
    passed = 0
    began = time.perf_counter()
    try:
        for goal, start in tqdm(
            zip(T_wd, T_wc, strict=True), desc="runs", total=runs, disable=quiet or not sys.stderr.isatty()
        ):
            if len(done) == min(runs, len(T_wc)):
                break
            try:
                target = plant.look(goal)
                plant.reset(start)
            except SiameError:
                passed += 1
                continue
            done.append(servo(plant, controller, target, start, config, settings, safety=safety))
            desired.append(target)
            last.append(plant.look(done[-1].T_wc[-1]))
    finally:
        plant.close()
    if not done or (len(done) < runs and not Path(starts).suffix):
        raise SiameError(
            f"arm: {passed} of {passed + len(done)} starts are out of reach; give nearer ones (--starts-from), or move the base (--arm.base)"
        )

    def batch(views: list[View]) -> View:
        images = [view.image for view in views if view.image is not None]
        return View(torch.stack(images), camera=camera)

    trajectory = Trajectory.joined(done)
    trajectory.settings["seconds"] = round(time.perf_counter() - began, 2)
    trajectory.settings["hardware"] = hardware()
    trajectory.settings["out_of_reach"] = passed
    return trajectory, batch(desired), batch(last)
