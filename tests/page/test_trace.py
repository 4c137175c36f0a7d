from __future__ import annotations

import math

import numpy as np
import pytest

from siame_se3.page.curves import _joined
from siame_se3.page.trace import Sample, Trace


def filled(n: int, most: int = 400, every: float = 0.04) -> Trace:
    trace = Trace(most)
    for k in range(n):
        trace.add(Sample(every * k, 1000.0 / (k + 1), 1.0, 2.0, (*range(6),), (float(k), 0.0, 0.0)))  # type: ignore[arg-type]
    return trace


@pytest.mark.parametrize("n", [1, 8, 9, 100, 100_000])
def test_a_trace_of_any_length_is_short_and_covers_the_whole_run(n: int) -> None:
    trace = filled(n, most=8)
    assert 1 <= len(trace) <= 8
    assert len(trace) >= min(n, 4)
    seconds = trace.seconds
    assert seconds[0] == 0
    assert seconds[-1] >= 0.5 * 0.04 * (n - 1)
    steps = np.diff(seconds)
    assert np.allclose(steps, steps[:1]), "samples at other distances than each other"
    assert trace.path[:, 0] == pytest.approx(seconds / 0.04)
    assert trace.column("t") == pytest.approx(1000 / (trace.path[:, 0] + 1))
    assert trace.column("wz") == pytest.approx(5)


def test_the_version_changes_with_what_is_kept() -> None:
    trace = Trace(4)
    seen = {trace.version}
    for k in range(4):
        trace.add(Sample(float(k)))
        assert trace.version not in seen
        seen.add(trace.version)
    trace.clear()
    assert trace.version not in seen
    assert len(trace) == 0


def test_positions_that_are_not_known_are_in_no_path() -> None:
    trace = Trace()
    trace.add(Sample(0.0))
    trace.add(Sample(1.0, position=(1.0, 2.0, 3.0)))
    assert trace.path.tolist() == [[1, 2, 3]]


def test_lines_of_two_runs_have_one_axis_of_time() -> None:
    long, short = filled(100), filled(20)
    lines = _joined([short, long], "t", [])
    assert lines is not None
    x, first, second = lines
    assert len(x) == len(first) == len(second) == 100
    assert second == pytest.approx(1000 / np.arange(1, 101))
    assert first[:20] == pytest.approx(1000 / np.arange(1, 21))
    assert first[20:] == pytest.approx(1000 / 20), "it stays where it ended"


def test_of_two_that_go_on_the_slower_one_ends_the_lines() -> None:
    lines = _joined([filled(20), filled(100)], "t", [19 * 0.04, 99 * 0.04])
    assert lines is not None
    assert lines[0][-1] == pytest.approx(19 * 0.04)
    assert lines[1] == pytest.approx(1000 / np.arange(1, 21))


def test_errors_that_are_not_known_are_no_line() -> None:
    trace = Trace()
    for k in range(3):
        trace.add(Sample(float(k), error_t=math.nan, difference=3.0))
    assert _joined([trace], "t", []) is None
    assert _joined([trace], "difference", []) is not None
