"""Checks of a network's settings: each refuses a value in one line that names the setting."""

from __future__ import annotations

from typing import Any, NoReturn

from siame_se3.errors import ModelError


def refuse(config: Any, where: str, name: str, wanted: str) -> NoReturn:
    settings = (f"{where}.{name}",) if where.startswith("network") else ()
    raise ModelError(f"{where}: {name} is {getattr(config, name)!r}; give {wanted}", *settings)


def is_whole(value: Any, least: int, largest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= largest


def is_number(value: Any, least: float, largest: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= largest


def whole(config: Any, where: str, name: str, least: int, largest: int) -> None:
    if not is_whole(getattr(config, name), least, largest):
        refuse(config, where, name, f"a whole number from {least} to {largest}")


def number(config: Any, where: str, name: str, least: float, largest: float) -> None:
    if not is_number(getattr(config, name), least, largest):
        refuse(config, where, name, f"a number from {least:g} to {largest:g}")


def numbers(config: Any, where: str, name: str, count: int, least: float, largest: float) -> None:
    values = getattr(config, name)
    if not isinstance(values, tuple) or len(values) != count or not all(is_number(x, least, largest) for x in values):
        refuse(config, where, name, f"{count} numbers from {least:g} to {largest:g}")


def ordered(config: Any, where: str, name: str, least: float, largest: float) -> None:
    numbers(config, where, name, 2, least, largest)
    if getattr(config, name)[0] > getattr(config, name)[1]:
        refuse(config, where, name, "the least first")


def part(config: Any, where: str, name: str, kind: type) -> None:
    if not isinstance(getattr(config, name), kind):
        refuse(config, where, name, f"a {kind.__name__}")
