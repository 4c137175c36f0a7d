"""What a simulation on a page begins with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.laws.registry import LAWS, controller_for
from siame_se3.laws.types import Controller
from siame_se3.networks.checkpoint import Model
from siame_se3.page.world import MakePlant
from siame_se3.scenes.poses import Workspace
from siame_se3.scenes.types import Scene
from siame_se3.servo.config import ServoConfig

NO_LAW = "none"


def page_laws() -> tuple[str, ...]:
    """Laws that look at images: the others need what no page can show them, the simulator's poses."""
    from siame_se3.laws.pose import TEACHERS

    return tuple(law for law in LAWS if law not in TEACHERS)


@dataclass(frozen=True)
class Setup:
    """What a simulation begins with.

    Attributes:
        scene: what there is to see.
        camera: intrinsics of the images.
        model: of the scene, for the laws neural and handoff; None where there is none.
        law: name of the first law. second: of the second one, or 'none'.
        servo: gain, limits and stop rules.
        distance: of the goal camera to the scene [m].
        plant: what flies over a scene; None for `FlyingCameras`.
        paced: in real time; False as fast as it goes, for tests.
        controllers: a law by its name and the model.
    """

    scene: Scene
    camera: Camera = field(default_factory=lambda: default_camera(224))
    model: Model | None = None
    law: str = "handoff"
    second: str = NO_LAW
    servo: ServoConfig = field(default_factory=lambda: ServoConfig(gain=3.0, max_iterations=1500))
    distance: float = Workspace.distance
    plant: MakePlant | None = None
    paced: bool = True
    controllers: Callable[[str, Model | None], Controller] = controller_for
