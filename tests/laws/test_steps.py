from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from siame_se3.geometry import lie
from siame_se3.laws.pose import pbvs_velocity
from siame_se3.laws.steps import after_a_step

XI = torch.tensor([0.1, -0.05, 0.03, 0.1, 0.2, 0.4], dtype=torch.float64)


def stepped(T_cd: np.ndarray, share: float) -> np.ndarray:
    """T_cd after a step that leaves that share of the way, with PBVS's twist held."""
    T_dc = lie.inverse(torch.from_numpy(T_cd))
    there: np.ndarray = lie.inverse(T_dc @ lie.exp((1 - share) * pbvs_velocity(T_dc))).numpy()
    return there


def left(share: float) -> np.ndarray:
    """T_cd where that share of the way home is left, after one step from XI away."""
    return stepped(lie.pose(lie.so3_exp(XI[3:]), XI[:3]).numpy(), share)


@pytest.mark.parametrize("angle", [5.0, 60.0, 90.0])
@pytest.mark.parametrize("gain", [0.05, 0.4])
@pytest.mark.parametrize("parts", [1, 400])
def test_a_camera_that_pbvs_drives_is_among_the_places(angle: float, gain: float, parts: int) -> None:
    """In steps of that gain, each with its twist held, or new all the time: then t_dc falls on a straight line while the camera turns."""
    axis = torch.tensor([0.2, -0.4, 0.9], dtype=torch.float64)
    T_dc = lie.pose(
        lie.so3_exp(math.radians(angle) * axis / axis.norm()), torch.tensor([0.25, -0.2, -0.3], dtype=torch.float64)
    )
    places = [lie.inverse(T_dc).numpy()]
    for _ in range(3):
        for _ in range(parts):
            T_dc = T_dc @ lie.exp(gain / parts * pbvs_velocity(T_dc))
        places.append(lie.inverse(T_dc).numpy())
    before, last, now = places[-3:]
    apart = float(np.abs(now - last).max())
    near = min(float(np.abs(T - now).max()) for T in after_a_step(last, before, False))
    assert near < (0.02 if parts == 1 else 0.15) * apart


def apart_from(places: list[np.ndarray], T_cd: np.ndarray) -> float:
    return min(float(np.abs(T - T_cd).max()) for T in places)


def nearest(places: list[np.ndarray], share: float) -> float:
    return apart_from(places, left(share))


def test_a_robot_that_stands_is_among_the_places() -> None:
    for before in (None, left(1.1), left(1.0)):
        assert nearest(after_a_step(left(1.0), before, False), 1.0) == 0


@pytest.mark.parametrize("share", [0.9, 0.7])
def test_so_is_one_that_goes_on_by_the_same_share_or_at_the_same_speed(share: float) -> None:
    places = after_a_step(left(share), left(1.0), False)
    moved = float(np.abs(left(share) - left(1.0)).max())
    assert apart_from(places, stepped(left(share), share)) < 0.02 * moved
    assert apart_from(places, stepped(left(share), 2 - 1 / share)) < 0.02 * moved
    assert len(places) == 3


@pytest.mark.parametrize("share", [0.99, 0.98, 0.965, 0.95])
def test_over_a_relief_so_is_one_that_gathers_speed(share: float) -> None:
    """In the loop of a real robot the steps grow by a few pixels each; over a scanned goal an alignment did not lead back from there."""
    apart = float(np.abs(left(share) - left(1.0)).max())
    assert nearest(after_a_step(left(1.0), left(1.0), True), share) < 0.2 * apart
    assert nearest(after_a_step(left(1.0), left(1.0), False), share) == pytest.approx(apart)
