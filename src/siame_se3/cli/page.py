"""siame page: simulated cameras in a browser; and the page of other commands."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from siame_se3.cli.options import LawName, PlantName, camera_of, fill_of, plant_name
from siame_se3.errors import InputError
from siame_se3.files import doing, model_file
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.laws.registry import REGISTRY as LAWS
from siame_se3.laws.registry import controller_for
from siame_se3.page import server
from siame_se3.page.config import PageConfig
from siame_se3.plants.arm import ArmConfig, ArmPlant
from siame_se3.plants.registry import REGISTRY as PLANTS
from siame_se3.plants.registry import plant_for
from siame_se3.scenes import planar
from siame_se3.scenes.poses import Workspace
from siame_se3.scenes.registry import scene_for
from siame_se3.servo.config import ServoConfig

if TYPE_CHECKING:
    from siame_se3.commissioning.session import Session
    from siame_se3.networks.checkpoint import Model
    from siame_se3.page.app import Page as Served
    from siame_se3.page.robot import LiveRobot
    from siame_se3.page.setup import Setup
    from siame_se3.plants.types import Plant
    from siame_se3.scenes.types import Scene

Served_at = Annotated[PageConfig, arg(name="page")]
"""Of a command that may serve a page: its `--page.host`, `--page.port`, `--page.token`, `--page.rate`."""


@dataclass(frozen=True)
class Page:
    """See laws at work in a browser: drag the camera away, and it comes home.

    Serves a page at 127.0.0.1:8080 until Ctrl-C: the scene in 3-D, images, errors and twists over time, one or two laws, disturbances, a photo
    of your own. Needs viser (pip install "siame-se3[page]").
    """

    essential = ("scene", "model", "law", "beside", "served.port", "served.host")

    scene: Path | None = None
    """Photo of the scene; default: the bundled one. Or a scene that a package brings: its name, or package.module:Name."""
    model: Path | None = None
    """Model that 'siame train' wrote for it, or the name of a bundled one: coffee, any-scene."""
    width: float | None = None
    """Width of the scene [m]; default: what the model was trained for, else 0.8."""
    distance: float | None = None
    """Distance of the goal camera from the scene [m]; default: what the model was trained for, else 0.6."""
    camera: Path | None = None
    """ROS camera_info YAML; default: the camera that the model was trained for, else f = 300 px at 224 x 224 (41 deg)."""
    fov: float | None = None
    """Or its field of view across the (square) image [deg]."""
    law: LawName = "handoff"
    """As in 'siame servo'; those that need the simulator's poses are of no use here."""
    beside: LawName = "none"
    """A second law, from the same start, beside the first one; none for none."""
    fill: str = "0"
    """What lies beyond the print: grey level 0 to 1, r,g,b, 'mean' or 'edge'."""
    plant: PlantName = "flying"
    """flying: a free-flying camera. arm: a 6-DOF arm that carries it, in MuJoCo (pip install "siame-se3[mujoco]"). Or a plant of your own:
    package.module:Name."""
    arm: ArmConfig = field(default_factory=ArmConfig)
    """Options of the arm: light, latency, noise, errors of the assumed hand-eye transform and focal length."""
    engine: str = "auto"
    """auto, torch, cuda, openvino or openvino-bf16."""
    servo: Annotated[ServoConfig, arg(name="")] = field(
        default_factory=lambda: ServoConfig(gain=3.0, max_iterations=1500)
    )
    """Gain, limits and stop rules."""
    served: Annotated[PageConfig, arg(name="")] = field(default_factory=PageConfig)
    """Where the page is served, and to whom."""

    def __call__(self) -> None:
        self._check()

        from siame_se3.page.app import Page as Served
        from siame_se3.page.simulation import Simulation

        setup = self._setup()
        print("loading the laws ...", flush=True)
        show = Simulation(setup)
        try:
            served = Served(show, self.served, setup.distance)
        except BaseException:  # whatever ends it, Ctrl-C too: the laws' threads are let go, and it is raised again
            show.close()
            raise
        with contextlib.closing(served):
            say_where(served)
            with contextlib.suppress(KeyboardInterrupt):
                served.run()

    def _check(self) -> None:
        """Refuse what cannot work, before anything is loaded.

        Raises:
            InputError: what that is.
        """
        from siame_se3.laws.pose import TEACHERS
        from siame_se3.page.world import check_step

        for law in (self.law, *([] if self.beside == "none" else [self.beside])):
            if law in TEACHERS:
                raise InputError(
                    f"law {law}: it needs the simulator's poses, and a page shows laws that look at images", "law"
                )
            LAWS.load(law)
        PLANTS.load(plant_name(self.plant))
        fill_of(self.fill)
        if self.width is not None and not 0 < self.width < math.inf:
            raise InputError(f"width {self.width:g} m: give metres above 0", "width")
        if self.distance is not None:
            Workspace(distance=self.distance)  # which refuses what is none
        self._seen_by(None)
        if plant_name(self.plant) == "arm":
            check_step(1 / self.arm.frame_rate, "arm.frame_rate")
        server.check(self.served)

    def _seen_by(self, model: Model | None) -> Camera:
        """The camera of the page's images: the one given, or the model's."""
        return camera_of(self.camera, self.fov, model.camera if model else default_camera(224)).square(224)

    def _setup(self) -> Setup:
        from siame_se3.networks import checkpoint
        from siame_se3.page.setup import Setup

        model: Model | None = None
        if self.scene is None or self.model is not None:
            model = checkpoint.load(model_file(self.model))
        width = self.width if self.width is not None else model.scene_width if model else 0.8
        distance = self.distance if self.distance is not None else model.distance if model else Workspace.distance
        camera = self._seen_by(model)
        with doing(f"reading {self.scene or 'the bundled photo'}"):
            scene = scene_for(self.scene, width, fill_of(self.fill))
        return Setup(
            scene,
            camera,
            model,
            self.law,
            self.beside,
            self.servo,
            distance,
            partial(self._plant, camera),
            controllers=lambda law, model: controller_for(law, model, self.engine),
        )

    def _plant(self, camera: Camera, scene: Scene) -> Plant:
        name = plant_name(self.plant)
        if name != "arm":
            return plant_for(name, scene, camera)
        if not isinstance(scene, planar.Scene):
            raise InputError(
                f"scene {scene.name}: the arm stands over a photo's print, and this is none", "scene", "plant"
            )
        return ArmPlant(scene, camera, self.arm)


def say_where(page: Served) -> None:
    """Print the page's address."""
    print(f"page: {page.url}   (Ctrl-C ends it)", flush=True)
    if page.url_elsewhere:
        print(f"from other machines: {page.url_elsewhere}", flush=True)


@contextlib.contextmanager
def page_of_robot(session: Session, law: str, config: PageConfig, distance: float) -> Iterator[LiveRobot]:
    """A page of a robot while its session goes on; gives what takes the terminal's lines, 'arm' and 'disarm' among them.

    Raises:
        InputError: see `server.check`.
    """
    from siame_se3.page.app import Page as Served
    from siame_se3.page.robot import LiveRobot

    show = LiveRobot(session, law)
    with contextlib.closing(Served(show, config, distance)) as page:
        say_where(page)
        print("The page shows all, and can stop the robot. Type 'arm' here to let it start the robot too.", flush=True)
        yield show
