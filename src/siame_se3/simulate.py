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
    from siame_se3.scene import Scene
    from siame_se3.view import Trajectory, View

LAWS = (
    *("handoff", "neural", "dvs", "dvs-light", "dct", "pbvs-sift", "pbvs-orb", "ibvs-sift", "ibvs-orb"),
    *("pbvs", "ibvs", "2.5d"),  # these know the simulator's poses
)
BUNDLED_PHOTO, BUNDLED_MODEL = "coffee.jpg", "coffee.safetensors"


def bundled(name: str) -> Path:
    """A file that came with the package."""
    with as_file(files("siame_se3") / "assets" / name) as path:
        return path


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
