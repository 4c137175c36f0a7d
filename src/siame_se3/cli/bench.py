"""siame bench: the paper's experiments."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from siame_se3.cli.options import check_writable
from siame_se3.errors import SiameError
from siame_se3.files import BUNDLED_MODEL, BUNDLED_PHOTO, bundled

EXPERIMENTS = ("table1", "wide", "perturb", "fig3", "fig4", "fig5", "training")


@dataclass(frozen=True)
class Bench:
    """Repeat the paper's experiments: tables, figures, reports.

    table1: Table I, all laws from the same 1000 starts, the paper's row beside ours; and Fig. 2, convergence against overlap, from
    the same runs. wide: far starts. perturb: one disturbance at a time. fig3: networks for several scenes, and scenes never seen.
    fig4, fig5: the paper's two robot runs, in simulation. training: images per second, time to the paper's accuracy. fig2 is table1.
    What is there already is not run again, so a stopped benchmark goes on; networks that are missing are trained first.
    """

    essential = ("experiment", "out", "quick", "runs", "laws", "minutes")

    experiment: Positional[Literal[(*EXPERIMENTS, "fig2", "all")]]  # type: ignore[valid-type]  # tyro reads the tuple's names
    """Which."""
    out: Path = Path("siame-bench")
    """Folder of everything: networks/, and a folder for each experiment with its report.md."""
    quick: bool = False
    """A version of about a minute: few runs, few rows, the bundled model as 'siame-se(3)', half a minute of training for others."""
    runs: int | None = None
    """Starts a row; default: 1000 of table1, 500 of wide, 200 of perturb and fig3 (24 with --quick)."""
    seed: int = 42
    """Of starts, conditions and trainings."""
    minutes: float = 5.0
    """Training budget of each network that is missing."""
    laws: tuple[str, ...] = ()
    """Only these rows. table1, wide, perturb: dvs, dct20, dct100, dvs-light, ibvs-orb, ibvs-sift, pbvs-orb, pbvs-sift, absolute-pose,
    'siame-SE(3)', 'siame-se(3)-two', 'siame-se(3)', handoff, 'siame-se(3)-robust', handoff-robust, 'siame-se(3)-wide', handoff-wide; fig3: colour, grey, handoff, dvs."""
    counts: tuple[int, ...] = (2, 5, 10, 50, 100)
    """Numbers of scenes of fig3's networks."""
    scenes: Path | None = None
    """Folder of your own photos for fig3, instead of those that packages bring (docs/benchmarks.md names them); the last fifth, 12 at
    most, are the unseen ones."""
    photos_root: Path = Path("/")
    """Where Debian's packages of photos are unpacked, if not installed."""
    bundled_model: bool = False
    """Take the bundled model (an hour's training) as 'siame-se(3)' instead of training it."""
    plant: Literal["homography", "arm"] = "homography"
    """Of fig4 and fig5: the homography simulator, or the arm in MuJoCo (pip install 'siame-se3[mujoco]'; written to fig4-arm, fig5-arm)."""
    shard: str = "0/1"
    """k/n: run only the k-th (from 0) of n shares of the rows; with one --out, or their folders put together, the last one to end
    makes the report of all."""

    def __call__(self) -> None:
        from siame_se3.experiments import cells, fig3, networks, perturb, robot, table1, training, wide
        from siame_se3.scenes.planar import Scene

        rooms: dict[str, tuple[Any, int]] = {
            "table1": (table1, 1000),
            "wide": (wide, 500),
            "perturb": (perturb, 200),
            "fig3": (fig3, 200),
        }
        chosen = EXPERIMENTS if self.experiment == "all" else (self.experiment.replace("fig2", "table1"),)
        check_writable(self.out / "report.md", "--out")
        known = dict.fromkeys(
            row for name in chosen if name in rooms for row in (*rooms[name][0].ROWS, *rooms[name][0].OTHERS)
        )
        if unknown := [row for row in self.laws if row not in known]:
            raise SiameError(f"--laws {unknown[0]}: no such row; use some of {', '.join(known)}")
        if self.runs is not None and self.runs < 1:
            raise SiameError(f"--runs {self.runs}: give 1 or more")
        if not self.minutes > 0:
            raise SiameError(f"--minutes {self.minutes}: give a number above 0")
        if not self.counts or min(self.counts) < 1:
            raise SiameError("--counts: give numbers of scenes, 1 or more")
        shard = self._shard()
        scenes = self._scenes() if "fig3" in chosen else ()
        if self.quick or self.bundled_model:
            place = networks.path_of(self.out, "siame-se(3)")
            if not place.is_file():
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundled(BUNDLED_MODEL), place)
        command = " ".join(["siame", *sys.argv[1:]])
        scene = Scene.from_photo(bundled(BUNDLED_PHOTO), 0.8)
        minutes = min(self.minutes, 0.5) if self.quick else self.minutes
        setup = cells.Setup(
            *(self.out, scene, minutes, self.seed, lambda text: print(text, flush=True)), self.scenes, self.photos_root
        )
        for name in chosen:
            if name in robot.RUNS:
                if shard[0] == 0:
                    print(robot.run(setup, name, command, self.plant))
                    where = name if self.plant == "homography" else f"{name}-{self.plant}"
                    print(f"report: {self.out / where / 'report.md'}")
                continue
            if name == "training":
                if shard[0] == 0:
                    print(
                        training.run(setup, self.runs or (24 if self.quick else 192), 2 if self.quick else 10, command)
                    )
                    print(f"report: {self.out / name / 'report.md'}")
                continue
            room, usual = rooms[name]
            usable = (*room.ROWS, *room.OTHERS)
            rows = tuple(row for row in self.laws if row in usable)
            if self.laws and not rows:
                continue
            rows = rows or (room.QUICK if self.quick else room.ROWS)
            more = scenes if name == "fig3" else ()
            wanted = room.cells(self.runs or (24 if self.quick else usual), self.seed, rows, *more)
            cells.run(setup, name, wanted, shard)
            print(room.page(setup, wanted, command))
            print(f"report: {self.out / name / 'report.md'}")

    def _scenes(self) -> tuple[tuple[int, ...], int]:
        """Of fig3: the numbers of scenes, and how many unseen ones there are. What is missing is said now, not after hours of training."""
        from siame_se3.experiments import photos

        counts = (2,) if self.quick else self.counts
        known = len(photos.names("train", self.scenes))
        if max(counts) > known:
            whose = "the list" if self.scenes is None else f"--scenes {self.scenes}"
            mend = "add photos" if self.quick else "add photos, or give smaller --counts"
            raise SiameError(f"a network for {max(counts)} scenes: {whose} has {known} photos to train on; {mend}")
        if self.scenes is None:
            for photo in (*photos.listed("train")[: max(counts)], *photos.listed("unseen")):
                photo.file(self.photos_root)
        return counts, len(photos.names("unseen", self.scenes))

    def _shard(self) -> tuple[int, int]:
        k, _, n = self.shard.partition("/")
        if not (k.isdecimal() and n.isdecimal() and int(k) < int(n)):
            raise SiameError(f"--shard {self.shard}: give k/n with k from 0 to n - 1, such as 0/4")
        return int(k), int(n)
