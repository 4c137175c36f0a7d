"""siame demo: the bundled model over the bundled photo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from siame_se3.cli.options import check_writable
from siame_se3.files import BUNDLED_MODEL, BUNDLED_PHOTO, bundled, hardware
from siame_se3.laws.registry import controller_for
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.simulation import Task, simulate


@dataclass(frozen=True)
class Demo:
    """Servo many cameras at once over a bundled photo with the bundled model; print a table, write a figure.

    Needs no photo, no robot, no network connection; ends within a minute on two cores.
    """

    runs: int = 256
    """How many starts, in parallel."""
    seed: int = 7
    """Of the starts."""
    out: Path = Path("siame-out")
    """Folder of the figure and of runs.csv."""

    def __call__(self) -> None:
        from siame_se3.analysis import metrics, plots
        from siame_se3.networks import checkpoint
        from siame_se3.scenes.planar import Scene

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
        print(
            metrics.format_summary(
                metrics.summary(table), f"{scene.name}, {trajectory.settings['seconds']} s, {hardware()}"
            )
        )
        metrics.write_csv(table, self.out / "runs.csv")
        plots.save(plots.overview(trajectory, scene, model.camera, desired, last), self.out / "demo.png")
        print(f"figure: {self.out / 'demo.png'}   runs: {self.out / 'runs.csv'}")
        print("next: siame train YOUR_PHOTO.jpg --width 0.8 --distance 0.6 --minutes 5 --out mine.safetensors")
