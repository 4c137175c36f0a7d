"""A simulated plant as a robot: a camera source and a velocity driver, with a clock that can be held and a camera that can be put anywhere.

So the page drives a simulation by what drives a robot: `LivePlant` with its gate and its watchdog, `Session` with its words, `servo` with its guard.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError, SceneError
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_image
from siame_se3.laws.types import View
from siame_se3.page.clock import PausableClock
from siame_se3.page.disturb import Disturbances
from siame_se3.plants.robots.checks import HardLimits
from siame_se3.plants.robots.interfaces import WATCHDOG, Frame, RobotState
from siame_se3.plants.robots.latest import LatestFrame
from siame_se3.plants.robots.live import LivePlant
from siame_se3.plants.types import Plant
from siame_se3.scenes.types import Scene
from siame_se3.servo.safety import Safety

Found = TypeVar("Found")
MakePlant = Callable[[Scene], Plant]

_ANSWER = 20.0  # [s] for a call of the driver: the machine may be busy, and nothing here is in danger
_LEAST_CONTRAST = 1e-3  # of a goal image that shows something, of the range
# Of a simulation, whose images may jump and grow old without harm: its limits are those of `ServoConfig`.
FREE = Safety(
    max_twist=(5.0,) * 3 + (6.0,) * 3,
    max_change=(50.0,) * 6,
    reach=0.0,
    max_age=1e6,
    frozen=1e6,
    jump=2.0,
    drift=0.0,
    max_law=1e6,
    no_progress=0.0,
    ramp=0.0,
)


def check_step(dt: float, *settings: str) -> None:
    """Refuse a plant that would stand still between two of its steps.

    Args:
        dt: of the plant [s].
        settings: that it comes from, for the error.

    Raises:
        InputError: it is no shorter than `WATCHDOG`.
    """
    if dt >= WATCHDOG:
        raise InputError(
            f"a plant of {dt:.3g} s a step: on the page, as on a robot, it stands still {WATCHDOG:g} s after a twist; "
            f"give it shorter steps, of more than {1 / WATCHDOG:g} frames a second",
            *settings,
        )


class World:
    """One simulated camera over a scene; a camera source and a velocity driver at once.

    The plant's calls are made in one thread of their own (a renderer belongs to the thread that made it).

    Args:
        make: the plant over a scene.
        scene: what there is to see.
        start: camera pose T_wc.
        paced: in real time; False as fast as it goes, for tests.

    Raises:
        SiameError: the plant cannot be, cannot get to the start, or see `check_step`.
    """

    frame = "camera"

    def __init__(self, make: MakePlant, scene: Scene, start: Float[Tensor, "4 4"], paced: bool = True) -> None:
        self._make = make
        self._lane = ThreadPoolExecutor(1, "simulated plant")
        self._frames = LatestFrame()
        self._twist = torch.zeros(6, dtype=torch.float64)
        self._looks = 0
        self._closed = False
        self.clock = PausableClock(self._go_on, paced)
        self.scene = scene
        self.disturbances = Disturbances((scene.width, scene.height))
        self._plant = self._call(lambda: make(scene))
        assert self._plant.camera is not None
        self.camera: Camera = self._plant.camera
        self.dt = self._plant.dt
        try:
            check_step(self.dt)
        except InputError:
            self.close()
            raise
        self.T_wc = start.double()
        self.place(start)

    def _call(self, function: Callable[[], Found]) -> Found:
        """Its result, from the plant's thread."""
        return self._lane.submit(function).result()

    def place(self, T_wc: Float[Tensor, "4 4"]) -> None:
        """Put the camera somewhere, at rest.

        Raises:
            SiameError: the plant cannot get there; it stays where it is.
        """
        self._call(lambda: self._look(self._plant.reset(T_wc.double()[None])))

    def refresh(self) -> None:
        """Look again, where the disturbances have changed."""
        self.place(self.T_wc)

    def show(self, scene: Scene, start: Float[Tensor, "4 4"]) -> None:
        """Another scene, with the camera at its start pose.

        Raises:
            SiameError: the plant cannot have it; it keeps the one that it has.
        """
        on = self.disturbances.on

        def change() -> None:
            plant = self._make(scene)
            view = plant.reset(start.double()[None])
            self._plant.close()
            self._plant, self.scene = plant, scene
            self.disturbances = Disturbances((scene.width, scene.height))
            self.disturbances.on = on
            self._look(view)

        self._call(change)

    def goal(self, T_wd: Float[Tensor, "4 4"]) -> View:
        """What the camera sees at a desired pose, undisturbed: a batch of one.

        Raises:
            SiameError: the plant cannot get there, or sees nothing there.
        """

        def look() -> View:
            view = self._plant.reset(T_wd.double()[None])
            self._plant.reset(self.T_wc[None])
            return view

        view = self._call(look)
        assert view.image is not None
        if float(view.image.std()) < _LEAST_CONTRAST:
            raise SceneError(f"{self.scene.name}: the camera sees nothing of the scene there; take another place")
        return View(view.image, None, view.depth, view.camera, T_bc=T_wd.double()[None])

    def _go_on(self) -> None:
        """A step of the plant under the present twist."""
        self._call(lambda: self._look(self._plant.step(self._twist[None])[0]))

    def _look(self, view: View) -> None:
        """Keep a view's pose, and hand out its image."""
        assert view.image is not None
        assert view.T_wc is not None
        self.T_wc = view.T_wc[0].double()
        image = self.disturbances(view.image[0].cpu().float(), self.camera, self.T_wc)
        self._looks += 1
        self._frames.put(Frame(image, self.clock() + 1e-9 * self._looks))  # two at one time are two

    def latest(self, after: float, wait: float) -> Frame | None:
        """See `CameraSource`."""
        return self._frames.get(after, wait)

    @property
    def sensor(self) -> Camera:
        """See `CameraSource`: its pictures are its images."""
        return self.camera

    def prepared(self, pixels: np.ndarray) -> Float[Tensor, "3 h w"]:
        """See `CameraSource`."""
        return as_image(pixels)

    def state(self) -> RobotState:
        """The camera's pose in the scene, in place of a tool's in its base."""
        return RobotState(self.T_wc)

    def move(self, twist: Float[Tensor, "6"]) -> None:
        """See `VelocityDriver`."""
        self._twist = twist.double().clone()

    def stop(self) -> None:
        """Stand still, and let time go on for whoever sleeps."""
        self._twist = torch.zeros(6, dtype=torch.float64)
        self.clock.hold(False)

    def close(self) -> None:
        """Let the plant go; it may be called twice, as camera and as driver."""
        if not self._closed:
            self._closed = True
            self._call(self._plant.close)
            self._lane.shutdown()

    def robot(self, depth: float) -> LivePlant:
        """The robot that this is.

        Args:
            depth: distance of the scene at the goal, as given to the law [m].
        """
        clock = self.clock
        limits = HardLimits(10.0, 10.0)
        return LivePlant(self, self, None, self.dt, depth, False, limits, 60.0, clock, clock.sleep, answer=_ANSWER)
