"""Simulated runs of a law, whole: starts, plant, controller, loop. What the commands and the experiments share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError, RobotError, SceneError, SiameError
from siame_se3.files import Counter, hardware, require_types
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import Controller, View
from siame_se3.plants.arm import ArmConfig, ArmPlant
from siame_se3.plants.depth_camera import DepthCamera
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.mismatch import Mismatch
from siame_se3.plants.types import Plant
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.poses import Workspace, draw_starts
from siame_se3.scenes.types import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.safety import Safety
from siame_se3.servo.stopping import CTRL_C
from siame_se3.servo.trajectory import Trajectory

Depth = Literal["plane", "map", "camera", "scan"]

_LEAST_CONTRAST = 1e-3  # of a goal image that shows something, of the range


@dataclass(frozen=True, eq=False)
class Task:
    """What simulated runs have to do: from each start pose to its desired pose.

    Attributes:
        scene: what there is to see.
        camera: intrinsics of the images.
        starts: 'table1', 'wide', or a CSV file of starts (see `draw_starts`).
        runs: how many starts.
        seed: of the starts, the disturbance and the model error.
        distance: of the desired cameras to the scene [m].
        disturbance: of the current images, drawn once a run; None for none.
        mismatch: how camera and scene differ from what the law is given; None for not at all.
        goal_depth: what laws are given as the desired images' depth [m]: a number, or a map for all of them; None for what the plant says.
        depth: what views know of it: 'plane', the distance to the plane z = 0; 'map', the true depth of each pixel; 'camera', a depth camera's map;
            'scan', of the goal alone, what the arm's own scan finds.
        depth_camera: of 'camera'.
    """

    scene: Scene
    camera: Camera
    starts: str = "table1"
    runs: int = 1
    seed: int = 0
    distance: float = Workspace.distance
    disturbance: Augmentation | None = None
    mismatch: Mismatch | None = None
    goal_depth: Float[Tensor, ""] | Float[Tensor, "h w"] | None = None
    depth: Depth = "plane"
    depth_camera: DepthCamera = field(default_factory=DepthCamera)

    def __post_init__(self) -> None:
        require_types(self, "simulation")

    @property
    def measures(self) -> DepthCamera | None:
        """What gives its views their depths; None for the distance to the plane."""
        return {"map": DepthCamera.ideal(), "camera": self.depth_camera}.get(self.depth)

    def draw(self, runs: int | None = None) -> tuple[Tensor, Tensor]:
        """Desired and start poses (T_wd, T_wc), (N, 4, 4); N is `runs`, or fewer where a file has fewer."""
        workspace = Workspace(distance=self.distance)
        return draw_starts(self.starts, runs or self.runs, self.scene, self.camera, workspace, self.seed)

    def given(self, desired: View) -> View:
        """Desired views with the depth that laws are given of them.

        Raises:
            InputError: a map of another size than the images'.
        """
        if self.goal_depth is None:
            return desired
        depth = self.goal_depth
        if depth.ndim and depth.shape != self.camera.size:
            raise InputError(
                f"depth map of {depth.shape[1]} x {depth.shape[0]} px; the goal images have {self.camera.width} x {self.camera.height}",
                *("goal_depth", "camera"),
            )
        return replace(desired, depth=depth.expand(*desired.batch, *depth.shape))


def simulate(
    controller: Controller,
    task: Task,
    config: ServoConfig,
    settings: dict[str, Any] | None = None,
    quiet: bool = False,
    plant: Plant | None = None,
    run: Callable[..., Trajectory] = servo,
    keep: bool = False,
) -> tuple[Trajectory, View, View]:
    """All runs of a task in one batch; the trajectory, the desired views, and the last ones.

    Args:
        plant: cameras of another kind than `FlyingCameras`; it is put at the desired poses too, to look from there.
        run: makes the runs; another than `servo` records them.
        keep: Ctrl-C keeps the runs as far as they came, those that still moved with the reason `CTRL_C`, and is noted in the trajectory's settings as
            'stopped'.

    Raises:
        KeyboardInterrupt: Ctrl-C, where nothing is to be kept, or there is nothing yet.
        SceneError: a desired camera sees nothing of the scene.
    """
    T_wd, T_wc = task.draw()
    if plant is None:
        plant = FlyingCameras(
            *(task.scene, task.camera),
            conditions=task.disturbance,
            seed=task.seed,
            mismatch=task.mismatch,
            depth_camera=task.measures,
        )
    look = plant.look if isinstance(plant, FlyingCameras) else plant.reset
    desired = look(T_wd)
    assert desired.image is not None
    if float(desired.image.flatten(-3).std(-1).min()) < _LEAST_CONTRAST:
        raise SceneError(
            f"{task.scene.name}: the desired camera sees nothing of the scene; check its width, the camera's distance and its field of view",
            *("width", "distance"),
        )
    began = time.perf_counter()
    with Counter(len(T_wc), "settled", "runs", quiet) as counter:

        def report(iteration: int, moving: int) -> None:
            counter.to(len(T_wc) - moving, iteration=iteration)

        trajectory = run(plant, controller, task.given(desired), T_wc, config, settings, report, keep=keep)
        stopped = CTRL_C in trajectory.reason or len(trajectory.reason) < len(T_wc)
        if not stopped:
            counter.to(len(T_wc))
    if stopped and not len(trajectory.twist):
        raise KeyboardInterrupt
    _note(trajectory, began)
    if stopped:
        trajectory.settings["stopped"] = True
    return trajectory, desired[: len(trajectory.reason)], look(trajectory.T_wc[-1])


@runtime_checkable
class _Looking(Protocol):
    """A plant that says what its camera sees elsewhere."""

    def look(self, T_wc: Tensor) -> View: ...

    def reset(self, start: Tensor | None) -> View: ...


def _desired(plant: _Looking, goal: Tensor, start: Tensor, scan: Callable[..., View] | None) -> View | str:
    """The desired view; why its scan finds no depth; or '' where it or the start is out of the arm's reach."""
    try:
        target = plant.look(goal)
        plant.reset(start)
    except RobotError:
        return ""
    try:
        return scan(plant, goal) if scan else target
    except SiameError as error:
        return str(error)


def simulate_on_arm(
    controller: Controller,
    task: Task,
    config: ServoConfig,
    arm: ArmConfig | None = None,
    safety: Safety | None = None,
    settings: dict[str, Any] | None = None,
    quiet: bool = False,
    run: Callable[..., Trajectory] = servo,
    scan: Callable[..., View] | None = None,
) -> tuple[Trajectory, View, View]:
    """As `simulate`, with an arm in MuJoCo, one run after the other, within the limits of `safety`.

    Starts that the arm cannot reach are passed over, and counted in the trajectory's settings as 'out_of_reach'. Ctrl-C keeps the runs that
    have ended, and is noted there as 'stopped'. A disturbance or model error of the task is not for the arm, which has its own
    (`ArmConfig`). `run` makes each run; another than `servo` records it. `scan` gives the desired view at a pose T_wd (1, 4, 4) with the depth that
    the arm finds there itself; goals at which it finds none are passed over, with the reasons in the settings' 'not_scanned'.

    Raises:
        InputError: MuJoCo is not installed.
        RobotError: it cannot render here, or nine of ten starts are out of reach.
    """
    exact = bool(Path(task.starts).suffix)  # a file's starts are what they are
    T_wd, T_wc = task.draw(task.runs if exact else 10 * task.runs)
    plant = ArmPlant(task.scene, task.camera, arm, depth_camera=task.measures)
    done: list[Trajectory] = []
    desired: list[View] = []
    last: list[View] = []
    passed: list[str] = []  # why: no depth was found; '' for out of reach
    stopped = False
    began = time.perf_counter()
    with contextlib.closing(plant), Counter(task.runs, "ended", "runs", quiet) as counter:
        try:
            for goal, start in zip(T_wd.split(1), T_wc.split(1), strict=True):
                if len(done) == min(task.runs, len(T_wc)):
                    break
                target = _desired(plant, goal, start, scan)
                if not isinstance(target, View):
                    passed.append(target)
                    continue
                ended = run(plant, controller, task.given(target), start, config, settings, safety=safety)
                if stopped := ended.reason[0] == CTRL_C:
                    break
                end = plant.look(ended.T_wc[-1])
                done, desired, last = [*done, ended], [*desired, target], [*last, end]
                counter.to(len(done))
        except KeyboardInterrupt:  # between two runs
            stopped = True
    if stopped and not done:
        raise KeyboardInterrupt
    not_scanned = [reason for reason in passed if reason]
    out_of_reach = len(passed) - len(not_scanned)
    if not stopped and (not done or (len(done) < task.runs and not exact)):
        raise _too_few(len(done), out_of_reach, not_scanned)
    trajectory = Trajectory.joined(done)
    _note(trajectory, began)
    trajectory.settings.update(out_of_reach=out_of_reach, stopped=stopped, not_scanned=not_scanned)
    return trajectory, _batch(desired, task.camera), _batch(last, task.camera)


def _too_few(done: int, out_of_reach: int, not_scanned: list[str]) -> RobotError:
    """Why so many of an arm's starts made no run."""
    tried = done + out_of_reach + len(not_scanned)
    if len(not_scanned) > out_of_reach:
        return RobotError(
            f"arm: {len(not_scanned)} of {tried} goals could not be scanned; the first: {not_scanned[0]}", "depth"
        )
    return RobotError(
        f"arm: {out_of_reach} of {tried} starts are out of reach; give nearer ones, or move the arm's base",
        *("starts_from", "arm.base"),
    )


def _note(trajectory: Trajectory, began: float) -> None:
    """Seconds and machine, into the trajectory's settings."""
    trajectory.settings["seconds"] = round(time.perf_counter() - began, 2)
    trajectory.settings["hardware"] = hardware()


def _batch(views: list[View], camera: Camera) -> View:
    return View(torch.cat([view.image for view in views if view.image is not None]), camera=camera)
