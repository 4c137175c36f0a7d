"""Settings of the loop that are refused."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest

from siame_se3.errors import InputError
from siame_se3.servo.config import ServoConfig

NUMBERS = [field.name for field in fields(ServoConfig) if isinstance(field.default, float)]
COUNTS = ["max_iterations", "settle_steps", "lost_steps"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, 1e300])
def test_nonsense_is_refused_by_its_name(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name) as caught:
        ServoConfig(**{name: value})
    assert caught.value.settings == (name,)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [-1, 0, 10**12])
def test_nonsense_counts_are_refused_by_their_name(name: str, value: int) -> None:
    with pytest.raises(InputError, match=name):
        ServoConfig(**{name: value})


@pytest.mark.parametrize("name", ["gain", "max_v", "max_w", "settle_v", "settle_w"])
def test_zero_is_refused_where_nothing_would_move_or_end(name: str) -> None:
    with pytest.raises(InputError, match=name):
        ServoConfig(**{name: 0.0})
