"""Pictures of a hand-eye session that are none of their own: taken again at the same place, or one image for several places."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from siame_se3.errors import InputError

_PLACE = 1e-3, math.radians(0.2)  # of tools at one place [m, rad]: as well as a robot repeats
_IMAGE = 5e-5, 1e-4  # of a board's poses in one image
_MOVED = 5e-3, math.radians(1.0)  # of tools whose cameras cannot see the same image


def places(T_bt: Float[Tensor, "n 4 4"]) -> Int[Tensor, "n"]:
    """The number of each picture's place, counted from 0: pictures whose tool stands within 1 mm and 0.2 deg of a place's first one share it."""
    near = _within(T_bt, _PLACE)
    found, count = torch.full((len(T_bt),), -1), 0
    for k in range(len(T_bt)):
        if found[k] < 0:
            found[near[k] & (found < 0)] = count
            count += 1
    return found


def check_images(T_bt: Float[Tensor, "n 4 4"], T_co: Float[Tensor, "n 4 4"], names: Sequence[str]) -> None:
    """Refuse pictures that show the board the very same though the tool moved.

    Args:
        T_bt, T_co: the tool in the base's frame, the board in the camera's.
        names: of the pictures.

    Raises:
        InputError: naming them.
    """
    same = _within(T_co, _IMAGE) & ~_within(T_bt, _MOVED)
    if not bool(same.any()):
        return
    first = int(same.any(1).nonzero()[0])
    others = same[first].nonzero().ravel().tolist()
    far = 1000 * float((T_bt[others, :3, 3] - T_bt[first, :3, 3]).norm(dim=1).max())
    named = ", ".join(names[k] for k in others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    raise InputError(
        f"hand-eye: {names[first]} and {named} show the board in the same pose though the tool moved, by {far:.0f} mm: the camera sent one image "
        "(or a picture was copied); take them again"
    )


def _within(T: Float[Tensor, "n 4 4"], most: tuple[float, float]) -> Tensor:
    """Which of the poses are within most[0] [m] and most[1] [rad] of each other (n, n)."""
    apart = torch.cdist(T[:, :3, 3], T[:, :3, 3], compute_mode="donot_use_mm_for_euclid_dist")
    R = T[:, :3, :3].reshape(len(T), 9)
    turned = torch.cdist(R, R, compute_mode="donot_use_mm_for_euclid_dist") / math.sqrt(2)  # 2 sin(angle / 2)
    return (apart <= most[0]) & (turned <= most[1])
