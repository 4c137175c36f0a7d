"""Poses that belong to other pictures than they are said to: each order that people and programs produce, tried by what agrees."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.hand_eye_solver import FEWEST

_FURTHEST = 3  # pictures that poses may be late or early by
_FEWEST_MOVED = 2  # by a pose lost in the middle; fewer are bad pictures, or two that are swapped
_MOST_FOR_TWO = 40  # pictures of which each two are tried
_COUNTS = ("no", "one", "two", "three")


@dataclass(frozen=True)
class Session:
    """Pictures in the order in which they were taken, whether or not the board was found in them.

    Attributes:
        names: of all pictures.
        poses: which of `T_bt` each picture has by its name; -1 for none.
        seen: the places of those pictures that `T_co` is of.
        T_bt: poses.
        T_co: the board in the camera's frame.
    """

    names: Sequence[str]
    poses: Sequence[int]
    seen: Sequence[int]
    T_bt: Float[Tensor, "m 4 4"]
    T_co: Float[Tensor, "n 4 4"]

    def taken(self, order: Sequence[int]) -> tuple[Float[Tensor, "k 4 4"], Float[Tensor, "k 4 4"]]:
        """Poses and boards, each picture with the pose of the picture order[place]; those without one are left out."""
        n, rows, kept = len(self.names), [], []
        for k, place in enumerate(self.seen):
            row = self.poses[order[place]] if 0 <= order[place] < n else -1
            if row >= 0:
                rows.append(row)
                kept.append(k)
        return self.T_bt[rows], self.T_co[kept]

    def others(self) -> Iterator[tuple[str, str, Float[Tensor, "k 4 4"], Float[Tensor, "k 4 4"]]]:
        """In words, what to give instead, poses and boards; of those orders that leave enough pictures."""
        for words, instead, order in _orders(self.names):
            T_bt, T_co = self.taken(order)
            if len(T_bt) >= max(FEWEST, len(self.seen) // 2):
                yield words, instead, T_bt, T_co


def _orders(names: Sequence[str]) -> Iterator[tuple[str, str, list[int]]]:
    """In words, what to give instead, and of each picture the place of the picture whose pose is its own."""
    n, own = len(names), "each picture its own pose"
    for late in (by * sign for by in range(1, _FURTHEST + 1) for sign in (1, -1)):
        yield f"with each pose taken for {_away(late)}", own, [k + late for k in range(n)]
    for order in _lexical(names):
        words = "with the pictures in the order of letters (1, 10, 11, ..., 2) and the poses in that of numbers, or the other way round"
        yield words, "names with leading zeros (01, 02, ..., 10), each picture with its own pose", order
    yield "with the poses in reversed order", own, [n - 1 - k for k in range(n)]
    for k in range(1, n - _FEWEST_MOVED):
        rest = range(k, n)
        words = f"with each pose from {names[k]} on taken for the next picture, as if that of {names[k]} were lost"
        yield words, own, [*range(k), -1, *(j - 1 for j in rest if j > k)]
        words = f"with each pose after {names[k]} taken for the previous picture, as if the picture before {names[k]} were lost"
        yield words, own, [*range(k), *(j + 1 for j in rest)]
    for count in (1, 2) if n <= _MOST_FOR_TWO else (1,):
        for out in itertools.combinations(range(n), count):
            gone = " and ".join(names[k] for k in out)
            for late in (1, -1):
                words = f"with each pose taken for {_away(late)}, without {gone} (as if pictures were missing there)"
                yield words, own, [-1 if k in out else k + late for k in range(n)]


def _away(late: int) -> str:
    """Which picture a pose is taken for where a picture's own pose stands `late` places further on."""
    if abs(late) == 1:
        return "the previous picture" if late > 0 else "the next picture"
    return f"the picture {_COUNTS[abs(late)]} {'before' if late > 0 else 'after'} the one that it is given for"


def _lexical(names: Sequence[str]) -> list[list[int]]:
    """Where the pose of each picture stands if one list is in the order of numbers and the other one in that of letters."""
    n = len(names)
    own = [number_of(name) for name in names]
    counts = [[str(k) for k in range(1, n + 1)], [str(k) for k in range(n)]]
    found: list[list[int]] = []
    for numbers in ([own] if "" not in own and len({*own}) == n else []) + counts:
        by_letters = sorted(range(n), key=lambda k: numbers[k])
        by_numbers = sorted(range(n), key=lambda k: by_letters[k])
        found += [order for order in (by_letters, by_numbers) if order != [*range(n)] and order not in found]
    return found


def number_of(name: str) -> str:
    """The last number in a picture's name, without leading zeros; '' where there is none."""
    numbers = re.findall(r"\d+", re.sub(r"\.[A-Za-z]\w*$", "", name))
    return str(int(numbers[-1][:18])) if numbers else ""


def in_order(paths: Sequence[Path]) -> list[Path]:
    """Pictures by the numbers in their names: img_2.png before img_10.png."""
    return sorted(
        paths, key=lambda path: [(int(x[:18]), "") if x.isdecimal() else (-1, x) for x in re.split(r"(\d+)", path.name)]
    )


def sessions(
    pictures: Sequence[Path],
    rows: dict[Path, int],
    seen: Sequence[Path],
    T_bt: Float[Tensor, "m 4 4"],
    T_co: Float[Tensor, "n 4 4"],
) -> list[Session]:
    """As pictures and poses may have been taken: all pictures; those with a pose; or a picture for each pose of the file.

    Args:
        pictures: in their order.
        rows: which pose each has by its name.
        seen: those that `T_co` is of.
        T_bt, T_co: all poses of the file; the board in the camera's frame.
    """
    with_pose = [path for path in pictures if path in rows]
    found = [_session(pictures, [rows.get(path, -1) for path in pictures], seen, T_bt, T_co)]
    if len(with_pose) < len(pictures):
        found.append(_session(with_pose, [rows[path] for path in with_pose], seen, T_bt, T_co))
    if len(with_pose) < len(T_bt):
        of_row = {row: path for path, row in rows.items()}
        every = [of_row.get(row, Path(f"pose {row + 1}")) for row in range(len(T_bt))]
        found.append(_session(every, range(len(T_bt)), seen, T_bt, T_co))
    return found


def _session(
    paths: Sequence[Path],
    poses: Sequence[int],
    seen: Sequence[Path],
    T_bt: Float[Tensor, "m 4 4"],
    T_co: Float[Tensor, "n 4 4"],
) -> Session:
    places = {path: k for k, path in enumerate(paths)}
    return Session([path.name for path in paths], poses, [places[path] for path in seen], T_bt, T_co)


def session_of(names: Sequence[str], T_bt: Float[Tensor, "n 4 4"], T_co: Float[Tensor, "n 4 4"]) -> Session:
    """Of pictures that all show the board."""
    return Session(names, range(len(names)), range(len(names)), T_bt, T_co)
