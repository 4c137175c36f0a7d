"""Folders of pictures with depth: what frames and cameras have in common in all formats (`sequences` reads the public ones).

A sequence has thousands of frames: its poses are read, pairs are chosen by them, and only the pictures of these pairs are read. Where a
sequence has more pairs than are asked for, goals are spread evenly over it, and each goal's others over their distances from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.experiments.real.pictures import LEAST_WITH_DEPTH, NEAR_WITH_DEPTH, Folder, Picture, digest_of, name_of
from siame_se3.files import read_yaml, shown
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import read_picture, to_bytes
from siame_se3.images.depth import NothingKnown, read_depth
from siame_se3.images.registration import registered

MOST_PAIRS = 200  # of a folder; of one with more, GOALS goals with EACH others
GOALS, EACH = 40, 4
WORLDS = 6  # pairs of a folder that are asked for closed loops
_OF_ALL = (
    "camera.yaml",
    "rgb.txt",
    "depth.txt",
    "groundtruth.txt",
)  # files of a folder that all its pictures depend on
_KNOWN = 0.1  # share of a goal's pixels whose depth is known, at least


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture that may be read: its files, where its camera was, and that pose as it was written: a file of its own, or a line of one; nothing where
    it is made of several lines."""

    rgb: Path
    depth: Path
    T_wc: Float[Tensor, "4 4"]
    pose: Path | str = ""


@dataclass(frozen=True, eq=False)
class Rig:
    """The cameras of a folder.

    Attributes:
        colour: intrinsics of the pictures, with distortion.
        depth: of the depth maps; None where they are registered: in the pictures' raster, whatever their size.
        T_ci: the depth camera in the colour camera's frame [m]; None where both are one.
        scale: of the depth maps [m]; None for that of their files' kind.
    """

    colour: Camera
    depth: Camera | None = None
    T_ci: Float[Tensor, "4 4"] | None = None
    scale: float | None = None

    def read(self, frame: Frame, with_depth: bool) -> Picture:
        """A frame's picture, rectified, with its depth in the same raster where it is asked for and anything is known of it.

        Raises:
            InputError: a file that is damaged, or of another size than the camera's.
        """
        rgb = to_bytes(read_picture(frame.rgb))
        if rgb.shape[:2] != self.colour.size:
            raise InputError(
                f"{frame.rgb}: {rgb.shape[1]} x {rgb.shape[0]} px, its camera has {self.colour.width} x {self.colour.height}; give its camera.yaml"
            )
        straight = replace(self.colour, distortion=())
        depth = self._depth(frame.depth, straight) if with_depth else None
        return Picture(frame.rgb.name, self.colour.rectify(rgb), straight, frame.T_wc, None, depth)

    def _depth(self, path: Path, straight: Camera) -> np.ndarray | None:
        try:
            depth = read_depth(path, self.scale)
        except NothingKnown:
            return None
        h, w = depth.shape
        camera = self.depth or (self.colour if (h, w) == self.colour.size else self.colour.resized(w, h))
        if (h, w) != camera.size or abs(w * straight.height / (h * straight.width) - 1) > 0.02:
            raise InputError(
                f"{path}: {w} x {h} px, the pictures have {straight.width} x {straight.height}; give registered depth"
            )
        return registered(depth, camera, straight, self.T_ci)


def left_out(total: int, reasons: dict[str, int]) -> tuple[str, ...]:
    """A note of frames that are left out; none where all are there.

    Args:
        total: how many frames there are.
        reasons: of how many, why: 'without tracking'.
    """
    missing = sum(reasons.values())
    why = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
    return (f"{missing} of {total} frames are left out: {why}",) if missing else ()


def rig_of(path: Path, scale: float | None) -> Rig | None:
    """Of the folder's camera.yaml, whose depth is registered to the pictures; None where there is none."""
    place = path / "camera.yaml"
    if not place.is_file():
        return None
    given = read_yaml(place)
    own = given.get("depth_scale") if isinstance(given, dict) else None
    try:
        own = own if own is None else float(str(own))  # 2e-4 is a text to YAML
    except ValueError:
        raise InputError(f"{place}: depth_scale {shown(own)} is no number; give metres a unit, such as 0.001") from None
    return Rig(Camera.from_yaml(place), scale=scale if own is None else own)


def with_depth_maps(path: Path, rows: Sequence[tuple[Path, Tensor, str]]) -> Folder:
    """Our own format, whose folder depth/ has a map for each picture, by its name: mm in PNG, m in .npy or TIFF, registered.

    Args:
        path: the folder.
        rows: pictures and their poses, and these as they are written.

    Raises:
        InputError: a picture without a map, or files that are damaged.
    """
    rig = rig_of(path, None)
    if rig is None:
        raise InputError(f"{path}: no camera.yaml; give the camera's calibration")
    frames = []
    for rgb, T, pose in rows:
        place = next(
            (
                p
                for e in (".png", ".npy", ".npz", ".tiff", ".tif")
                if (p := path / "depth" / f"{rgb.stem}{e}").is_file()
            ),
            None,
        )
        if place is None:
            raise InputError(
                f"{path / 'depth'}: no depth map of {shown(rgb.name)}; give {rgb.stem}.png (mm) or {rgb.stem}.npy (m)"
            )
        frames.append(Frame(rgb, place, T, pose))
    return folder_of(path, frames, rig)


def folder_of(path: Path, frames: list[Frame], rig: Rig, notes: tuple[str, ...] = ()) -> Folder:
    """The pictures of the pairs that are asked for; goals with depth.

    Args:
        path: the folder.
        frames: that may be read.
        rig: that took them.
        notes: of frames that are left out.

    Raises:
        InputError: there are no two, no two of them are near each other, no goal has depth, or files that are damaged.
    """
    if len(frames) < 2:
        raise InputError(
            f"{path}: frames with picture, depth and pose: {len(frames)}; give two or more{_because(notes)}"
        )
    pairs = chosen_pairs(torch.stack([frame.T_wc for frame in frames]))
    if not pairs:
        t, r = NEAR_WITH_DEPTH
        raise InputError(
            f"{path}: no two of {len(frames)} frames are {100 * LEAST_WITH_DEPTH:g} to {100 * t:g} cm and up to {r:g} deg apart{_because(notes)}"
        )
    worlds = [pairs[k] for k in _spread(len(pairs), WORLDS)]
    deep = {goal for goal, _ in pairs} | {world for _, world in worlds}
    used = sorted({k for pair in pairs for k in pair})
    pictures = [rig.read(frames[k], k in deep) for k in used]
    known = {k for k, picture in zip(used, pictures, strict=True) if _knows(picture)}
    kept = tuple((used.index(goal), used.index(current)) for goal, current in pairs if goal in known)
    if not kept:
        raise InputError(
            f"{path}: no goal's depth map knows {100 * _KNOWN:g} % of its picture; check scale and registration{_because(notes)}"
        )
    both = tuple((used.index(goal), used.index(world)) for goal, world in worlds if {goal, world} <= known)
    if dark := len({goal for goal, _ in pairs} - known):
        notes = (
            *notes,
            f"{dark} of {len(used)} pictures are no goals: their depth maps know less than {100 * _KNOWN:g} %",
        )
    shared = digest_of(*(place for name in _OF_ALL if (place := path / name).is_file()))
    digests = (digest_of(frames[k].rgb, frames[k].depth, frames[k].pose, shared) for k in used)
    known_by = tuple(replace(picture, digest=digest) for picture, digest in zip(pictures, digests, strict=True))
    return Folder(name_of(path), known_by, True, kept, both, notes)


def _because(notes: Sequence[str]) -> str:
    return "".join(f"; {note}" for note in notes)


def _knows(picture: Picture) -> bool:
    return picture.depth is not None and float(np.isfinite(picture.depth).mean()) >= _KNOWN


def chosen_pairs(T_wc: Float[Tensor, "n 4 4"]) -> list[tuple[int, int]]:
    """Ordered pairs (goal, current) that are near each other: all, or a choice where there are more than `MOST_PAIRS`."""
    others = {goal: found for goal in _spread(len(T_wc), MOST_PAIRS) if (found := _near(T_wc, goal))}
    if sum(map(len, others.values())) <= MOST_PAIRS:
        return [(goal, other) for goal, found in others.items() for other in found]
    goals = list(others)
    some = [goals[k] for k in _spread(len(goals), GOALS)]
    return [(goal, others[goal][k]) for goal in some for k in _spread(len(others[goal]), EACH)]


def _near(T_wc: Float[Tensor, "n 4 4"], goal: int) -> list[int]:
    """Frames near a goal, by their distance."""
    t, r = lie.error_norms(lie.inverse(T_wc[goal]) @ T_wc)
    most_t, most_r = NEAR_WITH_DEPTH
    good = (t >= LEAST_WITH_DEPTH) & (t <= most_t) & (torch.rad2deg(r) <= most_r)
    order: list[int] = torch.argsort(torch.where(good, t, torch.inf), stable=True)[: int(good.sum())].tolist()
    return order


def _spread(n: int, most: int) -> list[int]:
    """So many of 0 ... n - 1, evenly."""
    return sorted({round((k + 0.5) * n / most - 0.5) for k in range(most)}) if n > most else list(range(n))
