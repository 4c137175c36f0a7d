"""What the table of `experiments.align` counts."""

from __future__ import annotations

import math

import numpy as np
import torch

from siame_se3.commissioning.align import Alignment
from siame_se3.experiments.align import CAMERA as RENDERED
from siame_se3.experiments.align import DEPTH, DRIFT, drifts, outcome, row
from siame_se3.geometry import lie


def test_an_outcome_is_the_error_of_the_motion() -> None:
    T_dc = lie.pose_from_vector(torch.tensor([0.03, 0, 0, 0, 0, 0.1], dtype=torch.float64))
    off = lie.pose_from_vector(torch.tensor([0.004, 0, 0, 0, 0.01, 0], dtype=torch.float64))
    found = Alignment((lie.inverse(T_dc) @ off).numpy(), 1e-8 * np.eye(6), 0.9, 1.0, "m")
    t, r, sure, sigma = outcome(found, T_dc)
    np.testing.assert_allclose((t, r, sigma), (4, math.degrees(0.01), math.sqrt(3e-8) * 1e3), rtol=1e-6)
    assert sure
    assert not outcome(Alignment.unknown("nothing", "m"), T_dc)[2]


def test_wrong_is_sure_and_far() -> None:
    made = row(
        "x",
        [
            (6, 0.1, True, 1),
            (1, 0.6, True, 1),
            (6, 0.6, False, 9),
            (1, 0.1, True, 1),
            (math.nan, math.nan, False, math.nan),
        ],
    )
    assert (made["pairs"], made["wrong"], made["not sure"]) == (5, 2, "40 %")
    assert made["sure: median, worst [mm]"] == "1, 6"


def test_drifts_are_as_long_as_they_say() -> None:
    moved = [lie.error_norms(T) for T in drifts(np.random.default_rng(0))]
    assert math.isclose(float(moved[0][0]) * RENDERED.fx / DEPTH, DRIFT)
    assert math.isclose(float(moved[2][1]) * RENDERED.fx, DRIFT)
