"""One robot under one law, as a page shows it: its session in a thread, its newest image, the trace of its run."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.session import Session
from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.page.trace import Sample, Trace
from siame_se3.page.world import World
from siame_se3.plants.robots.interfaces import Frame
from siame_se3.plants.robots.live import LivePlant
from siame_se3.plants.robots.threads import Worker

LINES = 6  # of what a session has said that are kept
_PATIENCE = 30.0  # [s] for a session to come to rest: a law's first step builds its engine


@dataclass(frozen=True)
class Now:
    """What a track shows at one moment.

    Attributes:
        image: the newest. stamp: when it was taken, by the plant's clock [s]: another number for another image.
        T: the camera's pose, in the scene's or the base's frame; None where it is not known.
        T_d: the desired one.
        sample: errors and twist.
        moving: whether it does.
    """

    image: Float[Tensor, "3 h w"] | None
    stamp: float
    T: Float[Tensor, "4 4"] | None
    T_d: Float[Tensor, "4 4"] | None
    sample: Sample
    moving: bool


class Track:
    """See the file.

    Args:
        session: of the robot.
        law: the law's name.
        world: the simulated one, or None for a robot.
    """

    def __init__(self, session: Session, law: str, world: World | None = None) -> None:
        self.session, self.law, self.world = session, law, world
        self.trace = Trace()
        self.lines: deque[str] = deque(maxlen=LINES)
        self.worker: Worker | None = None
        self._frame: Frame | None = None
        self._began = self._stamp = -math.inf
        self._was_moving = False
        session.listeners.append(self._heard)

    @property
    def plant(self) -> LivePlant:
        """What moves."""
        return self.session.plant

    def run(self) -> None:
        """Begin the session, in a thread of its own."""
        self.worker = Worker(f"session of {self.law}", self.session.run, endless=False)

    def _heard(self, line: str) -> None:
        if not line.startswith(("iteration", "ready")):
            self.lines.append(line)

    @property
    def image_age(self) -> float:
        """How old a robot's newest image is [s]; 0 in a simulation, whose camera gives a new one only where something has changed."""
        return 0.0 if self.world is not None else time.monotonic() - self._stamp

    @property
    def moving(self) -> bool:
        """Whether it moves, or is about to."""
        return not self.session.wait_until_idle(0)

    def stop(self) -> None:
        """Stop at once, without waiting for what is being computed."""
        self.session.command("stop")

    def rest(self) -> None:
        """Stop, and wait until the session takes commands.

        Raises:
            SiameError: it does not come to rest.
        """
        if self.moving:
            self.stop()
        self.wait()

    def wait(self) -> None:
        """Wait until the session takes commands.

        Raises:
            SiameError: it does not.
        """
        if not self.session.wait_until_idle(_PATIENCE):
            raise SiameError(f"{self.law}: it still computes after {_PATIENCE:g} s; press stop, and try again")

    def look(self) -> Now:
        """What there is to show now; a moment of a run is kept in its trace.

        Raises:
            SiameError: the camera fails.
        """
        moving = self.moving
        frame = self.plant.camera_source.latest(self._stamp, 0.0)
        new = frame is not None
        if frame is not None:
            self._frame, self._stamp = frame, frame.stamp
        if moving and not self._was_moving:
            self.trace.clear()
            self._began = self._stamp
        image = None if self._frame is None else self._frame.image
        T, T_d = self._poses()
        sample = self._sample(image, T, T_d, moving)
        if new and (moving or self._was_moving):
            self.trace.add(sample)
        self._was_moving = moving
        return Now(image, self._stamp, T, T_d, sample, moving)

    def unseen(self) -> Now:
        """What there is to show where the camera has given nothing."""
        T, T_d = self._poses()
        return Now(None, self._stamp, T, T_d, self._sample(None, T, T_d, False), False)

    def _poses(self) -> tuple[Tensor | None, Tensor | None]:
        target, seen = self.session.target, self.plant.seen
        T_d = None if target is None or target.T_bc is None else target.T_bc[0].double()
        if self.world is not None:
            return self.world.T_wc, T_d
        return (None if seen is None or seen.T_bc is None else seen.T_bc[0].double()), T_d

    def _sample(self, image: Tensor | None, T: Tensor | None, T_d: Tensor | None, moving: bool) -> Sample:
        t = r = difference = math.nan
        if T is not None and T_d is not None:
            t, r = (float(x) for x in lie.error_norms(lie.inverse(T_d) @ T))
        goal = None if self.session.target is None else self.session.target.image
        if image is not None and goal is not None and goal.shape[1:] == image.shape:
            difference = 255 * float((image - goal[0]).square().mean().sqrt())
        v = self.plant.asked if moving else torch.zeros(6)
        twist = (*(100 * v[:3]).tolist(), *torch.rad2deg(v[3:]).tolist())
        position = (math.nan,) * 3 if T is None else tuple(T[:3, 3].tolist())
        return Sample(self._stamp - self._began, 1e3 * t, math.degrees(r), difference, twist, position)

    def close(self, errors: Callable[[str], None]) -> None:
        """End the session, and let the robot go."""
        self.session.command("quit")
        if self.worker is not None:
            self.worker.join(_PATIENCE)
        try:
            self.plant.close()
        except SiameError as error:
            errors(str(error))
