"""What usually is wrong with the poses of a hand-eye calibration: tried, and named where it fits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.boards import Board
from siame_se3.commissioning.hand_eye_bad import FALLS, bad_pictures
from siame_se3.commissioning.hand_eye_order import Session, session_of
from siame_se3.commissioning.hand_eye_solver import (
    FEWEST,
    HandEye,
    board_places,
    solve,
    spread_of,
    stands_beside,
    true_scale,
    turns_agree,
)
from siame_se3.commissioning.pose_readings import other_hands, readings
from siame_se3.errors import InputError
from siame_se3.geometry import lie

Slip = tuple[str, str, Tensor, Tensor]  # in words, what to give instead, and with it the poses and the board's
BESIDE = (
    "the camera stands beside the robot and the board is on the tool (eye to hand): "
    "this calibrates a camera on the tool, and a board that lies still"
)
ON_TOOL = "where the camera is on the tool, and the poses are in a frame near the board, say so"
_TOOL = "base-from-tool poses (the tool in the base's frame), the camera being on the tool"
_FOR_TURNS = 40  # pictures that a board's looks are tried with
_TRIPLES = 12  # of pictures that a board's looks are tried in


def explained(
    T_bt: Float[Tensor, "n 4 4"] | None,
    T_co: Float[Tensor, "n 4 4"],
    found: HandEye | None,
    names: Sequence[str],
    values: Float[Tensor, "n m"] | None,
    boards_read: bool = False,
    on_tool: bool = False,
) -> str:
    """Which usual slip makes the poses agree with the pictures, or which few pictures do not belong; '' for none.

    Args:
        T_bt, T_co: the poses as they were read (None where they cannot be), and the board's.
        found: the estimate from these.
        names: of the pictures.
        values: the numbers that T_bt was read from.
        boards_read: the board's poses were read from a file too, and not found in pictures.
        on_tool: the camera is known to be on the tool.
    """
    if found and T_bt is not None and (other := true_scale(T_bt, T_co, found.spread.t)):
        return (
            f"with lengths on the board {_times(other[0])} as large, the spread is {other[1]}: give the board's true square in metres, "
            "and poses in metres; or, if the square is right, the calibration of this camera at this image size (its focal length is wrong)"
        )
    slips = _slips(T_bt, T_co, values, boards_read)
    if T_bt is not None:
        slips = itertools.chain(slips, _disordered([session_of(names, T_bt, T_co)]))
    if said := _fitting(slips, FALLS * found.spread.size if found else math.inf, on_tool):
        return said
    return "" if T_bt is None or found is None else bad_pictures(T_bt, T_co, found, names)


def explained_by_order(T_bt: Float[Tensor, "n 4 4"], T_co: Float[Tensor, "n 4 4"], taken: Sequence[Session]) -> str:
    """Which other order of the pictures makes the poses agree with them; '' for none, or where they agree as they are.

    Args:
        T_bt, T_co: the poses and the board's, of those pictures that show it.
        taken: all pictures, those without the board too.
    """
    before = spread_of(T_bt, solve(T_bt, T_co)[0], T_co)
    said = "" if before.explained else _fitting(_disordered(taken), FALLS * before.size)
    return f"the board's place differs by {before}; {said}" if said else ""


def _fitting(slips: Iterable[Slip], most: float, on_tool: bool = False) -> str:
    """The first slip that makes the poses agree, with a spread of that size at most; '' for none."""
    beside = False
    for words, instead, poses, boards in slips:
        if not turns_agree(poses, boards) or not _some_agree(poses, boards):
            continue
        T_tc, _ = solve(poses, boards)
        spread = spread_of(poses, T_tc, boards)
        if not spread.explained or spread.size >= most:
            continue
        if on_tool or not stands_beside(poses, T_tc, boards):
            return f"{words}, the spread is {spread}: give {instead}"
        beside = True
    return f"they agree where {BESIDE}; {ON_TOOL}" if beside else ""


def _some_agree(T_bt: Float[Tensor, "n 4 4"], T_co: Float[Tensor, "n 4 4"]) -> bool:
    """Whether some of many pictures agree, which takes milliseconds, and all take seconds."""
    if len(T_bt) <= _FOR_TURNS:
        return True
    some = torch.linspace(0, len(T_bt) - 1, _FOR_TURNS).round().long()
    T_bt, T_co = T_bt[some], T_co[some]
    return spread_of(T_bt, solve(T_bt, T_co)[0], T_co).explained


def _disordered(taken: Sequence[Session]) -> Iterator[Slip]:
    """Other orders of the pictures; the poses as they are first, then inverted."""
    for session in taken:
        yield from session.others()
    for session in taken:
        for words, instead, poses, boards in session.others():
            yield f"{words}, and the poses inverted", f"{_TOOL}, and {instead}", lie.inverse(poses), boards


def _slips(
    T_bt: Float[Tensor, "n 4 4"] | None,
    T_co: Float[Tensor, "n 4 4"],
    values: Float[Tensor, "n m"] | None,
    boards_read: bool,
) -> Iterator[Slip]:
    """In words, what to give instead, and the poses: one slip first, then two."""
    read = readings(values) if values is not None else [("", "", T_bt)] if T_bt is not None else []
    read += [other for words, _, T in read[:1] if not words and T is not None for other in other_hands(T)]
    for inverted, late in ((False, 0), (True, 0), (False, 1), (False, -1), (True, 1), (True, -1)):
        for words, instead, poses in read:
            assert poses is not None
            said = [f"with the poses read as {words}"] if words else []
            give = [instead] if instead else []
            if inverted:
                poses = lie.inverse(poses)
                said.append("with the poses inverted")
                give.append(_TOOL)
            boards = T_co
            if boards_read and inverted and not late:
                yield (
                    " and ".join([*said[:-1], "with the board's poses inverted"]),
                    ", and ".join([*give[:-1], f"the board in the camera's frame (right as it is, if {BESIDE})"]),
                    lie.inverse(poses),
                    lie.inverse(T_co),
                )
            if late:
                poses, boards = (poses[1:], T_co[:-1]) if late > 0 else (poses[:-1], T_co[1:])
                said.append(f"with each pose taken for the {'previous' if late > 0 else 'next'} picture")
                give.append("each picture its own pose")
            if said and len(poses) >= FEWEST:
                yield " and ".join(said), ", and ".join(give), poses, boards


def _times(scale: float) -> str:
    return f"{scale:.4g} times" if scale > 0.01 else f"1/{1 / scale:.4g}"


def resolve_turns(
    T_bt: Float[Tensor, "n 4 4"], T_co: Float[Tensor, "n 4 4"], board: Board
) -> tuple[Float[Tensor, "n 4 4"], int]:
    """Poses of a board that looks the same turned, with those turns that agree with the robot's motion.

    Each picture's turn is one of two (four, of a board with as many columns as rows). Of three pictures each combination gives a T_tc; with it
    each other picture takes the turn whose board lies nearest, and all of them give T_tc again.

    Returns:
        T_co, and how many pictures are turned otherwise than the finder took them.

    Raises:
        InputError: two different answers agree with the motion.
    """
    choices = torch.stack([board.turned(k) for k in range(0, 4, board.turns)])
    all_co = T_co[:, None] @ choices  # (n, choices, 4, 4)
    n, m = all_co.shape[:2]
    generator = torch.Generator().manual_seed(0)
    triples = torch.stack([torch.randperm(n, generator=generator)[:3] for _ in range(_TRIPLES)])
    some = triples.repeat_interleave(
        m * m, 0
    )  # (h, 3), each with each combination of looks of its second and third picture
    looks = torch.cartesian_prod(torch.zeros(1, dtype=torch.long), torch.arange(m), torch.arange(m)).repeat(_TRIPLES, 1)
    first = all_co[some, looks]
    T_tc, _ = solve(T_bt[some], first)
    everyone = T_bt.expand(len(some), -1, -1, -1)
    few = torch.randperm(n, generator=generator)[:_FOR_TURNS].sort().values
    far = T_co[:, None, :3, 3].norm(dim=-1)
    for _ in range(3):
        reference = T_bt[some[:, 0]] @ T_tc @ first[:, 0]
        t, r = lie.error_norms(lie.inverse(reference)[:, None, None] @ T_bt[:, None] @ T_tc[:, None, None] @ all_co)
        chosen = (r + t / far).argmin(-1)  # (h, n)
        boards = all_co[torch.arange(n), chosen]
        T_tc, _ = solve(everyone[:, few], boards[:, few])
    t, r = (x.square().sum(-1).mean(-1).sqrt() for x in board_places(everyone, T_tc, boards))
    noise = spread_of(T_bt, T_tc[0], T_co)
    size = torch.maximum(t / noise.most_t, r / noise.most_r)
    best = int(size.argmin())
    apart_t, apart_r = lie.error_norms(lie.inverse(T_tc[best]) @ T_tc)
    others = (
        ((apart_t > noise.most_t) | (apart_r > noise.most_r)) & (size < 3 * max(float(size[best]), 1 / 30)) & (size < 1)
    )
    if bool(others.any()):
        raise InputError(
            f"hand-eye: a {board.name} looks the same turned, and the motion does not show which way it lies: turn the tool more, or take "
            "a board with an odd and an even number, or a ChArUco board",
            "board.columns",
            "board.rows",
        )
    turned = int((chosen[best] != torch.mode(chosen[best]).values).sum())
    return boards[best], turned
