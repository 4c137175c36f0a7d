from __future__ import annotations

import math

import numpy as np
import pytest

from siame_se3.laws.hypotheses import Matches
from siame_se3.laws.support import support

SIZE = (224, 224)


def chance_of(n: int, agree: int, seed: int = 0) -> float:
    """The support where so many of n matches, of places far apart, agree with a pose."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation(32 * 32)[:n]
    desired = 7.0 * np.stack((cells % 32, cells // 32), 1) + 3
    seen = desired[rng.permutation(n)] if n > 1 else desired
    mapped = seen + 100
    mapped[:agree] = seen[:agree] + 2
    found = Matches(desired, seen, np.linspace(0.1, 0.7, n), np.zeros((n, 3, 3)))
    return support(found, mapped, SIZE)


def test_support_is_the_logarithm_of_a_chance() -> None:
    """Never above what the binomial distribution says, and near it."""
    from scipy.stats import binom

    p = math.pi * (224 / 45) ** 2 / 224**2
    for n, agree in ((10, 2), (50, 10), (200, 5), (200, 60), (30, 30)):
        exact = -float(binom.logsf(agree - 1, n, p)) / math.log(10)
        assert exact - 1.3 < chance_of(n, agree) < exact + 1e-9


@pytest.mark.parametrize(("n", "agree"), [(0, 0), (1, 0), (100, 0), (1000, 1)])
def test_what_chance_gives_is_no_support(n: int, agree: int) -> None:
    assert chance_of(n, agree) == 0


def test_matches_of_one_place_count_once() -> None:
    """A keypoint has several orientations, and is in several views of the goal."""
    desired = np.arange(40.0).reshape(20, 2) * 5
    found = Matches(desired, desired, np.full(20, 0.5), np.zeros((20, 3, 3)))
    some = np.where(np.arange(20)[:, None] < 10, desired, 1e9)
    twice = Matches(*(np.repeat(x, 3, axis=0) for x in (found.desired, found.seen, found.ratio, found.maps)))
    once, more = (
        support(found, some, SIZE),
        support(twice, np.repeat(some, 3, axis=0), SIZE),
    )
    assert 0 < more < once


def test_a_match_that_is_mapped_nowhere_agrees_with_nothing() -> None:
    found = Matches(np.ones((3, 2)), np.ones((3, 2)), np.full(3, 0.5), np.zeros((3, 3, 3)))
    for value in (math.inf, math.nan):
        assert support(found, np.full((3, 2), value), SIZE) == 0
