"""Sequences in the public formats of pictures with depth: TUM RGB-D and 7-Scenes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.experiments.real.pictures import Folder, name_of
from siame_se3.experiments.real.rgbd import Frame, Rig, folder_of, left_out, rig_of
from siame_se3.files import read_text, shown
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera

ASSOCIATED = 0.02  # [s]: frames, depth maps and poses within this belong together
_MOST_TEXT = 50_000_000  # [bytes] of a list of frames or poses
_MOST_FRAMES = 200_000
_NO_NUMBER = re.compile(r"[-+]?(1\.#\w+|nan\(\w*\))", re.IGNORECASE)  # NaN and infinity as Windows writes them
_COPY = re.compile(
    r"( - \w+|\(\d+\)| copy( \d+)?)$", re.IGNORECASE
)  # what a file's name ends in where a desktop copied it
_LOST, _NO_FILE = "without tracking", "whose picture or depth map is missing"
_TUM_SCALE = 1 / 5000  # [m]
# Calibrations of the data set's authors (cvg.cit.tum.de, RGB-D data set, file formats)
_FREIBURG = {
    "1": Camera(517.3, 516.5, 318.6, 255.3, 640, 480, (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    "2": Camera(520.9, 521.0, 325.1, 249.7, 640, 480, (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    "3": Camera(535.4, 539.2, 320.1, 247.6, 640, 480),
}
_SEVEN_DEPTH = Camera(585.0, 585.0, 320.0, 240.0, 640, 480)
_SEVEN_COLOUR = Camera(525.0, 525.0, 320.0, 240.0, 640, 480)
# The depth camera in the colour camera's frame [m]: a Kinect's, as ACE and its successors take it for 7-Scenes, which says nothing of it.
_SEVEN_T_CI = torch.tensor(
    [
        [0.99996518012567637, 0.0026765126468950343, -0.0079041012313000904, -0.025558943178152542],
        [-0.00274093112813167, 0.99996302803027592, -0.0081504520778013286, 0.00010109636268061706],
        [0.0078819942130445332, 0.0081718328771890631, 0.99993554558014031, 0.0020318321729487039],
        [0.0, 0.0, 0.0, 1.0],
    ],
    dtype=torch.float64,
)


def tum(path: Path) -> Folder:
    """A sequence in TUM's format: rgb.txt, depth.txt, groundtruth.txt (T_wc of the colour camera), depth in 1/5000 m, registered.

    Intrinsics are camera.yaml's, or those of freiburg1, 2 or 3 where the folder's name has one of these.

    Raises:
        InputError: files that are missing or damaged, a camera that is not known, or no frame with depth and pose.
    """
    rig = rig_of(path, _TUM_SCALE)
    if rig is None:
        names = (name_of(path).lower(), path.resolve().name.lower())  # of a link, and of what it leads to
        found = next((k for n in names for k in _FREIBURG if f"freiburg{k}" in n or f"fr{k}" in n), None)
        if found is None:
            raise InputError(
                f"{path}: neither a camera.yaml nor freiburg1, 2 or 3 in its name; give the camera's calibration"
            )
        rig = Rig(_FREIBURG[found], scale=_TUM_SCALE)
    times, pictures = _stamped(path / "rgb.txt")
    depth_times, depth_names = _stamped(path / "depth.txt")
    poses, lost = tracked(path / "groundtruth.txt")
    frames, missing, untracked = [], 0, 0
    for at, name in zip(times, pictures, strict=True):
        near = _nearest(depth_times, at)
        T = poses(at)
        if near is None:
            continue
        if T is None:
            untracked += bool(len(lost)) and _nearest(lost, at) is not None
            continue
        frame = Frame(path / name, path / depth_names[near], T)
        if frame.rgb.is_file() and frame.depth.is_file():
            frames.append(frame)
        else:
            missing += 1
    notes = left_out(len(times), {_LOST: untracked, _NO_FILE: missing})
    if not frames and notes:
        raise InputError(f"{path}: no frame is left; {notes[0]}")
    if not frames:
        raise InputError(
            f"{path}: no picture has a depth map and a pose within {1e3 * ASSOCIATED:g} ms; check its three lists"
        )
    return folder_of(path, frames, rig, notes)


def _stamped(path: Path) -> tuple[np.ndarray, list[str]]:
    """Times [s], ascending, and names of files; of a line that has a picture and a depth map, that which the list is of."""
    times, names = [], []
    for number, words in _lines(path):
        if len(words) == 4:
            words = words[2:] if re.split(r"[/\\]", words[3])[0] == path.stem else words[:2]
        try:
            at = float(words[0])
        except ValueError:
            at = np.nan
        if len(words) != 2 or not np.isfinite(at):
            raise InputError(f"{path}, line {number}: {shown(' '.join(words))} is not a time and a file's name")
        times.append(at)
        names.append(words[1].replace("\\", "/"))
    order = np.argsort(times, kind="stable")
    return np.array(times)[order], [names[k] for k in order]


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Words of each line that is no comment and no header, with its number."""
    text = read_text(path, _MOST_TEXT, "a TUM sequence has rgb.txt, depth.txt and groundtruth.txt")
    lines = [(k, line.replace(",", " ").split()) for k, line in enumerate(text.splitlines(), 1)]
    found = [(k, words) for k, words in lines if words and not words[0].startswith("#")]
    if found and re.match(r"%?(time|stamp)", found[0][1][0].lower()):  # a header without '#'
        found = found[1:]
    if not 0 < len(found) <= _MOST_FRAMES:
        raise InputError(f"{path}: {len(found)} lines; a sequence has 1 to {_MOST_FRAMES}")
    return found


def _nearest(times: np.ndarray, at: float) -> int | None:
    """The one nearest in time; None where none is within `ASSOCIATED`."""
    k = int(np.searchsorted(times, at))
    best = min((j for j in (k - 1, k) if 0 <= j < len(times)), key=lambda j: abs(times[j] - at))
    return best if abs(times[best] - at) <= ASSOCIATED else None


def trajectory(path: Path) -> Callable[[float], Tensor | None]:
    """Poses by their time, see `tracked`."""
    return tracked(path)[0]


def tracked(path: Path) -> tuple[Callable[[float], Tensor | None], np.ndarray]:
    """Poses by their time: between two that are near enough they are interpolated; None where none is within `ASSOCIATED`. And the times at which
    tracking was lost, which is written as numbers that are not finite or as a quaternion of zeros."""
    rows, lost = [], []
    for number, words in _lines(path):
        try:
            row = [_number(x) for x in words]
        except ValueError:
            row = []
        if len(row) == 8 and math.isfinite(row[0]) and (not np.isfinite(row).all() or not any(row[4:])):
            lost.append(row[0])
            continue
        if len(row) != 8 or not np.isfinite(row).all():
            raise InputError(
                f"{path}, line {number}: {shown(' '.join(words))} is not a pose: time tx ty tz qx qy qz qw"
            )
        length = math.hypot(*row[4:])
        if not 0.99 < length < 1.01:
            raise InputError(f"{path}, line {number}: a quaternion of length {length:.4g}; it is 1 of a pose")
        rows.append(row)
    if not rows:
        raise InputError(f"{path}: tracking is lost in all {len(lost)} lines; give one with poses")
    table = np.array(sorted(rows))
    times, T = table[:, 0], _poses(torch.from_numpy(table[:, 1:]))

    def at(time: float) -> Tensor | None:
        near = _nearest(times, time)
        if near is None:
            return None
        after = int(np.searchsorted(times, time))
        if not 0 < after < len(times) or times[after] - times[after - 1] > 2 * ASSOCIATED:
            return T[near]
        a, b = T[after - 1], T[after]
        share = (time - times[after - 1]) / max(1e-9, times[after] - times[after - 1])
        R = a[:3, :3] @ lie.so3_exp(share * lie.so3_log(a[:3, :3].T @ b[:3, :3]))
        return lie.pose(R, a[:3, 3] + share * (b[:3, 3] - a[:3, 3]))

    return at, np.array(sorted(lost))


def _number(word: str) -> float:
    """A number as any system writes it.

    Raises:
        ValueError: it is none.
    """
    return math.nan if _NO_NUMBER.fullmatch(word) else float(word)


def _poses(rows: Float[Tensor, "n 7"]) -> Float[Tensor, "n 4 4"]:
    """Of tx ty tz qx qy qz qw."""
    q = rows[:, 3:] / rows[:, 3:].norm(dim=1, keepdim=True)
    K = lie.hat(q[:, :3])
    R = torch.eye(3, dtype=torch.float64) + 2 * q[:, 3, None, None] * K + 2 * K @ K
    return lie.pose(R, rows[:, :3])


def seven_scenes(path: Path) -> Folder:
    """A sequence in 7-Scenes' format: frame-XXXXXX.color.png, .depth.png (mm) and .pose.txt (4 x 4).

    With a camera.yaml, that is the pictures' calibration, depth is registered to them and poses are theirs. Without one it is taken for
    7-Scenes itself, whose poses are those of the depth camera (f = 585 px), 2.6 cm beside the colour camera (f = 525 px): depth is moved to
    the colour camera, and so are poses.

    Raises:
        InputError: files that are damaged, or no frame with all three.
    """
    rig = rig_of(path, None)
    registered_depth = rig is not None
    if rig is None and (path / "info.txt").is_file():
        raise InputError(
            f"{path}: not 7-Scenes itself (info.txt is another recorder's); write its colour camera's intrinsics to {path / 'camera.yaml'}, "
            "and give depth that is registered to it"
        )
    rig = rig or Rig(_SEVEN_COLOUR, _SEVEN_DEPTH, _SEVEN_T_CI)
    frames, missing, lost = [], 0, 0
    places = {
        place.name.removesuffix(".pose.txt"): place for place in sorted(path.glob("*.pose.txt")) if place.is_file()
    }
    places = {stem: place for stem, place in places.items() if stem[:1] != "." and not _COPY.search(stem)}
    for stem, place in list(places.items())[:_MOST_FRAMES]:
        rgb = next((p for e in ("png", "jpg") if (p := path / f"{stem}.color.{e}").is_file()), None)
        depth = path / f"{stem}.depth.png"
        if rgb is None or not depth.is_file():
            missing += 1
        elif (T := _pose_in(place)) is None:
            lost += 1
        else:
            frames.append(Frame(rgb, depth, T if registered_depth else T @ lie.inverse(_SEVEN_T_CI), place))
    notes = left_out(len(places), {_LOST: lost, _NO_FILE: missing})
    if not frames:
        why = "".join(f"; {note}" for note in notes)
        raise InputError(f"{path}: no frame has a .color.png, a .depth.png and a .pose.txt that is a pose{why}")
    return folder_of(path, frames, rig, notes)


def _pose_in(path: Path) -> Tensor | None:
    """The pose in a file; None where tracking was lost, which is written as numbers that are not finite, as zeros, or as nothing."""
    words = read_text(path).split()
    if not words:
        return None
    try:
        T = np.array([_number(x) for x in words]).reshape(4, 4)
    except ValueError:
        raise InputError(f"{path}: not 16 numbers; a frame's pose is a 4 x 4 matrix") from None
    if not np.isfinite(T).all() or not T[:3].any():
        return None
    R = T[:3, :3]
    if np.abs(R @ R.T - np.eye(3)).max() > 0.01 or np.linalg.det(R) < 0 or np.abs(T[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise InputError(f"{path}: no pose; its upper left 3 x 3 is a rotation and its last row 0 0 0 1")
    u, _, vt = np.linalg.svd(R)
    return lie.pose(torch.from_numpy(u @ vt), torch.from_numpy(T[:3, 3]))
