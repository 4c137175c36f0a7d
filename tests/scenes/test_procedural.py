from __future__ import annotations

import numpy as np
import pytest

from siame_se3.scenes.procedural import KINDS, procedural


def test_a_seed_gives_the_same_texture_and_another_one_another() -> None:
    assert np.array_equal(procedural(3, 60, 80), procedural(3, 60, 80))
    assert not np.array_equal(procedural(3, 60, 80), procedural(4, 60, 80))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_shows_something(kind: str) -> None:
    image = KINDS[kind](np.random.default_rng(1), 120, 160)
    assert image.shape == (120, 160, 3)
    assert np.asarray(image, np.float32).std() > 5


def test_all_kinds_are_drawn() -> None:
    assert len({procedural(k, 24, 32).tobytes() for k in range(40)}) == 40
