"""The flags of a command: what its settings are called on the command line."""

from __future__ import annotations

import dataclasses
import typing
from typing import Annotated, Any, get_args, get_origin


def marks(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without its annotations, and the annotations."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind, getattr(kind, "__metadata__", ())


def name_on_the_line(field: str, annotations: tuple[Any, ...]) -> str:
    """What `tyro.conf.arg(name=...)` calls a field, '' for a group without a prefix; otherwise the field's own name."""
    from tyro.conf import arg

    named = [a.name for a in annotations if isinstance(a, type(arg())) and a.name is not None]  # type: ignore[attr-defined]
    return named[-1] if named else field.replace("_", "-")


def is_positional(annotations: tuple[Any, ...]) -> bool:
    """Whether a field with these annotations is a positional argument."""
    from tyro.conf import Positional

    return marks(Positional[int])[1][0] in annotations


def flags(command: type[Any]) -> dict[str, str]:
    """The flag of each setting: {'safety.max_twist': '--safety.max-twist', ...}; a positional argument's is its name in capitals."""
    found: dict[str, str] = {}

    def walk(kind: type[Any], path: tuple[str, ...], prefix: tuple[str, ...]) -> None:
        hints = typing.get_type_hints(kind, include_extras=True)
        for field in dataclasses.fields(kind):
            inner, annotations = marks(hints[field.name])
            name = name_on_the_line(field.name, annotations)
            if dataclasses.is_dataclass(inner):
                walk(typing.cast(type[Any], inner), (*path, field.name), (*prefix, *([name] if name else [])))
            elif is_positional(annotations):
                found[".".join((*path, field.name))] = name.upper()
            else:
                found[".".join((*path, field.name))] = "--" + ".".join((*prefix, name))

    walk(command, (), ())
    return found


def flags_for(command: type[Any], settings: tuple[str, ...]) -> list[str]:
    """The flags that change some settings (`SiameError.settings`), as far as this command has them.

    A setting is named by its whole path ('data.views'), or by the end of one, where only one option has it ('views').
    """
    known = flags(command)
    found: list[str] = []
    for setting in settings:
        ends = [flag for path, flag in known.items() if path == setting or path.endswith(f".{setting}")]
        chosen = known.get(setting) or (ends[0] if len(ends) == 1 else None)
        if chosen is not None and chosen not in found:
            found.append(chosen)
    return found
