"""The law for a scene that no network knows (`--law auto`): several guesses of where the goal is, each verified before it moves anything.

Guesses come from the last estimate, from matched keypoints, from a network for any scene (the image as it is and turned by quarter turns), and
from a search over turns and scales (`hypotheses`). Each is aligned, as a pose of the goal's plane, to the image's local contrast, and scored by how
well that explains it (`alignment`); the best one leads, and PBVS (the paper's Eq. 3) goes home. Where no guess
explains the image, the law says so, and the run stands still: it may be another scene. Views that have a time are a robot's: while it moves, other guesses
are looked for beside the loop (`looks`), and where it follows nothing any more, it stands, and is looked for then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
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
from siame_se3.laws.goals import MOST_BLUR, SURE, Estimate, Goal, near
from siame_se3.laws.guesses import Answer, Guesses, grey_of
from siame_se3.laws.looks import Look
from siame_se3.laws.matched import parallel
from siame_se3.laws.neural import Neural, NeuralState
from siame_se3.laws.pnp import poses_over_plane
from siame_se3.laws.steps import after_a_step
from siame_se3.laws.templates import Pyramid
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.laws.validity import image_faults, images_of, standing_still

_AGAIN_UNSURE = 6  # iterations after which other guesses are looked for where the last one is below that
_BORDER = 8  # of an image, left out where its sharpness is measured [px]
_KNOWN = 0.15  # share of the distance, or [rad], to which the goal image has to determine each motion (see `alignment.least_determined`)
_LOOKING = "not sure where the goal is (it is looked for again)"
_UNDETERMINED = "the goal image does not determine the pose (few edges, or edges that look the same along themselves)"
# in the place of the iterations since other guesses were looked for: they are at the next view, as the run stands
_AT_ONCE = -1
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
        images = images_of(target, "auto", camera)
        n = len(images)
        T_wd, depth = poses_over_plane(target, n, self.Z), GoalDepth.of(target, "auto")
        depths = [None if depth is None else depth[k : k + 1] for k in range(n)]
        goals = tuple(parallel(lambda *parts: Goal.of(camera, *parts), grey_of(images), T_wd, depths))
        # a network for other fields of view gives no guesses; the others do
        known = self.network.aim(target)[1] if self.network and self.network.fits(camera) else None
        nothing, none = (None,) * n, (Estimate(None, -1.0, "tracked"),) * n
        scale = BlurScale.of(torch.from_numpy(grey_of(images)), _BORDER, MOST_BLUR)
        return _AutoLaw(self, camera), AutoState(
            goals, contrast(images), scale, known, none, nothing, nothing, (_AT_ONCE,) * n, nothing
        )


@dataclass(frozen=True, eq=False)
class Earlier:
    """An earlier view, and the desired camera in the current one's frame as it was estimated there (4, 4) [m]."""

    image: Pyramid
    T_cd: np.ndarray


@dataclass(frozen=True, eq=False)
class AutoState(State):
    """Of each run: its goal, the goal's contrast, its sharpness, and the network's state for it; the last estimate, T_cd of the one before it, the view at
    which the guess that is followed began (None where there is none), the iterations since other guesses were looked for, and a look for them
    that is under way."""

    goals: tuple[Goal, ...]
    contrast: Float[Tensor, "n"]
    scale: BlurScale
    network: NeuralState | None
    held: tuple[Estimate, ...]
    before: tuple[np.ndarray | None, ...]
    began: tuple[Earlier | None, ...]
    since: tuple[int, ...]
    looks: tuple[Look | None, ...]
    FIXED: ClassVar[frozenset[str]] = frozenset({"goals", "contrast", "scale", "network"})

    @property
    def last(self) -> tuple[np.ndarray | None, ...]:
        """T_cd of the last estimate."""
        return tuple(estimate.T_cd for estimate in self.held)


@dataclass(frozen=True, eq=False)
class _Seen:
    """Images of the runs, as they are and reduced, the goals as blurred as these, and the time of the view [s], of a robot."""

    images: Tensor
    now: list[Pyramid]
    goals: list[Goal]
    time: float | None


@dataclass(frozen=True)
class _AutoLaw:
    """See `Auto`."""

    controller: Auto
    camera: Camera

    def __call__(self, view: View, state: AutoState) -> tuple[Output, AutoState]:
        """v at gain 1; a fault where no guess explains the image; confidence: see `Estimate.confidence`."""
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
        # matches spoke for the place that it was at before
        tracked = [replace(guess, support=0.0) if x else guess for guess, x in zip(tracked, broken, strict=True)]
        lost = [
            not fault
            and (
                slipped
                or since == _AT_ONCE
                or guess.confidence < c.threshold
                or since >= (c.again if guess.score >= SURE else _AGAIN_UNSURE)
            )
            for fault, guess, since, slipped in zip(faults, tracked, state.since, broken, strict=True)
        ]
        # of one that has slipped it is not known how the camera has moved
        began = tuple(None if slipped else earlier for slipped, earlier in zip(broken, state.began, strict=True))
        places = [
            None if slipped or guess.confidence < c.threshold else guess.T_cd
            for guess, slipped in zip(tracked, broken, strict=True)
        ]
        whole = _Seen(images, now, goals, view.time)
        found, state = self._looked(whole, lost, places, replace(state, began=began))
        tracked = [_heard(guess, found.get(k)) for k, guess in enumerate(tracked)]
        guesses = [found[k].best if k in found else None for k in range(len(tracked))]
        best = [self._led(*each) for each in zip(goals, tracked, guesses, state.began, strict=True)]
        waits = [_LOOKING if x and k == _AT_ONCE else "" for x, k in zip(lost, state.since, strict=True)]
        faults = tuple(fault or wait for fault, wait in zip(faults, waits, strict=True))
        return self._output(best, faults, whole, state)

    def _looked(
        self, seen: _Seen, lost: list[bool], places: list[np.ndarray | None], state: AutoState
    ) -> tuple[dict[int, Answer], AutoState]:
        """The best of other guesses, of the runs that have been looked for: at once, or, of a robot that follows something, beside the loop; one
        that follows nothing any more stands first."""
        found: dict[int, Answer] = {}
        at_once: list[int] = []
        looks, since = list(state.looks), [k + 1 for k in state.since]
        guesses = Guesses(self.controller.network, self.camera, tuple(seen.goals), state.network)
        for k, place in enumerate(places):
            look = looks[k]
            if seen.time is None or (lost[k] and state.since[k] == _AT_ONCE):
                at_once += [k] * lost[k]
                looks[k] = None
            elif place is None:
                looks[k], since[k] = None, _AT_ONCE if lost[k] else since[k]
            elif look is None and lost[k]:
                looks[k], since[k] = Look.begin(partial(_of_one, guesses, k, seen, places), seen.time, place), 0
            elif look and look.due(seen.time):
                found[k], looks[k] = look.heard(seen.goals[k], seen.now[k], place), None
        if at_once:
            found |= guesses.best(at_once, seen.images, seen.now, places)
        for k in at_once:
            since[k] = 0
        return found, replace(state, looks=tuple(looks), since=tuple(since))

    def _output(
        self, best: list[Estimate], faults: tuple[str, ...], seen: _Seen, state: AutoState
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
        output = replace(Output.of(v, faults), confidence=confidence)
        return output, self._remembered(best, faults, seen, state)

    @staticmethod
    def _remembered(best: list[Estimate], faults: tuple[str, ...], seen: _Seen, state: AutoState) -> AutoState:
        """What the next view goes on from: what is followed, unless there is a fault; a robot stands at one, and is looked for at once then."""
        held = tuple(
            guess if fault in ("", _LOOKING) else replace(guess, T_cd=None)
            for guess, fault in zip(best, faults, strict=True)
        )
        began = tuple(
            _began(guess, fault, earlier, now)
            for guess, fault, earlier, now in zip(best, faults, state.began, seen.now, strict=True)
        )
        stands = [fault != "" and seen.time is not None for fault in faults]
        since = tuple(_AT_ONCE if x else k for x, k in zip(stands, state.since, strict=True))
        return replace(state, held=held, before=state.last, began=began, since=since)

    def _led(self, goal: Goal, tracked: Estimate, found: Estimate | None, began: Earlier | None) -> Estimate:
        """A new guess leads where it is clearly better than a good one that is followed already, also in the view at which that one began: what
        repeats itself explains an image often, and two views of it seldom. By the scores alone: matches on what repeats itself speak for wrong places, too.
        One that is not followed for sure is left for any that is."""
        if found is None or found.T_cd is None:
            return tracked
        margin = _BETTER if tracked.score >= _LOST else 0.0
        if tracked.confidence < self.controller.threshold <= found.confidence:
            return found
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
        guesses = after_a_step(held.T_cd, before, goal.depth is not None)
        best = max(guesses, key=lambda T: goal.explained(now, T, 1))
        found = near(goal, now, best, "tracked")
        assert found.T_cd is not None
        return replace(found, support=held.support, of_depth=held.of_depth)


def _began(guess: Estimate, fault: str, earlier: Earlier | None, now: Pyramid) -> Earlier | None:
    """The view at which what is followed after this one began."""
    if fault == _LOOKING:
        return earlier
    if fault or guess.T_cd is None:
        return None
    return earlier if guess.source == "tracked" and earlier else Earlier(now, guess.T_cd)


def _heard(tracked: Estimate, answer: Answer | None) -> Estimate:
    """What is followed, once its support was measured again. Half of what it was stays: a thing in the way, or blur, takes the matches of one view."""
    return tracked if answer is None else replace(tracked, support=max(answer.followed, 0.5 * tracked.support))


def _of_one(guesses: Guesses, run: int, seen: _Seen, places: list[np.ndarray | None]) -> Answer:
    return guesses.best([run], seen.images, seen.now, places)[run]
