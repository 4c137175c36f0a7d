"""The robot's poses, from the files that people and other tools write, and which picture each belongs to."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.hand_eye_file import MOST_TURN, pose_of_values, pose_values
from siame_se3.commissioning.pose_header import FORMAT
from siame_se3.commissioning.pose_lists import read_list
from siame_se3.commissioning.pose_samples import read_samples
from siame_se3.errors import InputError
from siame_se3.files import read_yaml

MOST_REACH = 10.0  # of a robot [m]; more are millimetres
_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class PoseTable:
    """Poses of the tool in the base's frame, as a file has them.

    Attributes:
        where: the file, for errors.
        names: what the file calls the picture of each pose.
        values: of each pose six numbers (position [m], rotation vector [rad]), or seven (position, quaternion x, y, z, w).
        places: of each pose the line or file that it comes from, for errors.
        T_co: the board in the camera's frame, where the file has that too (n, 4, 4).
    """

    where: str
    names: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    places: tuple[str, ...]
    T_co: Float[Tensor, "n 4 4"] | None = None

    def poses(self) -> Float[Tensor, "n 4 4"]:
        """T_bt of each.

        Raises:
            InputError: naming the bad line; values in millimetres or degrees.
        """
        for values, place in zip(self.values, self.places, strict=True):
            turned = len(values) == 6 and max(map(abs, values[3:])) > MOST_TURN
            if max(map(abs, values[:3])) > MOST_REACH or turned:
                raise InputError(f"{place}: give metres and radians, not millimetres or degrees")
        return torch.stack([pose_of_values(list(v), place) for v, place in zip(self.values, self.places, strict=True)])

    def of_pictures(self, pictures: Sequence[Path]) -> dict[Path, int]:
        """Which pose belongs to which picture; pictures without a pose are left out.

        By the file's name, with or without its ending and folders; else by the number in both names; else by the order, where the poses are
        counted from 0 or 1 and there are as many as pictures.

        Raises:
            InputError: a name twice, or no picture of such names; says what was sought and found.
        """
        names = [_file_name(name) for name in self.names]
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise InputError(f"{self.where}: two poses of '{twice[0][:80]}'; keep the one that belongs to the picture")
        by_name = {path.name: path for path in pictures}
        stems = Counter(path.stem for path in pictures)
        by_name.update({path.stem: path for path in pictures if stems[path.stem] == 1 and path.stem not in by_name})
        found = {by_name[name]: row for row, name in enumerate(names) if name in by_name}
        if len(found) == len(names):
            return found
        numbered = _by_number(names, pictures)  # img_1.png, ..., img_12.png of img_01.png, ..., img_12.png
        found = max(found, numbered, key=len) or _by_order(names, pictures)
        if found:
            return found
        raise InputError(
            f"{self.where}: no pose belongs to a picture; it names {_some(names)}, the pictures are "
            f"{_some([path.name for path in pictures])}; write the pictures' names",
            "poses",
        )


def read_poses(path: Path, boards: bool = False) -> PoseTable:
    """A CSV with lines picture,x,y,z,rx,ry,rz or picture,x,y,z,qx,qy,qz,qw (a header may name another order of the columns, their units,
    and others besides, see `pose_lists`), divided by commas, semicolons, tabs or blanks; a folder of ViSP's pose files (pose_fPe_*.yaml, with
    pose_cPo_*.yaml if there are no pictures), or one of them; samples of easy_handeye2 or of MoveIt's calibration.

    Args:
        path: of the file or folder.
        boards: of ViSP's poses, only those that have the board's too.

    Raises:
        InputError: no such file, or naming the bad line.
    """
    if path.is_dir():
        return _visp(path, _of(path, "*.yaml", "*.yml"), boards)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a CSV with lines picture,x,y,z,rx,ry,rz", "poses")
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{path}: {path.stat().st_size} bytes are too many for poses; {FORMAT}", "poses")
    if path.suffix.lower() not in (".yaml", ".yml", ".samples"):
        names, values, places = zip(*read_list(path, _MOST_BYTES), strict=True)
        return PoseTable(str(path), names, values, places)
    content = read_yaml(path, _MOST_BYTES)
    if isinstance(content, dict) and isinstance(content.get("samples"), list):
        return _samples(path, content["samples"])
    if isinstance(content, list):
        return _samples(path, content)
    pattern = re.sub(r"\d+(?=\D*$)", "*", path.name)
    return _visp(path.parent, _of(path.parent, pattern, "*cPo*.yaml"), boards)


def _of(folder: Path, *patterns: str) -> list[Path]:
    """Files of those patterns, without the hidden ones: another program may be writing them."""
    return sorted(path for pattern in patterns for path in folder.glob(pattern) if path.name[0] != ".")


def _visp(folder: Path, paths: Sequence[Path], boards: bool) -> PoseTable:
    """vpPoseVector files: the tool in the base's frame, and the board in the camera's (cPo)."""
    tool: dict[str, tuple[Path, tuple[float, ...]]] = {}
    board: dict[str, tuple[Path, tuple[float, ...]]] = {}
    for path in paths:
        number = _number_of(path.stem)
        if path.name.startswith(".") or not number or re.search(r"(?<![A-Za-z])ePc", path.name):  # or a result
            continue
        try:
            values = tuple(pose_values(read_yaml(path, 10_000)))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue  # another file of the folder, such as the camera's
        if not all(map(math.isfinite, values)):
            raise InputError(f"{path}: a value is not finite; take it out of the folder")
        (board if "cPo" in path.name else tool)[number] = (path, values)
    if not tool:
        raise InputError(f"{folder}: no poses of the tool; give a CSV, or ViSP's pose_fPe_*.yaml", "poses")
    if boards:
        tool = {key: value for key, value in tool.items() if key in board} or tool
    keys = sorted(tool, key=lambda key: (len(key), key))
    T_co = None
    if all(key in board for key in keys):
        T_co = torch.stack([pose_of_values(list(board[key][1]), str(board[key][0])) for key in keys])
    return PoseTable(
        str(folder), tuple(keys), tuple(tool[key][1] for key in keys), tuple(str(tool[key][0]) for key in keys), T_co
    )


def _samples(path: Path, samples: Sequence[Any]) -> PoseTable:
    """Pairs of the robot's and the board's pose."""
    rows, boards, places = read_samples(path, samples)
    return PoseTable(str(path), tuple(str(k + 1) for k in range(len(rows))), rows, places, boards)


def _by_number(names: Sequence[str], pictures: Sequence[Path]) -> dict[Path, int]:
    """By the last number in both names, where each is there once and all poses' are pictures'."""
    ours, theirs = [_number_of(name) for name in names], [_number_of(path.stem) for path in pictures]
    if "" in ours or len({*ours}) < len(ours) or len({*theirs}) < len(theirs) or not {*ours} <= {*theirs}:
        return {}
    return {pictures[theirs.index(number)]: row for row, number in enumerate(ours)}


def _by_order(names: Sequence[str], pictures: Sequence[Path]) -> dict[Path, int]:
    """Poses counted 0, 1, ... or 1, 2, ..., as many as there are pictures in an order that is not in doubt: by the one number in which their
    names differ, or by name where their last numbers increase."""
    counted = (
        names and names[0] in ("0", "1") and all(a.isdecimal() and b == str(int(a) + 1) for a, b in pairwise(names))
    )
    if not counted or len(names) != len(pictures):
        return {}
    parts = [re.split(r"(\d+)", path.stem) for path in pictures]  # words and numbers in turn
    if len({len(part) for part in parts}) == 1:
        differ = [k for k, words in enumerate(zip(*parts, strict=True)) if len({*words}) > 1]
        if len(differ) == 1 and differ[0] % 2:
            numbers = [int(part[differ[0]][:18]) for part in parts]
            order = sorted(range(len(pictures)), key=lambda k: numbers[k])
            return {pictures[k]: row for row, k in enumerate(order)} if len({*numbers}) == len(numbers) else {}
    last = [_number_of(path.stem) for path in pictures]
    sorted_ = all(a and b and int(a) < int(b) for a, b in pairwise(last))
    return {path: row for row, path in enumerate(pictures)} if sorted_ else {}


def _file_name(name: str) -> str:
    last = re.split(r"[/\\]", name.strip().strip("'\""))[-1]
    return last.removesuffix(".0") if re.fullmatch(r"\d+\.0", last) else last  # a table's program made numbers of names


def _number_of(name: str) -> str:
    """The last number in a name, without leading zeros; '' where there is none."""
    found = re.findall(r"\d+", re.sub(r"\.[A-Za-z]\w*$", "", name))
    return str(int(found[-1][:18])) if found else ""


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name[:40]}'" for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
