from __future__ import annotations

import numpy as np
import pytest
import torch

from siame_se3.geometry import lie
from siame_se3.laws.steps import after_a_step

XI = torch.tensor([0.1, -0.05, 0.03, 0.1, 0.2, 0.4], dtype=torch.float64)


def left(share: float) -> np.ndarray:
    """T_cd where that share of the way home is left: R_dc^T t_dc and the rotation vector fall alike."""
    T = torch.eye(4, dtype=torch.float64)
    T[:3, :3], T[:3, 3] = lie.so3_exp(share * XI[3:]), share * XI[:3]
    return T.numpy()


def nearest(places: list[np.ndarray], share: float) -> float:
    return min(float(np.abs(T - left(share)).max()) for T in places)


def test_a_robot_that_stands_is_among_the_places() -> None:
    for before in (None, left(1.1), left(1.0)):
        assert nearest(after_a_step(left(1.0), before, False), 1.0) == 0


@pytest.mark.parametrize("share", [0.9, 0.7])
def test_so_is_one_that_goes_on_by_the_same_share_or_at_the_same_speed(share: float) -> None:
    places = after_a_step(left(share), left(1.0), False)
    assert nearest(places, share**2) < 1e-12
    assert nearest(places, 2 * share - 1) < 1e-12
    assert len(places) == 3


@pytest.mark.parametrize("share", [0.99, 0.98, 0.965, 0.95])
def test_over_a_relief_so_is_one_that_gathers_speed(share: float) -> None:
    """In the loop of a real robot the steps grow by a few pixels each; over a scanned goal an alignment did not lead back from there."""
    apart = float(np.abs(left(share) - left(1.0)).max())
    assert nearest(after_a_step(left(1.0), left(1.0), True), share) < 0.2 * apart
    assert nearest(after_a_step(left(1.0), left(1.0), False), share) == pytest.approx(apart)
