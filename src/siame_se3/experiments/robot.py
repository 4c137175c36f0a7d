"""Fig. 4 and Fig. 5: the paper's two robot runs, one start each, with free-flying cameras or on the arm in MuJoCo, with highlights on the
print."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from siame_se3.analysis import plots, report
from siame_se3.experiments.networks import BUNDLED, minutes_of
from siame_se3.experiments.pages import training_note
from siame_se3.experiments.runner import Setup, obtain, scenes_of
from siame_se3.files import Counter, hardware, write_csv_rows
from siame_se3.geometry import lie
from siame_se3.laws.light import LightDVS
from siame_se3.laws.pose import PBVS
from siame_se3.laws.registry import controller_for
from siame_se3.laws.types import Controller, View
from siame_se3.plants.arm import ArmConfig, ArmPlant
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.mismatch import Mismatch
from siame_se3.plants.types import Plant, WrappedPlant
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import reference_pose
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.safety import Safety
from siame_se3.servo.trajectory import Trajectory

GAIN = 2.5  # the paper's lambda of 0.1 an iteration, at 25 frames a second
FINE = {"flying": 100, "arm": 150}  # iterations of photometric servoing after the network
GLOSS = 0.5
SHOWN = 336  # least side of the pictures in the figure [px]
LIMITS = Safety(max_twist=(0.25,) * 3 + (1.0,) * 3, max_change=(1.0,) * 3 + (4.0,) * 3, reach=1.0)  # of the arm


@dataclass(frozen=True)
class RobotRun:
    """One of the paper's runs.

    Attributes:
        title: of its page.
        network: its name in `networks`.
        distance: of the desired camera [m].
        start: c*Tc at the start [cm, deg].
        theirs: the paper's end [cm, deg], in words.
        fine: photometric servoing after the network.
        base: of the arm, from which it reaches the whole path (see `ArmConfig`).
        width: of the print [m].
        iterations: of the network.
    """

    title: str
    network: str
    distance: float
    start: tuple[float, ...]
    theirs: str
    fine: bool
    base: tuple[float, float, float]
    width: float = 0.8
    iterations: int = 500

    @property
    def quick(self) -> RobotRun:
        """The same with the bundled network for any scene, and fewer iterations."""
        return replace(self, network="any-scene", iterations=100)


RUNS = {
    "fig4": RobotRun(
        *("Fig. 4: one scene, 0.8 m", "wide-0.8m", 0.8, (45, 19, 9, 34, -20, -47)),
        "0.5, 0.2, 0.06 cm, 0.3, -0.33, 0.12 deg after 500 iterations of Siame-se(3)",
        fine=False,
        base=(-0.3, -0.3, 0.5),
    ),
    "fig5": RobotRun(
        *("Fig. 5: one of several scenes, an A3 print at 0.3 m, then photometric", "a3-10", 0.3),
        *(
            (-17.9, 1, 0.5, 4.3, 18.4, 44.6),
            "-1.6, -0.4, 0.3 cm, -0.89, 3.16, -0.76 deg after 500 iterations, 0.06 cm and 0.13 deg after DVS",
        ),
        fine=True,
        base=(-0.45, 0.0, 0.0),
        width=0.42,
    ),
}


def _plant(setup: Setup, run: RobotRun, kind: str, least: int = 0) -> FlyingCameras | ArmPlant:
    """What moves, over the run's print, with a camera of at least so many pixels."""
    camera, scene = obtain(setup, run.network).camera, _print_of(setup, run)
    camera = camera.resized(max(least, camera.width))
    if kind == "arm":
        return ArmPlant(scene, camera, ArmConfig(base=run.base, gloss=GLOSS))
    return FlyingCameras(scene, camera, mismatch=Mismatch(gloss=GLOSS), seed=setup.seed)


def _print_of(setup: Setup, run: RobotRun) -> Scene:
    """The first of the scenes that the network is for, at the run's width."""
    scene = scenes_of(setup, run.network)[0]
    return replace(scene, width=run.width, height=scene.height * run.width / scene.width)


class _Recorded(WrappedPlant):
    """A plant whose images are kept."""

    def __init__(self, plant: Plant) -> None:
        super().__init__(plant)
        self.images: list[Tensor] = []

    def _kept(self, view: View) -> View:
        assert view.image is not None
        self.images.append(view.image)
        return view

    def reset(self, start: Tensor | None) -> View:
        return self._kept(self.plant.reset(start))

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        view, applied = self.plant.step(v)
        return self._kept(view), applied


@dataclass(frozen=True, eq=False)
class Driven:
    """A run: the network's trajectory, photometric ones after it, PBVS's from the same start; along the network's, ||S(I) - S(I*)|| and the sum
    of squared differences of I and I*; and pictures at the start, the desired one, and at each part's end."""

    trajectories: list[Trajectory]
    codes: list[float]
    ssd: list[float]
    pictures: list[Tensor]


def drive(setup: Setup, run: RobotRun, kind: str = "flying") -> Driven:
    """The run. On the arm it always ends with photometric servoing, and all parts are within `Safety`'s limits of twists."""
    model = obtain(setup, run.network)
    T_wd = reference_pose(run.distance)[None]
    start = torch.tensor(run.start, dtype=torch.float64)
    T_wc = T_wd @ lie.pose_from_vector(torch.cat((start[:3] / 100, torch.deg2rad(start[3:]))))[None]
    plant = _plant(setup, run, kind)
    target = plant.look(T_wd)
    never = ServoConfig(gain=GAIN, max_iterations=run.iterations, settle_v=1e-12, settle_w=1e-12)
    fine = replace(never, gain=5.0 if kind == "arm" else 10.0, max_iterations=FINE[kind])
    safety = LIMITS if kind == "arm" else None

    def follow(controller: Controller, T: Tensor | None, config: ServoConfig) -> tuple[Trajectory, list[Tensor]]:
        recorded = _Recorded(plant)
        with Counter(config.max_iterations, "made", "iterations") as counter:
            done = servo(
                *(recorded, controller, target, T, config),
                report=lambda iteration, moving: counter.to(iteration),
                safety=safety,
            )
        return done, recorded.images

    network, images = follow(controller_for("neural", model), T_wc, never)
    assert target.image is not None
    runs = [network]
    if run.fine or kind == "arm":
        there = None if kind == "arm" else network.T_wc[-1]
        runs.append(follow(LightDVS(), there, fine)[0])
    pictures = _pictures(_plant(setup, run, kind, SHOWN), T_wd, runs)
    codes, ssd = [], []
    with torch.no_grad():
        goal = model.network.eval().embed(target.image)
        for image in images:
            codes.append(float((model.network.embed(image) - goal).norm()))
            ssd.append(float((image - target.image).square().sum()))
    runs.append(follow(PBVS(), T_wc, never)[0])
    plant.close()
    return Driven(runs, codes, ssd, pictures)


def _pictures(plant: FlyingCameras | ArmPlant, T_wd: Tensor, runs: list[Trajectory]) -> list[Tensor]:
    """At the start, the desired pose, and each run's end."""
    pictures = []
    for T_wc in (runs[0].T_wc[0], T_wd, *(run.T_wc[-1] for run in runs)):
        image = plant.look(T_wc).image
        assert image is not None
        pictures.append(image[0].cpu())
    plant.close()
    return pictures


def correlation(a: list[float], b: list[float]) -> float:
    """Pearson's."""
    both = torch.corrcoef(torch.tensor([a, b], dtype=torch.float64))
    return float(both[0, 1])


def _errors(trajectory: Trajectory) -> Tensor:
    """c*Tc over time as (t, theta u), (T + 1, 6) [cm, deg]."""
    p = lie.vector_from_pose(lie.inverse(trajectory.T_wd) @ trajectory.T_wc)[:, 0]
    return torch.cat((100 * p[:, :3], torch.rad2deg(p[:, 3:])), 1)


def run(setup: Setup, name: str, command: str, kind: str = "flying", quick: bool = False) -> str:
    """Drive (with --quick, the shorter run), and write NAME.csv, the figure and the report page (in NAME-arm for the arm); the page's text."""
    spec, folder = (
        RUNS[name].quick if quick else RUNS[name],
        setup.folder / (name if kind == "flying" else f"{name}-{kind}"),
    )
    obtain(setup, spec.network)
    setup.say(f"{name}: the network {spec.network}, {spec.iterations} iterations, then PBVS for comparison")
    began = time.perf_counter()
    driven = drive(setup, spec, kind)
    trajectories, codes, ssd = driven.trajectories, driven.codes, driven.ssd
    seconds = time.perf_counter() - began
    first = _errors(trajectories[0])
    stages = [first, *(_errors(t) for t in trajectories[1:-1])]
    _write(stages, [t.twist[:, 0] for t in trajectories[:-1]], folder / f"{name}.csv")
    together = correlation(codes, ssd)
    plots.save(plots.robot_run(trajectories, driven.pictures, codes, ssd, together), folder / f"{name}.png")

    def words(p: Tensor) -> str:
        values = [f"{x:.2f}" for x in p.tolist()]
        return f"{', '.join(values[:3])} cm, {', '.join(values[3:])} deg"

    def sizes(p: Tensor) -> str:
        return f"{float(p[:3].norm()):.3f} cm, {float(p[3:].norm()):.3f} deg"

    path = (trajectories[0].T_wc[:, 0, :3, 3].diff(dim=0)).norm(dim=1).sum()
    straight = (trajectories[0].T_wc[-1, 0, :3, 3] - trajectories[0].T_wc[0, 0, :3, 3]).norm()
    lines = [
        f"start: {words(first[0])} ({sizes(first[0])})",
        f"after {len(trajectories[0].twist)} iterations of the network: {words(first[-1])} ({sizes(first[-1])})",
        *(f"after photometric: {words(p[-1])} ({sizes(p[-1])})" for p in stages[1:]),
        f"paper: {spec.theirs}",
        f"length of the path over the straight line's: {float(path / straight):.3f}",
        f"correlation of ||S(I) - S(I*)|| with the SSD: {together:.3f}",
    ]
    origin = (
        f"`{command}`; {hardware()}; seed {setup.seed}; {seconds:.0f} s, {_origin(setup, spec)}; "
        f"{time.strftime('%Y-%m-%d')}. {'Free-flying cameras' if kind == 'flying' else 'Arm in MuJoCo'}, two lamps' highlights of "
        f"{100 * GLOSS:g} % of the range on the print, lambda {GAIN * 0.04:g} an iteration."
    )
    text = "\n".join(f"- {line}" for line in lines)
    report.write_report(folder / "report.md", spec.title, [origin, text, f"![the run]({name}.png)"])
    return text


def _origin(setup: Setup, run: RobotRun) -> str:
    """Where the network comes from."""
    if run.network in BUNDLED:
        return f"by the bundled network {run.network}, which has seen no picture of this scene"
    minutes = minutes_of(obtain(setup, run.network))
    return f"the network not counted {training_note([] if minutes is None else [minutes])}".strip()


def _write(stages: list[Tensor], twists: list[Tensor], path: Path) -> None:
    """Pose errors and commanded twists, a line an iteration."""
    names = ["tx_cm", "ty_cm", "tz_cm", "tux_deg", "tuy_deg", "tuz_deg", "vx", "vy", "vz", "wx", "wy", "wz"]
    lines = []
    for k, (errors, twist) in enumerate(zip(stages, twists, strict=True)):
        for i, error in enumerate(errors.tolist()):
            v = twist[i].tolist() if i < len(twist) else [math.nan] * 6
            lines.append([k, i, *(f"{x:.6g}" for x in (*error, *v))])
    write_csv_rows(path, ["stage", "iteration", *names], lines)
