"""A goal's depth without a depth camera: the camera goes around the goal by some centimetres, looks from known places, and comes back.

The plant has to know its poses: a robot its camera's in its base (T_bc, by its tool's pose and the hand-eye transform), a simulation T_wc. The
motion is runs of the loop (`servo`), one to each place, within the same limits and under the same guard as everything else that moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from siame_se3.commissioning.scan_depth import DepthMap, DepthSettings, depth_from_views
from siame_se3.errors import InputError, RobotError, require_number
from siame_se3.files import require_types
from siame_se3.geometry import lie
from siame_se3.laws.pose import pbvs_velocity
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.plants.robots.pulse import awake
from siame_se3.plants.types import Plant, sound
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.safety import Safety

_THERE_T, _THERE_R = 5e-4, math.radians(0.05)  # from a place that counts as reached: where it is is measured [m, rad]
_BACK_T, _BACK_R = 2e-4, math.radians(0.02)  # and from the goal, at the end
_FROZEN = 0.6  # [s] of motion without a new image that end a scan, at least: a leg begins with the camera's whole delay
_LEG = 20.0  # [s] that the way to a place may take


@dataclass(frozen=True)
class ScanPattern:
    """Where the camera looks from: places on a circle around the goal, each turned so that it looks at the middle of what the goal sees.

    Attributes:
        radius: of the circle [m].
        views: how many places.
        wait: at each, for the arm to be at rest and the image to show it [s].
        gain: of the motion between them [1/s].
    """

    radius: float = 0.04
    views: int = 8
    wait: float = 0.4
    gain: float = 1.5

    def __post_init__(self) -> None:
        require_types(self, "scan")
        require_number(self, "radius", 0.001, 0.5)
        require_number(self, "views", 2, 48, whole=True)
        require_number(self, "wait", 0, 10)
        require_number(self, "gain", 0, 10, open_low=True)

    @property
    def longest_leg(self) -> float:
        """The longest way from the goal or a place to the next one [m]."""
        return self.radius * max(1.0, 2 * math.sin(math.pi / self.views))

    def places(self, distance: float) -> Float[Tensor, "k 4 4"]:
        """T_gk: the cameras in the goal camera's frame [m], at `distance` from the scene [m].

        Raises:
            InputError: a circle that is large beside the distance.
        """
        if not 0 < self.radius <= 0.5 * distance < math.inf:
            raise InputError(
                f"scan: a circle of {self.radius:g} m at a distance of {distance:g} m; give a radius up to half of it",
                *("radius", "depth"),
            )
        angle = torch.arange(self.views, dtype=torch.float64) * (2 * math.pi / self.views)
        zero = torch.zeros_like(angle)
        t = self.radius * torch.stack((angle.cos(), angle.sin(), zero), -1)
        # The shortest rotation of the z axis to the direction (0, 0, distance) - t.
        turn = math.atan2(self.radius, distance) * torch.stack((angle.sin(), -angle.cos(), zero), -1)
        return lie.pose(lie.so3_exp(turn), t)


@dataclass(frozen=True, eq=False)
class Scanned:
    """A goal with depth, and what it comes from.

    Attributes:
        goal: the view at the goal, whose depth is the map (1, h, w).
        map: the depths, and how well they are known.
        views: (k, 3, h, w) that it comes from. T_gk: (k, 4, 4) their cameras in the goal camera's frame, as measured [m].
    """

    goal: View
    map: DepthMap
    views: Float[Tensor, "k 3 h w"]
    T_gk: Float[Tensor, "k 4 4"]


def scan(
    plant: Plant,
    distance: float,
    pattern: ScanPattern | None = None,
    safety: Safety | None = None,
    settings: DepthSettings | None = None,
    say: Callable[[str], None] = lambda line: None,
    start: Float[Tensor, "1 4 4"] | None = None,
) -> Scanned:
    """Move around the goal, where the camera is now, and find the goal image's depth; the camera ends where it began.

    Args:
        plant: one camera that knows its pose.
        distance: of the scene, about [m].
        pattern: where to look from.
        safety: limits, and reasons to stand still.
        settings: of the depths.
        say: called with progress, a line each.
        start: the goal's pose T_wc for a simulated plant that has to be put there; None for one that stays where it is.

    Raises:
        InputError: the plant does not know its pose, the circle is not within its limits, or the views do not determine a depth.
        RobotError: the motion was stopped.
    """
    pattern, safety = pattern or ScanPattern(), safety or Safety()
    check_plant_fits(plant, pattern, safety)
    places = pattern.places(distance)
    # The distance, from which the guard predicts images, is what is looked for; and each leg is short, begins at rest, and ends where it should.
    safety = replace(safety, no_progress=0.0, drift=0.0, frozen=max(safety.frozen, _FROZEN))
    views: list[View] = []
    with awake(plant) as about_to_move:
        T_goal = pose_of(sound(plant.reset(start)))
        check_box(T_goal, places, safety)
        for T in (torch.eye(4, dtype=torch.float64)[None], *places.split(1), None):
            about_to_move()
            say("back to the goal" if T is None else f"view {len(views)} of {pattern.views}" if views else "the goal")
            leg = _Leg(T_goal if T is None else T_goal @ T[0], pattern, plant.dt, T is None)
            now = start if start is None or not views else pose_of(views[-1])[None]
            run = servo(plant, leg, sound(plant.reset(now)), now, leg.config, safety=safety)
            if run.reason[0] != "settled":
                raise RobotError(f"scan: stopped after {len(views)} of {pattern.views + 1} views: {run.reason[0]}")
            views.append(leg.seen)
    say("finding the depths")
    return scanned(views[:-1], distance, settings)


def scanned(views: list[View], distance: float, settings: DepthSettings | None = None) -> Scanned:
    """The goal's depth from views of one camera at rest, the goal's first.

    Raises:
        InputError: they do not determine one.
    """
    goal, others = views[0], views[1:]
    if not others:
        raise InputError("scan: 0 views; give at least 2 beside the goal's", "views")
    assert goal.image is not None
    assert goal.camera is not None
    T_gk = lie.inverse(pose_of(goal)) @ torch.stack([pose_of(view) for view in others])
    images = torch.stack([view.image[0] for view in others if view.image is not None])
    found = depth_from_views(goal.image[0], images, T_gk, goal.camera, distance, settings)
    return Scanned(replace(goal, depth=found.depth[None], age=0.0), found, images, T_gk)


def pose_of(view: View) -> Float[Tensor, "4 4"]:
    """The pose of one camera, in the scene's or the base's frame.

    Raises:
        InputError: it is not known.
    """
    pose = view.T_wc if view.T_wc is not None else view.T_bc
    if pose is None:
        raise InputError("scan: the camera's pose is not known; a scan needs a robot that reports its tool's pose")
    return pose.reshape(4, 4).double().cpu()


def check_plant_fits(plant: Plant, pattern: ScanPattern, safety: Safety) -> None:
    """Refuse, before anything moves, a plant that cannot scan, and a circle beyond its reach.

    Raises:
        InputError: it has no image, does not know its pose, or may not go that far.
    """
    if not {"pose", "base_pose"} & plant.provides:
        raise InputError(
            "scan: this robot does not report its pose, from which the depth comes; give the topic of its tool's pose",
            "ros2.pose",
        )
    if "image" not in plant.provides or plant.camera is None:
        raise InputError("scan: this plant has no images; give one with a camera")
    if safety.reach and safety.reach < 1.1 * pattern.longest_leg:
        raise InputError(
            f"scan: on a circle of {pattern.radius:g} m with {pattern.views} places the way to the next one is {pattern.longest_leg:.3g} m, beyond "
            f"the reach of {safety.reach:g} m; give a smaller circle{', or more places' * (pattern.longest_leg > pattern.radius)}",
            *("radius", "views", "safety.reach"),
        )


def check_box(T_goal: Float[Tensor, "4 4"], places: Float[Tensor, "k 4 4"], safety: Safety) -> None:
    """Refuse a circle that leaves the workspace's box.

    Raises:
        InputError: a place outside.
    """
    at = (T_goal @ places)[:, :3, 3]
    if safety.box:
        low, high = at.new_tensor(safety.box[:3]), at.new_tensor(safety.box[3:])
        if bool(((at < low) | (at > high)).any()):
            raise InputError("scan: the circle leaves the workspace box; give a smaller one", "radius", "safety.box")


@dataclass(frozen=True, eq=False)
class _LegState(State):
    """Of a leg: iterations on the way, and at rest at its end."""

    spent: Int[Tensor, "n"]
    rest: Int[Tensor, "n"]


@dataclass(eq=False)
class _Leg:
    """A law that goes straight to a place and rests there. A run of its own for each place: the guard expects no rest in the middle of a motion.

    Attributes:
        T_place: in the frame of the plant's poses.
        back: it is the last, to the goal, which is reached more closely.
        seen: the last view.
    """

    T_place: Float[Tensor, "4 4"]
    pattern: ScanPattern
    dt: float
    back: bool = False
    seen: View = field(default_factory=View)
    needs: ClassVar[frozenset[str]] = frozenset({"image"})

    @property
    def config(self) -> ServoConfig:
        """For the loop, which ends a run after one and a half times `settle_steps` at rest."""
        steps = max(2, math.ceil(self.pattern.wait / self.dt / 1.5))
        return ServoConfig(
            self.pattern.gain, max_iterations=math.ceil(_LEG / self.dt) + 4 * steps + 20, settle_steps=steps
        )

    def aim(self, target: View) -> tuple[Law, _LegState]:
        """Whatever is seen there."""
        zero = torch.zeros(target.batch, dtype=torch.long)
        return self.law, _LegState(zero, zero)

    def law(self, view: View, state: _LegState) -> tuple[Output, _LegState]:
        """Eq. 3 to the place; zero once it has been reached."""
        self.seen = view
        T_pc = lie.inverse(self.T_place.to(torch.float64)) @ pose_of(view)
        t, r = (float(x) for x in lie.error_norms(T_pc))
        still = torch.zeros(1, 6, dtype=torch.float64)
        if int(state.rest[0]) or (
            t < (_BACK_T if self.back else _THERE_T) and r < (_BACK_R if self.back else _THERE_R)
        ):
            return Output.of(still), replace(state, rest=state.rest + 1)
        if int(state.spent[0]) * self.dt > _LEG:
            left = f"{1e3 * t:.1f} mm and {math.degrees(r):.2f} deg are left"
            return Output.of(still, (f"a place of the scan is not reached in {_LEG:g} s, {left}",)), state
        return Output.of(pbvs_velocity(T_pc)[None]), replace(state, spent=state.spent + 1)
