"""siame bench: the paper's experiments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from siame_se3.cli.options import check_seed, check_writable, device_of, plant_name
from siame_se3.cli.output import Output, command_line
from siame_se3.cli.run_files import PAGES, write_bench_report
from siame_se3.errors import InputError
from siame_se3.files import MOST_OWN, read_csv_table
from siame_se3.training.recipe import MINUTES

if TYPE_CHECKING:
    from siame_se3.experiments.runner import Cell, Setup

EXPERIMENTS = ("table1", "wide", "perturb", "fig3", "fig4", "fig5", "training")
RELIEF_SCENES = 150  # of objects
REAL_RUNS = 24  # starts a pair of photos
RUNS = {
    "table1": 1000,
    "wide": 500,
    "perturb": 200,
    "fig3": 200,
}  # starts a row of the experiments that are made of cells
QUICK_RUNS = {"table1": 24, "wide": 24, "perturb": 12, "fig3": 12}


@dataclass(frozen=True)
class Bench:
    """Repeat the paper's experiments: tables, figures, reports.

    table1: Table I, all laws from the same 1000 starts, the paper's row beside ours; and Fig. 2, convergence against overlap, from
    the same runs. wide: far starts. perturb: one disturbance at a time. fig3: networks for several scenes, and scenes never seen.
    fig4, fig5: the paper's two robot runs, in simulation. training: images per second, time to the paper's accuracy. fig2 is table1.
    paper: the paper's own networks and trainings, and ours, step by step; hours on a CPU, so not part of all (docs/benchmarks.md).
    relief: scenes of objects and reliefs, with goals that know their depth and goals that do not (docs/relief.md); not part of all.
    real FOLDER...: photos that a real camera took, with known views, of a plane or with depth (docs/real.md): one step from each to each,
    and the goal from one photo, the world from another.
    What is there already is not run again, so a stopped benchmark goes on; networks that are missing are trained first.
    """

    essential = ("experiment", "out", "quick", "runs", "laws", "minutes")

    experiment: Positional[Literal[(*EXPERIMENTS, "fig2", "paper", "real", "relief", "all")]]  # type: ignore[valid-type]  # tyro reads the tuple's names
    """Which."""
    folders: Positional[tuple[Path, ...]] = ()
    """Of real: folders of pictures."""
    out: Path = Path("siame-bench")
    """Folder of everything: networks/, and a folder for each experiment with its report.md."""
    report: Path | None = None
    """Write a page of all that was run, with its figures, which opens without a network (.html)."""
    quick: bool = False
    """A version of about a minute: few runs, few rows, the bundled models, the bundled photo and textures made by a program in place of
    photos; half a minute of training for rows that ask for one."""
    runs: int | None = None
    """Starts a row; default: 1000 of table1, 500 of wide, 200 of perturb, fig3 and paper (24 with --quick, of
    perturb and fig3 12); of training 192 (24); of relief scenes of objects, 150 (3); of real a pair of photos, 24 (3)."""
    seed: int = 42
    """Of starts, conditions and trainings."""
    minutes: float = MINUTES
    """Training budget of each network that is missing; networks and rows of a smaller one are refused. A training that was stopped goes on with the budget that it began with, and
    refuses another."""
    laws: tuple[str, ...] = ()
    """Only these rows. table1, wide, perturb: dvs, dct20, dct100, dvs-light, ibvs-orb, ibvs-sift, pbvs-orb, pbvs-sift, absolute-pose,
    'siame-SE(3)', 'siame-se(3)-two', 'siame-se(3)', handoff, 'siame-se(3)-robust', handoff-robust, 'siame-se(3)-wide', handoff-wide; fig3: colour, grey, handoff, dvs. real, relief: a law's name or any-scene, or one of them with +light (then photometric); real also trained, trained+light."""
    goals: tuple[str, ...] = ()
    """Of real: only these pictures as goals, by their names."""
    counts: tuple[int, ...] = (2, 5, 10, 50, 100)
    """Numbers of scenes of fig3's networks."""
    scenes: Path | None = None
    """Folder of your own photos for fig3, instead of those that packages bring (docs/benchmarks.md names them); the last fifth, 12 at
    most, are the unseen ones."""
    photos_root: Path = Path("/")
    """Where Debian's packages of photos are unpacked, if not installed."""
    bundled_model: bool = False
    """Take the bundled model (an hour's training) as 'siame-se(3)' instead of training one, or of one that is there."""
    plant: Literal["flying", "arm", "homography"] = "flying"
    """For fig4 and fig5. flying: a free-flying camera; arm: the arm in MuJoCo (pip install 'siame-se3[mujoco]'), written to fig4-arm and
    fig5-arm. homography is a former name of flying."""
    objects: Path | None = None
    """Of relief: folder of meshes (NAME/textured.obj with texture_map.png, or OBJ files beside their pictures); default: boxes, cylinders and balls."""
    depths: tuple[Literal["map", "camera", "scan", "plane"], ...] = ("map", "camera", "scan", "plane")
    """Of relief: what the goal knows of its depth. map: the truth; camera: a depth camera's; scan: what a scan around the goal finds; plane: one number."""
    reliefs: int = 10
    """Of relief: reliefs of each height in the sweep, with four starts each."""
    only: tuple[str, ...] = ()
    """Of relief: objects or sweep. Of paper: only these rows, such as paper-b3 ours-b3; 'siame bench paper --only list' names them."""
    images: int = 100_000
    """Of paper: images that each row's network sees; five times as many for the small backbone."""
    photo: Path | None = None
    """Of paper: a photo of your own, 0.8 m wide, instead of the bundled one."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Of paper: where to train and to measure."""
    wall_seconds: float | None = None
    """Of paper: stop cleanly before so many seconds are over; the same command goes on from there."""
    pretrained: bool = False
    """Of paper: also the rows that start from ImageNet weights of a hub, which timm downloads."""
    shard: str = "0/1"
    """k/n: run only the k-th (from 0) of n shares of the rows, of real of the goals; with one --out, or their folders put together, the last one to end
    makes the report of all."""

    json: bool = False
    """Print the tables as JSON; what is for people goes to standard error."""

    def __call__(self) -> None:
        check_seed(self.seed)
        check_writable(self.report, "--report", PAGES)
        output = Output(self.json)
        experiments = {"real": self._real, "paper": self._paper, "relief": self._relief}
        result = experiments.get(self.experiment, self._named)(output)
        folders = [self.out / name for name in dict.fromkeys(Path(name).parts[0] for name in result.get("tables", ()))]
        pages = [folder for folder in folders if (folder / "report.md").is_file()]
        if self.report and pages:
            write_bench_report(self.report, pages)
            output.wrote(self.report)
        output.end(result)

    def _named(self, output: Output) -> dict[str, Any]:
        """The experiments that a name chooses, or all of them; their tables."""
        if self.folders:
            raise InputError(f"{self.folders[0]}: only 'siame bench real' takes folders")
        plant = plant_name(self.plant)
        chosen = EXPERIMENTS if self.experiment == "all" else (self.experiment.replace("fig2", "table1"),)
        self._check(chosen)
        shard = self._shard()
        scenes = self._scenes() if "fig3" in chosen else ()
        command, setup, tables = command_line(), self._setup(output), {}
        cells = {name: self._cells(name, scenes if name == "fig3" else ()) for name in chosen if name in RUNS}
        self._check_kept(setup, chosen, cells)
        for name in chosen:
            text, where = None, name
            if name in RUNS:
                text = self._run_cells(setup, name, cells[name], shard, command)
            elif shard[0] == 0:
                where = f"{name}-{plant}" if name.startswith("fig") and plant != "flying" else name
                text = self._single(setup, name, command, plant)
            if text is not None:
                output.say(text)
                tables[where] = self._report(output, where, f"{name}.csv")
        return {"tables": tables}

    def _report(self, output: Output, folder: str, table: str) -> list[dict[str, str]]:
        """Name what an experiment has written; the rows of its table."""
        place = self.out / folder
        report, rows = place / "report.md", place / table
        found = [path for path in (report, rows, *sorted(place.glob("[!.]*.png"))) if path.is_file()]
        output.wrote(*(path for path in found if str(path) not in output.written))
        return read_csv_table(rows, (), most_bytes=MOST_OWN) if rows.is_file() else []

    def _real(self, output: Output) -> dict[str, Any]:
        """Photos of real cameras."""
        from siame_se3.experiments.real import report, rows
        from siame_se3.experiments.real.folders import read_folder

        if not self.folders:
            raise InputError(
                "bench real: give one or more folders of pictures, such as one with camera.yaml and poses.csv"
            )
        known = (*rows.LAWS, *rows.OTHERS, *rows.TRAINED)
        if unknown := [law for law in self.laws if law not in known]:
            raise InputError(f"--laws {unknown[0]}: no such row of real; use some of {', '.join(known)}")
        self._check(())
        shard = self._shard()
        found = [read_folder(path).of_goals(self.goals) for path in self.folders]
        if len({folder.name for folder in found}) < len(found):
            raise InputError(
                "bench real: two folders of one name; results are kept by it, so give them different ones (a link's own name counts)"
            )
        setup = self._setup(output)
        laws = self.laws or (rows.QUICK if self.quick else rows.LAWS)
        runs = self.runs or (3 if self.quick else REAL_RUNS)
        settings = rows.Settings(self.out, runs, self.seed, laws, "auto", rows.trained(setup), setup.say, shard)
        output.say(report.run(settings, found, command_line()))
        kinds = ("one_step", "two_photos")
        return {"tables": {f"real/{kind}": self._report(output, "real", f"{kind}.csv") for kind in kinds}}

    def _relief(self, output: Output) -> dict[str, Any]:
        """Scenes of objects, and reliefs that grow."""
        from siame_se3.experiments import relief_page, relief_runs

        if self.folders:
            raise InputError(f"{self.folders[0]}: only 'siame bench real' takes folders")
        if unknown := [name for name in self.only if name not in ("objects", "sweep")]:
            raise InputError(f"{unknown[0]}: no such part of relief; give objects or sweep", "only")
        if self.reliefs < 1:
            raise InputError(f"{self.reliefs} reliefs: give 1 or more", "reliefs")
        if not self.depths:
            raise InputError("no depths: give some of map, camera, scan, plane", "depths")
        self._check(())
        setup = self._setup(output)
        settings = relief_runs.Settings(
            *(
                self.out,
                self.runs or (3 if self.quick else RELIEF_SCENES),
                1 if self.quick else self.reliefs,
                self.seed,
            ),
            setup.scene,
            laws=self.laws or (relief_runs.QUICK if self.quick else relief_runs.LAWS),
            depths=self.depths,
            objects=self.objects,
            shard=self._shard(),
            say=setup.say,
        )
        for law in settings.laws:
            settings.controller(law)
        parts = {"objects": relief_runs.run_objects, "sweep": relief_runs.run_sweep}
        chosen = [part for part in parts if not self.only or part in self.only]
        for part in chosen:
            parts[part](settings)
        output.say(relief_page.page(settings, command_line()))
        names = {"objects": "relief.csv", "sweep": "sweep.csv"}
        return {"tables": {f"relief/{part}": self._report(output, "relief", names[part]) for part in chosen}}

    def _paper(self, output: Output) -> dict[str, Any]:
        """The paper's networks and trainings, and ours, step by step."""
        from siame_se3.experiments import ladder, paper, paper_setup
        from siame_se3.scenes.planar import Scene

        device, shard = device_of(self.device), self._shard()
        if self.images < 1:
            raise InputError(f"--images {self.images}: give 1 or more")
        if self.wall_seconds is not None and not 0 < self.wall_seconds < math.inf:
            raise InputError(f"--wall-seconds {self.wall_seconds}: give a finite time above 0")
        fast = device.type == "cuda"
        rows = ladder.quick(self.seed) if self.quick else ladder.rows(self.images, self.seed, self.pretrained, fast)
        if self.only == ("list",):
            output.say("\n".join(f"{row.name}: {ladder.STEPS[row.rung]}" for row in rows))
            return {"rows": {row.name: ladder.STEPS[row.rung] for row in rows}}
        self._check(())
        common = self._setup(output)
        setup = paper_setup.Setup(
            *(self.out, Scene.from_photo(self.photo) if self.photo is not None else common.scene),
            runs=self.runs or (24 if self.quick else paper_setup.RUNS),
            iterations=20 if self.quick else paper_setup.ITERATIONS,
            seed=self.seed,
            device=device.type,
            processes=shard[1],
            deadline=paper_setup.Deadline(self.wall_seconds),
            say=common.say,
        )
        output.say(paper.run(setup, ladder.chosen(rows, self.only), shard, command_line(), rows))
        return {"tables": {"paper": self._report(output, "paper", "table.csv")}}

    def _check(self, chosen: tuple[str, ...]) -> None:
        check_writable(self.out / "report.md", "--out")
        rooms = [_room(name) for name in chosen if name in RUNS]
        known = dict.fromkeys(row for room in rooms for row in (*room.ROWS, *room.OTHERS))
        if chosen and (unknown := [row for row in self.laws if row not in known]):
            raise InputError(f"--laws {unknown[0]}: no such row; use some of {', '.join(known)}")
        if self.runs is not None and self.runs < 1:
            raise InputError(f"--runs {self.runs}: give 1 or more")
        if not 0 < self.minutes < math.inf:
            raise InputError(f"--minutes {self.minutes}: give a finite number above 0")
        if not self.counts or min(self.counts) < 1:
            raise InputError("--counts: give numbers of scenes, 1 or more")

    def _setup(self, output: Output) -> Setup:
        from siame_se3.experiments.runner import Setup
        from siame_se3.experiments.script import bundled_print

        minutes = min(self.minutes, 0.5) if self.quick else self.minutes
        instead = {"siame-se(3)": "coffee"} if self.quick or self.bundled_model else {}
        given = (self.out, bundled_print(), minutes, self.seed, output.say, self._photos(), self.photos_root)
        return Setup(*given, instead=instead)

    def _photos(self) -> Path | None:
        """The folder of photos; None for those of the list. With --quick, pictures that need no download."""
        if self.scenes is not None or not self.quick:
            return self.scenes
        from siame_se3.experiments import quick

        return quick.pictures(self.out / "quick-pictures")

    def _cells(self, name: str, scenes: tuple[Any, ...]) -> list[Cell]:
        """The cells of an experiment; none where none of its rows is asked for."""
        room = _room(name)
        rows = tuple(row for row in self.laws if row in (*room.ROWS, *room.OTHERS))
        if self.laws and not rows:
            return []
        rows = rows or (room.QUICK if self.quick else room.ROWS)
        if self.quick and name == "perturb":
            scenes = (room.QUICK_CONDITIONS,)
        runs = self.runs or (QUICK_RUNS if self.quick else RUNS)[name]
        cells: list[Cell] = room.cells(runs, self.seed, rows, *scenes)
        return cells

    def _check_kept(self, setup: Setup, chosen: tuple[str, ...], cells: dict[str, list[Cell]]) -> None:
        """Refuse what is kept and is not what is asked for: now, not after hours of other rows."""
        from siame_se3.experiments import kept_cells, robot, runner

        for name in chosen:
            if name in RUNS:
                runner.check(setup, name, cells[name])
            elif name in robot.RUNS and not self.quick:
                kept_cells.check_networks(setup, [robot.RUNS[name].network])

    def _run_cells(
        self, setup: Setup, name: str, cells: list[Cell], shard: tuple[int, int], command: str
    ) -> str | None:
        """Run an experiment's cells, and write its page; its table as text, None where there are none."""
        from siame_se3.experiments import runner

        if not cells:
            return None
        runner.run(setup, name, cells, shard)
        text: str = _room(name).page(setup, cells, command)
        return text

    def _single(self, setup: Setup, name: str, command: str, plant: str) -> str:
        """Run an experiment that is not made of cells."""
        from siame_se3.experiments import robot, training

        if name in robot.RUNS:
            return robot.run(setup, name, command, plant, self.quick)
        return training.run(setup, self.runs or (24 if self.quick else 192), 2 if self.quick else 10, command)

    def _scenes(self) -> tuple[tuple[int, ...], int]:
        """Of fig3: the numbers of scenes, and how many unseen ones there are. What is missing is said now, not after hours of training."""
        from siame_se3.experiments import photos

        counts, folder = (2,) if self.quick else self.counts, self._photos()
        known = len(photos.names("train", folder))
        if max(counts) > known:
            whose = "the list" if folder is None else f"--scenes {folder}"
            advice = "add photos" if self.quick else "add photos, or give smaller --counts"
            raise InputError(f"a network for {max(counts)} scenes: {whose} has {known} photos to train on; {advice}")
        unseen = min(photos.UNSEEN, len(photos.names("unseen", folder)))
        if folder is None:
            for photo in (*photos.listed("train")[: max(counts)], *photos.listed("unseen")[:unseen]):
                photo.file(self.photos_root)
        return counts, unseen

    def _shard(self) -> tuple[int, int]:
        from siame_se3.experiments.runner import shard_of

        return shard_of(self.shard)


def _room(name: str) -> Any:
    """The module of an experiment that is made of cells."""
    return import_module(f"siame_se3.experiments.{name}")
