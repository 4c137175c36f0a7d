"""Lists of poses as tables' programs, robots and people write them: lines of a name and six or seven numbers, with a header or without."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path

from siame_se3.commissioning.pose_header import FORMAT, Columns, columns_of, unknown
from siame_se3.errors import InputError
from siame_se3.files import read_text

_COMMENT = re.compile(r"\s*(#|%|//)+")
_UR = re.compile(r"\[((?:[^\],]*,){5,6}[^\],]*)\]\"?")  # of a.png, p[x, y, z, rx, ry, rz]
_TITLE = 2  # cells of a line above the header that is no header
_Line = tuple[int, str]  # with its number
Rows = list[tuple[str, tuple[float, ...], str]]
"""Names, values, and where they stand."""


def read_list(path: Path, most: int) -> Rows:
    """The poses of a list: its columns are those that its header names; without a header picture,x,y,z,rx,ry,rz or
    picture,x,y,z,qx,qy,qz,qw.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        InputError: naming the bad line; a header that names no known order; no poses.
    """
    text = read_text(path, most, FORMAT).replace("\u2212", "-")
    numbered = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    divider: str | None = None
    if numbered and (said := re.fullmatch(r"\s*\"?sep=(.)\"?\s*", numbered[0][1])):  # as Excel writes it
        divider, numbered = said[1], numbered[1:]
    comments = [(number, line) for number, line in numbered if _COMMENT.match(line)]
    lines = [(number, _flat(line)) for number, line in numbered if not _COMMENT.match(line)]
    try:
        divider = divider or _divider([line for _, line in lines])
        cells = [_cells(line, divider) for _, line in lines]
        begun = next(
            (k for k, row in enumerate(cells) if any(map(math.isfinite, _values(row[1:], divider)))), len(cells)
        )
        columns, begun = _header([number for number, _ in lines], cells[:begun], path)
        if columns is None and begun < len(cells):
            columns = _of_comments(comments, len(_short(cells[begun])), divider, lines[begun][0], str(path))
    except csv.Error as error:
        raise InputError(f"{path}: {error}; {FORMAT}") from None
    rows = _rows([number for number, _ in lines][begun:], cells[begun:], columns, divider, path)
    if not rows:
        raise InputError(f"{path}: no poses; {FORMAT}")
    return rows


def _flat(line: str) -> str:
    """UR's `a.png, p[x, y, z, rx, ry, rz]` as a line of numbers; others as they are."""
    place = line.rfind("[")
    if place < 0 or not (values := _UR.fullmatch(line.rstrip(), place)):
        return line
    name = line[:place].removesuffix("p").removesuffix('"').rstrip(" \t,;")
    return f"{name},{values[1]}"


def _divider(lines: Sequence[str]) -> str:
    """The one that divides most lines into a name and six numbers or more; a blank stands for blanks."""
    counts = {
        divider: sum(sum(map(math.isfinite, _values(_cells(line, divider), divider))) >= 6 for line in lines)
        for divider in (";", "\t", ",", " ")
    }
    if any(counts.values()):
        return max(counts, key=lambda divider: counts[divider])
    return next((mark for mark in ";\t" if lines and all(mark in line for line in lines)), ",")


def _cells(line: str, divider: str) -> list[str]:
    if divider == " ":
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=divider))]


def _short(cells: Sequence[str]) -> list[str]:
    """Without empty cells at its end."""
    return list(cells[: max((k + 1 for k, cell in enumerate(cells) if cell), default=0)])


def _values(cells: Sequence[str], divider: str) -> list[float]:
    """Of each cell; NaN where it is no number."""
    found = []
    for cell in cells:
        try:
            found.append(float(cell if divider == "," else cell.replace(",", ".")))
        except ValueError:
            found.append(math.nan)
    return found


def _header(numbers: Sequence[int], head: Sequence[list[str]], path: Path) -> tuple[Columns | None, int]:
    """By the lines above the first with a number: the first that names a known order, and how many lines come before the poses.

    Raises:
        InputError: none does, and one is no title.
    """
    for k, cells in enumerate(head):
        found = columns_of(_short(cells), f"{path}, line {numbers[k]}")
        if found is not None:
            return found, k + 1
    for number, cells in zip(numbers, head, strict=False):
        if sum(map(bool, cells)) > _TITLE:
            raise unknown(cells, f"{path}, line {number}")
    return None, len(head)


def _of_comments(comments: Sequence[_Line], count: int, divider: str, before: int, where: str) -> Columns | None:
    """By a comment above the first pose that names as many columns as that has, or all but the picture's."""
    for number, line in reversed([comment for comment in comments if comment[0] < before]):
        cells = _short(_cells(_COMMENT.sub("", line, count=1), divider))
        if len(cells) in (count - 1, count):
            found = columns_of([*["picture"] * (count - len(cells)), *cells], f"{where}, line {number}")
            if found is not None:
                return found
    return None


def _rows(
    numbers: Sequence[int], lines: Sequence[list[str]], columns: Columns | None, divider: str, path: Path
) -> Rows:
    rows: Rows = []
    for number, line in zip(numbers, lines, strict=True):
        place, cells = f"{path}, line {number}", _short(line)
        if columns is None:
            name, values = cells[:1], _values(cells[1:], divider)
        else:
            if len(cells) <= max(columns.name, *(k for k, _ in columns.values)):
                raise InputError(f"{place}: it has fewer columns than the header; {FORMAT}")
            if len(cells) > columns.count:
                raise InputError(f"{place}: it has more columns than the header; {FORMAT}")
            name, found = [cells[columns.name]], _values(cells, divider)
            values = [found[k] * factor for k, factor in columns.values]
        same = not rows or len(values) == len(rows[0][1])
        if len(values) not in (6, 7) or not all(map(math.isfinite, values)) or not same:
            raise InputError(f"{place}: {FORMAT}")
        rows.append((name[0], tuple(values), place))
    return rows
