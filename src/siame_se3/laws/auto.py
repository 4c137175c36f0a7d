"""The law for a scene that no network knows (`--law auto`): several guesses of where the goal is, each verified before it moves anything.

Guesses come from the last estimate, from matched keypoints, from a network for any scene (the image as it is and turned by quarter turns), and
from a search over turns and scales (`hypotheses`). Each is aligned, as a pose of the goal's plane, to the image's local contrast, and scored by how
well that explains it (`alignment`); the best one leads, and PBVS (the paper's Eq. 3) goes home. Where no guess
explains the image, the law says so, and the run stands still: it may be another scene.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import LawError, require_number
from siame_se3.files import require_types
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.blur import BlurScale
from siame_se3.images.contrast import contrast
from siame_se3.laws.goal_depth import GoalDepth
from siame_se3.laws.goals import MOST_BLUR, NEAR, SURE, Estimate, Goal, judged
from siame_se3.laws.guesses import Guesses, grey_of
from siame_se3.laws.matched import parallel
from siame_se3.laws.neural import Neural, NeuralState
from siame_se3.laws.pnp import poses_over_plane
from siame_se3.laws.templates import Pyramid
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.laws.validity import image_faults, images_of, standing_still

_AGAIN_UNSURE = 6  # iterations after which other guesses are looked for where the last one is below that
_BORDER = 8  # of an image, left out where its sharpness is measured [px]
_KNOWN = 0.15  # share of the distance, or [rad], to which the goal image has to determine each motion (see `alignment.least_determined`)
_UNDETERMINED = "the goal image does not determine the pose (few edges, or edges that look the same along themselves)"
# shares of the way that the first step may leave
_FIRST = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5, 0.4, 0.3)
_LOST = 0.2  # a score below which nothing of the image is explained
_SLIP = 0.15  # by which the score falls where what is followed has slipped to a place that looks like it
_BETTER = 0.07  # by which the score of another guess has to be higher than that of the one that is followed


@dataclass(frozen=True)
class Auto:
    """Verified guesses of the goal's place.

    Attributes:
        network: of any scene, for its guesses; None for none.
        threshold: least confidence (see `Estimate.confidence`) of a guess that may move the robot.
        again: iterations after which other guesses are looked for, though the last one is good.
        Z: distance of the plane [m] at the desired image's middle, seen square on, where the target knows neither pose nor depth.
    """

    network: Neural | None = None
    threshold: float = 0.3
    again: int = 25
    Z: float = 0.6
    needs = frozenset({"image"})
    verifies = True  # see `Handoff`

    def __post_init__(self) -> None:
        require_types(self, "auto")
        require_number(self, "threshold", 0, 1)
        require_number(self, "again", 1, whole=True)
        require_number(self, "Z", 0, open_low=True)

    def aim(self, target: View) -> tuple[Law, AutoState]:
        """The goal images' keypoints, local contrasts and what they show: a relief, where the target has a map of depths; else a plane, the scene's where
        the target knows its pose in the scene's frame, else one square to the view at the known depth.

        Raises:
            LawError: no image or no camera.
        """
        camera = target.camera
        if target.image is None or camera is None:
            raise LawError("auto: the target has no image or no camera; give the goal image and its camera", "camera")
        images = images_of(target, "auto")
        n = len(images)
        T_wd, depth = poses_over_plane(target, n, self.Z), GoalDepth.of(target, "auto")
        depths = [None if depth is None else depth[k : k + 1] for k in range(n)]
        goals = tuple(parallel(lambda *parts: Goal.of(camera, *parts), grey_of(images), T_wd, depths))
        # a network for other fields of view gives no guesses; the others do
        known = self.network.aim(target)[1] if self.network and self.network.fits(camera) else None
        nothing, none = (None,) * n, (Estimate(None, -1.0, "tracked"),) * n
        scale = BlurScale.of(torch.from_numpy(grey_of(images)), _BORDER, MOST_BLUR)
        return _AutoLaw(self, camera), AutoState(
            goals, contrast(images), scale, known, none, nothing, nothing, (0,) * n
        )


@dataclass(frozen=True, eq=False)
class Earlier:
    """An earlier view, and the desired camera in the current one's frame as it was estimated there (4, 4) [m]."""

    image: Pyramid
    T_cd: np.ndarray


@dataclass(frozen=True, eq=False)
class AutoState(State):
    """Of each run: its goal, the goal's contrast, its sharpness, and the network's state for it; the last estimate, T_cd of the one before it, the view at
    which the guess that is followed began (None where there is none), and the iterations since other guesses were looked for."""

    goals: tuple[Goal, ...]
    contrast: Float[Tensor, "n"]
    scale: BlurScale
    network: NeuralState | None
    held: tuple[Estimate, ...]
    before: tuple[np.ndarray | None, ...]
    began: tuple[Earlier | None, ...]
    since: tuple[int, ...]
    FIXED: ClassVar[frozenset[str]] = frozenset({"goals", "contrast", "scale", "network"})

    @property
    def last(self) -> tuple[np.ndarray | None, ...]:
        """T_cd of the last estimate."""
        return tuple(estimate.T_cd for estimate in self.held)


@dataclass(frozen=True)
class _AutoLaw:
    """See `Auto`."""

    controller: Auto
    camera: Camera

    def __call__(self, view: View, state: AutoState) -> tuple[Output, AutoState]:
        """v at gain 1; a fault where no guess explains the image; confidence: the best guess's score."""
        c = self.controller
        images = images_of(view, "auto", self.camera, len(state.goals))
        faults = tuple(
            fault or (_UNDETERMINED if goal.least_determined > _KNOWN else "")
            for fault, goal in zip(image_faults(images, desired=state.contrast), state.goals, strict=True)
        )
        if any(faults):
            images = images.nan_to_num(0.0, 0.0, 0.0)
        seen = grey_of(images)
        now, blur = [Pyramid.of(grey) for grey in seen], state.scale.read(torch.from_numpy(seen)).tolist()
        goals = [goal.as_blurred_as(sigma) for goal, sigma in zip(state.goals, blur, strict=True)]
        tracked = parallel(self._tracked, goals, now, state.held, state.before)
        broken = [guess.score < max(_LOST, last.score - _SLIP) for guess, last in zip(tracked, state.held, strict=True)]
        lost = [
            not fault
            and (
                slipped
                or guess.confidence < c.threshold
                or since >= (c.again if guess.score >= SURE else _AGAIN_UNSURE)
            )
            for fault, guess, since, slipped in zip(faults, tracked, state.since, broken, strict=True)
        ]
        # of one that has slipped it is not known how the camera has moved
        began = tuple(None if slipped else earlier for slipped, earlier in zip(broken, state.began, strict=True))
        best, state = tracked, replace(state, began=began)
        if any(lost):
            found = self._guessed_again(
                [k for k, x in enumerate(lost) if x], images, now, replace(state, goals=tuple(goals))
            )
            best = [self._led(goals[k], guess, found.get(k), state.began[k]) for k, guess in enumerate(tracked)]
        return self._output(best, lost, faults, now, state)

    def _output(
        self, best: list[Estimate], lost: list[bool], faults: tuple[str, ...], now: list[Pyramid], state: AutoState
    ) -> tuple[Output, AutoState]:
        c = self.controller
        faults = tuple(
            fault
            or (
                ""
                if guess.T_cd is not None and guess.confidence >= c.threshold
                else f"not sure where the goal is ({guess.confidence:.2f} of {c.threshold:g})"
            )
            for fault, guess in zip(faults, best, strict=True)
        )
        poses = [None if fault else guess.T_cd for fault, guess in zip(faults, best, strict=True)]
        T_cd = torch.from_numpy(np.stack([np.eye(4) if T is None else T for T in poses]))
        # v = -(R_dc^T t_dc, theta u(R_dc)) with T_dc = T_cd^-1
        v, faults = standing_still(torch.cat((T_cd[:, :3, 3], lie.so3_log(T_cd[:, :3, :3])), 1), faults)
        confidence = torch.tensor([guess.confidence for guess in best], dtype=torch.float64)
        since = tuple(0 if was else k + 1 for was, k in zip(lost, state.since, strict=True))
        began = tuple(
            None if T_cd is None else earlier if guess.source == "tracked" and earlier else Earlier(seen, T_cd)
            for T_cd, guess, earlier, seen in zip(poses, best, state.began, now, strict=True)
        )
        output = replace(Output.of(v, faults), confidence=confidence)
        held = tuple(
            guess if fault == "" else replace(guess, T_cd=None) for guess, fault in zip(best, faults, strict=True)
        )
        return output, replace(state, held=held, before=state.last, began=began, since=since)

    def _led(self, goal: Goal, tracked: Estimate, found: Estimate | None, began: Earlier | None) -> Estimate:
        """A new guess leads where it is clearly better than a good one that is followed already, also in the view at which that one began: what
        repeats itself explains an image often, and two views of it seldom."""
        if found is None or found.T_cd is None:
            return tracked
        margin = _BETTER if tracked.score >= _LOST else 0.0
        if found.score < tracked.score + margin:
            return tracked
        if began is None or tracked.T_cd is None:
            return found
        then = began.T_cd @ np.linalg.inv(tracked.T_cd) @ found.T_cd
        gained = max(0.0, goal.explained(began.image, then)) - goal.explained(began.image, began.T_cd)
        return found if found.score + gained >= tracked.score + 2 * margin else tracked

    def _tracked(self, goal: Goal, now: Pyramid, held: Estimate, before: np.ndarray | None) -> Estimate:
        """From the last estimates: how far the run has come since is not known, but that it goes home is. What other guesses said of it stays."""
        if held.T_cd is None:
            return Estimate(None, -1.0, "tracked")
        guesses = [_part(held.T_cd, share) for share in _shares(held.T_cd, before)]
        best = max(guesses, key=lambda T: goal.explained(now, T, 1))
        found = judged(goal, now, best, "tracked", NEAR)
        assert found.T_cd is not None
        spread = goal.spread(now, found.T_cd)
        return replace(found, agreed=held.agreed, rival=held.rival, of_depth=held.of_depth, spread=spread)

    def _guessed_again(
        self, runs: list[int], images: Tensor, now: list[Pyramid], state: AutoState
    ) -> dict[int, Estimate]:
        """The best of all other guesses, of some runs."""
        guesses = Guesses(self.controller.network, self.camera, state.goals, state.network)
        return guesses.best(runs, images, now)


def _length(T: np.ndarray) -> float:
    """Of a motion, metres and radians alike."""
    return float(np.linalg.norm(T[:3, 3])) + float(lie.so3_log(torch.from_numpy(T[:3, :3])).norm())


def _shares(last: np.ndarray, before: np.ndarray | None) -> tuple[float, ...]:
    """Of the way home that may be left after a step: all (the robot stands), as much as of the step before (the gain's exponential decrease), or
    as much less (its largest speed). A step too far or too near and what repeats itself is taken for its neighbour."""
    if before is None:
        return _FIRST
    left = _length(last) / max(1e-9, _length(before))
    return 1.0, min(1.0, left), min(1.0, max(0.0, 2 - 1 / max(1e-9, left)))


def _part(T: np.ndarray, share: float) -> np.ndarray:
    """T_cd once that share of the way is left, on PBVS's path: R_dc^T t_dc and the rotation vector fall alike."""
    if share == 1.0:
        return T
    part = np.eye(4)
    part[:3, :3] = lie.so3_exp(share * lie.so3_log(torch.from_numpy(T[:3, :3]))).numpy()
    part[:3, 3] = share * T[:3, 3]
    return part
