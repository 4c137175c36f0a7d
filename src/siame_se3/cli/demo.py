"""siame demo: the bundled model over the bundled photo."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from siame_se3.cli.options import check_seed, check_writable, load_model
from siame_se3.cli.output import Output
from siame_se3.cli.page import Page, Served_at
from siame_se3.cli.run_files import VIDEOS, write_run_video
from siame_se3.cli.status import Status
from siame_se3.cli.stopped import say_keeping, say_kept
from siame_se3.errors import InputError
from siame_se3.files import BUNDLED_MODEL, BUNDLED_PHOTO, bundled, doing, hardware
from siame_se3.laws.registry import controller_for
from siame_se3.page.config import PageConfig
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.simulation import Task, simulate

_OF_A_TABLE = ("runs", "seed", "out", "json", "video")


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
    json: bool = False
    """Print the result as JSON; what is for people goes to standard error."""
    video: Path | None = None
    """Write a video of one run: current, goal and difference image, and the errors (.mp4 or .gif)."""
    page: bool = False
    """Instead, one camera on a live page, without the options of the table: see 'siame page'."""
    served: Served_at = field(default_factory=PageConfig)
    """Where that page is served, and to whom."""

    def __call__(self) -> int:
        if self.page:
            given = [f.name for f in fields(self) if f.name in _OF_A_TABLE and getattr(self, f.name) != f.default]
            if given:
                raise InputError(
                    f"a page shows one camera, and writes no file: leave out --page, or {' and '.join(f'--{name}' for name in given)}",
                    *given,
                )
            Page(served=self.served)()
            return Status.DONE

        from siame_se3.analysis import metrics, plots
        from siame_se3.scenes.planar import Scene

        if self.runs < 1:
            raise InputError(f"{self.runs} runs: give 1 or more", "runs")
        check_seed(self.seed)
        check_writable(self.out / "demo.png", "--out")
        check_writable(self.video, "--video", VIDEOS)
        output = Output(self.json)
        cameras = "1 camera starts" if self.runs == 1 else f"{self.runs} cameras start"
        output.say(f"{cameras} 12.5 +- 7.5 cm and 17.5 +- 12 deg away from where their photo was taken;")
        output.say("a network that learned this scene from one photo, in simulation, drives each of them back;")
        output.say("photometric servoing takes the last millimetre.")
        model = load_model(bundled(BUNDLED_MODEL))
        scene = Scene.from_photo(bundled(BUNDLED_PHOTO), model.scene_width)
        settings = {"command": "siame demo", "law": "handoff", "scene": scene.name, "seed": self.seed}
        config = ServoConfig(gain=8.0, max_iterations=150)
        task = Task(scene, model.camera, runs=self.runs, seed=self.seed, distance=model.distance)
        with doing("preparing the network"):
            controller = controller_for("handoff", model)
        trajectory, desired, last = simulate(controller, task, config, settings, keep=True)
        stopped = say_keeping(trajectory)
        table = metrics.rows(trajectory)
        summary = metrics.summary(table)
        title = f"{scene.name}, {trajectory.settings['seconds']} s, {hardware()}" + ", stopped by Ctrl-C" * stopped
        output.say(metrics.format_summary(summary, title))
        with output.named():
            output.write(self.out / "runs.csv", lambda path: metrics.write_csv(table, path))
            with doing(f"drawing {self.out / 'demo.png'}"):
                page = plots.overview(trajectory, scene, model.camera, desired, last)
                output.write(self.out / "demo.png", lambda path: plots.save(page, path))
            if self.video:
                with doing(f"drawing {self.video}"):
                    output.write(self.video, lambda path: write_run_video(path, trajectory, task, table))
        if stopped:
            say_kept(trajectory, self.runs, output)
        output.end({"settings": trajectory.settings, "summary": summary}, quiet=stopped)
        if stopped:
            return Status.INTERRUPTED
        output.say("next: siame train YOUR_PHOTO.jpg --width 0.8 --distance 0.6 --minutes 5 --out mine.safetensors")
        return Status.DONE if summary.converged_percent > 0 else Status.NOT_CONVERGED
