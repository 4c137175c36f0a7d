"""A goal in a folder: the image, its depth if it is known, and the camera that took it.

image.png     the goal image as laws see it: rectified, the centred square of the camera's
camera.yaml   its intrinsics (ROS camera_info)
depth.npz     depth [m] and std [m], float32 (h, w), NaN where not known; only of a goal with depth
depth.png     the same to look at and for other programs: millimetres, 16 bits, 0 where not known
goal.json     which of these belong to it, and how it was made; written last: a folder without it is no goal
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import CameraError, InputError
from siame_se3.files import atomically, read_json, read_npz, shown, write_text
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_image, as_pixels, read_picture, to_bytes
from siame_se3.images.encode import millimetres, write_picture
from siame_se3.laws.types import View

FORMAT, VERSION = "siame-se3 goal", 1
_HINT = "give a folder that 'siame target' wrote"
_SAME_FOCAL = 0.002  # share by which two cameras' intrinsics may differ


@dataclass(frozen=True, eq=False)
class Goal:
    """What a robot's camera is to see.

    Attributes:
        image: RGB in [0, 1].
        camera: its intrinsics.
        distance: of the scene, about [m]; None where it is not known.
        depth: along z at each pixel's centre [m], NaN where it is not known; None where there is none.
        std: of each depth [m].
        notes: how it was made, for people.
    """

    image: Float[Tensor, "3 h w"]
    camera: Camera
    distance: float | None = None
    depth: Float[Tensor, "h w"] | None = None
    std: Float[Tensor, "h w"] | None = None
    notes: dict[str, Any] | None = None

    def view(self) -> View:
        """As laws take it: the depth's map where there is one, else the distance."""
        depth = None if self.distance is None else torch.tensor([self.distance], dtype=torch.float64)
        return View(self.image[None], None, depth if self.depth is None else self.depth[None], self.camera)


def write_goal(folder: str | Path, goal: Goal) -> None:
    """Write a goal's folder; another goal that was there is replaced.

    Raises:
        InputError: it cannot be written.
    """
    import json

    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "goal.json").unlink(missing_ok=True)  # from here on it is no goal, until all is there
    except OSError as error:
        raise InputError(
            f"{folder}: {(error.strerror or str(error)).lower()}; give a folder that can be written", "out"
        ) from None
    write_picture(folder / "image.png", as_pixels(goal.image))
    goal.camera.to_yaml(folder / "camera.yaml")
    if goal.depth is not None:
        depth = goal.depth.float().cpu().numpy()
        std = np.full_like(depth, np.nan) if goal.std is None else goal.std.float().cpu().numpy()
        atomically(folder / "depth.npz", lambda partial: _save(partial, depth, std))
        write_picture(folder / "depth.png", millimetres(depth))
    else:
        for name in ("depth.npz", "depth.png"):
            (folder / name).unlink(missing_ok=True)
    kept = {
        "format": FORMAT,
        "version": VERSION,
        "depth": goal.depth is not None,
        "distance": goal.distance,
        "notes": goal.notes or {},
    }
    write_text(folder / "goal.json", json.dumps(kept, indent=1) + "\n")


def _save(path: Path, depth: np.ndarray, std: np.ndarray) -> None:
    with path.open("wb") as stream:  # a file's name would get an ending of its own
        np.savez_compressed(stream, depth=depth, std=std)


def read_goal(folder: str | Path) -> Goal:
    """What `write_goal` wrote.

    Raises:
        InputError: no such folder, a part that is missing or damaged, or parts that do not belong together.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; {_HINT}", "target")
    kept = read_json(folder / "goal.json", hint=_HINT)
    if not isinstance(kept, dict) or kept.get("format") != FORMAT:
        raise InputError(f"{folder}: its goal.json is not that of a goal; {_HINT}", "target")
    if kept.get("version") != VERSION:
        raise InputError(
            f"{folder}: a goal of version {shown(kept.get('version'))}; it needs a newer siame-se3", "target"
        )
    distance, notes = kept.get("distance"), kept.get("notes")
    number = isinstance(distance, int | float) and not isinstance(distance, bool) and 0 < distance < math.inf
    if not (distance is None or number) or not isinstance(notes, dict) or not isinstance(kept.get("depth"), bool):
        raise InputError(f"{folder}: its goal.json is damaged; {_HINT}", "target")
    image = as_image(to_bytes(read_picture(folder / "image.png")))
    camera = replace(Camera.from_yaml(folder / "camera.yaml", part=True), distortion=())  # the image is rectified
    if tuple(image.shape[1:]) != camera.size:
        raise InputError(
            f"{folder}: an image of {image.shape[2]} x {image.shape[1]} px by a camera of {camera.width} x {camera.height} px; {_HINT}",
            "target",
        )
    goal = Goal(image, camera, None if distance is None else float(distance), notes=notes)
    return _with_depth(goal, folder) if kept["depth"] else goal


def _with_depth(goal: Goal, folder: Path) -> Goal:
    path = folder / "depth.npz"
    arrays = read_npz(path, hint=_HINT)
    for name in ("depth", "std"):
        x = arrays.get(name)
        if x is None or x.dtype != np.float32 or x.shape != goal.camera.size:
            raise InputError(f"{path}: no {name} for each pixel of the image; {_HINT}", "target")
        if not bool((np.isnan(x) | ((x > 0) & np.isfinite(x))).all()):
            raise InputError(f"{path}: a {name} that is not above 0; {_HINT}", "target")
    if not np.isfinite(arrays["depth"]).any():
        raise InputError(f"{path}: no depth is known; {_HINT}", "target")
    return replace(goal, depth=torch.from_numpy(arrays["depth"]), std=torch.from_numpy(arrays["std"]))


def distance_of(folder: str | Path) -> float | None:
    """How far the scene is from the goal's camera [m]: the middle of its depths, or what the folder says; None where it says nothing.

    Raises:
        InputError: see `read_goal`.
    """
    goal = read_goal(folder)
    return goal.distance if goal.depth is None else float(goal.depth.nanmedian())


def view_for(folder: str | Path, camera: Camera | None, distance: float | None = None) -> View:
    """A goal's view for the plant whose images are by `camera`; `distance` [m] in the place of the folder's, where that has no map of depths.

    Raises:
        InputError: see `read_goal`.
        CameraError: it was taken by another camera.
    """
    goal = read_goal(folder)
    if camera is not None and not _alike(goal.camera, camera):
        a, b = goal.camera, camera
        raise CameraError(
            f"{folder}: taken by another camera: {a.width} x {a.height} px, f {a.fx:.1f} px, and this one has {b.width} x {b.height} px, "
            f"f {b.fx:.1f} px; take the goal with this camera",
            "target",
        )
    if goal.depth is None and distance is not None:
        goal = replace(goal, distance=distance)
    return goal.view()


def _alike(a: Camera, b: Camera) -> bool:
    """Whether the same pixels have the same rays, about."""
    apart = max(abs(a.fx - b.fx), abs(a.fy - b.fy), abs(a.cx - b.cx), abs(a.cy - b.cy))
    return a.size == b.size and apart <= _SAME_FOCAL * a.fx + 1e-6
