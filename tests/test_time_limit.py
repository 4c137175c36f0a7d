from __future__ import annotations

import pytest

import time_limit

TESTS = """
import time
import pytest
def test_quick(): pass
def test_sleeps(): time.sleep(0.15)
def test_works():
    end = time.thread_time() + 0.15
    while time.thread_time() < end: pass
@pytest.mark.slow
def test_marked(): time.sleep(0.15)
def test_wrong(): assert False
@pytest.fixture
def ready(): time.sleep(0.15)
def test_fixtures_are_free(ready): pass
"""


def test_unmarked_tests_over_the_limit_fail(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeini("[pytest]\nmarkers = slow")
    pytester.makeconftest("from time_limit import pytest_runtest_call, pytest_runtest_makereport")
    pytester.makepyfile(TESTS)
    with monkeypatch.context() as limit:
        limit.setenv("SIAME_TEST_SECONDS", "0.1")
        limit.setattr("time_limit.slowness", lambda: 1.0)
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    result.assert_outcomes(passed=3, failed=3)
    for name in ("sleeps", "works"):
        result.stdout.fnmatch_lines([f"*::test_{name} took 0.* s, over 0.1 s: make it smaller, or mark it slow"])


def test_a_slower_machine_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds, expected in ((0.5 * time_limit._WORK, 1.0), (1.5 * time_limit._WORK, 1.5), (60.0, time_limit._MOST)):
        time_limit.slowness.cache_clear()
        monkeypatch.setattr(time_limit, "_work", lambda seconds=seconds: seconds)
        assert time_limit.slowness() == pytest.approx(expected)
    time_limit.slowness.cache_clear()
