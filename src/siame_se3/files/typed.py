"""Dataclasses from JSON, and the types of their fields, strictly."""

from __future__ import annotations

import dataclasses
import functools
import numbers
import types
import typing
from collections.abc import Callable
from typing import Any

from siame_se3.errors import InputError, SiameError
from siame_se3.files.reading import shown


def from_dict(cls: type, values: Any, where: str) -> Any:
    """A (nested) dataclass from JSON, strictly: its fields only, each of its type.

    A whole number is taken where a float is due, a list where a tuple is due; a string, a bool or null where a number is due is not.
    What values a field may have (NaN among them) is up to the class.

    Args:
        values: what JSON gave.
        where: it came from, for errors.

    Raises:
        InputError: an unknown or a missing field, another type, or a value that the class refuses.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where}: {shown(values)} where the fields of {cls.__name__} belong")
    hints = _hints(cls)
    known = {f.name for f in dataclasses.fields(cls) if f.init}
    if unknown := [name for name in values if name not in known]:
        raise InputError(f"{where}: unknown field {shown(unknown[0])} of {cls.__name__}; it needs a newer siame-se3")
    needed = {
        f.name
        for f in dataclasses.fields(cls)
        if f.init and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if missing := sorted(needed - set(values)):
        raise InputError(f"{where}: no '{missing[0]}' of {cls.__name__}")
    fields = {name: _typed(hints[name], value, f"{where}: {name}", from_dict) for name, value in values.items()}
    try:
        return cls(**fields)
    except SiameError as error:
        kind = type(error) if isinstance(error, InputError) else InputError
        raise kind(f"{where}: {error}", *error.settings) from None


def require_types(owner: Any, where: str = "", error: type[InputError] = InputError) -> None:
    """Refuse fields of another type than they are annotated with; for `__post_init__` of settings, before anything is compared.

    A whole number is taken where a float is due, NumPy's numbers as Python's, a list where a tuple is due. Of types that JSON does not
    have, those of dataclasses are looked at and no others.

    Args:
        owner: a dataclass.
        where: what it is, for errors.
        error: their kind.

    Raises:
        InputError: a field of another type, in one line; it names the field as the setting.
    """
    cls: type = type(owner)
    hints = _hints(cls)
    for field in dataclasses.fields(owner):
        name, value = field.name, getattr(owner, field.name)
        if type(value) is hints[name]:  # most are
            continue
        try:
            _typed(hints[name], value, f"{where}: {name}" if where else name, _instance)
        except InputError as wrong:
            raise error(str(wrong), name) from None


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _instance(kind: type, value: Any, where: str) -> Any:
    """`value`, if it is of a dataclass already."""
    if not isinstance(value, kind):
        raise InputError(f"{where} is {shown(value)}; give a {kind.__name__}")
    return value


def _typed(kind: Any, value: Any, where: str, nested: Callable[[type, Any, str], Any]) -> Any:
    """`value` as `kind` has it, or an error; `nested` says what is due where a dataclass is."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return nested(kind, value, where)
    if origin in (typing.Union, types.UnionType):
        for choice in arguments:
            try:
                return _typed(choice, value, where, nested)
            except InputError:
                continue  # perhaps the next
    elif origin is typing.Literal:
        if any(type(value) is type(choice) and value == choice for choice in arguments):
            return value
    elif kind is tuple or origin is tuple:
        if isinstance(value, list | tuple):
            return _tuple(arguments, value, where, nested)
    elif kind in (bool, str, list, dict) or origin in (list, dict):
        if isinstance(value, origin or kind):
            return value
    elif kind in (int, float):
        if isinstance(value, numbers.Integral if kind is int else numbers.Real) and not isinstance(value, bool):
            return value
    elif kind is type(None):
        if value is None:
            return None
    else:  # a type that JSON does not have: up to the class
        return value
    raise InputError(f"{where} is {shown(value)}; give {_name(kind)}")


def _tuple(
    arguments: tuple[Any, ...], value: Any, where: str, nested: Callable[[type, Any, str], Any]
) -> tuple[Any, ...]:
    if not arguments:
        return tuple(value)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise InputError(f"{where} has {len(value)} values; give {len(arguments)}")
    return tuple(_typed(kind, part, where, nested) for kind, part in zip(arguments, value, strict=True))


def _name(kind: Any) -> str:
    """A type in a user's words."""
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(repr(choice) for choice in arguments)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(_name(choice) for choice in arguments)
    if kind is tuple or typing.get_origin(kind) in (tuple, list):
        return "a list" + (
            f" of {_name(arguments[0]).removeprefix('a ')}s" if arguments[:1] and arguments[0] in words else ""
        )
    return words.get(kind, "fields of names and values")
