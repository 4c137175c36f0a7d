"""Laws from matched points: OpenCV finds and matches keypoints of the desired and the current image.

`pbvs-sift`, `pbvs-orb`: the desired view's keypoints lie on a known plane, or at depths that the view knows, so their matches give the current
pose (PnP after RANSAC), and PBVS (the paper's Eq. 3) goes home on a straight line. `ibvs-sift`, `ibvs-orb`: the matches themselves are
the features, v = -L^+ (s - s*) (Chaumette and Hutchinson 2006). A run with too few matches stands still, and says so.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import LawError, require_number
from siame_se3.files import require_types
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.luma import LUMA
from siame_se3.laws.goal_depth import GoalDepth
from siame_se3.laws.pnp import on_plane, pose_in_space, pose_of_points, poses_over_plane, rays_of
from siame_se3.laws.pose import point_interaction_matrix
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.laws.validity import images_of

_RANSAC_PIXELS = 2.0


@dataclass(frozen=True)
class MatchedPoints:
    """Visual servoing on matched keypoints.

    Attributes:
        law: 'pbvs', pose from the matches; 'ibvs', the points themselves.
        detector: 'sift' or 'orb'.
        interaction: with ibvs, L of the 'current' or 'desired' points, or their 'mean'.
        features: keypoints an image, at most.
        ratio: a match counts when it is better than this times the second best (Lowe 2004).
        least: fewest matches that agree on one homography.
        Z: depth of the plane [m] at the desired image's middle, seen square on, where the target knows neither pose nor depth.
    """

    law: Literal["pbvs", "ibvs"] = "pbvs"
    detector: Literal["sift", "orb"] = "sift"
    interaction: Literal["current", "desired", "mean"] = "mean"
    features: int = 400
    ratio: float = 0.8
    least: int = 6
    Z: float = 0.6
    needs = frozenset({"image"})

    def __post_init__(self) -> None:
        require_types(self, "points")
        require_number(self, "features", 1, whole=True)
        require_number(self, "least", 4, whole=True)  # that a homography needs
        for name in ("ratio", "Z"):
            require_number(self, name, 0, open_low=True)

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.law}-{self.detector}"

    def aim(self, target: View) -> tuple[Law, MatchedState]:
        """Keypoints of the desired images, and where each lies in space: at its own depth where the target has a map of depths; else on the scene's
        plane where the target knows its pose in the scene's frame, else on a plane square to the desired view at the known depth.

        Raises:
            LawError: no image or no camera.
        """
        camera = target.camera
        if target.image is None or camera is None:
            raise LawError(
                f"{self.name}: the target has no image or no camera; give the goal image and its camera", "camera"
            )
        images = grey_levels(images_of(target, self.name, camera))
        n = len(images)
        found = parallel(lambda image: _keypoints(self, image), images)
        depth = GoalDepth.of(target, self.name)
        T_wd = poses_over_plane(target, n, self.Z)
        goals = []
        for k, (pixels, descriptors) in enumerate(found):
            points = on_plane(camera, T_wd[k], pixels) if depth is None else depth.points(camera, k, pixels)
            goals.append(_Goal(pixels, descriptors, points, depth is not None))
        return _MatchedLaw(self, camera), MatchedState(tuple(goals))


@dataclass(frozen=True, eq=False)
class _Goal:
    """Of one desired view: keypoints [px], their descriptors, the points in its camera frame [m] (behind it where they are not known), and whether
    these lie anywhere in space or on a plane."""

    pixels: np.ndarray
    descriptors: np.ndarray | None
    points: np.ndarray
    in_space: bool


def parallel(function: Any, *items: Any) -> list[Any]:
    """OpenCV releases the interpreter's lock: one thread a core, each on its own image."""
    if len(items[0]) < 2:
        return [function(*args) for args in zip(*items, strict=True)]
    with ThreadPoolExecutor(cv2.getNumberOfCPUs()) as pool:
        return list(pool.map(function, *items))


def grey_levels(images: Tensor) -> np.ndarray:
    weights = images.new_tensor(LUMA)[:, None, None] * 255
    grey = (images.nan_to_num(0.0, 0.0, 0.0) * weights).sum(1)
    result: np.ndarray = (grey + 0.5).clamp(0, 255).to(torch.uint8).cpu().numpy()
    return result


def _keypoints(c: MatchedPoints, image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    if c.detector == "sift":
        detector: Any = cv2.SIFT.create(nfeatures=c.features, contrastThreshold=0.02)
    else:
        detector = cv2.ORB.create(
            nfeatures=c.features, scaleFactor=1.2, fastThreshold=7, edgeThreshold=12, patchSize=24
        )
    keypoints, descriptors = detector.detectAndCompute(image, None)
    return np.array([k.pt for k in keypoints], dtype=np.float64).reshape(-1, 2), descriptors


_Keypoints = tuple[np.ndarray, np.ndarray | None]  # pixels, descriptors


def _alike(c: MatchedPoints, desired: _Keypoints, current: _Keypoints) -> tuple[np.ndarray, np.ndarray] | str:
    """Indices of desired and current keypoints whose descriptors match; or why there are none."""
    of_desired, of_current = desired[1], current[1]
    if of_desired is None or of_current is None or min(len(of_desired), len(of_current)) < max(2, c.least):
        return "no keypoints in the image"
    matcher = cv2.BFMatcher(cv2.NORM_L2 if c.detector == "sift" else cv2.NORM_HAMMING)
    pairs = [
        m[0]
        for m in matcher.knnMatch(of_current, of_desired, k=2)
        if len(m) == 2 and m[0].distance < c.ratio * m[1].distance
    ]
    if len(pairs) < c.least:
        return f"too few matches ({len(pairs)} of at least {c.least})"
    return np.array([m.trainIdx for m in pairs]), np.array([m.queryIdx for m in pairs])


def _agreeing(c: MatchedPoints, desired: _Keypoints, current: _Keypoints) -> tuple[np.ndarray, np.ndarray] | str:
    """Those of `_alike` that agree on a homography; or why there are none."""
    pairs = _alike(c, desired, current)
    if isinstance(pairs, str):
        return pairs
    (k_d, k_c), pixels_d, pixels_c = pairs, desired[0], current[0]
    cv2.setRNGSeed(0)
    _, inlier = cv2.findHomography(
        pixels_d[k_d], pixels_c[k_c], cv2.USAC_MAGSAC, _RANSAC_PIXELS, maxIters=2000, confidence=0.999
    )
    agree = np.zeros(len(k_d), bool) if inlier is None else inlier[:, 0] > 0
    return k_d[agree], k_c[agree]


def _matches(
    c: MatchedPoints, camera: Camera, goal: _Goal, pixels: np.ndarray, descriptors: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray] | str:
    """Indices of desired and current keypoints that agree, on a homography or on a pose of the goal's points, and whose points are in front of the
    desired camera; or why there are too few."""
    find = _alike if goal.in_space else _agreeing
    pairs = find(c, (goal.pixels, goal.descriptors), (pixels, descriptors))
    if isinstance(pairs, str):
        return pairs
    desired, current = pairs
    front = goal.points[desired, 2] > 0
    desired, current = desired[front], current[front]
    if goal.in_space:
        found = pose_in_space(camera, goal.points[desired], pixels[current], _RANSAC_PIXELS)
        agree = np.zeros(len(desired), bool) if found is None else found[1]
        desired, current = desired[agree], current[agree]
    if len(desired) < c.least:
        return f"too few matches ({len(desired)} of at least {c.least} agree)"
    return desired, current


def matched_pixels(
    desired: Float[Tensor, "3 h w"], current: Float[Tensor, "3 y x"], points: MatchedPoints | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Where two images of one plane have the same points [px], (n, 2) each; empty where too few agree."""
    c = points or MatchedPoints()
    a, b = (_keypoints(c, grey_levels(image[None])[0]) for image in (desired, current))
    pairs = _agreeing(c, a, b)
    if isinstance(pairs, str) or len(pairs[0]) < c.least:
        return np.zeros((0, 2)), np.zeros((0, 2))
    return a[0][pairs[0]], b[0][pairs[1]]


@dataclass(frozen=True, eq=False)
class MatchedState(State):
    """Of each run: the keypoints of its goal image."""

    goals: tuple[_Goal, ...]
    FIXED: ClassVar[frozenset[str]] = frozenset({"goals"})


@dataclass(frozen=True)
class _MatchedLaw:
    """See `MatchedPoints`."""

    controller: MatchedPoints
    camera: Camera

    def __call__(self, view: View, state: MatchedState) -> tuple[Output, MatchedState]:
        """v at gain 1; a fault where an image has too few matches."""
        images = images_of(view, self.controller.name, self.camera, len(state.goals))
        found = parallel(self._velocity, state.goals, grey_levels(images))
        faults = tuple(
            x if isinstance(x, str) else "" if np.isfinite(x).all() else "the matches give no pose" for x in found
        )
        v = [
            torch.zeros(6).double() if fault else torch.from_numpy(np.asarray(x))
            for x, fault in zip(found, faults, strict=True)
        ]
        return Output.of(torch.stack(v), faults), state

    def _velocity(self, goal: _Goal, image: np.ndarray) -> np.ndarray | str:
        """Of one image; or why there is none."""
        c = self.controller
        pixels, descriptors = _keypoints(c, image)
        pairs = _matches(c, self.camera, goal, pixels, descriptors)
        if isinstance(pairs, str):
            return pairs
        desired, current = pairs
        if c.law == "pbvs":
            T = _pose(self.camera, goal, desired, pixels[current])
            if isinstance(T, str):
                return T
            T_cd = torch.from_numpy(T)
            # v = -(R_dc^T t_dc, theta u(R_dc)) with T_dc = T_cd^-1: R_dc^T t_dc = -t_cd, theta u(R_dc) = -theta u(R_cd)
            v: np.ndarray = torch.cat((T_cd[:3, 3], lie.so3_log(T_cd[:3, :3]))).numpy()
            return v
        s_d, s_c = rays_of(self.camera, goal.pixels[desired])[:, :2], rays_of(self.camera, pixels[current])[:, :2]
        Z = torch.from_numpy(goal.points[desired, 2])
        L = {
            "desired": lambda: _L(s_d, Z),
            "current": lambda: _L(s_c, Z),
            "mean": lambda: (_L(s_d, Z) + _L(s_c, Z)) / 2,
        }[c.interaction]()
        v, _, rank, _ = np.linalg.lstsq(L, -(s_c - s_d).ravel(), rcond=1e-6)
        return v if rank == 6 else "the matches do not determine the motion"


def _pose(camera: Camera, goal: _Goal, desired: np.ndarray, pixels: np.ndarray) -> np.ndarray | str:
    """T_cd from points of the goal that agree."""
    if not goal.in_space:
        return pose_of_points(camera, goal.points[desired], pixels)
    found = pose_in_space(camera, goal.points[desired], pixels, _RANSAC_PIXELS)
    return "the matches give no pose" if found is None else found[0]


def _L(s: np.ndarray, Z: Tensor) -> np.ndarray:
    x, y = torch.from_numpy(s).unbind(1)
    L: np.ndarray = point_interaction_matrix(x, y, Z).reshape(-1, 6).numpy()
    return L
