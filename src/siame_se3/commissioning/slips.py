"""What usually is wrong with the poses of a hand-eye calibration: tried, and named where it fits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.boards import Board
from siame_se3.commissioning.hand_eye_file import MOST_TURN
from siame_se3.commissioning.hand_eye_solver import (
    FEWEST,
    HandEye,
    board_places,
    estimate,
    solve,
    spread_of,
    stands_beside,
    true_scale,
)
from siame_se3.commissioning.poses import MOST_REACH
from siame_se3.errors import InputError
from siame_se3.geometry import lie

_FALLS = 0.4  # what explains a contradiction brings the spread down to this share and less
_MOST_SUBSETS = 1500
BESIDE = "the camera stands beside the robot and the board is on the tool (eye to hand): this calibrates a camera on the tool, and a board that lies still"
_TRIPLES = 12  # of pictures that a board's looks are tried in


def explained(
    T_bt: Float[Tensor, "n 4 4"] | None,
    T_co: Float[Tensor, "n 4 4"],
    found: HandEye | None,
    names: Sequence[str],
    values: Float[Tensor, "n m"] | None,
    boards_read: bool = False,
) -> str:
    """Which usual slip makes the poses agree with the pictures, or which few pictures do not belong; '' for none.

    Args:
        T_bt, T_co: the poses as they were read (None where they cannot be), and the board's.
        found: the estimate from these.
        names: of the pictures.
        values: the numbers that T_bt was read from.
        boards_read: the board's poses were read from a file too, and not found in pictures.
    """
    before = found.spread if found else None
    most = _FALLS * before.size if before else math.inf
    if found and T_bt is not None and (other := true_scale(T_bt, T_co, found.spread.t)):
        return (
            f"with lengths on the board {_times(other[0])} as large, the spread is {other[1]}: give the board's true square in metres, "
            "and poses in metres; or, if the square is right, the calibration of this camera at this image size (its focal length is wrong)"
        )
    beside = False
    for words, instead, poses, boards in _slips(T_bt, T_co, values, boards_read):
        T_tc, _ = solve(poses, boards)
        spread = spread_of(poses, T_tc, boards)
        if not spread.explained or spread.size >= most:
            continue
        if not stands_beside(poses, T_tc, boards):
            return f"{words}, the spread is {spread}: give {instead}"
        beside = True
    if beside:
        return f"they agree where {BESIDE}"
    return "" if T_bt is None or found is None else _bad_pictures(T_bt, T_co, found, names)


def _slips(
    T_bt: Float[Tensor, "n 4 4"] | None,
    T_co: Float[Tensor, "n 4 4"],
    values: Float[Tensor, "n m"] | None,
    boards_read: bool,
) -> Iterator[tuple[str, str, Float[Tensor, "n 4 4"], Float[Tensor, "n 4 4"]]]:
    """In words, what to give instead, and the poses: one slip first, then two."""
    read = readings(values) if values is not None else [("", "", T_bt)] if T_bt is not None else []
    read += [other for words, _, T in read[:1] if not words and T is not None for other in _other_hands(T)]
    tool = "base-from-tool poses (the tool in the base's frame), the camera being on the tool"
    for inverted, late in ((False, 0), (True, 0), (False, 1), (False, -1), (True, 1), (True, -1)):
        for words, instead, poses in read:
            assert poses is not None
            said = [f"with the poses read as {words}"] if words else []
            give = [instead] if instead else []
            if inverted:
                poses = lie.inverse(poses)
                said.append("with the poses inverted")
                give.append(tool)
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


_UNITS = [("millimetres", "metres", 1e-3), ("centimetres", "metres", 1e-2), ("inches", "metres", 0.0254)]


def _other_hands(T_bt: Float[Tensor, "n 4 4"]) -> list[tuple[str, str, Float[Tensor, "n 4 4"]]]:
    """Poses of a left-handed frame, whichever of its axes points the other way, and rotations that are those of the base in the tool."""
    mirror = torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=T_bt.dtype))
    turned = lie.pose(T_bt[:, :3, :3].mT, T_bt[:, :3, 3])
    return [
        (
            "those of a left-handed frame",
            "those of a right-handed one (x, y, z in the order of a right hand)",
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


def _times(scale: float) -> str:
    return f"{scale:.4g} times" if scale > 0.01 else f"1/{1 / scale:.4g}"


def _bad_pictures(
    T_bt: Float[Tensor, "n 4 4"], T_co: Float[Tensor, "n 4 4"], found: HandEye, names: Sequence[str]
) -> str:
    """The few pictures without which the others agree, and what they give."""
    n = len(T_bt)
    for bad in range(1, 1 + min(3, n - FEWEST, n * 2 // 5)):
        if math.comb(n, bad) > _MOST_SUBSETS:
            break
        left_out = list(itertools.combinations(range(n), bad))
        kept = torch.tensor([[k for k in range(n) if k not in out] for out in left_out])
        T_tc, _ = solve(T_bt[kept], T_co[kept])
        t, r = (x.square().sum(-1).mean(-1).sqrt() for x in board_places(T_bt[kept], T_tc, T_co[kept]))
        size = torch.maximum(t / found.spread.most_t, r / found.spread.most_r)
        best = int(size.argmin())
        if float(size[best]) > min(1.0, _FALLS * found.spread.size):
            continue
        rest = estimate(T_bt[kept[best]], T_co[kept[best]])
        named = " and ".join(names[k] for k in left_out[best])
        moved = lie.error_norms(lie.inverse(rest.T_tc) @ found.T_tc)
        return (
            f"without {named} the spread is {rest.spread}, and the result moves by {1000 * float(moved[0]):.1f} mm, "
            f"{math.degrees(float(moved[1])):.2f} deg to {rest.line()}: take {'it' if bad == 1 else 'them'} out, or correct the poses"
        )
    return ""


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
    far = T_co[:, None, :3, 3].norm(dim=-1)
    for _ in range(3):
        reference = T_bt[some[:, 0]] @ T_tc @ first[:, 0]
        t, r = lie.error_norms(lie.inverse(reference)[:, None, None] @ T_bt[:, None] @ T_tc[:, None, None] @ all_co)
        chosen = (r + t / far).argmin(-1)  # (h, n)
        boards = all_co[torch.arange(n), chosen]
        T_tc, _ = solve(everyone, boards)
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
