"""The depth of each pixel of a goal image, and how well it is known, from views at known places around it.

A plane sweep finds each pixel's depth, Gauss-Newton on the images refines depths and the views' poses, and what the views do not determine is NaN:
what has no texture, what few of them see, what two depths explain, and the pixels on an edge, which show two depths.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.scan_checks import check_fit, check_motion, check_texture, check_views
from siame_se3.commissioning.scan_poses import adjusted
from siame_se3.commissioning.scan_refine import _AROUND, Fit, Photometry, own_texture, parallax_scale, step
from siame_se3.commissioning.scan_sweep import Lines, Swept, levels, sweep
from siame_se3.errors import require_number
from siame_se3.files import require_types
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.luma import luma

_TEXTURE = 0.02  # contrast of a textured pixel's surroundings, of the range
_COARSE = 320  # side above which the range of depths is looked for in a smaller image [px]
_OWN = 8.0  # pixels of a pixel's colour around it that have texture
_FINE, _FINE_CONTRAST = 9, 0.004  # side of the texture that counts [px], and its contrast, of the range
_UNIQUE = 0.04  # by which a depth's cost is below that of all others
_SHOWN = 0.45  # share of the views that show a pixel
_EDGE = 1.0  # parallax between neighbouring pixels at different depths [px]
_SPECK = 40  # pixels at one depth that are too few to be trusted
_EXTRA = 1.2  # by which errors are larger than the noise alone makes them
_NEAR_EDGE = 0.3  # standard deviation of the parallax beside an edge, where windows see both sides [px]


@dataclass(frozen=True)
class DepthSettings:
    """What is assumed, and what is accepted.

    Attributes:
        nearest: depths that are looked for, from this share of the given distance...
        farthest: ...to this multiple of it.
        pose_std_t: of the views' places relative to the goal's, along each axis [m].
        pose_std_r: and of their rotations, about each axis [rad].
        worst: a depth whose standard deviation is above this share of it is not known.
        side: larger images are reduced to this many pixels along their longer side.
    """

    nearest: float = 0.4
    farthest: float = 2.5
    pose_std_t: float = 0.0002
    pose_std_r: float = math.radians(0.05)
    worst: float = 0.05
    side: int = 640

    def __post_init__(self) -> None:
        require_types(self, "scan")
        require_number(self, "nearest", 0.05, 1, open_high=True)
        require_number(self, "farthest", 1, 100, open_low=True)
        for name in ("pose_std_t", "pose_std_r"):
            require_number(self, name, 0, 1, open_low=True)
        require_number(self, "worst", 0, 1, open_low=True)
        require_number(self, "side", 32, 4096, whole=True)


@dataclass(frozen=True, eq=False)
class DepthMap:
    """Depths of an image.

    Attributes:
        depth: along z at each pixel's centre [m], NaN where it is not known.
        std: of each depth [m], NaN where there is none; errors of the poses, which neighbours have in common, are in it.
        textured: share of the image that has enough texture.
        moved_t, moved_r: how far the images moved the views' poses from the measured ones, at most [m, rad].
        moved: the same over all views and axes, root mean square in standard deviations of the poses.
        noise: of the images, standard deviation as a share of the range.
    """

    depth: Float[Tensor, "h w"]
    std: Float[Tensor, "h w"]
    textured: float
    moved_t: float
    moved_r: float
    moved: float
    noise: float

    @property
    def filled(self) -> float:
        """Share of the pixels with a depth."""
        return float(self.depth.isfinite().float().mean())

    @property
    def relative_std(self) -> float:
        """The median standard deviation, as a share of the depth."""
        return float((self.std / self.depth).nanmedian())


def depth_from_views(
    goal: Float[Tensor, "3 h w"],
    views: Float[Tensor, "k 3 h w"],
    T_gk: Float[Tensor, "k 4 4"],
    camera: Camera,
    distance: float,
    settings: DepthSettings | None = None,
) -> DepthMap:
    """The goal image's depth.

    Args:
        goal: RGB in [0, 1].
        views: k >= 2 of the same scene, at rest, by the same camera.
        T_gk: each view's camera in the goal camera's frame [m].
        camera: intrinsics of all images.
        distance: of the scene, about [m].
        settings: what is assumed, and what is accepted.

    Raises:
        InputError: views that do not determine a depth: too few, too near, turned only, all the same, without texture, or taken elsewhere
            than their poses say.
    """
    settings = settings or DepthSettings()
    check_views(goal, views, T_gk, camera, distance)
    (h, w), shrink = camera.size, min(1.0, settings.side / max(camera.size))
    small = camera.resized(round(w * shrink), round(h * shrink))
    lines = Lines.of(small, T_gk)
    grey, others = _grey(goal, small), [_grey(view, small) for view in views]
    check_motion(lines, grey, others, distance)
    textured = _variance(grey) > _TEXTURE**2
    check_texture(float(textured.mean()))
    low, high = 1 / (settings.farthest * distance), 1 / (settings.nearest * distance)
    swept = _swept(grey, others, lines, low, high, 1 / distance)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        found = _refined(grey, _colours(goal, small), others, lines, swept, settings, pool)
    share = float(np.isfinite(found.depth.numpy())[textured].mean())
    rest = found.noise / float(np.median(np.sqrt(_variance(grey)[textured])))
    check_fit(share, rest, (found.moved, found.moved_t, found.moved_r), low, high)
    return _enlarged(replace(found, textured=float(textured.mean())), camera)


def _grey(image: Tensor, camera: Camera) -> np.ndarray:
    """Grey levels in [0, 1] (h, w), at the camera's size."""
    grey = (luma(image.detach().cpu(), torch.float32) / 255).numpy()
    if grey.shape == camera.size:
        return np.ascontiguousarray(grey)
    return cv2.resize(grey, (camera.width, camera.height), interpolation=cv2.INTER_AREA)


def _colours(image: Tensor, camera: Camera) -> np.ndarray:
    """RGB (h, w, 3), at the camera's size."""
    colours = np.ascontiguousarray(image.detach().cpu().float().permute(1, 2, 0).numpy())
    if colours.shape[:2] == camera.size:
        return colours
    return cv2.resize(colours, (camera.width, camera.height), interpolation=cv2.INTER_AREA)


def _variance(grey: np.ndarray) -> np.ndarray:
    """Of each pixel's surroundings."""
    mean = cv2.blur(grey, (7, 7))
    return np.maximum(cv2.blur(grey * grey, (7, 7)) - mean * mean, 0)


def _swept(goal: np.ndarray, views: list[np.ndarray], lines: Lines, low: float, high: float, d: float) -> Swept:
    """A sweep over the depths that there are: a large image's are looked for in a small one first."""
    camera = lines.camera
    if max(camera.size) > _COARSE:
        half = camera.resized(camera.width // 2, camera.height // 2)
        size = (half.width, half.height)
        reduced = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (goal, *views)]
        small = Lines.of(half, lines.T_gk)
        coarse = sweep(reduced[0], reduced[1:], small, levels(small, low, high, d))
        sure = (coarse.second - coarse.cost > 3 * _UNIQUE) & (coarse.cost < 0.5)
        if sure.mean() > 0.01:
            least, most = np.percentile(coarse.d[sure], (0.3, 99.7))
            low, high = max(low, 0.95 * least - 2 * coarse.step), min(high, 1.05 * most + 2 * coarse.step)
    return sweep(goal, views, lines, levels(lines, low, high, d))


def _refined(
    goal: np.ndarray,
    colours: np.ndarray,
    views: list[np.ndarray],
    lines: Lines,
    swept: Swept,
    settings: DepthSettings,
    pool: ThreadPoolExecutor,
) -> DepthMap:
    """The depths that the views determine, from a sweep's."""
    valid = (swept.second - swept.cost > _UNIQUE) & swept.inner
    d = cv2.medianBlur(swept.d, 3)
    photometry, most = Photometry(goal, views, lines), 1 / parallax_scale(lines, d)
    measured, std = lines.T_gk.double().cpu(), (settings.pose_std_t, settings.pose_std_r)
    for adjust in (False, False, True, True):
        if adjust:
            poses = adjusted(photometry, d, valid, measured, std, pool)
            photometry = photometry.moved(poses.T_gk)
        fit = step(photometry, d, valid, pool, most)
        d = fit.d
    scale = parallax_scale(lines, d)
    std_d = np.sqrt(_EXTRA**2 / np.maximum(fit.information, 1e-12) + poses.std**2)
    known = valid & (std_d < settings.worst * d) & (fit.agreeing >= max(1.5, _SHOWN * len(views))) & (d > 0)
    known &= _fine(fit) & (own_texture(fit, colours) > _OWN)
    beside = _edges(d, known, scale, 4).astype(np.float32)
    std_d = np.hypot(std_d, beside * (_NEAR_EDGE / scale))
    known &= ~_edges(d, known, scale, 1)
    known = _without_specks(d, known, scale)
    depth = torch.from_numpy(np.where(known, 1 / d, np.nan).astype(np.float32))
    error = torch.from_numpy(np.where(known, std_d / d**2, np.nan).astype(np.float32))
    away = lie.log(lie.inverse(measured) @ poses.T_gk)
    moved = float((away / away.new_tensor([std[0]] * 3 + [std[1]] * 3)).square().mean().sqrt())
    moved_t, moved_r = (float(x.norm(dim=1).max()) for x in (away[:, :3], away[:, 3:]))
    return DepthMap(depth, error, 1.0, moved_t, moved_r, moved, fit.noise)


def _fine(fit: Fit) -> np.ndarray:
    """Pixels around which there is texture that is finer than light and shade, and more than noise."""
    fine = fit.mean - cv2.blur(fit.mean, (_FINE, _FINE))
    noise = 0.5 * fit.noise**2 / (1 + fit.agreeing)
    return cv2.blur(fine * fine, (2 * _AROUND + 1, 2 * _AROUND + 1)) > _FINE_CONTRAST**2 + 1.5 * noise


def _edges(d: np.ndarray, known: np.ndarray, scale: float, radius: int) -> np.ndarray:
    """Pixels that have known ones at different depths around them."""
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    near = cv2.dilate(np.where(known, d, 0).astype(np.float32), kernel)
    far = cv2.erode(np.where(known, d, 1e9).astype(np.float32), kernel)
    return (near - far) * scale > _EDGE


def _without_specks(d: np.ndarray, known: np.ndarray, scale: float) -> np.ndarray:
    """Known pixels that have enough neighbours at their depth."""
    steps = np.where(known, np.clip(d * scale * 16, 1, 32000), 0).astype(np.int16)  # 1/16 px of parallax
    cv2.filterSpeckles(steps, 0, _SPECK, 8)
    return steps > 0


def _enlarged(found: DepthMap, camera: Camera) -> DepthMap:
    """At the camera's size: between four known pixels, and not known elsewhere."""
    if tuple(found.depth.shape) == camera.size:
        return found
    size = (camera.width, camera.height)
    depth, std = (cv2.resize(x.numpy(), size, interpolation=cv2.INTER_LINEAR) for x in (found.depth, found.std))
    return replace(found, depth=torch.from_numpy(depth), std=torch.from_numpy(std))
