"""A test without the marker 'slow' ends within 2 s (SIAME_TEST_SECONDS), or it fails; `conftest.py` takes the hooks from here.

Seconds are those of the machine that the limit was set on, an AMD EPYC: one that takes longer for a fixed piece of work has as much more time.

Counted is the time of the test itself, without its fixtures, less what its thread waited for a core: so it is the time on an idle
machine, and a sleep counts.
"""

from __future__ import annotations

import functools
import os
import statistics
import time
from collections.abc import Generator
from pathlib import Path

import pytest
import torch

_TOOK = pytest.StashKey[float]()
_WORK = 0.025  # [s] of `_work` there
_MOST = 4.0  # times as slow; what is slower is a fault of its own


@functools.cache
def slowness() -> float:
    """How much longer this machine takes, as it is now: 1 at least."""
    return min(_MOST, max(1.0, statistics.median(_work() for _ in range(7)) / _WORK))


def _work() -> float:
    """Seconds for what most tests do: small operations of PyTorch, one after the other."""
    began, T = time.perf_counter(), torch.eye(4, dtype=torch.float64)
    for _ in range(1000):
        T = torch.linalg.inv(T) @ T.mT
        T = T / T.norm() * 2
    return time.perf_counter() - began


def _waited() -> float:
    """Seconds that this thread was ready to run while others had the cores, where Linux tells."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    began, waited = time.perf_counter(), _waited()
    try:
        return (yield)
    finally:
        item.stash[_TOOK] = time.perf_counter() - began - (_waited() - waited)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test without the marker 'slow' ends within 2 s (SIAME_TEST_SECONDS), less what it waited for a core; else it fails."""
    report = yield
    limit = float(os.environ.get("SIAME_TEST_SECONDS", "2")) * slowness()
    if call.when == "call" and report.passed and item.get_closest_marker("slow") is None and item.stash[_TOOK] > limit:
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} took {item.stash[_TOOK]:.1f} s, over {limit:g} s: make it smaller, or mark it slow"
        )
    return report
