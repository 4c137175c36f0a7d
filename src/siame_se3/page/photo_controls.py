"""The page's controls for a photo of your own, and for a network that learns it."""

from __future__ import annotations

import hashlib
import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from siame_se3.errors import SceneError
from siame_se3.networks.checkpoint import Model
from siame_se3.page import style
from siame_se3.page.calls import LatestCalls
from siame_se3.page.controls import Ask
from siame_se3.page.photo import MOST_BYTES, scene_of, too_large
from siame_se3.page.simulation import Simulation
from siame_se3.page.training import Training, recipe_for
from siame_se3.page.uploads import refuse_large
from siame_se3.scenes.planar import Scene

_MINUTES = (1.0, 30.0, 1.0)  # from, to, step


class PhotoControls:
    """See the file.

    Args:
        server: viser's.
        show: the simulation.
        ask: see `Ask`.
        calls: where a model that is done is taken.
        folder: where models are written.
    """

    def __init__(
        self, server: Any, show: Simulation, ask: Ask, calls: LatestCalls, folder: Path = Path("siame-out")
    ) -> None:
        self._show, self._ask, self._calls, self._folder = show, ask, calls, folder
        self._training: Training | None = None
        self._dropped: Scene | None = None
        self._shown: tuple[float, str, bool] = (0.0, "", False)
        gui = server.gui
        with gui.add_folder("Your photo"):
            self._photo = gui.add_upload_button("Drop in a photo", icon="photo-up", mime_type="image/*")
            self._width = gui.add_number("its width [m]", 0.8, min=0.01, max=100.0, step=0.01)
            self._minutes = gui.add_slider("minutes", *_MINUTES, initial_value=5.0)
            self._train = gui.add_button("Train on it", icon="school")
            self._bar = gui.add_progress_bar(0.0, visible=False)
            self._text = gui.add_html("")
        self._react()
        refuse_large(server, MOST_BYTES, self._refuse)

    def _react(self) -> None:
        @self._photo.on_upload
        async def _(event: Any) -> None:
            file = event.target.value
            name, data = file.name, file.content
            file.content = b""  # the button would keep it until the next one
            self._ask("photo", lambda: self.take(name, data), event.client_id)

        @self._width.on_update
        async def _(event: Any) -> None:
            if event.client is not None:
                self._ask("width", self.resize, event.client_id)

        @self._train.on_click
        async def _(event: Any) -> None:
            self._ask("train", self._begin_or_stop, event.client_id)

    def _refuse(self, name: str, size: int, visitor: int) -> None:
        """Say that a file is too large, to the one who dropped it in."""

        def say() -> None:
            raise too_large(name, size)

        self._ask("large photo", say, visitor)

    def take(self, name: str, data: bytes) -> None:
        """Show another photo; its goal is in front of its middle, where the camera sees half of it or more.

        Raises:
            SceneError: no photo, or one that cannot be shown; the one before stays, and its training goes on.
        """
        self._put_up(scene_of(name, data, self._wide))

    def _put_up(self, scene: Scene) -> None:
        """Show a scene in place of the one before, whose training ends."""
        self._show.show(scene)
        self._end()
        self._dropped = scene

    @property
    def _wide(self) -> float:
        return min(100.0, max(0.01, float(self._width.value)))

    def resize(self) -> None:
        """The photo that was dropped in, of another width; a training of the other one ends."""
        before = self._dropped
        if before is None or self._show.worlds[0].scene is not before or before.width == self._wide:
            return
        self._put_up(replace(before, width=self._wide, height=before.height * self._wide / before.width))

    def _begin_or_stop(self) -> None:
        if self._training is not None and self._training.alive:
            self._training.stop()
            return
        scene = self._show.worlds[0].scene
        if not isinstance(scene, Scene):
            raise SceneError(f"{scene.name}: a network learns a photo, and this is none; drop one in")
        setup = self._show.setup
        minutes = min(_MINUTES[1], max(_MINUTES[0], float(self._minutes.value)))
        recipe = recipe_for(setup.camera, setup.distance, scene.width, minutes)
        out = self._folder / f"{file_name(scene, setup.distance)}.safetensors"

        def taken(model: Model) -> None:
            if self._show.worlds[0].scene is scene:  # another one may have been dropped in while this call waited
                self._show.take(model)

        self._training = Training(scene, recipe, out, lambda model: self._calls.post("model", lambda: taken(model)))

    def _end(self) -> None:
        if self._training is not None:
            self._training.stop()

    def update(self) -> None:
        """Show what has changed."""
        training = self._training
        if training is None:
            return
        now = (round(100 * training.share, 1), training.text, training.alive)
        if now == self._shown:
            return
        self._shown = now
        self._bar.value, self._bar.visible = now[0], training.alive
        self._text.content = style.block(html.escape(training.text))
        self._train.label = "Stop training" if training.alive else "Train on it"

    def close(self) -> None:
        """End a training; its state is kept."""
        self._end()
        if self._training is not None:
            self._training.join(20)


def file_name(scene: Scene, distance: float) -> str:
    """Of a photo's model: many photos have one name ('image.jpg'), and a model is of one photo, width and distance."""
    made_of = scene.texture.numpy().tobytes() + repr((scene.width, scene.height, distance)).encode()
    name = re.sub(r"[^\w-]", "_", scene.name)
    return f"{name}-{hashlib.sha256(made_of).hexdigest()[:8]}"
