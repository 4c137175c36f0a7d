"""The desired view of a robot's camera from files: a goal's folder, or a picture that the camera took, with or without its depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.goal_folder import view_for
from siame_se3.errors import CameraError, InputError, SiameError
from siame_se3.images.decode import as_image, read_picture, to_bytes
from siame_se3.images.registration import square_depth
from siame_se3.laws.types import View
from siame_se3.plants.robots.live import LivePlant
from siame_se3.plants.types import sound


def target_from(
    path: Path,
    plant: LivePlant,
    depth: np.ndarray | float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> View:
    """The desired view from a goal's folder (see `goal_folder`), or from a picture that the robot's camera took: as it came, or rectified and
    cut to the centred square.

    Args:
        path: the picture.
        plant: the robot.
        depth: of the picture, in its raster or in that of its square [m], or a number for all of it; None where it is not known: the plant's
            distance, or what the folder says.
        say: called with a line about how the picture was taken.

    Raises:
        InputError: a folder that is no goal's, or a depth map beside it.
        CameraError: not a picture, or of another size than the camera's; or a depth map of another size.
    """
    if path.is_dir():
        if isinstance(depth, np.ndarray):
            raise InputError(
                f"{path}: a goal's folder has a depth map of its own; leave the other one out", "goal_depth"
            )
        view = view_for(path, plant.camera, depth)
        return view if view.depth is not None else replace(view, depth=sound(plant.reset(None)).depth)
    if not path.is_file():
        raise CameraError(f"{path}: no such file; give a picture that this camera took, or say 'target' at the place")
    rgb = to_bytes(read_picture(path))
    view = sound(plant.reset(None))
    assert view.image is not None
    sensor = plant.camera_source.sensor
    raw = rgb.shape[:2] == sensor.size == plant.camera.size and any(sensor.distortion)
    if raw:
        say(f"{path}: taken as the camera's picture as it came, and rectified")
    if rgb.shape[:2] == view.image.shape[-2:] and not raw:  # rectified and cut already, or there is nothing to do
        image = as_image(rgb)
    else:
        try:
            image = plant.camera_source.prepared(rgb)
        except SiameError as error:
            raise CameraError(f"{path}: {error}; take it with this camera") from None
    known = depth_in_square(depth, plant)[None] if isinstance(depth, np.ndarray) else view.depth
    if isinstance(depth, float):
        known = torch.tensor([depth], dtype=torch.float64)
    return View(image[None], None, known, view.camera)


def view_of(plant: LivePlant) -> View:
    """What the robot's camera sees now, as a target, with the depth of each pixel where something gives it; the robot stands still.

    Raises:
        RobotError: something is wrong with the robot, or does not answer.
    """
    view = plant.reset(None)
    plant.stop()
    view = plant.with_depth(sound(view))
    assert view.image is not None
    return replace(view, age=0.0, image=view.image.clone())  # a camera may use its memory again


def depth_in_square(depth: np.ndarray, plant: LivePlant) -> Float[Tensor, "s s"]:
    """A depth map in the raster of the camera's pictures, as the square that laws see of it; one that is that square already as it is. Of a
    square sensor it is taken for the former.

    Raises:
        CameraError: another size.
    """
    square, sensor = plant.camera, plant.camera_source.sensor
    if depth.shape not in (square.size, sensor.size):
        raise CameraError(
            f"depth map of {depth.shape[1]} x {depth.shape[0]} px; the camera's pictures have {sensor.width} x {sensor.height}, "
            f"their square {square.width} x {square.height}",
            "goal_depth",
        )
    cut = depth.shape == square.size and not (square.size == sensor.size and any(sensor.distortion))
    return torch.from_numpy((depth if cut else square_depth(depth, sensor)).copy())


def depths_of(view: View) -> str:
    """What is known of a view's depth map, for people; '' for none."""
    if view.depth_map is None:
        return ""
    known = view.depth_map[view.depth_map.isfinite()].double()
    low, middle, high = known.quantile(torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)).tolist()
    share = 100 * len(known) / view.depth_map.numel()
    return f"; depth known in {share:.0f} % of it, {middle:.2f} m ({low:.2f} to {high:.2f})"
