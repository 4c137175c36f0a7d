"""A desired view as the law `auto` knows it, and what a guess of its place is worth: aligned to the image, verified, compared with the others."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from siame_se3.geometry.camera import Camera
from siame_se3.laws import hypotheses
from siame_se3.laws.alignment import explained, least_determined, refined, verified
from siame_se3.laws.goal_depth import GoalDepth
from siame_se3.laws.pnp import on_plane, pose_of_all, pose_of_points
from siame_se3.laws.relief import Relief
from siame_se3.laws.support import support
from siame_se3.laws.templates import Plane, Pyramid, Template, facing

NEAR, FAR = (1, 0), (2, 1, 0)  # levels of the images on which a guess is aligned
GOOD = 0.6  # a score that most wrong guesses do not reach
SURE = 0.85  # a score above which no other guess is looked for, if matches speak for it
# Of the confidence: of the score, of the logarithm of (1 + the support), and the constant; of a plane, and of a goal with a map of depths, where the points'
# own depths have to fit too. The commands of `experiments.confidence` with --fit and --fit-depth print them.
_WEIGHTS = 4.66, 1.59, -4.36
_WEIGHTS_OF_DEPTH = 13.45, 0.84, -5.57
_EXPLAINED = 0.25  # a score below which chance explains an image as well, whatever agrees
_WORTH = 0.01  # of a unit of support beside the score, where one of two guesses is chosen
_PLENTY = 10.0  # of support, from which on more of it counts no more there
_FINE = 224  # side of the larger copy [px]
_PROMISING = 6  # guesses that are aligned
MOST_BLUR = 4  # of a current image beside the goal's [px]
SOURCES = ("tracked", "points", "network", "search")
_GRID, _DENSE = 7, 25  # points a side from which the pose is computed, and where a map knows few of the former
_SPREAD = 4.0  # times nearer or farther than the middle one: none of the scene's


@dataclass(frozen=True, eq=False)
class Goal:
    """Of one desired view.

    Attributes:
        camera: that took it.
        template: of its image.
        views: keypoints, also of simulated views from the side.
        pixels: a grid of pixels that see the plane (p, 2), and the points there, in the desired camera's frame [m] (p, 3).
        surface: what it shows, a plane or a relief.
        least_determined: see `alignment.least_determined`.
        blurred: templates of the image under a blur of 1, 2, ... pixels.
        depth: of its pixels, where it has a map.
        fine: template and relief of a larger copy, for the last of an alignment, where it has a map.
    """

    camera: Camera
    template: Template
    views: list[hypotheses.Keypoints]
    pixels: np.ndarray
    points: np.ndarray
    surface: Plane | Relief
    least_determined: float
    blurred: tuple[Template, ...] = ()
    depth: GoalDepth | None = None
    fine: tuple[Template, Relief] | None = None

    @staticmethod
    def of(camera: Camera, grey: np.ndarray, T_wd: np.ndarray, depth: GoalDepth | None = None) -> Goal:
        """Of a grey image (h, w), with the depth of its pixels (of one run), else with the plane z = 0 of the world."""
        x, y = np.meshgrid(np.linspace(0, camera.width - 1, _GRID), np.linspace(0, camera.height - 1, _GRID))
        pixels = np.stack((x.ravel(), y.ravel()), 1)
        template = Template.of(grey)
        surface: Plane | Relief
        fine = None
        if depth is None:
            points = on_plane(camera, T_wd, pixels)
            surface = Plane(camera.K.numpy(), T_wd[2, :3], -float(T_wd[2, 3]))
        else:
            pixels, points = _spread_points(camera, depth)
            maps = depth.inverse[0].numpy(), depth.trust[0].numpy()
            surface = Relief.of(camera, template, *maps)
            large = Template.of(grey, side=_FINE, levels=1)
            fine = large, Relief.of(camera, large, *maps)
        views = hypotheses.tilted(grey, side=hypotheses.SIDE if depth is None else hypotheses.FINE_SIDE)
        front = points[:, 2] > 0
        blurred = tuple(Template.of(cv2.GaussianBlur(grey, (0, 0), k + 1)) for k in range(MOST_BLUR))
        least = least_determined(template, surface)
        return Goal(camera, template, views, pixels[front], points[front], surface, least, blurred, depth, fine)

    def explained(self, now: Pyramid, T_cd: np.ndarray, level: int = 0) -> float:
        """How well a pose of the desired camera in the current one's frame explains the image (see `alignment.explained`)."""
        view = self.surface.seen(self.template, now, T_cd, level)
        return explained(self.template, view, level, self.surface.known(level))[0]

    @property
    def plane(self) -> Plane:
        """The goal's plane; of a relief one square to the view, at its median depth."""
        if isinstance(self.surface, Plane):
            return self.surface
        return Plane(self.camera.K.numpy(), np.array([0.0, 0.0, 1.0]), self.surface.distance)

    def shown(self, T_cd: np.ndarray) -> np.ndarray:
        """Where the current image shows the grid's points (p, 2) [px], infinitely far where they are behind its camera."""
        if isinstance(self.surface, Plane):
            return _mapped(self.surface.homography(T_cd), self.pixels)
        return _mapped(self.camera.K.numpy() @ T_cd[:3], self.points)

    def finely(self, grey: np.ndarray, guess: Estimate) -> Estimate:
        """A guess, aligned on a larger copy of the images too, where there is one and that explains the image (h, w) better: the error of an
        alignment goes with the pixels' size."""
        if self.fine is None or guess.T_cd is None:
            return guess
        template, relief = self.fine
        now = Pyramid.of(grey, _FINE, 2)

        def score(T_cd: np.ndarray) -> float:
            return explained(template, relief.seen(template, now, T_cd, 0), 0, relief.known(0))[0]

        T_cd = refined(template, now, relief, guess.T_cd, (0,))
        return replace(guess, T_cd=max(guess.T_cd, T_cd, key=score))

    def matches(self, grey: np.ndarray) -> hypotheses.Matches:
        """Of its keypoints and those of an image (h, w); of a goal with a map of depths, those at points whose depth is known."""
        side = hypotheses.SIDE if self.depth is None else hypotheses.FINE_SIDE
        found = hypotheses.matches(self.views, hypotheses.Keypoints.of(grey, side=side))
        return found if self.depth is None else found[self.depth.points(self.camera, 0, found.desired)[:, 2] > 0]

    def from_matches(self, found: hypotheses.Matches) -> list[np.ndarray]:
        """Guesses that these agree on."""
        if self.depth is None:
            distinct = found.distinct()
            return [
                *hypotheses.from_matches(distinct.desired, distinct.seen, self.camera.size),
                *hypotheses.by_votes(found, self.camera.size),
            ]
        return hypotheses.in_space(found, self.camera, self.depth.points(self.camera, 0, found.desired))

    def support(self, found: hypotheses.Matches, T_cd: np.ndarray) -> float:
        """How much distinct matches speak for a pose (see `support.support`)."""
        found = found.distinct()
        if self.depth is None:
            mapped = _mapped(self.plane.homography(T_cd), found.desired)
        else:
            mapped = _mapped(self.camera.K.numpy() @ T_cd[:3], self.depth.points(self.camera, 0, found.desired))
        return support(found, mapped, self.camera.size)

    def as_blurred_as(self, image: float) -> Goal:
        """With the template of the goal image under about the blur that the current one has beside it [px]."""
        k = min(round(image), len(self.blurred))
        return self if k == 0 else replace(self, template=self.blurred[k - 1])


@dataclass(frozen=True)
class Estimate:
    """Where the goal is, by the best guess.

    Attributes:
        T_cd: desired camera in the current one's frame [m]; None where no guess gives a pose.
        score: of the guess.
        source: of SOURCES.
        support: how much matches of keypoints speak for it (see `support.support`); of what is followed, the last time that others were looked for,
            or half of what it was before, where that is more.
        of_depth: the goal has a map of depths.
    """

    T_cd: np.ndarray | None
    score: float
    source: str
    support: float = 0.0
    of_depth: bool = False

    @property
    def features(self) -> tuple[float, float]:
        """What the confidence is computed from: the score, and the logarithm of (1 + the support)."""
        return self.score, math.log1p(self.support)

    @property
    def rank(self) -> float:
        """By which one of several new guesses is chosen: the score, and a little for the support."""
        return self.score + _WORTH * min(_PLENTY, self.support)

    @property
    def confidence(self) -> float:
        """The chance that what both images show is, on average, within 5 % of the image's width of where this has it: a logistic function;
        0 where the score says that nothing of it is explained."""
        if self.T_cd is None or self.score < _EXPLAINED:
            return 0.0
        *weights, constant = _WEIGHTS_OF_DEPTH if self.of_depth else _WEIGHTS
        sure = constant + sum(w * x for w, x in zip(weights, self.features, strict=True))
        return 1 / (1 + math.exp(-sure))


def aligned(goal: Goal, now: Pyramid, guesses: dict[str, list[np.ndarray]]) -> list[Estimate]:
    """Of guesses by their source, homographies (3, 3) or poses T_cd (4, 4): those that explain the image best as they are, aligned, until one is sure."""
    found = [(source, *_begun(goal, now, guess)) for source, some in guesses.items() for guess in some]
    found.sort(key=lambda entry: -entry[2])
    maps = [guess if guess.shape == (3, 3) else goal.plane.homography(guess) for _, guess, _ in found]
    chosen = hypotheses.different(np.array(maps).reshape(-1, 3, 3), goal.camera.size, _PROMISING)
    estimates: list[Estimate] = []
    for source, begun, _ in (found[k] for k in chosen):
        T_cd = pose_of(goal, begun) if begun.shape == (3, 3) else begun
        if T_cd is None:
            continue
        guess = judged(goal, now, T_cd, source, NEAR)
        if guess.score < GOOD:  # from far only coarse copies lead; from near they lead astray
            guess = max(guess, judged(goal, now, T_cd, source, FAR), key=lambda g: g.score)
        guess = _kept(goal, now, T_cd, guess)
        estimates.append(guess)
        if guess.score > SURE:
            break
    return estimates


def best_of(goal: Goal, found: list[Estimate], matches: hypotheses.Matches) -> Estimate:
    """Of aligned guesses, all of one image, the one that explains it best, and that most of the image's matches speak for."""
    if not found:
        return Estimate(None, -1.0, "points")
    return max(with_support(goal, found, matches), key=lambda guess: guess.rank)


def with_support(goal: Goal, found: list[Estimate], matches: hypotheses.Matches) -> list[Estimate]:
    """Aligned guesses with their support."""
    of_depth = goal.depth is not None
    return [
        replace(guess, support=goal.support(matches, guess.T_cd), of_depth=of_depth)
        for guess in found
        if guess.T_cd is not None
    ]


def _begun(goal: Goal, now: Pyramid, guess: np.ndarray) -> tuple[np.ndarray, float]:
    """A guess as it is first judged, and its score: on a plane a homography as it is, on a relief the pose that it stands for."""
    if guess.shape == (3, 3) and isinstance(goal.surface, Plane):
        H = facing(guess)
        return H, verified(goal.template, now, H, 1).score
    T_cd = pose_of(goal, guess) if guess.shape == (3, 3) else guess
    return (guess, -1.0) if T_cd is None else (T_cd, goal.explained(now, T_cd, 1))


def near(goal: Goal, now: Pyramid, T_cd: np.ndarray, source: str) -> Estimate:
    """A guess that is near, aligned where that is better, and verified."""
    return _kept(goal, now, T_cd, judged(goal, now, T_cd, source, NEAR))


def _spread_points(camera: Camera, depth: GoalDepth) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, spread over what the map knows, and their points; a few that are far before or behind the others are none of the scene's.

    At least as many as a coarse grid has, where the map knows little: a pose of a few points, or of points on a line, is none.
    """
    for side in (_GRID, _DENSE):
        x, y = np.meshgrid(np.linspace(0, camera.width - 1, side), np.linspace(0, camera.height - 1, side))
        pixels = np.stack((x.ravel(), y.ravel()), 1)
        points = depth.points(camera, 0, pixels)
        Z = points[:, 2]
        middle = float(np.median(Z[Z > 0])) if (Z > 0).any() else 0.0
        sound = (middle / _SPREAD < Z) & (middle * _SPREAD > Z)
        pixels, points = pixels[sound], points[sound]
        if len(pixels) > _GRID * _GRID // 2:
            break
    every = max(1, len(pixels) // (_GRID * _GRID))
    return pixels[::every], points[::every]


def _kept(goal: Goal, now: Pyramid, T_cd: np.ndarray, guess: Estimate) -> Estimate:
    """An aligned guess, or of a goal with depth the pose from which it was begun, where that explains the image better: PnP of points at their depths is
    often nearer than an alignment of small copies, whose pixels at edges are of two things."""
    if goal.depth is None:
        return guess
    return max(Estimate(T_cd, goal.explained(now, T_cd), guess.source), guess, key=lambda g: g.score)


def judged(goal: Goal, now: Pyramid, T_cd: np.ndarray, source: str, levels: tuple[int, ...]) -> Estimate:
    """A guess, aligned on these levels, and verified."""
    T_cd = refined(goal.template, now, goal.surface, T_cd, levels)
    return Estimate(T_cd, goal.explained(now, T_cd), source)


def pose_of(goal: Goal, H: np.ndarray) -> np.ndarray | None:
    """T_cd from the points of the goal's grid that the image shows; None where there are none, or they give none."""
    pixels = _mapped(facing(H), goal.pixels)
    front = np.isfinite(pixels).all(1)
    margin = 0.25 * np.array([goal.camera.width, goal.camera.height])
    inside = front & (pixels > -margin).all(1) & (pixels < 5 * margin).all(1)
    if inside.sum() < 6:
        return None
    if goal.depth is not None:
        return pose_of_all(goal.camera, goal.points[inside], pixels[inside])
    T = pose_of_points(goal.camera, goal.points[inside], pixels[inside])
    return None if isinstance(T, str) or not np.isfinite(T).all() else T


def _mapped(H: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Where H (3, 3 or 4), which gives what is in front of the current camera a third coordinate above 0, takes pixels (n, 2) or points (n, 3); the
    others infinitely far."""
    mapped = np.c_[pixels, np.ones(len(pixels))] @ H.T
    third = mapped[:, 2]
    front = third > 1e-9 * np.abs(third).max(initial=0.0)
    found: np.ndarray = np.where(front[:, None], mapped[:, :2] / np.where(front, third, 1.0)[:, None], np.inf)
    return found
