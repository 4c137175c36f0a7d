from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from siame_se3.geometry import lie
from siame_se3.laws.pose import pbvs_velocity
from siame_se3.laws.steps import after_a_step

XI = torch.tensor([0.1, -0.05, 0.03, 0.1, 0.2, 0.4], dtype=torch.float64)


def left(share: float) -> np.ndarray:
    """T_cd where that share of the way home is left."""
    T = torch.eye(4, dtype=torch.float64)
    T[:3, :3], T[:3, 3] = lie.so3_exp(share * XI[3:]), share * lie.so3_exp((share - 1) * XI[3:]) @ XI[:3]
    return T.numpy()


@pytest.mark.parametrize("angle", [5.0, 60.0, 90.0])
@pytest.mark.parametrize("gain", [0.05, 0.3])
def test_a_camera_that_pbvs_drives_is_among_the_places(angle: float, gain: float) -> None:
    """Its t_dc falls on a straight line while it turns: integrated in small steps of PBVS's own velocity."""
    axis = torch.tensor([0.2, -0.4, 0.9], dtype=torch.float64)
    T_dc = torch.eye(4, dtype=torch.float64)
    T_dc[:3, :3] = lie.so3_exp(math.radians(angle) * axis / axis.norm())
    T_dc[:3, 3] = torch.tensor([0.25, -0.2, -0.3])
    places = [torch.linalg.inv(T_dc).numpy()]
    for _ in range(3):
        for _ in range(400):
            T_dc = T_dc @ lie.exp(gain / 400 * pbvs_velocity(T_dc))
        places.append(torch.linalg.inv(T_dc).numpy())
    before, last, now = places[-3:]
    apart = float(np.abs(now - last).max())
    assert min(float(np.abs(T - now).max()) for T in after_a_step(last, before, False)) < 0.01 * apart


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
