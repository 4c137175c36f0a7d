"""What the columns of a list of poses are, by the names and units in its header."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from siame_se3.errors import InputError

FORMAT = "give lines picture,x,y,z,rx,ry,rz (metres, rotation vector in radians) or picture,x,y,z,qx,qy,qz,qw"
_POSITION = {"t", "p", "pos", "position", "trans", "translation", "tvec"}
_QUATERNION = {"q", "quat", "quaternion"}
_VECTOR = {"rvec", "rotvec"}
_EITHER = {"r", "rot", "rotation"}  # a quaternion where there is a w, else a rotation vector
_WITH_W = {"orient", "orientation"}  # a quaternion's; without a w they are as often angles
_PARTS = {word for words in (_POSITION, _QUATERNION, _VECTOR, _EITHER, _WITH_W) for word in words}
_ELEMENT = re.compile(f"({'|'.join(sorted(_PARTS, key=len, reverse=True))})?([xyzw])")
_OTHERS = {
    *("vel", "velocity", "speed", "acc", "acceleration", "linear", "angular", "twist", "force", "torque", "wrench", "joint"),
    *("std", "covariance", "error"),
}  # fmt: skip
_PICTURES = {"picture", "pictures", "image", "img", "photo", "file", "filename", "name", "path", "pic", "bild", "datei"}
_LAST_NAMES = {
    "time",
    "timestamp",
    "stamp",
    "secs",
    "nsecs",
    "id",
    "date",
}  # that name pictures where nothing else does
_UNITS = {
    "m": 1.0, "metre": 1.0, "metres": 1.0, "meter": 1.0, "meters": 1.0, "cm": 0.01, "mm": 0.001,
    "rad": 1.0, "radian": 1.0, "radians": 1.0, "deg": None, "degree": None, "degrees": None, "°": None,
}  # fmt: skip
_LENGTHS = {unit for unit in _UNITS if unit.startswith(("m", "cm"))}
_TURNS = {unit for unit in _UNITS if unit.startswith("rad")}
_ORDERS = (("x", "y", "z", "qx", "qy", "qz", "qw"), ("x", "y", "z", "rx", "ry", "rz"))


@dataclass(frozen=True)
class Columns:
    """Where a line has what.

    Attributes:
        name: the column of the picture's name.
        values: of each of six or seven numbers the column, and what it is multiplied by: metres a unit.
        count: how many columns the header has.
    """

    name: int
    values: tuple[tuple[int, float], ...]
    count: int


def columns_of(header: Sequence[str], where: str) -> Columns | None:
    """Of a header's cells; None where they do not name x, y, z, rx, ry, rz or x, y, z, qx, qy, qz, qw. A quaternion's elements may be called x,
    y, z, w after a position's, or the other way round where w tells that they come first.

    Raises:
        InputError: it names something twice, which only a guess could resolve; a unit that is not taken; or no column is left for a name.
    """
    parts = [_split(cell) for cell in header]
    words = _elements([words for words, _ in parts])
    wanted = next((order for order in _ORDERS if {*order} <= {*words}), None)
    if wanted is None:
        return None
    if twice := [word for word in wanted if words.count(word) > 1]:
        raise InputError(f"{where}: two columns are called {twice[0]}; {FORMAT}")
    places = [words.index(word) for word in wanted]
    values = tuple((k, _factor(word, parts[k][1], header[k], where)) for word, k in zip(wanted, places, strict=True))
    rest = [k for k in range(len(header)) if not words[k] and k not in places]
    called = [{*parts[k][0]} for k in rest]
    for test in ((lambda c: c & _PICTURES), (lambda c: c and not c & (_LAST_NAMES | _OTHERS)), (lambda c: True)):
        if found := [k for k, c in zip(rest, called, strict=True) if test(c)]:
            return Columns(found[0], values, len(header))
    raise InputError(f"{where}: its first column is no picture's name; {FORMAT}")


def unknown(header: Sequence[str], where: str) -> InputError:
    """That a header names no known order."""
    named = ", ".join(cell for cell in header if cell)[:150]
    return InputError(f"{where}: its header has the columns {named}, which are no pose in a known order; {FORMAT}")


def _split(cell: str) -> tuple[list[str], str]:
    """A column's words, in small letters, and its unit ('' where it has none)."""
    text = re.sub(r"(?<=[a-z])(?=[XYZW]\b)", " ", cell.strip().strip("'\"")).lower()
    if found := re.search(r"[\[(]\s*([^\])]*?)\s*[\])]\s*$", text):
        return re.findall(r"[^\W_]+", text[: found.start()]), found[1]
    words = re.findall(r"[^\W_]+|°", text)
    if len(words) > 1 and words[-1] in _UNITS:
        return words[:-1], words[-1]
    return words, ""


def _elements(names: Sequence[list[str]]) -> list[str]:
    """x, y, z, rx, ..., qw of each column; '' of others."""
    found = [_element(words) for words in names]
    given = [axis for part, axis in found if axis]
    if not any(part for part, _ in found) and sorted(given) == sorted("xyzxyzw"):
        first = sorted(given[:3]) == sorted("xyz")
        counted = iter([False] * 3 + [True] * 4 if first else [True] * 4 + [False] * 3)
        return [("q" if next(counted) else "") + axis if axis else "" for _, axis in found]
    turned = _EITHER | _WITH_W
    with_w = any(axis == "w" and part in turned for part, axis in found)
    plain_w = any(axis == "w" and not part for part, axis in found)
    elements = []
    for part, axis in found:
        if part in _QUATERNION or (part in turned and with_w):
            elements.append(f"q{axis}")
        elif part in _VECTOR or (part in _EITHER and not plain_w):
            elements.append(f"r{axis}")
        else:
            elements.append(axis if not part or part in _POSITION else "?")
    return elements


def _element(words: Sequence[str]) -> tuple[str, str]:
    """Which part of a pose a column belongs to ('' where it is not said), and which axis ('' where it is no element)."""
    if {*words} & _OTHERS:
        return "", ""
    found = next((match for word in reversed(words) if (match := _ELEMENT.fullmatch(word))), None)
    if found is None:
        return "", ""
    part = found[1] or next((word for word in reversed(words) if word in _PARTS), "")
    return part, found[2]


def _factor(word: str, unit: str, cell: str, where: str) -> float:
    """Metres or radians a unit of a column.

    Raises:
        InputError: a unit that is not one of such values.
    """
    position, vector = len(word) == 1, word[0] == "r"
    taken = _LENGTHS if position else _TURNS if vector else {"-", "1"}
    if not unit or unit in taken:
        return _UNITS.get(unit) or 1.0
    wanted = "metres or millimetres" if position else "a rotation vector in radians" if vector else "a plain quaternion"
    raise InputError(f"{where}: column {cell.strip()[:40]!r} is in {unit[:20]}; give {wanted}")
