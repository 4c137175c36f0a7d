"""Where the camera is beside a reference photo."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from align_helpers import CAMERA, DEPTH, OPTICS, PIXEL, blobs, dots, errors, motion, noisy, reference, seen
from siame_se3.commissioning.align import Alignment, Reference
from siame_se3.commissioning.align_picture import Optics, Picture
from siame_se3.commissioning.align_regions import Regions
from siame_se3.commissioning.align_words import Judge, Tolerance, Verdict
from siame_se3.errors import InputError

JUDGE = Judge(Tolerance(2e-3, math.radians(0.2)), Tolerance(5e-3, math.radians(0.5)))


def located(pixels: np.ndarray, optics: Optics = OPTICS, of: Reference | None = None) -> Alignment:
    return (of or reference()).locate(Picture.of(pixels, optics))


@pytest.mark.parametrize(
    "T_dc",
    [
        motion(18.5 * PIXEL, 0, 0, 0, 0, 0),  # at half the size, 37 px
        motion(-11 * PIXEL, 15 * PIXEL, 0, 0, 0, 0),
        motion(0, 0, 0.04, 0, 0, 0.05),
        motion(0, 0, 0, 0.02, -0.05, 0),
        motion(0.3 * PIXEL, -0.2 * PIXEL, 0, 0, 0, 0),
        motion(0.02, -0.01, 0.01, 0.02, 0.03, -0.08),
    ],
    ids=["right", "left and down", "forward and roll", "pan", "a part of a pixel", "all"],
)
@pytest.mark.parametrize("tilt", [0.0, 0.35])
def test_a_drift_is_found_or_not_sure(T_dc: np.ndarray, tilt: float) -> None:
    """Under another exposure, with noise; from a plane seen square on, and one that is not."""
    found = located(noisy(seen(T_dc, tilt=tilt), 0.01, 0.7, 0.1), of=reference(tilt))
    t, r = errors(found, T_dc)
    sigma = found.sigmas
    assert t < max(0.2, 3e3 * sigma[0]), "within three of its standard deviations"
    assert r < max(0.02, math.degrees(3 * sigma[1]))
    if JUDGE.verdict(found)[0] is not Verdict.NOT_SURE:
        assert (t < 5, r < 0.5) == (True, True)
    assert found.confidence > 0.8


def test_most_drifts_are_sure() -> None:
    sure = 0
    for k in range(6):
        turn = k * math.pi / 3
        T_dc = motion(18.5 * PIXEL * math.cos(turn), 18.5 * PIXEL * math.sin(turn), 0, 0, 0, 0)
        found = located(noisy(seen(T_dc), 0.01, seed=k))
        sure += JUDGE.verdict(found)[0] is Verdict.MOVE
    assert sure >= 5


def test_the_same_view_is_right_and_whole() -> None:
    found = located(noisy(seen(), 0.02))
    assert JUDGE.verdict(found)[0] is Verdict.RIGHT
    assert found.overlap == 1
    assert found.unit == "m"
    t, r = found.motion
    assert t < 1e-3
    assert math.degrees(r) < 0.1


def test_an_occlusion_and_blur() -> None:
    T_dc = motion(8 * PIXEL, 0, 0, 0, 0, 0.03)
    pixels = cv2.GaussianBlur(seen(T_dc), (0, 0), 1)
    pixels[100:200, 40:150] = (200, 150, 120)
    t, r = errors(located(pixels), T_dc)
    assert t < 3
    assert r < 0.3


@pytest.mark.parametrize("pixels", [seen(of=blobs(1)), 255 - seen(), np.full((240, 320, 3), 90, np.uint8)])
def test_another_place_is_not_sure(pixels: np.ndarray) -> None:
    found = located(pixels)
    assert JUDGE.verdict(found)[0] is Verdict.NOT_SURE
    assert found.doubt


def test_what_repeats_itself_is_not_sure() -> None:
    grid = Reference.of(Picture.of(seen(of=dots()), OPTICS), DEPTH)
    found = located(seen(motion(0.025, 0, 0, 0, 0, 0), dots()), of=grid)
    assert found.doubt == "the scene looks alike at two places"


def test_what_moves_is_left_out() -> None:
    """Two thirds of the picture move on their own, and would win."""
    T_dc = motion(3 * PIXEL, 0, 0, 0, 0, 0.01)
    goal, now = seen(), seen(T_dc)
    moving = seen(of=blobs(3))
    goal[:, :200], now[:, :200] = moving[:, :200], np.roll(moving, 9, 0)[:, :200]
    picture = Picture.of(goal, OPTICS)
    for regions in (Regions.parse(("200,0,120,240",), ()), Regions.parse((), ("0,0,62.5%,100%",))):
        found = located(now, of=Reference.of(picture, DEPTH, regions.counting(picture)))
        t, r = errors(found, T_dc)
        assert t < max(1, 3e3 * found.sigmas[0])
        assert math.degrees(found.motion[1]) > 0.3
        assert r < 0.3


def test_pictures_of_other_sizes_and_cameras() -> None:
    T_dc = motion(0.01, 0, 0, 0, 0, 0)
    other = CAMERA.from_focal(300, 240, 320)
    found = located(seen(T_dc, camera=other), Optics(fov=2 * math.atan(120 / 300)))
    assert errors(found, T_dc)[0] < max(1, 3e3 * found.sigmas[0])
    small = cv2.resize(seen(T_dc), (160, 120), interpolation=cv2.INTER_AREA)
    assert errors(located(small), T_dc)[0] < 2


def test_without_a_distance_motions_are_shares_of_it() -> None:
    T_dc = motion(0.1 * DEPTH, 0, 0, 0, 0, 0)
    found = located(seen(T_dc), of=Reference.of(Picture.of(seen(), OPTICS)))
    assert found.unit == "distance"
    assert found.T_cd is not None
    assert found.T_cd[0, 3] == pytest.approx(-0.1, abs=0.005)


def test_a_guessed_field_of_view_makes_large_motions_not_sure() -> None:
    T_dc = motion(18.5 * PIXEL, 0, 0, 0, 0, 0)
    known, guessed = located(seen(T_dc)), Reference.of(Picture.of(seen(), Optics()), DEPTH)
    found = located(seen(T_dc), Optics(), guessed)
    assert found.guessed
    assert found.sigmas[0] > 5 * known.sigmas[0]
    verdict, why = JUDGE.verdict(found)
    assert verdict is Verdict.NOT_SURE
    assert "guess" in why
    assert JUDGE.verdict(located(seen(), Optics(), guessed))[0] is Verdict.RIGHT, "what has not moved needs no lens"


def test_a_narrow_view_is_less_sure_of_shift_and_turn() -> None:
    sigmas = []
    for focal in (320, 3200):
        camera = CAMERA.from_focal(focal, 320, 240)
        optics = Optics(fov=2 * math.atan(160 / focal))
        distance = DEPTH * focal / 320  # the same part of the print
        T_wd = np.eye(4)
        T_wd[2, 3] = DEPTH - distance
        goal = Reference.of(Picture.of(seen(T_wd, camera=camera), optics), distance)
        T_dc = motion(10 * PIXEL, 0, 0, 0, 0, 0)
        found = located(noisy(seen(T_wd @ T_dc, camera=camera), 0.02), optics, goal)
        assert errors(found, T_dc)[0] < 3e3 * found.sigmas[0]
        sigmas.append(found.sigmas[0])
    assert sigmas[1] > 3 * sigmas[0]


def test_square_on_tells_shift_and_turn_apart() -> None:
    picture = Picture.of(seen(), OPTICS)
    now = Picture.of(noisy(seen(motion(0.02, -0.01, 0.06, 0, 0, 0)), 0.01), OPTICS)
    free, square = (Reference.of(picture, DEPTH, slope=slope).locate(now).sigmas[0] for slope in (0.5, 0.05))
    assert square < free / 2


def test_references_that_are_none() -> None:
    with pytest.raises(InputError, match="plain surface"):
        Reference.of(Picture.of(np.full((40, 40, 3), 9, np.uint8), OPTICS))
    with pytest.raises(InputError, match="metres above 0"):
        Reference.of(Picture.of(seen(), OPTICS), 0.0)
