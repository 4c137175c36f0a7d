"""What the table of `experiments.align` counts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from siame_se3.commissioning.align import Alignment, Reference
from siame_se3.experiments import align
from siame_se3.experiments.align import CAMERA as RENDERED
from siame_se3.experiments.align import DEPTH, DRIFT, distance, drifts, outcome, row
from siame_se3.experiments.real.pictures import Folder, Picture
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
    assert made["all: median, worst [mm]"] == "6, inf"
    assert made["not found"] == 1


def test_what_is_mostly_not_found_is_no_small_error() -> None:
    lost = (math.nan, math.nan, False, math.nan)
    made = row("x", [(1, 0.1, True, 1), lost, lost])
    assert (made["all: median, worst [mm]"], made["not found"], made["median sigma [mm]"]) == ("inf, inf", 2, "1")
    assert (row("x", [lost])["median sigma [mm]"], row("x", [lost])["sure: median, worst [mm]"]) == ("-", "-")


def test_a_goals_distance_is_that_of_its_depth_map_where_it_has_one() -> None:
    T = lie.pose_from_vector(torch.tensor([0, 0, -0.5, 0.2, 0, 0], dtype=torch.float64))
    rgb, depth = np.zeros((480, 640, 3), np.uint8), np.full((480, 640), 2.0, np.float32)
    assert distance(Picture("a", rgb, RENDERED, T, None)) == pytest.approx(0.5 / math.cos(0.2), rel=0.01)
    depth[238:242, 310:330] = np.nan
    assert distance(Picture("a", rgb, RENDERED, T, None, depth)) == 2
    depth[200:280, 300:340] = np.nan
    assert math.isnan(distance(Picture("a", rgb, RENDERED, T, None, depth)))


def test_pairs_with_depth_are_those_of_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, depth = np.zeros((480, 640, 3), np.uint8), np.full((480, 640), 2.0, np.float32)
    rgb[100:300, 200:400] = 200
    T = torch.eye(4, dtype=torch.float64)
    known, unknown = Picture("a", rgb, RENDERED, T, None, depth), Picture("b", rgb, RENDERED, T, None, depth * np.nan)
    folder = Folder("office", (known, unknown), True, ((0, 1), (1, 0)), ((0, 1),))
    monkeypatch.setattr(align, "read_folder", lambda path: folder)
    asked = []
    monkeypatch.setattr(
        Reference, "locate", lambda self, picture: asked.append(self.depth) or Alignment.unknown("nothing", "m")
    )
    made = align.pairs(Path("office"))
    assert (made["pairs"], made["not found"], asked) == (1, 1, [2.0])


def test_drifts_are_as_long_as_they_say() -> None:
    moved = [lie.error_norms(T) for T in drifts(np.random.default_rng(0))]
    assert math.isclose(float(moved[0][0]) * RENDERED.fx / DEPTH, DRIFT)
    assert math.isclose(float(moved[2][1]) * RENDERED.fx, DRIFT)
