"""Samples of other calibration programs: pairs of the robot's pose and of the board's, which need no pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.hand_eye_file import pose_of_values, pose_values
from siame_se3.commissioning.hand_eye_forms import pose_of_matrix
from siame_se3.errors import InputError

_ROBOT, _BOARD = "effector_wrt_world", "object_wrt_sensor"  # MoveIt's names
_PAIRS = ((_ROBOT, _BOARD), ("robot", "tracking"), ("robot", "optical"))
_WHOSE = "give easy_handeye2's samples, or those that MoveIt's calibration saves"


def read_samples(
    path: Path, samples: Sequence[Any]
) -> tuple[tuple[tuple[float, ...], ...], Float[Tensor, "n 4 4"], tuple[str, ...]]:
    """Of easy_handeye2 ('robot' and 'tracking', or 'optical'), or of MoveIt's calibration (two 4 x 4 matrices, row by row).

    Returns:
        Of each the tool in the base's frame (as `PoseTable.values`), the board in the camera's, and its name for errors.

    Raises:
        InputError: no sample, or naming the bad one.
    """
    if not samples:
        raise InputError(f"{path}: no samples; {_WHOSE}")
    places = tuple(f"{path}, sample {k + 1}" for k in range(len(samples)))
    rows, boards = [], []
    for place, sample in zip(places, samples, strict=True):
        try:
            tool, board = _pair(sample, place)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(sample, dict) and any({*names} <= {*sample} for names in _PAIRS):
                raise InputError(f"{place}: a pose that cannot be read ({error}); {_WHOSE}") from None
            named = f"neither 'robot' and 'tracking' nor '{_ROBOT}' and '{_BOARD}'"
            raise InputError(f"{place}: two poses are expected, it has {named}; {_WHOSE}") from None
        if not all(map(math.isfinite, (*tool, *board))):
            raise InputError(f"{place}: a value is not finite; take it out")
        rows.append(tuple(tool))
        boards.append(pose_of_values(board, place))
    return tuple(rows), torch.stack(boards), places


def _pair(sample: Any, place: str) -> tuple[list[float], list[float]]:
    if _ROBOT in sample:
        return pose_of_matrix(sample[_ROBOT], _ROBOT, place), pose_of_matrix(sample[_BOARD], _BOARD, place)
    return pose_values(sample["robot"]), pose_values(sample["tracking"] if "tracking" in sample else sample["optical"])
