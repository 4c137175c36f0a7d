"""Hand-eye calibration: the estimate, accepted only where poses and pictures do not contradict each other (see `hand_eye_solver`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.hand_eye_bad import contradicted, farthest, without
from siame_se3.commissioning.hand_eye_copies import check_images
from siame_se3.commissioning.hand_eye_solver import HandEye, Spread, check_motion, estimate, stands_beside, true_scale
from siame_se3.commissioning.slips import BESIDE, ON_TOOL, explained
from siame_se3.errors import InputError

_UNEXPLAINED = "no usual slip and no few bad pictures explain it: check poses, units, the board's size and the camera"


def calibrate_hand_eye(
    T_bt: Sequence[Float[Tensor, "4 4"]] | Float[Tensor, "n 4 4"],
    T_co: Sequence[Float[Tensor, "4 4"]] | Float[Tensor, "n 4 4"],
    names: Sequence[str] = (),
    values: Float[Tensor, "n m"] | None = None,
    boards_read: bool = False,
    on_tool: bool = False,
) -> HandEye:
    """The camera in the tool's frame, T_tc, from poses of the tool in the base's and of the board in the camera's frame.

    Args:
        T_bt: the tool in the base's frame, five poses or more, turned about two axes.
        T_co: the board in the camera's frame, of the same pictures.
        names: of the pictures, for errors.
        values: the numbers that T_bt was read from, for a look at what else they may mean.
        boards_read: T_co was read from a file too, and may be meant otherwise.
        on_tool: the camera is on the tool, though it may look as if it stood beside the robot.

    Raises:
        InputError: poses that are too few, too much alike, or that contradict the pictures; names the usual slip or the bad pictures.
    """
    A = T_bt if isinstance(T_bt, Tensor) else torch.stack([*T_bt]) if len(T_bt) else torch.zeros(0, 4, 4)
    C = T_co if isinstance(T_co, Tensor) else torch.stack([*T_co]) if len(T_co) else torch.zeros(0, 4, 4)
    check_motion(A)
    names = names or [f"picture {k + 1}" for k in range(len(A))]
    check_images(A, C, names)
    found = estimate(A, C)
    moved = found.influence.amax(0)
    suspicious = float(moved[0]) > found.spread.most_t or float(moved[1]) > found.spread.most_r
    suspicious = suspicious or true_scale(A, C, found.spread.t) is not None
    if not found.spread.explained or suspicious:
        said = explained(A, C, found, names, values, boards_read, on_tool)
        if said or not found.spread.explained:
            noise = Spread(found.spread.most_t, found.spread.most_r, 1.0)
            raise InputError(
                f"hand-eye: poses and pictures contradict each other: the board's place differs by {found.spread}, noise explains {noise}; "
                + (said or f"{_UNEXPLAINED}; the board is farthest from the others' in {farthest(A, C, names)}"),
                *(["eye_in_hand"] if ON_TOOL in said else []),
            )
    if not on_tool and stands_beside(A, found.T_tc, C):
        raise InputError(
            f"hand-eye: the camera comes out {float(found.T_tc[:3, 3].norm()):.2f} m from the tool, and the board at the base: as if {BESIDE}"
            + ("; or as if the board's poses were inverted, and the tool's too" if boards_read else "")
            + f"; {ON_TOOL}",
            "eye_in_hand",
        )
    if boards_read:
        _check_optical(C)
    _check_lengths(found)
    if max(found.std_t) > found.spread.most_t or max(found.std_r) > found.spread.most_r:
        raise InputError(
            f"hand-eye: not determined: standard deviations of {1000 * max(found.std_t):.1f} mm and "
            f"{math.degrees(max(found.std_r)):.2f} deg; take more pictures, the tool turned by 20 deg and more about two axes"
        )
    odd, bad = contradicted(A, C, found)
    if bad:
        raise InputError(f"hand-eye: poses and pictures contradict each other: {without(A, C, found, names, odd)}")
    return replace(found, odd=tuple(odd))


def _check_optical(T_co: Float[Tensor, "n 4 4"]) -> None:
    """That a board whose poses were read lies in front of an optical frame, along its z.

    Raises:
        InputError: it lies along another axis, or behind.
    """
    x, y, z = T_co[:, :3, 3].unbind(1)
    along = (z > x.abs()) & (z > y.abs())
    if bool((z > 0).all()) and 2 * int(along.sum()) >= len(z):
        return
    if 2 * int(((x > y.abs()) & (x > z.abs())).sum()) >= len(x):
        what = "these are of a camera's body frame (x forward); measure in the optical frame (..._optical_frame)"
    elif 2 * int((z < 0).sum()) >= len(z):
        what = "these are inverted, or of another frame; give the board in the camera's optical frame"
    else:
        what = "these are of another frame; give the board in the camera's optical frame"
    raise InputError(f"hand-eye: the board's poses are not along z, in front of the camera: {what}")


def _check_lengths(found: HandEye) -> None:
    """That the lengths of the board that fit best are no others.

    Raises:
        InputError: with those the camera would be elsewhere.
    """
    if found.misfit and found.scale_moves > found.spread.most_t:
        raise InputError(
            f"hand-eye: lengths contradict each other: on the board {found.scale:.3f} +- {found.scale_std:.3f} times as large would fit best, and the camera "
            f"would move by {1000 * found.scale_moves:.1f} mm; measure a square, and check that the camera's calibration is of this image size"
        )
