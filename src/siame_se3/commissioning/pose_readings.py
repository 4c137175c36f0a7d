"""What the numbers of a pose may mean: units, rotation vectors, Euler angles, quaternions, frames of the other hand."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.hand_eye_file import MOST_TURN
from siame_se3.commissioning.poses import MOST_REACH
from siame_se3.geometry import lie

_UNITS = [("millimetres", "metres", 1e-3), ("centimetres", "metres", 1e-2), ("inches", "metres", 0.0254)]


def other_hands(T_bt: Float[Tensor, "n 4 4"]) -> list[tuple[str, str, Float[Tensor, "n 4 4"]]]:
    """Poses of a left-handed frame, whichever of its axes points the other way, and rotations that are those of the base in the tool."""
    mirror = torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=T_bt.dtype))
    turned = lie.pose(T_bt[:, :3, :3].mT, T_bt[:, :3, 3])
    return [
        (
            "those of a left-handed frame (or the pictures as mirrored: both agree alike)",
            "those of a right-handed one (x, y, z in the order of a right hand), or pictures that are not mirrored",
            mirror @ T_bt @ mirror,
        ),
        (
            "ones with the rotation inverted",
            "the tool's rotation in the base's frame (of a quaternion, its conjugate)",
            turned,
        ),
    ]


def readings(values: Float[Tensor, "n m"]) -> list[tuple[str, str, Float[Tensor, "n 4 4"]]]:
    """Poses as somebody may have meant these numbers: (in words, what to give instead, T_bt). The first is as they are read, if that can be."""
    found = []
    position, rest = values[:, :3], values[:, 3:]
    units = [("", "", 1.0)] if float(position.abs().max()) <= MOST_REACH else _UNITS
    for unit, give, scale in units:
        for words, instead, R in _rotations(rest):
            said = " and ".join(x for x in (unit, words) if x)
            found.append((said, " and ".join(x for x in (give, instead) if x), lie.pose(R, position * scale)))
    return found


_TAIT_BRYAN = {
    "zyx": "KUKA's A, B, C: turns about z, then the new y, then the new x",
    "xyz": "turns about x, then the new y, then the new z",
    "xzy": "turns about x, then the new z, then the new y",
    "yxz": "turns about y, then the new x, then the new z",
    "yzx": "turns about y, then the new z, then the new x",
    "zxy": "turns about z, then the new x, then the new y",
    "zyz": "turns about z, then the new y, then the new z",
    "zxz": "turns about z, then the new x, then the new z",
}


def _rotations(rest: Float[Tensor, "n m"]) -> list[tuple[str, str, Float[Tensor, "n 3 3"]]]:
    if rest.shape[1] == 4:
        unit = rest / rest.norm(dim=1, keepdim=True).clamp(min=1e-12)
        orders = (("", "", [0, 1, 2, 3]), ("the quaternion read as w, x, y, z", "x, y, z, w", [1, 2, 3, 0]))
        return [(words, give, _of_quaternion(unit[:, order])) for words, give, order in orders]
    found = []
    for unit, scale in (("", 1.0), (" in degrees", math.pi / 180)):
        turns = rest * scale
        if float(turns.abs().max()) <= MOST_TURN:
            found.append((f"rotation vectors{unit}" * bool(unit), "radians" * bool(unit), lie.so3_exp(turns)))
            for axes, words in _TAIT_BRYAN.items():
                found.append((f"Euler angles{unit} ({words})", "rotation vectors in radians", _euler(axes, turns)))
            for axes in ("xyz", "zyx", "xzy", "yxz", "yzx", "zxy"):
                said = "roll, pitch, yaw" if axes == "xyz" else "angles"
                fixed = f"{said}{unit} about the fixed axes {', '.join(axes)}"
                found.append((fixed, "rotation vectors in radians", _euler(axes[::-1], turns.flip(1))))
    return found


def _euler(axes: str, angles: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    R = torch.eye(3, dtype=angles.dtype).expand(len(angles), 3, 3)
    for k, axis in enumerate(axes):
        turn = torch.zeros_like(angles)
        turn[:, "xyz".index(axis)] = angles[:, k]
        R = R @ lie.so3_exp(turn)
    return R


def _of_quaternion(q: Float[Tensor, "n 4"]) -> Float[Tensor, "n 3 3"]:
    K = lie.hat(q[:, :3])
    return torch.eye(3, dtype=q.dtype) + 2 * q[:, 3, None, None] * K + 2 * K @ K
