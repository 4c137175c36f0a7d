"""Bounded reading of text, CSV, JSON and YAML that others wrote: size, depth and what an alias expands to are limited beforehand."""

from __future__ import annotations

import csv
import functools
import io
import json
import math
import os
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from siame_se3.errors import InputError

_MOST_TEXT = 1_000_000  # [bytes] of a configuration
_MOST_ROWS = 20_000_000  # [bytes] of a table
MOST_OWN = 1_000_000_000  # [bytes] of a table that an experiment here has written, row by row
_MOST_NODES = 50_000  # of a YAML document, what aliases stand for counted each time
_MOST_DEPTH = 50
_MOST_SCALAR = 20_000  # characters of one YAML value
_LARGEST = 2**63  # of whole numbers: no size, count or seed is larger, and what is cannot be printed or made a float


def shown(value: Any, length: int = 60) -> str:
    """A value for an error: one line, short whatever it is (nested aliases, numbers of many digits, control characters)."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother, short.maxlong = 2, length, length, length
    try:
        text = short.repr(value)
    except ValueError:  # a whole number of more digits than Python prints
        text = "a number of too many digits"
    return _one_line(text if len(text) <= length else text[: length - 3] + "...")


def read_bytes(path: str | Path, most_bytes: int, hint: str = "") -> bytes:
    """A file of limited size.

    Args:
        most_bytes: its largest size.
        hint: what to give instead, for errors.

    Raises:
        InputError: no such file, a folder, one that cannot be read, or a larger one.
    """
    path = Path(path)
    advice = f"; {hint}" if hint else ""
    try:
        if not path.is_file():
            raise InputError(f"{path}: {'a folder, no such file' if path.is_dir() else 'no such file'}{advice}")
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size or most_bytes  # which Python allocates before it reads
            content = stream.read(min(size, most_bytes) + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()}){advice}") from None
    if len(content) > most_bytes:
        raise InputError(f"{path}: over {most_bytes / 1e6:g} MB, too many bytes for such a file{advice}")
    return content


def read_text(path: str | Path, most_bytes: int = _MOST_TEXT, hint: str = "") -> str:
    """A text file of limited size: UTF-8, UTF-16 with its mark, or else Windows-1252 (Latin-1), as old editors write it.

    Raises:
        InputError: as `read_bytes`, or binary content.
    """
    content = read_bytes(path, most_bytes, hint)
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    for encoding in ("utf-16",) if wide else ("utf-8-sig", "cp1252", "latin-1"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue  # another one, then
        if "\0" not in text:
            return text
    raise InputError(f"{path}: not a text file{f'; {hint}' if hint else ''}")


def read_csv_rows(path: str | Path, most_bytes: int = _MOST_ROWS, hint: str = "") -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file with the numbers of the lines where they end; empty lines give no row.

    Raises:
        InputError: as `read_text`, or a row that is not CSV, named by its line.
    """
    reader = csv.reader(io.StringIO(read_text(path, most_bytes, hint), newline=""))
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        advice = f"; {hint}" if hint else ""
        raise InputError(f"{path}, line {reader.line_num}: not CSV ({error}){advice}") from None


def read_csv_table(
    path: str | Path, columns: Sequence[str], hint: str = "", most_bytes: int = _MOST_ROWS
) -> list[dict[str, str]]:
    """The rows of a CSV file with a header, by the columns' names.

    Args:
        columns: that it has to have; it may have others.
        hint: what to give instead, for errors.
        most_bytes: its largest size.

    Raises:
        InputError: as `read_csv_rows`; a column that is missing or there twice; a row of another length; no row at all.
    """
    advice = f"; {hint}" if hint else ""
    (_, header), *rows = [*read_csv_rows(path, most_bytes, hint)] or [(1, [])]
    if missing := [name for name in columns if name not in header]:
        raise InputError(f"{path}: no column {shown(missing[0])}{advice}")
    if twice := [name for name in columns if header.count(name) > 1]:
        raise InputError(f"{path}: two columns {shown(twice[0])}{advice}")
    for line, row in rows:
        if len(row) != len(header):
            raise InputError(f"{path}, line {line}: {len(row)} values for {len(header)} columns{advice}")
    if not rows:
        raise InputError(f"{path}: no row below its header{advice}")
    return [dict(zip(header, row, strict=True)) for _, row in rows]


def read_json(path: str | Path, most_bytes: int = _MOST_TEXT, hint: str = "") -> Any:
    """A JSON file of limited size and depth, with finite numbers.

    Raises:
        InputError: as `read_text` and `parse_json`.
    """
    return parse_json(read_text(path, most_bytes, hint), str(path), hint)


def parse_json(text: str, where: str, hint: str = "", finite: bool = True) -> Any:
    """JSON of limited depth.

    Args:
        where: it came from, for errors.
        hint: what to give instead, for errors.
        finite: refuse NaN and infinities, which Python's JSON may have.

    Raises:
        InputError: it is not JSON, is nested too deeply, or has a number that is not finite, or a whole one of over 64 bits.
    """
    advice = f"; {hint}" if hint else ""
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({_reason(error)}){advice}") from None
    if wrong := _strange(value, finite):
        raise InputError(f"{where}: {wrong}{advice}")
    return value


def read_yaml(path: str | Path, most_bytes: int = _MOST_TEXT, hint: str = "give a YAML file") -> Any:
    """The first document of a YAML file: plain values only, of limited size, depth and number, what aliases stand for counted.

    Of a stream it is the first that is not empty. OpenCV's FileStorage is read too (its first line, its matrices as mappings). Of a key
    that comes twice the last one counts.

    Raises:
        InputError: as `read_text`; it is not YAML, is too large or nested too deeply, or has tags of other languages' objects.
    """
    text = read_text(path, most_bytes, hint)
    if text.startswith("%YAML:"):  # OpenCV's, which YAML does not know
        text = "#" + text
    return parse_yaml(text, str(path), hint)


def parse_yaml(text: str, where: str, hint: str = "") -> Any:
    """`read_yaml` of a text."""
    import yaml

    advice = f"; {hint}" if hint else ""
    value = None
    try:
        _check_events(yaml, text)
        loader = _yaml_loader()(text)
        try:
            while value is None and loader.check_node():
                node = loader.get_node()
                if _expanded(node) > _MOST_NODES:
                    raise ValueError("its aliases stand for too much")
                value = loader.construct_document(node)
                if node.value != "":  # an empty one: the next is meant
                    break
        finally:
            loader.dispose()
        if wrong := _strange(value, finite=False):
            raise ValueError(wrong)
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError) as error:
        # the latter are what PyYAML lets through of strange keys, numbers and dates
        raise InputError(f"{where}: not a YAML file that can be read ({_reason(error)}){advice}") from None
    return value


def _reason(error: Exception) -> str:
    """The first line of an error, short."""
    return _one_line((str(error).splitlines() or [""])[0].strip()[:120]) or type(error).__name__


def _one_line(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(x if x.isprintable() else "?" for x in text)


@functools.cache
def _yaml_loader() -> Any:
    """PyYAML's safe loader (libyaml's where there is one), and OpenCV's matrices as mappings."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # one of two classes
        pass

    def matrix(loader: Any, node: Any) -> dict[str, Any]:
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor("tag:yaml.org,2002:opencv-matrix", matrix)
    return Loader


def _check_events(yaml: Any, text: str) -> None:
    """Go through the events up to the first document that is not empty, which takes time in proportion to the text, and refuse
    (ValueError) what would take more afterwards."""
    depth, empty = 0, True
    for count, event in enumerate(yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))):
        if isinstance(event, yaml.DocumentEndEvent) and not empty:
            return
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and len(event.value) > _MOST_SCALAR:
            raise ValueError(f"a value of {len(event.value)} characters")
        empty = empty and not (isinstance(event, yaml.NodeEvent) and getattr(event, "value", None) != "")
        if depth > _MOST_DEPTH:
            raise ValueError(f"nested too deeply, over {_MOST_DEPTH} levels")
        if count > _MOST_NODES:
            raise ValueError(f"more than {_MOST_NODES} values")


def _expanded(node: Any, known: dict[int, float] | None = None) -> float:
    """How many nodes a YAML node stands for, aliases expanded; infinite for one that contains itself."""
    known = {} if known is None else known
    if id(node) not in known:
        known[id(node)] = math.inf  # until it is known: met within itself
        parts = node.value if isinstance(node.value, list) else []
        children = [child for part in parts for child in (part if isinstance(part, tuple) else (part,))]
        known[id(node)] = 1 + sum(_expanded(child, known) for child in children)
    return known[id(node)]


def _strange(value: Any, finite: bool) -> str:
    """What is wrong with a value of plain containers; empty if nothing is."""
    todo = [(value, 0)]
    while todo:
        item, depth = todo.pop()
        if depth > _MOST_DEPTH:
            return f"nested too deeply, over {_MOST_DEPTH} levels"
        if isinstance(item, dict):
            todo += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list | tuple | set):
            todo += [(part, depth + 1) for part in item]
        elif isinstance(item, int) and abs(item) > _LARGEST:
            return "a whole number of more than 64 bits"
        elif finite and isinstance(item, float) and not math.isfinite(item):
            return f"a number is {item}; it must be finite"
    return ""
