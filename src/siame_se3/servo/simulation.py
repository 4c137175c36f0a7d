"""Simulated runs of a law, whole: starts, plant, controller, loop. What commands and benchmarks share.

Also the bundled photo and model, the paper's camera, and the line that says what machine this is.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siame_se3.errors import SiameError
from siame_se3.files import hardware
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.poses import Workspace
from siame_se3.servo.loop import ServoConfig

if TYPE_CHECKING:
    from siame_se3.geometry.camera import Camera
    from siame_se3.laws.types import Controller, View
    from siame_se3.plants.arm import ArmConfig
    from siame_se3.plants.mismatch import Mismatch
    from siame_se3.plants.types import Plant
    from siame_se3.scenes.types import Scene
    from siame_se3.servo.guard import Safety
    from siame_se3.servo.trajectory import Trajectory


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
    plant: Plant | None = None,
) -> tuple[Trajectory, View, View]:
    """Simulated runs of a law; the trajectory, the desired views, and the last ones.

    `plant`: cameras of another kind than `FlyingCameras`; it is put at the desired poses too, to look from there.
    """
    from tqdm import tqdm

    from siame_se3.plants.flying import FlyingCameras
    from siame_se3.scenes import poses as sampling
    from siame_se3.servo.loop import servo

    workspace = Workspace(distance=distance)
    T_wd, T_wc = sampling.draw_starts(starts, runs, scene, camera, workspace, seed)
    plant = plant or FlyingCameras(scene, camera, conditions=conditions, seed=seed, mismatch=mismatch)
    look = plant.look if isinstance(plant, FlyingCameras) else plant.reset
    desired = look(T_wd)
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
    return trajectory, desired, look(trajectory.T_wc[-1])


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

    from siame_se3.laws.types import View
    from siame_se3.plants.arm import ArmPlant
    from siame_se3.scenes import poses as sampling
    from siame_se3.servo.loop import servo
    from siame_se3.servo.trajectory import Trajectory

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
