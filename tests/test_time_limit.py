from __future__ import annotations

import pytest

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


HOOKS = "pytest_runtest_call, pytest_runtest_makereport, pytest_terminal_summary"


def run_them(pytester: pytest.Pytester) -> pytest.RunResult:
    pytester.makeini("[pytest]\nmarkers = slow")
    pytester.makeconftest(f"from time_limit import {HOOKS}")
    pytester.makepyfile(TESTS)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest")


def test_unmarked_tests_over_the_limit_fail_where_it_is_set(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as limit:
        limit.setenv("SIAME_TEST_SECONDS", "0.1")
        result = run_them(pytester)
    result.assert_outcomes(passed=3, failed=3)
    for name in ("sleeps", "works"):
        result.stdout.fnmatch_lines([f"*::test_{name} took 0.* s, over 0.1 s: make it smaller, or mark it slow"])


def test_else_they_are_listed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as limit:
        limit.delenv("SIAME_TEST_SECONDS", raising=False)
        limit.setattr("time_limit._SECONDS", 0.1)
        result = run_them(pytester)
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*quick tests that are not*"])
    said = [line for line in result.outlines if "make it smaller, or mark it slow" in line]
    assert [line.split("::")[1].split()[0] for line in said] == ["test_sleeps", "test_works"]
