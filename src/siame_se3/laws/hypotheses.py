"""Guesses of where the goal image is in the current one, as homographies from goal to current pixels: from matched keypoints, from a network's
velocity, from a search over turns and scales. None is trusted: `alignment` tells how well each explains the image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from siame_se3.geometry.camera import Camera
from siame_se3.laws.pnp import pose_in_space
from siame_se3.laws.templates import Pyramid, Template, local_contrast

_FEATURES, _CONTRAST, _RATIO, _PIXELS = 800, 0.01, 0.8, 3.0
_LEAST = 6  # matches that agree
_SINGLE, _VOTERS = 200, 600  # matches that are guesses, and those that vote
_NEAR = 0.04  # how near they agree [share of the image's side]
_MODELS = 3  # homographies of one set of matches: what repeats itself has several
_TILT = math.radians(50)  # of the goal's simulated views
SIDE = 240  # of the image that keypoints are looked for in, at most [px]
FINE_SIDE = 480  # where their own depths make a pose of them


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Keypoints of an image, or of a goal image's simulated view.

    Attributes:
        pixels: (n, 2).
        descriptors: SIFT's (n, 128), with local histogram equalization before.
        frames: (n, 3, 3), from each keypoint's own frame, its size and angle, to the view's pixels.
        from_image: from the image's pixels to the view's (3, 3).
    """

    pixels: np.ndarray
    descriptors: np.ndarray
    frames: np.ndarray
    from_image: np.ndarray

    @staticmethod
    def of(grey: np.ndarray, features: int = _FEATURES, side: int = SIDE) -> Keypoints:
        """Of a grey image (h, w) in [0, 1], made smaller where its shorter side has more than `side` pixels."""
        scale = min(1.0, side / min(grey.shape))
        small = grey if scale == 1 else cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        levels = np.clip(small * 255 + 0.5, 0, 255).astype(np.uint8)
        levels = cv2.createCLAHE(2.0, (8, 8)).apply(levels)
        found, descriptors = cv2.SIFT.create(nfeatures=features, contrastThreshold=_CONTRAST).detectAndCompute(
            levels, None
        )
        if descriptors is None:
            return Keypoints(np.zeros((0, 2)), np.zeros((0, 128), np.float32), np.zeros((0, 3, 3)), np.eye(3))
        # RootSIFT (Arandjelovic and Zisserman 2012)
        descriptors = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-6))
        pixels = (np.array([k.pt for k in found], dtype=np.float64) + 0.5) / scale - 0.5
        size, angle = np.array([(k.size / scale, math.radians(k.angle)) for k in found]).T
        frames = np.zeros((len(found), 3, 3))
        frames[:, 0, 0] = frames[:, 1, 1] = size * np.cos(angle)
        frames[:, 1, 0] = size * np.sin(angle)
        frames[:, 0, 1] = -frames[:, 1, 0]
        frames[:, :2, 2], frames[:, 2, 2] = pixels, 1
        return Keypoints(pixels, descriptors, frames, np.eye(3))

    def of_image(self) -> np.ndarray:
        """Where they are in the image (n, 2)."""
        mapped = np.c_[self.pixels, np.ones(len(self.pixels))] @ np.linalg.inv(self.from_image).T
        return mapped[:, :2]


def tilted(grey: np.ndarray, tilt: float = _TILT, side: int = SIDE) -> list[Keypoints]:
    """Keypoints of the goal image, as it is and as it would look from four sides (Morel and Yu 2009, ASIFT), in its own pixels."""
    found = [Keypoints.of(grey, side=side)]
    h, w = grey.shape
    middle = np.array([[1, 0, -(w - 1) / 2], [0, 1, -(h - 1) / 2], [0, 0, 1.0]])
    for k in range(4):
        c, s = math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)
        turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        narrow = np.diag([math.cos(tilt), 1.0, 1.0])
        A = np.linalg.inv(middle) @ turn.T @ narrow @ turn @ middle
        blurred = _blurred_along(grey, (c, s), 0.4 / math.cos(tilt))
        view = cv2.warpPerspective(blurred, A, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        seen = Keypoints.of(view, _FEATURES // 2, side)
        seen = replace(seen, from_image=A)
        back = seen.of_image()
        inside = ((back > 4) & (back < np.array([w - 5, h - 5]))).all(1)
        found.append(Keypoints(seen.pixels[inside], seen.descriptors[inside], seen.frames[inside], A))
    return found


def _blurred_along(grey: np.ndarray, direction: tuple[float, float], sigma: float) -> np.ndarray:
    """So that squeezing along that direction does not alias."""
    length = 4 * math.ceil(sigma) + 1
    at = np.arange(length) - length // 2
    x, y = np.meshgrid(at, at)
    along, across = x * direction[0] + y * direction[1], -x * direction[1] + y * direction[0]
    kernel = np.exp(-0.5 * np.square(along / sigma) - 0.5 * np.square(across / 0.3))
    result: np.ndarray = cv2.filter2D(grey, cv2.CV_32F, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    return result


@dataclass(frozen=True, eq=False)
class Matches:
    """Keypoints of goal and image that look alike, the most distinct first.

    Attributes:
        desired, seen: pixels (n, 2).
        ratio: of the distance to that of the second best (n,).
        maps: the similarity, of the goal or of its simulated view, that each one is by itself (n, 3, 3), from goal to current pixels.
    """

    desired: np.ndarray
    seen: np.ndarray
    ratio: np.ndarray
    maps: np.ndarray

    def __getitem__(self, some: np.ndarray | slice) -> Matches:
        return Matches(self.desired[some], self.seen[some], self.ratio[some], self.maps[some])

    def distinct(self) -> Matches:
        """Those that are better than the second best (Lowe 2004)."""
        return self[: int(np.searchsorted(self.ratio, _RATIO))]


def matches(views: list[Keypoints], current: Keypoints) -> Matches:
    """The best match of each current keypoint in each view of the goal."""
    parts: list[tuple[np.ndarray, ...]] = []
    for view in views:
        if min(len(view.pixels), len(current.pixels)) < 2:
            continue
        # of unit descriptors: the nearest have the largest products
        products = current.descriptors @ view.descriptors.T
        rows, k = np.arange(len(products)), products.argmax(1)
        first = products[rows, k]
        products[rows, k] = -1
        distance = np.sqrt(np.maximum(2 - 2 * np.stack((first, products.max(1)), 1), 1e-9))
        maps = current.frames @ np.linalg.inv(view.frames[k]) @ view.from_image
        parts.append((view.of_image()[k], current.pixels, distance[:, 0] / distance[:, 1], maps))
    if not parts:
        return Matches(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0), np.zeros((0, 3, 3)))
    desired, seen, ratio, maps = (np.concatenate(x) for x in zip(*parts, strict=True))
    order = np.argsort(ratio, kind="stable")
    return Matches(desired[order], seen[order], ratio[order], maps[order])


def tolerance(size: tuple[int, int], side: int = SIDE) -> float:
    """How far a match may be off [px] of images of that size (h, w): keypoints are found to a pixel and a half of copies of `side` px."""
    return max(_PIXELS, 0.5 * _PIXELS * min(size) / side)


def from_matches(
    desired: np.ndarray, seen: np.ndarray, size: tuple[int, int], models: int = _MODELS
) -> Iterator[np.ndarray]:
    """Homographies that matches agree on, in images of that size (h, w): that of most, then that of most of the rest, and so on."""
    for k in range(models):
        if len(desired) < _LEAST:
            return
        cv2.setRNGSeed(k)
        H, inlier = cv2.findHomography(desired, seen, cv2.USAC_MAGSAC, tolerance(size), maxIters=3000, confidence=0.999)
        if H is None or int(inlier.sum()) < _LEAST or not np.isfinite(H).all():
            return
        if plausible(H, desired[inlier[:, 0] > 0]):
            yield H
        rest = inlier[:, 0] == 0
        desired, seen = desired[rest], seen[rest]


def by_votes(found: Matches, size: tuple[int, int], most: int = 12) -> list[np.ndarray]:
    """The similarities of single matches that most other matches agree with, each with a homography of those that do: one right match is enough
    where a sample of four hardly ever has no wrong one."""
    n = min(len(found.ratio), _VOTERS)
    desired, seen = found.desired[:n], found.seen[:n]
    chosen: list[np.ndarray] = []
    for H, agree in voted(found, size, most):
        if int(agree.sum()) >= _LEAST:
            cv2.setRNGSeed(0)
            off = tolerance(size)
            refit, kept = cv2.findHomography(desired[agree], seen[agree], cv2.USAC_MAGSAC, off, maxIters=300)
            sound = refit is not None and int(kept.sum()) >= _LEAST and np.isfinite(refit).all()
            if sound and plausible(refit, desired[agree]):
                H = refit
        chosen.append(H)
    return chosen


def voted(found: Matches, size: tuple[int, int], most: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The similarities (3, 3) of single matches that most other matches agree with, and which of the first `_VOTERS` do."""
    n = min(len(found.ratio), _VOTERS)
    maps, desired, seen = found.maps[:_SINGLE], found.desired[:n], found.seen[:n]
    if not len(maps):
        return []
    mapped = np.c_[desired, np.ones(n)] @ maps.transpose(0, 2, 1)
    with np.errstate(all="ignore"):
        apart = np.linalg.norm(mapped[..., :2] / mapped[..., 2:] - seen, axis=2)
    agree = apart < min(size) * _NEAR
    # matches of one place count once: a keypoint has several orientations, and is in several views of the goal
    cells = (desired / (min(size) / 64)).astype(int)
    _, number = np.unique(cells[:, 0] * 4096 + cells[:, 1], return_inverse=True)
    places = np.zeros((n, int(number.max()) + 1), np.float32)
    places[np.arange(n), number] = 1
    votes = (agree.astype(np.float32) @ places > 0).sum(1)
    order = (-votes).argsort(kind="stable")
    return [(maps[k], agree[k]) for k in order[different(maps[order], size, most)]]


def in_space(found: Matches, camera: Camera, points: np.ndarray, most: int = 12) -> list[np.ndarray]:
    """Poses T_cd (4, 4) that matches agree on, of points that are not on one plane: those of most of the distinct matches, and those of the neighbours of
    single matches that most others agree with.

    Args:
        points: of the matches' desired pixels, in the desired camera's frame (n, 3) [m], all in front of it.
    """
    poses: list[np.ndarray] = []
    off = tolerance(camera.size, FINE_SIDE)
    distinct = int(np.searchsorted(found.ratio, _RATIO))
    X, x = points[:distinct], found.seen[:distinct]
    for _ in range(_MODELS):
        model = pose_in_space(camera, X, x, off) if len(X) >= _LEAST else None
        if model is None or int(model[1].sum()) < _LEAST:
            break
        poses.append(model[0])
        X, x = X[~model[1]], x[~model[1]]
    n = min(len(found.ratio), _VOTERS)
    for _, agree in voted(found, camera.size, most):
        model = pose_in_space(camera, points[:n][agree], found.seen[:n][agree], off)
        if model is not None:
            poses.append(model[0])
    return poses


def different(guesses: np.ndarray, size: tuple[int, int], most: int) -> list[int]:
    """The numbers of the first guesses (n, 3, 3), `most` at most, of which none takes the goal image's middle and corners (of h x w pixels) to where
    another one does, within a twentieth of the image's side."""
    h, w = size
    places = np.array([[w / 2, h / 2, 1], [w / 4, h / 4, 1], [3 * w / 4, h / 4, 1], [w / 4, 3 * h / 4, 1.0]])
    mapped = places @ guesses.transpose(0, 2, 1)
    with np.errstate(all="ignore"):
        pixels = mapped[..., :2] / mapped[..., 2:]
    chosen: list[int] = []
    for k in range(len(guesses)):
        if not np.isfinite(pixels[k]).all():
            continue
        if all(np.abs(pixels[k] - pixels[j]).max() > min(h, w) / 20 for j in chosen):
            chosen.append(k)
            if len(chosen) == most:
                break
    return chosen


def plausible(H: np.ndarray, points: np.ndarray) -> bool:
    """Whether a camera may see these goal pixels so: not mirrored, in front of it, at no wild scale."""
    third = np.c_[points, np.ones(len(points))] @ H[2]
    if not (third * third[0] > 0).all():
        return False
    determinant = float(np.linalg.det(H)) / np.power(np.abs(third), 3) * np.sign(third[0])
    return bool((determinant > 0.01).all() and (determinant < 100).all())


def by_search(template: Template, current: Pyramid, most: int = 8) -> list[np.ndarray]:
    """The best of turns by 15 degrees and three scales, each at the place where the coarsest local contrasts correlate most."""
    level = len(template.contrast) - 1
    mine, weight = template.contrast[level], template.weight[level]
    h, w = mine.shape
    image, _ = local_contrast(current.images[level])
    H_, W_ = image.shape
    size = cv2.getOptimalDFTSize(2 * max(h, w, H_, W_))
    spectrum = cv2.dft(_placed(image, size), flags=cv2.DFT_COMPLEX_OUTPUT)
    energy = cv2.dft(_placed(image * image, size), flags=cv2.DFT_COMPLEX_OUTPUT)
    own, other = template.pyramid.to_level[level], current.to_level[level]
    found: list[tuple[float, np.ndarray]] = []
    for scale in (0.7, 1.0, 1.4):
        for k in range(24):
            turn = 2 * math.pi * k / 24
            c, s = scale * math.cos(turn), scale * math.sin(turn)
            cx, cy = (w - 1) / 2, (h - 1) / 2
            side = size // 2
            A = np.array([[c, -s, side / 2 - c * cx + s * cy], [s, c, side / 2 - s * cx - c * cy]])
            pattern = cv2.warpAffine(mine * weight, A, (side, side))
            mask = cv2.warpAffine(weight, A, (side, side))
            P, M = (cv2.dft(_placed(z, size), flags=cv2.DFT_COMPLEX_OUTPUT) for z in (pattern, mask))
            flags = cv2.DFT_INVERSE | cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT
            ab = cv2.dft(cv2.mulSpectrums(spectrum, P, 0, conjB=True), flags=flags)
            bb = cv2.dft(cv2.mulSpectrums(energy, M, 0, conjB=True), flags=flags)
            aa = float((mask * pattern * pattern).sum())
            value = ab / np.sqrt(np.maximum(bb, max(0.15 * float(bb.max()), 1e-9)) * max(aa, 1e-9))
            _, peak, _, (px, py) = cv2.minMaxLoc(value)
            dx, dy = (p - size if p > size // 2 else p for p in (px, py))
            T = np.array([[A[0, 0], A[0, 1], A[0, 2] + dx], [A[1, 0], A[1, 1], A[1, 2] + dy], [0, 0, 1]])
            found.append((float(peak), np.linalg.inv(other) @ T @ own))
    found.sort(key=lambda pair: -pair[0])
    return [H for _, H in found[:most]]


def _placed(image: np.ndarray, size: int) -> np.ndarray:
    out = np.zeros((size, size), np.float32)
    out[: image.shape[0], : image.shape[1]] = image
    return out
