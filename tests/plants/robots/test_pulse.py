"""The clock by which a suspension is noticed."""

from __future__ import annotations

import sys
import time

import pytest

from siame_se3.plants.robots import pulse


@pytest.mark.parametrize(
    ("system", "clocks", "read"),
    [
        ("linux", {"CLOCK_BOOTTIME": 7, "CLOCK_MONOTONIC": 1}, 7.0),
        ("darwin", {"CLOCK_MONOTONIC": 6}, 6.0),
        ("freebsd14", {"CLOCK_MONOTONIC": 4}, 0.5),
        ("win32", {}, 0.5),
    ],
)
def test_the_clock_goes_on_while_the_machine_sleeps(
    system: str, clocks: dict[str, int], read: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On macOS time.monotonic() stands still then, and a closed lid was not noticed."""
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC", "clock_gettime"):
        monkeypatch.delattr(time, name, raising=False)
    for name, number in clocks.items():
        monkeypatch.setattr(time, name, number, raising=False)
    if clocks:
        monkeypatch.setattr(time, "clock_gettime", float, raising=False)
    monkeypatch.setattr(time, "monotonic", lambda: 0.5)
    monkeypatch.setattr(sys, "platform", system)
    now = pulse.now()
    monkeypatch.undo()
    assert now == read
