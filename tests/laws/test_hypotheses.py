from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import homography
from siame_se3.laws import hypotheses
from siame_se3.laws.hypotheses import Keypoints, Matches
from siame_se3.laws.templates import Pyramid, Template
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene

CAMERA = Camera.from_focal(300, 224)
SIZE = CAMERA.size


def offset(*p: float) -> Tensor:
    return lie.pose_from_vector(torch.tensor(p, dtype=torch.float64))


T_WD = offset(0.02, -0.03, -0.6, 0, 0, 0)
VIEWS = {
    "turned": offset(0, 0, 0, 0, 0, 2.0),
    "upside-down": offset(0.03, 0, 0, 0, 0, math.pi),
    "nearer": offset(0.02, 0, 0.2, 0, 0, 0),
    "farther": offset(0, 0.02, -0.3, 0, 0, 0.3),
    "tilted": offset(0.3, 0, 0.1, 0, -0.6, 0),
    "all": offset(0.1, 0.1, -0.1, 0.25, -0.2, 1.0),
}
each_view = pytest.mark.parametrize("view", VIEWS)


def grey_of(scene: Scene, T_wc: Tensor) -> np.ndarray:
    image = FlyingCameras(scene, CAMERA).look(T_wc[None]).image
    assert image is not None
    return image[0].mean(0).numpy()


@pytest.fixture(scope="module")
def coffee() -> Scene:
    return Scene.from_photo(Path(__file__).parents[1] / "data" / "visp" / "coffee.png", 1.0)


@pytest.fixture(scope="module")
def goal(coffee: Scene) -> np.ndarray:
    return grey_of(coffee, T_WD)


@pytest.fixture(scope="module")
def goal_views(goal: np.ndarray) -> list[Keypoints]:
    return hypotheses.tilted(goal)


def true(view: str) -> np.ndarray:
    return homography(CAMERA, T_WD @ VIEWS[view], T_WD).numpy()


def wrong_by(found: np.ndarray, expected: np.ndarray) -> float:
    """How far a homography takes goal pixels from where they are, at most of those that the image shows [px]."""
    grid = CAMERA.pixel_grid()[::16, ::16].reshape(-1, 2).numpy()
    a, b = (places_of(H, grid) for H in (found, expected))
    shown = ((b > 0) & (b < np.array(SIZE[::-1]) - 1)).all(1)
    assert shown.sum() > 10
    return float(np.linalg.norm(a - b, axis=1)[shown].max())


def places_of(H: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    mapped = np.c_[pixels, np.ones(len(pixels))] @ H.T
    return mapped[:, :2] / mapped[:, 2:]


def matched(coffee: Scene, goal_views: list[Keypoints], view: str) -> Matches:
    return hypotheses.matches(goal_views, Keypoints.of(grey_of(coffee, T_WD @ VIEWS[view])))


@each_view
def test_matches_agree_on_the_true_homography(coffee: Scene, goal_views: list[Keypoints], view: str) -> None:
    found = matched(coffee, goal_views, view).distinct()
    assert float(found.ratio.max()) <= 0.8
    first = next(hypotheses.from_matches(found.desired, found.seen, (224, 224)))
    assert wrong_by(first, true(view)) < 2


@each_view
def test_single_matches_with_support_are_near_the_true_homography(
    coffee: Scene, goal_views: list[Keypoints], view: str
) -> None:
    found = hypotheses.by_votes(matched(coffee, goal_views, view), SIZE)
    assert 1 <= len(found) <= 12
    assert min(wrong_by(H, true(view)) for H in found[:3]) < 2


@pytest.mark.parametrize("view", ["turned", "nearer", "farther"])
def test_a_match_is_a_similarity_by_itself(coffee: Scene, goal_views: list[Keypoints], view: str) -> None:
    """Of views square on, whose true homography is one."""
    found = matched(coffee, goal_views, view)
    best = [wrong_by(H, true(view)) for H in found.maps[:20]]
    assert float(np.median(best)) < 20
    np.testing.assert_allclose(
        [places_of(H, d[None])[0] for H, d in zip(found.maps, found.desired, strict=True)],
        found.seen,
        atol=1e-6,
    )


def test_simulated_views_know_their_places_in_the_image(goal: np.ndarray, goal_views: list[Keypoints]) -> None:
    """Keypoints of a tilted view lie where the image has its own: many within a pixel."""
    assert len(goal_views) == 5
    own = goal_views[0].pixels
    assert np.array_equal(goal_views[0].of_image(), own)
    for view in goal_views[1:]:
        places = view.of_image()
        assert ((places > 4) & (places < 219)).all()
        nearest = np.linalg.norm(places[:, None] - own[None], axis=2).min(1)
        chance = np.linalg.norm(
            np.random.default_rng(0).uniform(4, 219, places.shape)[:, None] - own[None], axis=2
        ).min(1)
        assert (nearest < 1).mean() > 2 * (chance < 1).mean()
        assert (nearest < 1).sum() > 20


def test_keypoints_of_a_large_image_are_in_its_own_pixels(goal: np.ndarray) -> None:
    """They are found in a smaller copy, and are where those of the image are: pixel centres, sizes."""
    large = cv2.resize(goal, (960, 960), interpolation=cv2.INTER_CUBIC)
    found, own = Keypoints.of(np.clip(large, 0, 1)), Keypoints.of(goal)
    expected = (own.pixels + 0.5) * 960 / 224 - 0.5
    apart = found.pixels[:, None] - expected[None]
    distance = np.linalg.norm(apart, axis=2)
    same = distance.min(1) < 3
    assert same.sum() > 100
    nearest = distance.argmin(1)
    aside = np.median(apart[np.arange(len(apart)), nearest][same], axis=0)
    assert np.abs(aside).max() < 0.4
    sizes = [np.hypot(*k.frames[:, :2, 0].T) for k in (found, own)]
    assert np.median((sizes[0] / sizes[1][nearest])[same]) == pytest.approx(960 / 224, rel=0.1)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_an_image_of_nothing_has_no_keypoints(value: float, goal: np.ndarray, goal_views: list[Keypoints]) -> None:
    grey = np.full(SIZE, value, np.float32)
    none = Keypoints.of(grey)
    assert len(none.pixels) == len(none.descriptors) == len(none.frames) == 0
    for views, current in ((goal_views, none), (hypotheses.tilted(grey), goal_views[0])):
        found = hypotheses.matches(views, current)
        assert len(found.desired) == len(found.distinct().desired) == 0
        assert list(hypotheses.from_matches(found.desired, found.seen, (224, 224))) == []
        assert hypotheses.by_votes(found, SIZE) == []
    for template, image in ((goal, grey), (grey, goal)):
        guesses = hypotheses.by_search(Template.of(template), Pyramid.of(image))
        assert np.isfinite(np.array(guesses)).all()


def test_matches_that_do_not_agree_are_no_homography() -> None:
    rng = np.random.default_rng(0)
    desired, seen = rng.uniform(0, 224, (2, 40, 2))
    assert list(hypotheses.from_matches(desired, seen, (224, 224))) == []
    assert list(hypotheses.from_matches(desired[:5], desired[:5], (224, 224))) == []


def test_what_repeats_itself_has_several_homographies() -> None:
    """Half of the matches are a step of the pattern aside."""
    rng = np.random.default_rng(0)
    desired = rng.uniform(0, 224, (80, 2))
    seen = desired + np.where(np.arange(80) < 50, 0.0, 30.0)[:, None]
    found = list(hypotheses.from_matches(desired, seen, (224, 224)))
    assert len(found) == 2
    for H, step in zip(found, (0, 30), strict=True):
        np.testing.assert_allclose(H / H[2, 2], [[1, 0, step], [0, 1, step], [0, 0, 1]], atol=0.01)


# by search


@pytest.mark.parametrize(
    ("degrees", "scale"), [(90, 1.0), (180, 1.0), (-90, 1.0), (45, 1.4), (-120, 0.7), (90, 0.7)], ids=str
)
def test_a_search_finds_turns_and_scales(coffee: Scene, goal: np.ndarray, degrees: float, scale: float) -> None:
    """To the pixels of the coarsest copy, 8 of the image's."""
    T_wc = T_WD @ offset(0, 0, 0.6 * (1 - 1 / scale), 0, 0, math.radians(degrees))
    expected = homography(CAMERA, T_wc, T_WD).numpy()
    found = hypotheses.by_search(Template.of(goal), Pyramid.of(grey_of(coffee, T_wc)))
    assert len(found) == 8
    assert min(wrong_by(H, expected) for H in found) < 8
    assert wrong_by(np.eye(3), expected) > 40


def test_a_search_finds_shifts(coffee: Scene, goal: np.ndarray) -> None:
    for p in ((0.1, 0, 0), (0, -0.12, 0), (-0.08, 0.08, 0)):
        T_wc = T_WD @ offset(*p, 0, 0, 0)
        first = hypotheses.by_search(Template.of(goal), Pyramid.of(grey_of(coffee, T_wc)))[0]
        assert wrong_by(first, homography(CAMERA, T_wc, T_WD).numpy()) < 8


# what is left out


def shift(x: float, y: float = 0.0) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def test_guesses_that_say_the_same_are_one() -> None:
    guesses = np.array([shift(0), shift(10), 2 * shift(30), shift(0, -40), -shift(30), shift(5, -40), shift(80)])
    assert hypotheses.different(guesses, SIZE, 10) == [0, 2, 3, 6]
    assert hypotheses.different(guesses, SIZE, 2) == [0, 2]
    assert hypotheses.different(np.zeros((0, 3, 3)), SIZE, 10) == []


def test_guesses_that_are_no_numbers_are_left_out() -> None:
    guesses = np.array([np.full((3, 3), np.nan), np.zeros((3, 3)), shift(0), np.full((3, 3), np.inf)])
    assert hypotheses.different(guesses, SIZE, 10) == [2]


@given(
    st.lists(st.tuples(st.floats(-200, 200), st.floats(-200, 200), st.floats(-3, 3)), min_size=1, max_size=20),
    st.integers(1, 8),
)
def test_no_two_of_the_different_are_near(places: list[tuple[float, float, float]], most: int) -> None:
    guesses = np.array(
        [
            shift(x, y) @ np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
            for x, y, a in places
        ]
    )
    chosen = hypotheses.different(guesses, SIZE, most)
    assert chosen[0] == 0
    assert len(chosen) <= most
    corners = np.array([[112, 112], [56, 56], [168, 56], [56, 168.0]])
    mapped = np.array([places_of(H, corners) for H in guesses])
    apart = np.abs(mapped[:, None] - mapped[None]).max((2, 3))
    for i, k in enumerate(chosen):
        assert (apart[k, chosen[:i]] > 224 / 20).all()
    if len(chosen) < most:  # all others are near one
        assert (apart[:, chosen].min(1) <= 224 / 20).all()


@pytest.mark.parametrize(
    ("H", "expected"),
    [
        (np.eye(3), True),
        (-3 * np.eye(3), True),
        (np.diag([-1.0, 1, 1]), False),
        (np.diag([1.0, -1, -2]), False),
        (np.diag([-1.0, -1, 1]), True),  # upside down
        (np.diag([20.0, 20, 1]), False),
        (np.diag([0.05, 0.05, 1]), False),
        (np.diag([5.0, 5, 1]), True),
        (np.array([[1, 0, 0], [0, 1, 0], [-1 / 100, 0, 1]]), False),  # a part is behind the camera
        (np.array([[1, 0, 0], [0, 1, 0], [-1 / 1000, 0, 1]]), True),
    ],
    ids=[
        "itself",
        "scaled",
        "mirrored",
        "mirrored-scaled",
        "turned",
        "large",
        "small",
        "five",
        "behind",
        "perspective",
    ],
)
def test_what_no_camera_sees_is_not_plausible(H: np.ndarray, expected: bool) -> None:
    points = np.array([[0, 0], [223, 0], [223, 223], [0, 223], [100, 120.0]])
    assert hypotheses.plausible(H, points) == expected


@each_view
def test_what_cameras_see_is_plausible(view: str) -> None:
    points = CAMERA.pixel_grid()[::32, ::32].reshape(-1, 2).numpy()
    assert hypotheses.plausible(true(view), points)
    assert not hypotheses.plausible(np.diag([1.0, -1, 1]) @ true(view), points)


def test_a_match_may_be_off_by_as_much_as_keypoints_are_found_to() -> None:
    """They are found in copies of 240 px: of a picture of 1080 px three pixels are two thirds of one there."""
    assert hypotheses.tolerance((224, 224)) == hypotheses.tolerance((480, 640)) == 3.0
    assert hypotheses.tolerance((1080, 1920)) == pytest.approx(1.5 * 1080 / 240)
    assert hypotheses.tolerance((1080, 1080), hypotheses.FINE_SIDE) == pytest.approx(1.5 * 1080 / 480)
