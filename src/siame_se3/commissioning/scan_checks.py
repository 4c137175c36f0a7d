"""Which views determine no depth: each is refused in a line that says what is wrong with them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from siame_se3.commissioning.scan_sweep import Lines
from siame_se3.errors import InputError
from siame_se3.geometry.camera import Camera

_LEAST_MOTION = 1e-4  # of a view's camera [m]; less is a rotation
_LEAST_PARALLAX = 3.0  # of the view that moves most, at the given distance [px]
_SAME = 1.0 / 255  # mean difference of images that are one image
_LEAST_TEXTURED, _LEAST_KNOWN = 0.02, 0.2  # share of the image; share of the textured pixels with a depth
_MOST_NOISE = 0.65  # of the differences of views from the goal, as a share of the texture's contrast
_MOST_MOVED = 2.2  # standard deviations by which the images move the poses, over all views


def check_views(goal: Tensor, views: Tensor, T_gk: Tensor, camera: Camera, distance: float) -> None:
    """Refuse what is no set of views."""
    if not 0 < distance < math.inf:
        raise InputError(f"scan: a distance of {distance:g} m; give about how far the scene is", "depth")
    if len(views) < 2:
        raise InputError(f"scan: {len(views)} views; give at least 2 beside the goal's", "views")
    if len(T_gk) != len(views):
        raise InputError(f"scan: {len(T_gk)} poses for {len(views)} views; give each view its pose")
    if goal.shape[-2:] != camera.size or views.shape[-2:] != camera.size:
        sizes = " and ".join(f"{x.shape[-1]} x {x.shape[-2]}" for x in (goal, views))
        raise InputError(f"scan: images of {sizes} px by a camera of {camera.width} x {camera.height} px; give its own")
    if not bool(torch.isfinite(goal).all() and torch.isfinite(views).all() and torch.isfinite(T_gk).all()):
        raise InputError("scan: an image or a pose has values that are not finite; take it again")
    R = T_gk[:, :3, :3].double()
    if (
        float((R.mT @ R - torch.eye(3, dtype=torch.float64, device=R.device)).abs().max()) > 1e-3
        or float(torch.linalg.det(R).min()) < 0
    ):
        raise InputError(
            "scan: a pose whose rotation is none; give 4 x 4 matrices, camera of the view to camera of the goal"
        )


def check_texture(share: float) -> None:
    """Refuse a goal image of which only this share has texture."""
    if share < _LEAST_TEXTURED:
        raise InputError(
            f"scan: only {100 * share:.1f} % of the goal image has texture; put something textured there, or give light"
        )


def check_motion(lines: Lines, goal: np.ndarray, views: list[np.ndarray], distance: float) -> None:
    """Refuse views without parallax, and images that did not change with it."""
    most = float(lines.T_gk[:, :3, 3].norm(dim=1).max())
    if most < _LEAST_MOTION:
        raise InputError("scan: the camera only turned, which shows no depth; move it by some centimetres", "radius")
    parallax = float(np.linalg.norm(lines.parallax(1 / distance), axis=-1).mean(1).max())
    if parallax < _LEAST_PARALLAX:
        raise InputError(
            f"scan: too short a baseline: moving by {1e3 * most:.1f} mm at {distance:g} m shifts the image by {parallax:.1f} px; "
            f"move by at least {1e3 * most * _LEAST_PARALLAX / parallax:.0f} mm",
            "radius",
        )
    if max(float(np.abs(view - goal).mean()) for view in views) < _SAME and goal.std() > _SAME:
        raise InputError(
            "scan: all views show the same image, though the camera moved; see that the camera sends new ones"
        )


def check_fit(share: float, rest: float, moved: tuple[float, float, float], low: float, high: float) -> None:
    """Refuse views that do not show one scene from their places, though some depths can be made to fit.

    Args:
        share: of the textured pixels, those with a depth.
        rest: of the texture's contrast, how much differs between the views.
        moved: how far the images move the poses: in standard deviations, and at most [m, rad].
        low, high: inverse depths that were looked for [1/m].
    """
    advice = "check the hand-eye transform, the camera's calibration and the distance, and that nothing else moves"
    if share < _LEAST_KNOWN:
        raise InputError(
            f"scan: the views do not fit their poses: of the textured pixels {100 * share:.0f} % have a depth between {1 / high:.2f} and "
            f"{1 / low:.2f} m that they agree on; {advice}"
        )
    if rest > _MOST_NOISE:
        raise InputError(
            f"scan: the views do not fit their poses: {100 * rest:.0f} % of the texture is otherwise in them; {advice}"
        )
    sigmas, t, r = moved
    if sigmas > _MOST_MOVED:
        raise InputError(
            f"scan: the views do not fit their poses: these would have to be wrong by up to {1e3 * t:.1f} mm and {math.degrees(r):.2f} deg, "
            f"{sigmas:.1f} times what is assumed; {advice}",
            *("pose_std_t", "pose_std_r"),
        )
