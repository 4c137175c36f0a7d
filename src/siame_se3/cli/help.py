"""The help texts: of `siame` itself, without importing a command; of a command, its usual options or all of them."""

from __future__ import annotations

import dataclasses
import re
import shutil
import textwrap
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from siame_se3.cli.commands import COMMANDS
from siame_se3.cli.flags import is_positional, marks, without_aliases
from siame_se3.files import doing

HELP, HELP_ALL = frozenset({"-h", "--help"}), "--help-all"
_METAVARS = {Path: "PATH", str: "TEXT", int: "INT", float: "FLOAT"}


def columns() -> int:
    """Width of help texts: the terminal's, at most 100."""
    return min(shutil.get_terminal_size().columns, 100)


def overview() -> str:
    """The text of `siame --help`."""
    indent = max(map(len, COMMANDS)) + 4
    lines = [
        textwrap.fill(
            f"  {name:<{indent - 2}}{command.summary}",
            columns(),
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
        )
        for name, command in COMMANDS.items()
    ]
    return "\n".join(
        [
            "usage: siame COMMAND [OPTIONS]",
            "",
            "Move a robot's camera to where a photo was taken. Start with: siame demo",
            "",
            "commands:",
            *lines,
            "",
            "siame COMMAND --help      what a command does, and the options that people use",
            "siame COMMAND --help-all  all of its options",
            "siame --version",
            "siame --print-completion bash (zsh, fish, tcsh)",
            "",
            "Exit status: 0 done, 1 not converged or stopped, 2 wrong input, 3 not sure, 130 interrupted.",
        ]
    )


def described(command: type[Any]) -> str:
    """A command's docstring, its paragraphs filled to the width of the terminal."""
    paragraphs = textwrap.dedent("    " + (command.__doc__ or "")).strip().split("\n\n")
    return "\n\n".join(textwrap.fill(" ".join(p.split()), columns(), break_on_hyphens=False) for p in paragraphs)


def print_help(name: str, whole: bool) -> None:
    """Print the help of a command: its essential options, or the whole of it."""
    with doing("loading PyTorch"):
        import tyro

        command = COMMANDS[name].load()
    essential: tuple[str, ...] = () if whole else getattr(command, "essential", ())
    print(described(command), end="\n\n", flush=True)
    one_name = (tyro.conf.FlagCreatePairsOff,)  # --perturb, not also --no-perturb
    try:
        tyro.cli(shown(command, essential), prog=f"siame {name}", description="", args=["--help"], config=one_name)
    except SystemExit:  # tyro's way to end after a help text
        if essential:
            print(f"\nThese are the usual options; siame {name} --help-all shows all of them.")


def shown(kind: type[Any], essential: tuple[str, ...] = ()) -> type[Any]:
    """A dataclass whose help is that of another: with texts as whole paragraphs, short types and defaults, and without the
    options that are not essential ('a.b' is b of the group a; an empty tuple stands for all)."""
    import tyro

    hints = typing.get_type_hints(kind, include_extras=True)
    docs = _field_docs(kind)
    fields = []
    for field in dataclasses.fields(kind):
        inner, annotations = marks(hints[field.name])
        below = tuple(name.partition(".")[2] for name in essential if name.startswith(f"{field.name}."))
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        kept = not essential or field.name in essential or below or required
        default: Any = dataclasses.field(default=field.default, default_factory=field.default_factory)  # type: ignore[call-overload]  # one of both is MISSING, as it may be
        if dataclasses.is_dataclass(inner):
            value = field.default_factory() if callable(field.default_factory) else field.default
            inner = shown(typing.cast(type[Any], inner), below)
            default = dataclasses.field(default=_copied(inner, value))
        metavar = _metavar(inner, field.name if is_positional(annotations) else "")
        text = tyro.conf.arg(help=docs.get(field.name, ""), metavar=metavar, help_behavior_hint=_default_shown)
        # A field's own texts count more than these; other names that it has are former ones.
        listed: Any = Annotated[(inner, text, *map(without_aliases, annotations))]
        fields.append((field.name, listed if kept else tyro.conf.Suppress[listed], default))  # type: ignore[misc]  # it is one
    return dataclasses.make_dataclass(kind.__name__, fields, frozen=True)


def _copied(shown: type[Any], value: Any) -> Any:
    """The values of a dataclass in the one that shows it."""
    return shown(
        **{
            f.name: _copied(type(f.default), getattr(value, f.name))
            if dataclasses.is_dataclass(f.default)
            else getattr(value, f.name)
            for f in dataclasses.fields(shown)
        }
    )


def _field_docs(kind: type[Any]) -> dict[str, str]:
    """What the docstrings of a dataclass and of those it is made from say of each field, as one paragraph each."""
    import docstring_parser

    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if dataclasses.is_dataclass(base):
            params = docstring_parser.parse_from_object(base).params
            found |= {p.arg_name: " ".join((p.description or "").split()) for p in params}
    return found


def _metavar(kind: Any, positional: str) -> str | None:
    """A short name of an option's values, such as PATH for 'Path | None', or of a positional argument; None leaves it to tyro."""
    optional = get_origin(kind) in (Union, types.UnionType)
    present = [inner for inner in get_args(kind) if inner is not type(None)] if optional else [kind]
    if len(present) != 1 or get_origin(present[0]) is Literal:
        return None
    if positional:
        several = get_origin(kind) is tuple
        return f"{positional.upper()} ..." if several else f"[{positional.upper()}]" if optional else positional.upper()
    return _METAVARS.get(present[0])


def _default_shown(default: str) -> str:
    """A default in few digits; nothing where there is none."""
    words = {"None": "", "False": "", "": "", "''": "", "True": "(on; this turns it off)"}
    short = re.sub(r"\d+\.\d{6,}(e-?\d+)?", lambda number: f"{float(number[0]):.4g}", default)
    return words.get(default, f"(default: {short})")
