"""The runs of `siame bench relief`: laws over scenes of objects, and over reliefs that grow. A scene is one CSV; what is there is not run again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from siame_se3.analysis.metrics import converged
from siame_se3.errors import InputError, SceneError
from siame_se3.experiments import relief
from siame_se3.experiments.real.rows import Table
from siame_se3.experiments.relief import CNS_R, CNS_T, DEPTHS, Depth
from siame_se3.experiments.script import median
from siame_se3.files import model_file, read_csv_table, write_csv_rows
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.laws.handoff import Handoff
from siame_se3.laws.light import LightDVS
from siame_se3.laws.registry import controller_for
from siame_se3.laws.types import Controller, View
from siame_se3.networks import checkpoint
from siame_se3.plants.depth_camera import DepthCamera
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.mujoco_objects import Thing, dropped, things_of
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, draw_starts
from siame_se3.scenes.relief import Relief
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.trajectory import Trajectory

LAWS = ("auto+light", "pbvs-sift+light", "pbvs-sift", "any-scene+light")
QUICK = ("pbvs-sift+light",)
SWEEP_LAWS = ("auto+light", "pbvs-sift", "any-scene+light")
SWEEP_DEPTHS: tuple[Depth, ...] = ("map", "plane")
PERCENT = (0, 5, 10, 15, 20, 25, 30)  # of the goal's distance: heights of the sweep
SWEEP_RUNS = 4  # starts a relief of the sweep

COLUMNS = (
    *("law", "depth", "scene", "run", "start_t_m", "start_r_deg", "goal_distance_m", "end_t_m", "end_r_deg"),
    *("converged", "ms", "iterations", "reason"),
)
SWEEP_COLUMNS = (
    *("law", "depth", "relief_percent"),
    *(name for name in COLUMNS[2:] if name != "goal_distance_m"),
    "one_step",  # see `one_step`
)

_CONFIG = ServoConfig(gain=10.0, max_iterations=150)
_TRIES = 20  # of a scene's seeds, until objects lie on the table
_CLEARANCE = 0.1  # of a start of the sweep above the highest place [m]


@dataclass(frozen=True)
class Settings:
    """What all rows of a folder of results share.

    Attributes:
        out: where relief/ is.
        scenes: how many scenes of objects.
        reliefs: how many reliefs of each height.
        seed: of all of them.
        laws: of `controller`. depths: of DEPTHS.
        objects: folder of meshes; None for boxes, cylinders and balls.
        photo: over the sweep's reliefs.
        shard: number of this share of the scenes, and how many there are.
        width: of the images that laws see [px]: those of 640 x 480 px, reduced.
        say: progress, a line at a time.
    """

    out: Path
    scenes: int
    reliefs: int
    seed: int
    photo: Scene
    laws: tuple[str, ...] = ()
    depths: tuple[Depth, ...] = DEPTHS
    objects: Path | None = None
    shard: tuple[int, int] = (0, 1)
    width: int = 320
    say: Callable[[str], None] = print
    controllers: dict[str, Controller] = field(default_factory=dict, init=False, repr=False)

    def controller(self, law: str) -> Controller:
        """A law by its name; any-scene is the network alone, and NAME+light is handed off to the photometric law. Each is made once."""
        if law not in self.controllers:
            name, _, fine = law.partition("+")
            if fine not in ("", "light"):
                raise InputError(f"law {law}: no such row; give NAME or NAME+light", "laws")
            self.controllers[law] = Handoff(_coarse(name), LightDVS()) if fine else _coarse(name)
        return self.controllers[law]

    @property
    def camera(self) -> Camera:
        """Of the images that laws see."""
        return relief.CAMERA.resized(self.width, self.width * 3 // 4)

    def mine(self, count: int) -> range:
        """The numbers of this share's scenes."""
        return range(self.shard[0], count, self.shard[1])


def _coarse(name: str) -> Controller:
    if name == "any-scene":
        return controller_for("neural", checkpoint.load(model_file(Path(name))))
    return controller_for(name)


# -- scenes of objects ------------------------------------------------------------------------------------------------


def run_objects(settings: Settings) -> None:
    """All rows of this share's scenes that are not there yet."""
    things = None if settings.objects is None else things_of(settings.objects)
    for number in settings.mine(settings.scenes):
        _run_scene(settings, things, number)


def _run_scene(settings: Settings, things: Sequence[Thing] | None, number: int) -> None:
    table = Table(_part(settings, "objects", f"scene-{number:03d}"), COLUMNS, COLUMNS[:2], _made(settings, things))
    rows = [(law, depth) for depth in settings.depths for law in settings.laws if not table.has(law, depth)]
    if not rows:
        settings.say(f"scene {number}: there already")
        return
    one, seed = _trial(settings, things, number)
    goals: dict[Depth, View | str] = {}
    for law, depth in rows:
        if depth not in goals:
            goals[depth] = _goal(one, depth, settings.camera, seed)
        table.add([(law, depth, number, 0, *_one_run(settings, law, one, goals[depth]))])
    done = [row for row in table.rows if row["converged"] == "1"]
    settings.say(f"scene {number}: {len(done)} of {len(table.rows)} rows converged")
    one.scene.close()  # type: ignore[attr-defined]  # a MujocoScene


def _trial(settings: Settings, things: Sequence[Thing] | None, number: int) -> tuple[relief.Trial, int]:
    """A scene of objects and its goal and start, by the first seed of some that gives one."""
    for attempt in range(_TRIES):
        seed = (settings.seed * 1000 + number) * _TRIES + attempt
        try:
            scene = dropped(seed, things)
        except SceneError:  # something fell off the table
            if attempt == _TRIES - 1:
                raise
            continue
        try:
            return relief.trial(scene, seed), seed
        except SceneError:  # nothing is seen from far enough
            scene.close()
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


def _goal(one: relief.Trial, depth: Depth, camera: Camera, seed: int) -> View | str:
    """The goal view, or why there is none: a scan that finds no depth is a result."""
    try:
        return relief.goal_view(one, depth, camera, seed)
    except InputError as error:
        return str(error)


def _one_run(settings: Settings, law: str, one: relief.Trial, goal: View | str) -> tuple[Any, ...]:
    """The columns of a run after its number; one without a goal, or whose law takes none, stays where it is."""
    start = lie.inverse(one.T_wd) @ one.T_wc
    start_t, start_r = (float(x) for x in lie.error_norms(start))
    at_start = (start_t, math.degrees(start_r), one.distance)
    if isinstance(goal, str):
        return (*at_start, start_t, math.degrees(start_r), 0, math.nan, 0, goal)
    plant = FlyingCameras(one.scene, settings.camera)
    try:
        trajectory = servo(plant, settings.controller(law), goal, one.T_wc[None], _CONFIG)
    except InputError as error:  # such as a map with too few depths
        return (*at_start, start_t, math.degrees(start_r), 0, math.nan, 0, str(error))
    end_t, end_r = (float(x[-1, 0]) for x in trajectory.error_norms)
    success = end_t < CNS_T * one.distance and math.degrees(end_r) < CNS_R
    return (*at_start, end_t, math.degrees(end_r), int(success), *_ended(trajectory, 0))


def _ended(trajectory: Trajectory, run: int) -> tuple[float, int, str]:
    """Milliseconds a step, iterations, and why it ended."""
    ms = 1e3 * median(trajectory.step_seconds)
    return ms, int(trajectory.iterations[run]), trajectory.reason[run]


# -- the sweep --------------------------------------------------------------------------------------------------------


def run_sweep(settings: Settings) -> None:
    """All rows of this share's reliefs that are not there yet."""
    laws = tuple(law for law in SWEEP_LAWS if not settings.laws or law in settings.laws) or settings.laws
    cases = [(percent, number) for number in range(settings.reliefs) for percent in PERCENT]
    for k in settings.mine(len(cases)):
        _run_relief(settings, laws, *cases[k])


def _run_relief(settings: Settings, laws: Sequence[str], percent: int, number: int) -> None:
    made = {"seed": settings.seed, "photo": settings.photo.name, "runs": SWEEP_RUNS, "gain": _CONFIG.gain}
    table = Table(
        _part(settings, "sweep", f"relief-{percent:02d}-{number:02d}"), SWEEP_COLUMNS, SWEEP_COLUMNS[:3], made
    )
    depths = [depth for depth in settings.depths if depth in SWEEP_DEPTHS] or list(SWEEP_DEPTHS)
    rows = [(law, depth) for depth in depths for law in laws if not table.has(law, depth, str(percent))]
    if not rows:
        return
    scene, T_wd, T_wc = sweep_scene(settings.photo, percent, settings.seed * 1000 + number)
    camera = default_camera(224)
    for law, depth in rows:
        knows = DepthCamera.ideal() if depth == "map" else None
        goal = FlyingCameras(scene, camera, depth_camera=knows).look(T_wd)
        if depth == "plane":  # the distance of what is in the image's middle
            goal = replace(
                goal, depth=FlyingCameras(scene, camera, depth_camera=DepthCamera.ideal()).look(T_wd).distance
            )
        controller, plant = settings.controller(law), FlyingCameras(scene, camera)
        left = one_step(controller, goal, plant.reset(T_wc))
        trajectory = servo(plant, controller, goal, T_wc, _CONFIG)
        t, r = trajectory.error_norms
        good = converged(t[0], r[0], t[-1], r[-1])
        table.add(
            (
                *(law, depth, percent, number, k, *_errors(t, r, 0, k), *_errors(t, r, -1, k)),
                *(int(good[k]), *_ended(trajectory, k), left[k]),
            )
            for k in range(len(T_wd))
        )
    settings.say(
        f"relief of {percent} %, {number}: {sum(row['converged'] == '1' for row in table.rows)} of {len(table.rows)} converged"
    )


def one_step(controller: Controller, goal: View, view: View) -> list[float]:
    """Of each run, the distance that is left where its law's first velocity leads in a second at gain 1, straight and turned, as a share of that of the
    start; NaN where the law has none."""
    law, state = controller.aim(goal)
    output, _ = law(view, state)
    assert goal.T_wc is not None
    assert view.T_wc is not None
    T_dc = lie.inverse(goal.T_wc) @ view.T_wc
    before, after = (lie.error_norms(T)[0] for T in (T_dc, T_dc @ lie.pose_from_vector(output.v.double())))
    return [math.nan if fault else float(x) for x, fault in zip(after / before, output.faults, strict=True)]


def _errors(t: Tensor, r: Tensor, at: int, run: int) -> tuple[float, float]:
    return float(t[at, run]), math.degrees(float(r[at, run]))


def sweep_scene(photo: Scene, percent: int, seed: int) -> tuple[Relief, Tensor, Tensor]:
    """A drawn relief, this share of the goal's distance high, and Table I starts over it that stay clear of it; all heights of a seed are of the same
    shapes."""
    tallest = percent / 100 * Workspace.distance
    scene = Relief.drawn(photo, tallest, seed)
    T_wd, T_wc = draw_starts("table1", 10 * SWEEP_RUNS, photo, default_camera(224), Workspace(), seed)
    highest = PERCENT[-1] / 100 * Workspace.distance
    clear = ((T_wc[:, 2, 3] < -highest - _CLEARANCE) & (T_wd[:, 2, 3] < -highest - _CLEARANCE)).nonzero()[:, 0]
    return scene, T_wd[clear[:SWEEP_RUNS]], T_wc[clear[:SWEEP_RUNS]]


# -- files ------------------------------------------------------------------------------------------------------------


def _part(settings: Settings, kind: str, name: str) -> Path:
    return settings.out / "relief" / kind / f"{name}.csv"


def _made(settings: Settings, things: Sequence[Thing] | None) -> dict[str, Any]:
    return {
        "seed": settings.seed,
        "objects": "primitives" if things is None else [thing.name for thing in things],
        "width": settings.width,
        "gain": _CONFIG.gain,
        "iterations": _CONFIG.max_iterations,
    }


def gathered(settings: Settings, kind: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of all scenes that are there, of all shares, in one CSV: relief/relief.csv or relief/sweep.csv."""
    parts = sorted((settings.out / "relief" / kind).glob("[!.]*.csv"))  # not what another shard is writing
    rows = [row for part in parts for row in read_csv_table(part, columns)]
    rows.sort(
        key=lambda row: (row["law"], DEPTHS.index(row["depth"]), float(row.get("relief_percent", 0)), int(row["scene"]))
    )  # type: ignore[arg-type]  # read from a file that we wrote
    if rows:
        name = "relief" if kind == "objects" else kind
        write_csv_rows(
            settings.out / "relief" / f"{name}.csv", list(columns), [[row[c] for c in columns] for row in rows]
        )
    return rows
