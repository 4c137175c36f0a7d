"""What a command says: lines for people on standard output; with --json one document there, and the lines on standard error."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from siame_se3.errors import InputError


class Output:
    """Where a command's words go.

    Args:
        as_json: the result is one JSON document on standard output; all else goes to standard error.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.written: list[str] = []
        self.failed: list[str] = []

    def say(self, line: str) -> None:
        """A line for people, at once."""
        print(line, file=sys.stderr if self.as_json else sys.stdout, flush=True)

    def wrote(self, *paths: Path | str | None) -> None:
        """Files that were written; None is passed over. `end` names them."""
        self.written += [str(path) for path in paths if path is not None]

    def write(self, path: Path | None, write: Callable[[Path], object]) -> None:
        """Write a result; None is passed over. Where that fails (a full disk) it is written to the temporary folder, so that no run is lost;
        `end` says so, after all others are written."""
        if path is None:
            return
        try:
            write(path)
        except InputError as error:
            self.failed.append(str(error))
            with contextlib.suppress(InputError, OSError):  # full too: then the first error says it
                refuge = Path(tempfile.mkdtemp(prefix="siame-")) / path.name
                write(refuge)
                self.failed[-1] += f"; it is kept in {refuge}"
        else:
            self.wrote(path)

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """While results are written: Ctrl-C leaves the rest, and names those that are there."""
        try:
            yield
        except KeyboardInterrupt:
            there = f"the writing of files; there are {', '.join(self.written) or 'none yet'}"
            raise KeyboardInterrupt(there) from None

    def end(self, result: Mapping[str, Any] | None = None, quiet: bool = False) -> None:
        """Name the files that were written, and print the result, if there is one, where JSON is asked for.

        Raises:
            InputError: one of them could not be written.
        """
        if self.written and not quiet:
            self.say(f"written: {', '.join(self.written)}")
        if self.as_json and result is not None:
            print(_document(plain({**result, "written": self.written})), flush=True)
        if self.failed:
            raise InputError("; ".join(self.failed))


def _document(value: Any) -> str:
    """JSON; letters that standard output cannot encode are escaped as JSON has it, not as Python would."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, indent=1)
    return text


def command_line() -> str:
    """The command as it was typed, for what is written; without a page's token and a stream's password, which open these to whoever reads it."""
    from siame_se3.plants.robots.text import without_password

    words, secret = [], False
    for word in sys.argv[1:]:
        name, given, _ = word.partition("=")
        is_token = name.startswith("--") and name.endswith("token")
        words.append("***" if secret else f"{name}=***" if is_token and given else shlex.quote(without_password(word)))
        secret = is_token and not given
    return " ".join(["siame", *words])


def plain(value: Any) -> Any:
    """A value as JSON has it: dataclasses as mappings, paths as text, no number as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, int | float | str | bool | None) else str(value)
