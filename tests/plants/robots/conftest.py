"""Gates before robots that keep what they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from torch import Tensor

from gate_helpers import EYE, Driver
from siame_se3.plants.robots.gate import Gate


@pytest.fixture
def gates() -> Iterator[Callable[..., Gate]]:
    """Makes gates that are open, and closes them."""
    made: list[tuple[Gate, Driver]] = []

    def make(driver: Driver, T_tc: Tensor = EYE, **options: Any) -> Gate:
        made.append((Gate(driver, T_tc, **options), driver))
        made[-1][0].release()
        return made[-1][0]

    yield make
    for gate, driver in made:
        driver.freed.set()
        gate.close()
