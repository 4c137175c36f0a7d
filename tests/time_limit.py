"""A test without the marker 'slow' ends within 2 s: those that do not are listed at the end; `conftest.py` takes the hooks from here.

With SIAME_TEST_SECONDS=2 they fail. Only then: how long a test takes is a matter of the machine and of what else it does, and a verdict by
the clock on a machine that is shared is one by chance.

Counted is the time of the test itself, without its fixtures, less what its thread waited for a core: so it is the time on an idle
machine, and a sleep counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from pathlib import Path

import pytest

_SECONDS = 2.0
_TOOK = pytest.StashKey[float]()
_OVER = "over the limit"


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
    """A test without the marker 'slow' that takes longer is noted in its report; with SIAME_TEST_SECONDS it fails."""
    report = yield
    asked = os.environ.get("SIAME_TEST_SECONDS")
    limit = float(asked or _SECONDS)
    if call.when == "call" and report.passed and item.get_closest_marker("slow") is None and item.stash[_TOOK] > limit:
        words = f"{item.nodeid} took {item.stash[_TOOK]:.1f} s, over {limit:g} s: make it smaller, or mark it slow"
        if asked:
            report.outcome, report.longrepr = "failed", words
        else:
            report.user_properties.append((_OVER, words))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each."""
    passed = terminalreporter.getreports("passed")
    if lines := [words for report in passed for name, words in report.user_properties if name == _OVER]:
        terminalreporter.section("quick tests that are not")
        for words in lines:
            terminalreporter.line(str(words))
