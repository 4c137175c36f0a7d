"""What a command says: lines for people on standard output; with --json one document there, and the lines on standard error."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class Output:
    """Where a command's words go.

    Args:
        as_json: the result is one JSON document on standard output; all else goes to standard error.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.written: list[str] = []

    def say(self, line: str) -> None:
        """A line for people, at once."""
        print(line, file=sys.stderr if self.as_json else sys.stdout, flush=True)

    def wrote(self, *paths: Path | str | None) -> None:
        """Files that were written; None is passed over. `end` names them."""
        self.written += [str(path) for path in paths if path is not None]

    def end(self, result: Mapping[str, Any], quiet: bool = False) -> None:
        """Name the files that were written, and print the result where JSON is asked for."""
        if self.written and not quiet:
            self.say(f"written: {', '.join(self.written)}")
        if self.as_json:
            print(json.dumps(plain({**result, "written": self.written}), indent=1, ensure_ascii=False), flush=True)


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
