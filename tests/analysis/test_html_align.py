"""The report of an alignment says what was found, and stands alone."""

from __future__ import annotations

import base64
import io
import json
import math

import cv2
import numpy as np
import pytest
from PIL import Image

from align_helpers import CAMERA, DEPTH, OPTICS, blobs, motion, noisy, reference, seen
from html_helpers import ATTACK, Parsed, stands_alone
from siame_se3.analysis.html_align import Followed, align_page
from siame_se3.commissioning.align import Alignment, Reference
from siame_se3.commissioning.align_picture import Optics, Picture
from siame_se3.commissioning.align_words import Judge, Tolerance

JUDGE = Judge(Tolerance(2e-3, math.radians(0.2)), Tolerance(1e-2, math.radians(1)))
AWAY = motion(0.02, -0.01, 0.015, 0, 0, 0.05)  # the reference's camera is left, below, behind


def page_of(*frames: np.ndarray) -> tuple[Parsed, list[Alignment]]:
    """Of frames that come one a tenth of a second, and what was found in them."""
    followed, found = Followed(JUDGE), []
    for k, pixels in enumerate(frames):
        picture = Picture.of(pixels, OPTICS)
        found.append(reference().locate(picture))
        followed.add(found[-1], 0.1 * k, picture)
    settings = {"reference": ATTACK, "goal_depth": 0.6}
    return stands_alone(align_page(ATTACK, reference(), followed, settings, f"siame align {ATTACK}")), found


def test_one_picture_has_its_motion_in_words_and_in_space() -> None:
    parsed, (found,) = page_of(noisy(seen(AWAY), 0.01))
    words = parsed.words
    assert JUDGE.sentence(found) in words
    for direction, by, unit in (
        ("left", 20, "mm"),
        ("down", 10, "mm"),
        ("back", 15, "mm"),
        ("counterclockwise", 2.9, "deg"),
    ):
        value, of = words[words.index(direction) + 1].split()
        assert (float(value), of) == (pytest.approx(by, abs=1.5 if unit == "mm" else 0.1), unit)
    assert words[words.index("verdict") - 1] == "move"
    captions = [image["alt"] for image in parsed.all("img")]
    assert captions == ["reference", "now", "now - reference (grey: equal)", "now - reference as seen from there"]
    data = json.loads(parsed.data)
    (run,) = data["runs"]
    assert run["path"][0] == pytest.approx([0.02, -0.01, 0.015], abs=1.5e-3), "where the camera is, in the reference's"
    assert run["path"][-1] == [0, 0, 0]
    assert (data["at"], data["charts"]) == (0, [])


def test_a_live_one_has_its_curves_and_some_pictures() -> None:
    shares = (1, 0.5, 0.2, 0, 0)
    way = [motion(*(s * np.array([0.02, -0.01, 0.015, 0, 0, 0.05]))) for s in shares]
    parsed, found = page_of(*map(seen, way))
    data = json.loads(parsed.data)
    (run,) = data["runs"]
    assert [chart["title"] for chart in data["charts"]] == ["to be moved [mm]", "to be turned [deg]", "confidence"]
    assert run["t"] == pytest.approx([1e3 * one.motion[0] for one in found], rel=1e-3)
    assert run["t"][:4] == pytest.approx([1e3 * s * math.hypot(0.02, 0.01, 0.015) for s in shares[:4]], abs=1.0)
    assert run["good"]
    words = parsed.words
    assert [words[words.index(name) - 1] for name in ("at the end", "frames", "frames a second")] == [
        "right",
        "5",
        "10",
    ]
    assert words[words.index("frames that were right") - 1] == "40 %"
    captions = [str(image["alt"]) for image in parsed.all("img")]
    assert captions[:2] == ["reference", "frame 0"]
    assert "frame 4, the last" in captions


def test_a_photo_on_its_side_is_shown_as_it_was_held() -> None:
    """A camera whose raster lies on its side: pictures, words and the drawing are upright."""
    camera = CAMERA.from_focal(320, 240, 320)
    optics = Optics(CAMERA)
    goal, now = (
        Picture.of(np.ascontiguousarray(np.rot90(seen(T_dc, camera=camera))), optics, quarters=1)
        for T_dc in (None, motion(0.02, 0, 0, 0, 0, 0))
    )
    followed, looked_for = Followed(JUDGE), Reference.of(goal, DEPTH)
    followed.add(looked_for.locate(now), 0.0, now)
    parsed = stands_alone(align_page("a page", looked_for, followed, {}, "siame align"))
    for image in parsed.all("img"):
        shown = Image.open(io.BytesIO(base64.b64decode(str(image["src"]).partition("base64,")[2])))
        assert shown.height > shown.width, image["alt"]
    assert "left" in parsed.words
    data = json.loads(parsed.data)
    assert data["runs"][0]["path"][0] == pytest.approx([0.02, 0, 0], abs=1.5e-3)
    assert data["camera"] == pytest.approx([120 / 320, 160 / 320], abs=1e-3)


def test_how_well_turns_are_known_is_said_of_the_right_ones() -> None:
    """About the reference's x it is known to 2 deg, and the current camera is rolled by 90 deg: there that is to pan."""
    T_cd = np.eye(4)
    T_cd[:3, :3] = cv2.Rodrigues(np.array([0, 0, math.pi / 2]))[0]
    covariance = np.diag(np.square([1e-4, 1e-4, 1e-4, *np.radians([1, 0.01, 0.02])]))
    followed, picture = Followed(JUDGE), Picture.of(seen(), OPTICS)
    followed.add(Alignment(T_cd, covariance, 0.9, 1.0, "m"), 0.0, picture)
    words = stands_alone(align_page("a page", reference(), followed, {}, "siame align")).words
    turns = [words[k + 3] for k, word in enumerate(words) if word == "turn"]
    assert turns == ["2 deg", "0.02 deg", "0.04 deg"], "right or left, up or down, clockwise or not"


def test_a_picture_of_another_place_says_so_and_has_no_motion() -> None:
    followed, picture = Followed(JUDGE), Picture.of(seen(of=blobs(1)), OPTICS)
    followed.add(Alignment.unknown("the current picture shows nothing of the reference", "m"), 0.0, picture)
    parsed = stands_alone(align_page("a page", reference(), followed, {}, "siame align"))
    assert "Not known: the current picture shows nothing of the reference." in parsed.words
    assert parsed.data == ""
    assert "now - reference as seen from there" not in [image["alt"] for image in parsed.all("img")]


def test_no_frame_is_a_page_too() -> None:
    assert "no frames" in stands_alone(align_page("a page", reference(), Followed(JUDGE), {}, "siame align")).words


def test_a_long_one_keeps_as_much_as_a_short_one() -> None:
    followed, picture = Followed(JUDGE), Picture.of(seen(), OPTICS)
    found = reference().locate(picture)
    for k in range(20_000):
        followed.add(found, 0.05 * k, picture)
    assert len(followed.frames.kept) < 800
    assert len(followed.pictures.kept) < 6
    parsed = stands_alone(align_page("a page", reference(), followed, {}, "siame align"))
    assert json.loads(parsed.data)["runs"][0]["k"][-1] > 19_900
    assert json.loads(parsed.data)["dt"] == pytest.approx(0.05, rel=0.01)
