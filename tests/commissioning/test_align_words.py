"""What an alignment means, in words and as plain data."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from siame_se3.commissioning.align import Alignment
from siame_se3.commissioning.align_words import Judge, Tolerance, Verdict, motion, spreads, values
from siame_se3.errors import InputError

JUDGE = Judge(Tolerance(2e-3, math.radians(0.2)), Tolerance(5e-3, math.radians(0.5)))


def alignment(
    t: tuple[float, float, float] = (0, 0, 0),
    degrees: tuple[float, float, float] = (0, 0, 0),
    sigma: float = 1e-4,
    doubt: str = "",
    unit: str = "m",
) -> Alignment:
    """With one standard deviation for all of shift and turn."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(np.radians(degrees))[0], t
    return Alignment(T, sigma**2 / 3 * np.eye(6), 0.97, 0.81, unit, doubt)


def test_the_line_of_the_manual() -> None:
    found = alignment((-0.032, 0.0001, -0.011), (0, 0, 4.1))
    assert JUDGE.sentence(found) == (
        "move 32 mm left and 11 mm back, turn 4.1 deg clockwise; confidence 0.97; overlap 81 %"
    )


@pytest.mark.parametrize(
    ("t", "degrees", "words"),
    [
        ((0.02, 0, 0), (0, 0, 0), "move 20 mm right"),
        ((0, 0.02, 0), (0, 0, 0), "move 20 mm down"),
        ((0, -0.02, 0), (0, 0, 0), "move 20 mm up"),
        ((0, 0, 1.25), (0, 0, 0), "move 1.25 m forward"),
        ((0, 0, 0), (2, 0, 0), "turn 2 deg up"),
        ((0, 0, 0), (-2, 0, 0), "turn 2 deg down"),
        ((0, 0, 0), (0, 3, 0), "turn 3 deg right"),
        ((0, 0, 0), (0, -3, 0), "turn 3 deg left"),
        ((0, 0, 0), (0, 0, -9.5), "turn 9.5 deg counterclockwise"),
        ((0, 0, 0), (0, 0, 0), "stay"),
    ],
)
def test_directions(t: tuple[float, float, float], degrees: tuple[float, float, float], words: str) -> None:
    assert motion(alignment(t, degrees)) == words


def test_directions_are_those_of_the_picture() -> None:
    """A camera that stands left of the reference sees it too far right, and has to move right; one that looks too low has to turn up."""
    point = np.array([0.0, 0, 1])  # in the middle of the reference
    found = alignment((0.1, 0, 0), (0, 0, 0))
    assert found.T_cd is not None
    assert (found.T_cd[:3, :3] @ point + found.T_cd[:3, 3])[0] > 0
    assert "right" in motion(found)
    up = alignment((0, 0, 0), (5, 0, 0))
    assert up.T_cd is not None
    assert (up.T_cd[:3, :3] @ point)[1] < 0, "y is down"
    assert "up" in motion(up)


def test_shares_of_the_distance() -> None:
    assert motion(alignment((0.068, 0, -0.021), unit="distance")) == "move 6.8 % of the distance right and 2.1 % back"


def test_small_parts_and_those_that_are_not_known_are_not_said() -> None:
    assert motion(alignment((0.05, 0.004, 0.02))) == "move 50 mm right and 20 mm forward"
    assert motion(alignment((0.05, 0, 0.02), sigma=0.06)) == "move 50 mm right"


@pytest.mark.parametrize(
    ("found", "verdict", "words"),
    [
        (alignment((0.001, 0, 0)), Verdict.RIGHT, "right: within 2 mm and 0.2 deg (1 mm and under 0.01 deg off); "),
        (alignment((0.003, 0, 0)), Verdict.MOVE, "move 3 mm right; "),
        (alignment((0, 0, 0), (0, 0.3, 0)), Verdict.MOVE, "turn 0.3 deg right; "),
        (alignment((0.1, 0, 0), sigma=0.004), Verdict.NOT_SURE, "not sure: move about 100 mm right; known to 8 mm and"),
        (alignment((0.001, 0, 0), sigma=0.0015), Verdict.NOT_SURE, "it looks right, known to 3 mm"),
        (alignment((0.1, 0, 0), doubt="another place"), Verdict.NOT_SURE, "not sure: another place; confidence 0.97"),
        (Alignment.unknown("nothing", "m"), Verdict.NOT_SURE, "not sure: nothing; confidence 0.00; overlap 0 %"),
    ],
)
def test_verdicts(found: Alignment, verdict: Verdict, words: str) -> None:
    assert JUDGE.verdict(found)[0] is verdict
    assert words in JUDGE.sentence(found)
    assert JUDGE.data(found)["verdict"] == verdict.value


def test_a_shift_and_a_turn_that_look_alike_are_named() -> None:
    found = alignment((0.1, 0, 0))
    found.covariance[:] = 0
    found.covariance[np.ix_([0, 4], [0, 4])] = [[1e-4, 0.99e-4], [0.99e-4, 1e-4]]
    found.covariance[np.diag_indices(6)] += 1e-8
    assert "a shift and a turn look alike here" in JUDGE.sentence(found)


def test_plain_data_is_json() -> None:
    data = json.loads(json.dumps(JUDGE.data(alignment((-0.032, 0, 0), (1, 2, 3))), allow_nan=False))
    assert data["right"] == -0.032
    assert data["turn_clockwise_deg"] == pytest.approx(3, abs=0.1)
    assert data["sigma_distance"] == pytest.approx(1e-4)
    nothing = json.loads(json.dumps(JUDGE.data(Alignment.unknown("nothing", "m")), allow_nan=False))
    assert nothing["T_cd"] is None
    assert nothing["distance"] is None


def test_tolerances() -> None:
    assert Tolerance.parse(("2mm", "0.2deg"), "within", 0.5) == Tolerance(2e-3, math.radians(0.2))
    assert Tolerance.parse(("1mrad", "3 cm"), "within", 0.5) == Tolerance(0.03, 1e-3)
    assert Tolerance.parse(("0.5%", "1deg"), "within", 2.0).distance == pytest.approx(0.01)
    assert Tolerance.parse(("0.5%", "1deg"), "within", None).distance == pytest.approx(0.005)
    with pytest.raises(InputError, match="distance of the scene is not known") as error:
        Tolerance.parse(("2mm", "0.2deg"), "within", None)
    assert error.value.settings == ("goal_depth", "within")


@pytest.mark.parametrize(
    "words", [("2", "3"), ("2mm", "3mm"), ("0mm", "1deg"), ("-2mm", "1deg"), ("1.2.3mm", "1deg"), ("1deg", "2rad")]
)
def test_what_is_no_tolerance(words: tuple[str, str]) -> None:
    with pytest.raises(InputError, match="give a length and an angle"):
        Tolerance.parse(words, "within", 1.0)


def held(found: Alignment, quarters: int) -> Alignment:
    return replace(found, quarters=quarters)


@pytest.mark.parametrize(
    ("quarters", "words"),
    [
        (0, "move 20 mm right, turn 3 deg up"),
        (1, "move 20 mm down, turn 3 deg right"),
        (2, "move 20 mm left, turn 3 deg down"),
        (3, "move 20 mm up, turn 3 deg left"),
    ],
)
def test_directions_are_those_of_a_camera_as_it_is_held(quarters: int, words: str) -> None:
    """Held so that its raster's right is down, a camera that has to move along its raster goes down; T_cd is the raster's."""
    found = held(alignment((0.02, 0, 0), (3, 0, 0)), quarters)
    assert motion(found) == words
    data, raster = JUDGE.data(found), JUDGE.data(held(found, 0))
    assert data["T_cd"] == raster["T_cd"]
    assert data["covariance"] == raster["covariance"]
    assert math.hypot(data["right"], data["down"]) == pytest.approx(0.02)
    assert (data["right"], data["down"])[quarters % 2] == pytest.approx((0.02, 0.02, -0.02, -0.02)[quarters])


@pytest.mark.parametrize("quarters", [0, 1, 3])
@pytest.mark.parametrize("degrees", [(0, 0, 90), (0, 0, -40), (20, -30, 60)])
def test_how_well_each_direction_is_known_is_about_its_own_axis(
    degrees: tuple[float, float, float], quarters: int
) -> None:
    """By drawing motions from the covariance, whose turns are about the reference's axes."""
    found = held(alignment((0.1, 0, 0), degrees), quarters)
    sigma = np.array([1e-3, 2e-3, 3e-3, 1e-3, 4e-3, 2e-3])
    found = replace(found, covariance=np.diag(sigma**2))
    assert found.T_cd is not None
    draws = []
    for step in np.random.default_rng(0).normal(size=(4000, 6)) * sigma:
        T = found.T_cd.copy()
        T[:3, 3] += step[:3]
        T[:3, :3] = T[:3, :3] @ cv2.Rodrigues(step[3:])[0]
        draws.append(values(replace(found, T_cd=T)))
    assert spreads(found) == pytest.approx(np.std(draws, axis=0), rel=0.06)


@pytest.mark.parametrize(
    ("t", "degrees", "sigma", "verdict", "words"),
    [
        (0.0021, 0, 0.00245, Verdict.NOT_SURE, "it may be right, known to 4.9 mm and 0.28 deg only"),
        (0.006, 0, 0.00245, Verdict.NOT_SURE, "it may be right"),
        (0.008, 0, 0.00245, Verdict.MOVE, "move 8 mm right; "),
        (0.1, 0, 0.00245, Verdict.MOVE, "move 100 mm right; "),
        (0.0021, 0, 0.0009, Verdict.MOVE, "move 2.1 mm right; "),  # known to 1.8 mm, which is less than the tolerance
        (0.0001, 3, 0.00245, Verdict.MOVE, "turn 3 deg right; "),
        (0.0001, 0.4, 0.00245, Verdict.NOT_SURE, "it may be right"),
    ],
)
def test_what_is_less_than_it_is_known_to_is_no_motion(
    t: float, degrees: float, sigma: float, verdict: Verdict, words: str
) -> None:
    found = alignment((t, 0, 0), (0, degrees, 0), sigma)
    assert JUDGE.verdict(found)[0] is verdict
    assert words in JUDGE.sentence(found)


def test_a_coarse_tolerance_needs_no_finer_certainty() -> None:
    """At home within 50 mm, known to 8 mm."""
    coarse = Judge(Tolerance(0.05, math.radians(5)), JUDGE.sure)
    assert coarse.verdict(alignment((0.01, 0, 0), sigma=0.004))[0] is Verdict.RIGHT
    assert coarse.verdict(alignment((0.2, 0, 0), sigma=0.004))[0] is Verdict.NOT_SURE, (
        "a motion that is said, sure to 5 mm"
    )


MICROSCOPE = Judge(Tolerance(1e-5, math.radians(0.2)), Tolerance(3e-5, math.radians(0.5)))


@pytest.mark.parametrize(
    ("t", "words"),
    [
        ((4e-5, 0, 0), "move 40 um right; "),
        ((1.2e-5, 0, -1.1e-5), "move 12 um right and 11 um back; "),
        ((9e-5, 0.0, 3e-4), "move 90 um right and 0.3 mm forward; "),
        ((4e-6, 0, 0), "right: within 10 um and 0.2 deg (4 um and under 0.01 deg off)"),
    ],
)
def test_a_microscopes_motions(t: tuple[float, float, float], words: str) -> None:
    assert MICROSCOPE.sentence(alignment(t, sigma=1e-6)).startswith(words)


@pytest.mark.parametrize("unit", ["m", "distance"])
@pytest.mark.parametrize("scale", [1e-7, 1e-5, 1e-3, 1.0])
def test_a_motion_to_be_made_is_never_to_stay(scale: float, unit: str) -> None:
    judge = Judge(Tolerance(scale, 0.1 * scale), Tolerance(scale, 0.1 * scale))
    rng = np.random.default_rng(0)
    for _ in range(50):
        t, turn = rng.normal(size=3), rng.normal(size=3)
        t *= rng.uniform(0, 2) * scale / np.linalg.norm(t)
        turn *= math.degrees(rng.uniform(0, 2) * 0.1 * scale) / np.linalg.norm(turn)
        found = alignment(tuple(t), tuple(turn), 0.01 * scale, unit=unit)
        if judge.verdict(found)[0] is Verdict.MOVE:
            assert judge.sentence(found).startswith(("move ", "turn "))
            assert "under 0.01" not in judge.sentence(found).partition(";")[0]
        else:
            assert "within under" not in judge.sentence(found)


@pytest.mark.parametrize("word", ["10um", "10 \u00b5m", "10\u03bcm", "0.01mm", "10 UM"])
def test_micrometres(word: str) -> None:
    assert Tolerance.parse((word, "0.2deg"), "within", 0.005).distance == pytest.approx(1e-5)
