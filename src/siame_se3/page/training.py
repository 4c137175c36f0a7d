"""A network that learns the page's photo while the page goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from siame_se3.errors import SiameError
from siame_se3.geometry.camera import Camera
from siame_se3.networks.checkpoint import Model
from siame_se3.plants.robots.threads import Worker, describe
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.training.driver import Callbacks, Paused, Progress, fit
from siame_se3.training.recipe import Recipe, for_photos


class Training:
    """One training, in a thread of its own, from its making to its end.

    Args:
        scene: the photo.
        recipe: how; see `recipe_for`.
        out: the model's file; its state stands beside it until the end, so that a training that was stopped goes on.
        done: called in the thread with the model.
    """

    def __init__(self, scene: Scene, recipe: Recipe, out: Path, done: Callable[[Model], None]) -> None:
        self._scene, self._recipe, self._out, self._done = scene, recipe, out, done
        self._stopped = False
        self.share = 0.0  # of the steps, 0 to 1
        self.text = "measuring speed ..."
        self._worker = Worker("training", self._run, endless=False, failed=self._failed)

    @property
    def alive(self) -> bool:
        """Whether it goes on."""
        return self._worker.alive

    def stop(self) -> None:
        """End it after the present step; its state is kept."""
        self._stopped = True
        self.text = "stopping ..."

    def join(self, seconds: float) -> None:
        """Wait for its end."""
        self._worker.join(seconds)

    def _run(self) -> None:
        try:
            callbacks = Callbacks(self._report, pause=lambda: self._stopped)
            fitted = fit(self._recipe, [self._scene], self._out, callbacks, given=False)
        except Paused:
            self.text = "stopped; the next training of this photo goes on from there"
        except (SiameError, OSError) as error:
            self.text = str(error)
        else:
            self.share, self.text = 1.0, f"done: {self._out}, {fitted.steps} steps, {fitted.seconds:.0f} s"
            self._done(fitted.model)

    def _report(self, progress: Progress) -> None:
        self.share = progress.step / progress.steps
        left = progress.seconds * (1 / self.share - 1)
        self.text = f"step {progress.step} of {progress.steps}, loss {progress.loss:.3f}, {left / 60:.1f} min left"

    def _failed(self, error: BaseException) -> None:
        self.text = f"training: {describe(error)}"


def recipe_for(camera: Camera, distance: float, width: float, minutes: float) -> Recipe:
    """The recipe of `siame train` for a page's camera, without evaluations on the way.

    Args:
        camera: of the page, square.
        distance: of the goal from the scene [m].
        width: of the scene [m].
        minutes: of training [min].
    """
    recipe = for_photos()
    scale = distance / Workspace.distance
    unit = recipe.network.output_scale
    return replace(
        recipe,
        network=replace(recipe.network, output_scale=(*(s * scale for s in unit[:3]), *unit[3:])),
        workspace=Workspace().at(distance),
        camera=camera.square(recipe.network.image_size),
        train=replace(recipe.train, evaluations=0),
        scenes=1,
        width=width,
        minutes=minutes,
    )
