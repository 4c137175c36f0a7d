"""What counts as a joint near its limit: the same for all arms."""

from __future__ import annotations

import math

import pytest

from siame_se3.plants.robots.checks import joint_fault

LIMITS = (math.pi, math.pi / 2, 2 * math.pi)


@pytest.mark.parametrize(
    ("degrees", "fault"),
    [
        ((0, 0, 0), ""),
        ((177.9, 87.9, -357.9), ""),
        ((178.1, 0, 0), "joint 0 is within 2 deg of its limit"),
        ((0, -88.1, 359), "joint 1 is within 2 deg of its limit"),
        ((0, 0, -400), "joint 2 is within 2 deg of its limit"),
    ],
)
def test_a_joint_within_two_degrees_of_its_limit_is_named(degrees: tuple[float, ...], fault: str) -> None:
    assert joint_fault([math.radians(x) for x in degrees], LIMITS) == fault
