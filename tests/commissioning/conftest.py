from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from session_helpers import Robot, Running


@pytest.fixture
def begun() -> Iterator[Callable[..., Running]]:
    """Begins sessions, and ends them."""
    all_of_them: list[Running] = []

    def begin(robot: Robot, **changes: Any) -> Running:
        all_of_them.append(Running(robot, **changes).start())
        return all_of_them[-1]

    yield begin
    for running in all_of_them:
        running.quit()
