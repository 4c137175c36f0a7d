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

    named = [a.name for a in annotations if isinstance(a, type(arg())) and a.name is not None]  # type: ignore[attr-defined]  # the class of what `arg` returns has no public name
    return named[-1] if named else field.replace("_", "-")


def without_aliases(annotation: Any) -> Any:
    """An annotation of `tyro.conf.arg` without other names for the option; any other as it is."""
    from tyro.conf import arg

    kind: Any = type(arg())  # a dataclass, which tyro does not name
    return dataclasses.replace(annotation, aliases=None) if isinstance(annotation, kind) else annotation


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


def flags_for(command: type[Any], settings: tuple[str, ...], group: type[Any] | None = None) -> list[str]:
    """The flags that change some settings (`SiameError.settings`), as far as this command has them.

    Args:
        command: its dataclass.
        settings: whole paths ('data.views'), or ends of some ('views'); one that fits several options, none of them by its whole
            name, gives no flag.
        group: the dataclass whose options are meant, where it is known.
    """
    known = flags(command)
    found: list[str] = []
    for setting in settings:
        fitting = [path for path in known if path == setting or path.endswith(f".{setting}")]
        fitting = [path for path in fitting if _group(command, path) is group] or fitting
        named = f"--{setting.replace('_', '-')}"
        whole = [path for path in fitting if path == setting] or [path for path in fitting if known[path] == named]
        chosen = whole[:1] or (fitting if len(fitting) == 1 else [])
        found += [known[path] for path in chosen if known[path] not in found]
    return found


def _group(command: type[Any], path: str) -> type[Any]:
    """The dataclass that has the last field of a path."""
    kind = command
    for name in path.split(".")[:-1]:
        kind = marks(typing.get_type_hints(kind, include_extras=True)[name])[0]
    return kind


def refusing(error: BaseException) -> type[Any] | None:
    """The dataclass that refused its own values (in `__post_init__`) with this error, or None."""
    trace = error.__traceback__
    found: type[Any] | None = None
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_name == "__post_init__":
            found = type(frame.f_locals.get("self"))
        trace = trace.tb_next
    return found
