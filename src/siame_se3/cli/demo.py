"""siame demo: the bundled model over the bundled photo."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from siame_se3.cli.options import check_writable
from siame_se3.cli.page import Page, Served_at
from siame_se3.cli.status import Status
from siame_se3.errors import InputError
from siame_se3.files import BUNDLED_MODEL, BUNDLED_PHOTO, bundled, hardware
from siame_se3.laws.registry import controller_for
from siame_se3.page.config import PageConfig
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.simulation import Task, simulate


@dataclass(frozen=True)
class Demo:
    """Move 256 simulated cameras to where a bundled photo was taken.

    Prints a table and writes a figure. Needs no photo, no robot and no network connection; ends within a minute on two cores.
    """

    runs: int = 256
    """How many start poses."""
    seed: int = 7
    """Seed of the start poses."""
    out: Path = Path("siame-out")
    """Folder of demo.png and runs.csv."""
    page: bool = False
    """Instead, one camera on a live page: see 'siame page'."""
    served: Served_at = field(default_factory=PageConfig)
    """Where that page is served, and to whom."""

    def __call__(self) -> int:
        if self.page:
            Page(served=self.served)()
            return Status.DONE

        from siame_se3.analysis import metrics, plots
        from siame_se3.networks import checkpoint
        from siame_se3.scenes.planar import Scene

        if self.runs < 1:
            raise InputError(f"{self.runs} runs: give 1 or more", "runs")
        if not 0 <= self.seed < 2**31:
            raise InputError(f"seed {self.seed}: give a number from 0 to {2**31 - 1}", "seed")
        check_writable(self.out / "demo.png", "--out")
        model = checkpoint.load(bundled(BUNDLED_MODEL))
        scene = Scene.from_photo(bundled(BUNDLED_PHOTO), model.scene_width)
        print(f"{self.runs} cameras start 12.5 +- 7.5 cm and 17.5 +- 12 deg away from where their photo was taken;")
        print("a network that learned this scene from one photo, in simulation, drives each of them back;")
        print("photometric servoing takes the last millimetre.")
        settings = {"command": "siame demo", "law": "handoff", "scene": scene.name, "seed": self.seed}
        config = ServoConfig(gain=8.0, max_iterations=150)
        task = Task(scene, model.camera, runs=self.runs, seed=self.seed, distance=model.distance)
        trajectory, desired, last = simulate(controller_for("handoff", model), task, config, settings)
        table = metrics.rows(trajectory)
        summary = metrics.summary(table)
        title = f"{scene.name}, {trajectory.settings['seconds']} s, {hardware()}"
        print(metrics.format_summary(summary, title))
        metrics.write_csv(table, self.out / "runs.csv")
        plots.save(plots.overview(trajectory, scene, model.camera, desired, last), self.out / "demo.png")
        print(f"figure: {self.out / 'demo.png'}   runs: {self.out / 'runs.csv'}")
        print("next: siame train YOUR_PHOTO.jpg --width 0.8 --distance 0.6 --minutes 5 --out mine.safetensors")
        return Status.DONE if summary.converged_percent > 0 else Status.NOT_CONVERGED
