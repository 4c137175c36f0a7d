"""Pictures as scenes: what a picture shows of its plane, seen square on; and how far two views of it are from being aligned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from siame_se3.errors import SceneError
from siame_se3.experiments.real.pictures import Picture
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import homography, pixel_from_plane, points_on_plane
from siame_se3.images.decode import as_image
from siame_se3.scenes.planar import Scene

_TEXELS = 1000  # a metre
_LEAST, _MOST = 0.2, 2.0  # side of what two pictures have in common, and of a scene [m]
_INSIDE = 0.1  # from a picture's edge [m]
_ABOUT = 0.15  # [m]
_FARTHEST = 10.0  # of what a picture shows of its plane: of the depth of what is nearest in it
_GRID = 17  # points a side of the goal's view, that alignment is measured at


def footprint(picture: Picture) -> np.ndarray:
    """The corners of what a picture shows of its plane [m]: four, or of a picture in which the plane's horizon is, or nearly so, those of its part that
    shows the plane up to `_FARTHEST` (3 to 5, 2).

    Raises:
        SceneError: it shows nothing of a plane.
    """
    h, w = picture.rgb.shape[:2]
    corners = np.array([[0, 0, 1], [w - 1, 0, 1], [w - 1, h - 1, 1], [0, h - 1, 1.0]])
    to_plane = np.linalg.inv(_from_plane(picture))
    nearness = corners @ to_plane[2]  # one over the depth, up to a scale; below 0 above the horizon
    if nearness.max() <= 0:
        raise SceneError(f"{picture.name}: it shows nothing of the plane; leave it out")
    over = nearness - nearness.max() / _FARTHEST
    seen: list[np.ndarray] = []
    for k, corner in enumerate(corners):
        before = corners[k - 1]
        if (over[k] < 0) != (over[k - 1] < 0):  # this side leaves the part, or comes into it
            seen.append(before + over[k - 1] / (over[k - 1] - over[k]) * (corner - before))
        if over[k] >= 0:
            seen.append(corner)
    mapped = np.array(seen) @ to_plane.T
    result: np.ndarray = mapped[:, :2] / mapped[:, 2:]
    return result


def _from_plane(picture: Picture) -> np.ndarray:
    """Its homography, scaled so that the third coordinate is above 0 before the camera."""
    if picture.from_plane is None:
        raise SceneError(f"{picture.name}: it shows no plane; give pictures of one")
    return picture.from_plane * np.sign(np.linalg.det(picture.from_plane))


@dataclass(frozen=True)
class Box:
    """A part of the plane, along its axes [m]: its middle, and its size."""

    x: float
    y: float
    width: float
    height: float


def common(a: Picture, b: Picture) -> Box:
    """A box around what either picture shows of the plane, whose middle is the plane's origin, or that of what both show, where they do not
    show the origin well within.

    Raises:
        SceneError: they show next to nothing of it in common.
    """
    feet = [cv2.convexHull(footprint(p).astype(np.float32)) for p in (a, b)]
    area, both = cv2.intersectConvexConvex(feet[0], feet[1])
    if area <= 0:
        raise SceneError(f"{a.name} and {b.name} show nothing of the plane in common; leave one of them out")
    m = cv2.moments(both)
    inside = min(cv2.pointPolygonTest(foot, (0.0, 0.0), True) for foot in feet) > _INSIDE
    middle = np.zeros(2) if inside else np.array([m["m10"] / m["m00"], m["m01"] / m["m00"]])
    if math.sqrt(area) < _LEAST:
        raise SceneError(f"{a.name} and {b.name} show {area:.3f} m^2 of the plane in common; leave one of them out")
    width, height = np.minimum(2 * np.abs(np.concatenate(feet).reshape(-1, 2) - middle).max(0), _MOST).tolist()
    return Box(float(middle[0]), float(middle[1]), width, height)


def scene_of(picture: Picture, box: Box) -> Scene:
    """A part of the plane as the picture shows it; what the picture does not show, as what is behind its camera, has its mean colour, as all
    beyond the box."""
    w, h = round(box.width * _TEXELS), round(box.height * _TEXELS)
    sx, sy = box.width / w, box.height / h
    to_plane = np.array([[sx, 0, box.x - box.width / 2 + sx / 2], [0, sy, box.y - box.height / 2 + sy / 2], [0, 0, 1]])
    mean = picture.rgb.reshape(-1, 3).mean(0)
    to_pixel = _from_plane(picture) @ to_plane
    texture = cv2.warpPerspective(
        *(picture.rgb, to_pixel, (w, h)),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=mean.tolist(),
    )
    behind = np.arange(w) * to_pixel[2, 0] + np.arange(h)[:, None] * to_pixel[2, 1] + to_pixel[2, 2] <= 0
    texture[behind] = np.rint(mean)
    colour = tuple((mean / 255).tolist())
    return Scene(as_image(texture), box.width, box.height, picture.name, (colour[0], colour[1], colour[2]))


def alignment(
    camera: Camera,
    T_wd: Float[Tensor, "*B 4 4"],
    T_wc: Float[Tensor, "*B 4 4"],
    middle: tuple[float, float] | None = None,
) -> Float[Tensor, "*B"]:
    """How far points of the plane z = 0 that the desired camera sees are in the image from where they should be, on average, in % of the
    image's width; infinite where a point is behind the camera.

    Args:
        camera: of both views.
        T_wd, T_wc: desired and present poses.
        middle: only points within `_ABOUT` of it count [m], where the desired camera sees any: where poses were measured on a board, what lies
            around it need not be in its plane.
    """
    u, v = torch.meshgrid(
        torch.linspace(0, camera.width - 1, _GRID, dtype=torch.float64),
        torch.linspace(0, camera.height - 1, _GRID, dtype=torch.float64),
        indexing="xy",
    )
    pixels = torch.stack((u.flatten(), v.flatten(), torch.ones(_GRID**2, dtype=torch.float64)), -1)
    to_plane = torch.linalg.inv(pixel_from_plane(camera, T_wd))
    points = pixels @ to_plane.mT
    inside = points[..., 2] > 0  # not what is above the plane's horizon
    if middle is not None:
        near = (points[..., :2] / points[..., 2:] - torch.tensor(middle, dtype=torch.float64)).norm(dim=-1) <= _ABOUT
        near = near & inside
        inside = torch.where(near.any(-1, keepdim=True), near, inside)
    mapped = pixels @ homography(camera, T_wc, T_wd).mT
    # in front of the camera: the sign of the depth there
    X = torch.cat(
        (points[..., :2] / points[..., 2:], torch.zeros_like(points[..., :1]), torch.ones_like(points[..., :1])), -1
    )
    depth = (X @ lie.inverse(T_wc).mT)[..., 2]
    apart = (mapped[..., :2] / mapped[..., 2:] - pixels[:, :2]).norm(dim=-1)
    apart = torch.where(depth > 1e-6, apart, torch.inf)
    mean = torch.where(inside, apart, 0.0).sum(-1) / inside.sum(-1)
    return 100 * torch.where(inside.any(-1), mean, torch.inf) / camera.width


def shared(
    camera: Camera, T_wd: Float[Tensor, "n 4 4"], T_wc: Float[Tensor, "n 4 4"], feet: Sequence[np.ndarray]
) -> Float[Tensor, "n"]:
    """Share of each desired view that shows a part of the plane which the present view shows too, and which is in all of some pictures.

    Args:
        camera: of the views.
        T_wd, T_wc: desired and present poses.
        feet: what each picture shows of the plane: corners (c, 2), as `footprint` gives them, in the poses' frame [m].
    """
    grid = [torch.linspace(0, n - 1, _GRID, dtype=torch.float64) for n in (camera.width, camera.height)]
    u, v = torch.meshgrid(*grid, indexing="xy")
    points, front = points_on_plane(camera, T_wd, torch.stack((u.flatten(), v.flatten()), -1))
    inside = front & seen_by(camera, T_wc, points)
    for foot in feet:
        corners = torch.from_numpy(foot)
        along = corners.roll(-1, 0) - corners
        apart = points[..., None, :] - corners
        side = along[:, 0] * apart[..., 1] - along[:, 1] * apart[..., 0]
        inside = inside & ((side >= 0).all(-1) | (side <= 0).all(-1))
    return inside.double().mean(-1)


def seen_by(camera: Camera, T_wc: Float[Tensor, "n 4 4"], points: Float[Tensor, "n p 2"]) -> Bool[Tensor, "n p"]:
    """Which points (X, Y) of the plane z = 0 [m] are in each camera's image."""
    mapped = torch.cat((points, torch.ones_like(points[..., :1])), -1) @ pixel_from_plane(camera, T_wc).mT
    pixels = mapped[..., :2] / mapped[..., 2:].clamp(min=1e-9)
    size = torch.tensor([camera.width - 1.0, camera.height - 1.0], dtype=torch.float64)
    return (mapped[..., 2] > 1e-9) & (pixels >= 0).all(-1) & (pixels <= size).all(-1)
