"""A test without the marker 'slow' ends within 2 s (SIAME_TEST_SECONDS), or it fails; `conftest.py` takes the hooks from here.

Counted is the time of the test itself, without its fixtures, less what its thread waited for a core: so it is the time on an idle
machine, and a sleep counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from pathlib import Path

import pytest

_TOOK = pytest.StashKey[float]()


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
    limit = float(os.environ.get("SIAME_TEST_SECONDS", "2"))
    if call.when == "call" and report.passed and item.get_closest_marker("slow") is None and item.stash[_TOOK] > limit:
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} took {item.stash[_TOOK]:.1f} s, over {limit:g} s: make it smaller, or mark it slow"
        )
    return report
