from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import homography
from siame_se3.laws import goals, guesses
from siame_se3.laws.alignment import verified
from siame_se3.laws.goal_depth import GoalDepth
from siame_se3.laws.goals import FAR, NEAR, Estimate, Goal, aligned, best_of, judged, near, pose_of
from siame_se3.laws.guesses import Guesses
from siame_se3.laws.hypotheses import Matches
from siame_se3.laws.pnp import pose_of_all
from siame_se3.laws.templates import Pyramid
from siame_se3.laws.types import View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene

CAMERA = Camera.from_focal(300, 224)


def offset(*p: float) -> Tensor:
    return lie.pose_from_vector(torch.tensor(p, dtype=torch.float64))


T_WD = offset(0.02, -0.03, -0.6, 0.1, -0.05, 0.3)
T_WC = T_WD @ offset(0.05, -0.04, 0.04, 0.05, -0.1, 0.3)
T_CD = (lie.inverse(T_WC) @ T_WD).numpy()
H = homography(CAMERA, T_WC, T_WD).numpy()
WRONG = homography(CAMERA, T_WC @ offset(0, 0, 0, 0, 0, 1.5), T_WD).numpy()


def grey_of(T_wc: Tensor) -> np.ndarray:
    photo = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
    image = FlyingCameras(Scene.from_photo(photo, 1.0), CAMERA).look(T_wc[None]).image
    assert image is not None
    return image[0].mean(0).numpy()


NOTHING = Matches(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0), np.zeros((0, 3, 3)))


def guessed(goal: Goal, now: Pyramid, guesses: dict[str, list[np.ndarray]], matches: Matches = NOTHING) -> Estimate:
    return best_of(goal, aligned(goal, now, guesses), matches)


@pytest.fixture(scope="module")
def goal() -> Goal:
    return Goal.of(CAMERA, grey_of(T_WD), T_WD.numpy())


@pytest.fixture(scope="module")
def now() -> Pyramid:
    return Pyramid.of(grey_of(T_WC))


def test_a_goal_knows_its_plane(goal: Goal) -> None:
    """The points that its grid of pixels sees are on the world's plane."""
    world = goal.points @ T_WD[:3, :3].numpy().T + T_WD[:3, 3].numpy()
    np.testing.assert_allclose(world[:, 2], 0, atol=1e-12)
    np.testing.assert_allclose(CAMERA.project(torch.from_numpy(goal.points)).numpy(), goal.pixels, atol=1e-9)
    np.testing.assert_allclose(goal.points @ goal.plane.normal, goal.plane.distance)


def test_points_that_a_goals_camera_does_not_see_are_left_out(goal: Goal) -> None:
    """A view along the plane sees it in a half of the image."""
    found = Goal.of(CAMERA, np.zeros(CAMERA.size, np.float32), offset(0, 0, -0.6, 1.5, 0, 0).numpy())
    assert 0 < len(found.pixels) < len(goal.pixels) == 49
    assert (found.points[:, 2] > 0).all()


def test_a_homography_of_the_plane_gives_its_pose(goal: Goal) -> None:
    found = pose_of(goal, H)
    assert found is not None
    np.testing.assert_allclose(found, T_CD, atol=1e-6)
    again = pose_of(goal, 3 * H)
    assert again is not None
    np.testing.assert_allclose(again, T_CD, atol=1e-6)


LOW = torch.eye(4, dtype=torch.float64)
LOW[:3, 3] = torch.tensor([-0.1, -0.1, -0.2])
LOW = (
    LOW @ offset(0, 0, 0, -0.6, 0, 0) @ offset(0, 0, 0, 0, 0.8, 0)
)  # so near that the goal's first corner is behind it
H_LOW = homography(CAMERA, LOW, T_WD).numpy()


@pytest.mark.parametrize("factor", [1.0, -2.0, 1 / H_LOW[2, 2]], ids=["H", "-2 H", "as OpenCV has it"])
def test_the_goals_first_corner_may_be_behind_the_camera(goal: Goal, factor: float) -> None:
    behind = lie.inverse(LOW) @ T_WD @ torch.from_numpy(np.append(goal.points[0], 1.0))
    assert behind[2] < 0
    assert goal.pixels[0].tolist() == [0, 0]
    assert H_LOW[2, 2] < 0
    found = pose_of(goal, factor * H_LOW)
    assert found is not None
    np.testing.assert_allclose(found, (lie.inverse(LOW) @ T_WD).numpy(), atol=1e-6)


def test_a_guess_with_the_first_corner_behind_the_camera_is_verified(goal: Goal) -> None:
    found = guessed(goal, Pyramid.of(grey_of(LOW)), {"points": [H_LOW / H_LOW[2, 2]]})
    assert found.T_cd is not None
    assert found.score > 0.3
    np.testing.assert_allclose(found.T_cd, (lie.inverse(LOW) @ T_WD).numpy(), atol=0.02)


@pytest.mark.parametrize(
    "G",
    [np.array([[1, 0, 2000], [0, 1, 0], [0, 0, 1.0]]), np.full((3, 3), np.nan), np.zeros((3, 3)), np.diag([1.0, 1, 0])],
    ids=["beside", "nan", "0", "far"],
)
def test_a_homography_out_of_sight_gives_none(goal: Goal, G: np.ndarray) -> None:
    assert pose_of(goal, G) is None


def test_a_judged_guess_is_aligned_and_scored(goal: Goal, now: Pyramid) -> None:
    begun = T_CD @ offset(0.01, 0, 0.01, 0, 0.01, 0.02).numpy()
    found = judged(goal, now, begun, "network", NEAR)
    assert found.source == "network"
    assert found.T_cd is not None
    np.testing.assert_allclose(found.T_cd, T_CD, atol=0.02)
    own = goal.plane.homography(found.T_cd)
    assert found.score == pytest.approx(verified(goal.template, now, own).score)
    assert found.score > verified(goal.template, now, goal.plane.homography(begun)).score
    assert judged(goal, now, T_CD @ offset(0.03, 0, 0, 0, 0, 0.1).numpy(), "x", FAR).score > 0.7


def test_no_guess_is_no_pose(goal: Goal, now: Pyramid) -> None:
    for given in ({}, {"points": []}, {"search": [np.full((3, 3), np.nan)]}):
        found = guessed(goal, now, given)  # type: ignore[arg-type]  # an empty dictionary
        assert (found.T_cd, found.score) == (None, -1)


@pytest.mark.parametrize("order", [1, -1])
def test_the_guess_that_explains_the_image_leads(goal: Goal, now: Pyramid, order: int) -> None:
    guesses = {"points": [WRONG, np.eye(3)], "network": [H]}
    found = guessed(goal, now, dict(list(guesses.items())[::order]))
    assert found.source == "network"
    assert found.T_cd is not None
    np.testing.assert_allclose(found.T_cd, T_CD, atol=0.02)


def test_matches_that_agree_with_a_guess_count_for_it(goal: Goal) -> None:
    """They speak for the true place, of a plane and of its depths alike, and for no other one."""
    for known in (goal, with_depth(goal)):
        found = known.matches(grey_of(T_WC))
        assert len(found.distinct().ratio) > 50
        assert known.support(found, T_CD) > 30
        wrong = (lie.inverse(T_WC @ offset(0, 0, 0, 0, 0, 1.5)) @ T_WD).numpy()
        assert known.support(found, wrong) < 2
        assert known.support(found, T_CD @ offset(0, 0, 0, math.pi, 0, 0).numpy()) == 0  # behind the camera
    assert goal.support(NOTHING, T_CD) == 0


def test_of_two_guesses_that_explain_an_image_alike_the_one_with_support_leads(goal: Goal) -> None:
    """What repeats itself explains an image twice."""
    found = goal.matches(grey_of(T_WC))
    elsewhere = T_CD @ offset(0.2, 0.1, 0, 0, 0, 0.5).numpy()
    two = [Estimate(elsewhere, 0.55, "network"), Estimate(T_CD, 0.5, "points")]
    best = best_of(goal, two, found)
    assert best.source == "points"
    assert best.support == goal.support(found, T_CD)
    assert best_of(goal, two, NOTHING).source == "network"
    # it is no more than a help
    assert best_of(goal, [replace(two[0], score=0.7), two[1]], found).source == "network"


def test_a_goal_with_depth_is_judged_as_one(goal: Goal, now: Pyramid) -> None:
    """Its points' own depths have to fit too: at the same score its chance is higher."""
    assert not guessed(goal, now, {"points": [H]}).of_depth
    depth = goal.points[:, 2].mean() * np.ones((224, 224))
    view = View(torch.zeros(1, 3, 224, 224), None, torch.from_numpy(depth)[None], goal.camera)
    of_depth = replace(goal, depth=GoalDepth.of(view, "auto"))
    assert guessed(of_depth, now, {"points": [H]}).of_depth
    guess = Estimate(np.eye(4), 0.7, "points")
    assert replace(guess, of_depth=True).confidence > guess.confidence


def test_confidence_is_a_chance_that_grows_with_what_speaks_for_a_guess() -> None:
    guess = Estimate(np.eye(4), 0.5, "points", support=1.0)
    for change in ({"score": 0.6}, {"support": 3.0}):
        assert guess.confidence < replace(guess, **change).confidence < 1  # type: ignore[arg-type]  # fields of it
    assert 0 < replace(guess, score=0.26, support=0.0).confidence < 0.1
    assert replace(guess, score=0.24, support=100.0).confidence == 0
    assert replace(guess, T_cd=None, score=1.0).confidence == 0


def with_depth(goal: Goal) -> Goal:
    rays = CAMERA.rays(CAMERA.pixel_grid()).numpy()
    depth = torch.from_numpy(goal.plane.distance / (rays @ goal.plane.normal))
    target = View(torch.zeros(1, 3, 224, 224), None, depth[None], CAMERA)
    return Goal.of(CAMERA, grey_of(T_WD), T_WD.numpy(), GoalDepth.of(target, "auto"))


@pytest.mark.parametrize("depth", [True, False], ids=["depth", "plane"])
def test_over_a_relief_an_alignment_that_leads_astray_is_not_taken(
    goal: Goal, now: Pyramid, depth: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A robot over a scanned goal lost it within its first steps: small copies of the images led away from a place that was known by points."""
    chosen = with_depth(goal) if depth else goal
    away = T_CD @ offset(0.05, 0.02, 0, 0, 0, 0).numpy()
    monkeypatch.setattr(goals, "refined", lambda *args: away)
    found = near(chosen, now, T_CD, "tracked")
    assert found.T_cd is not None
    assert np.array_equal(found.T_cd, T_CD if depth else away)
    assert found.score == pytest.approx(chosen.explained(now, found.T_cd))
    monkeypatch.setattr(goals, "refined", lambda *args: T_CD)
    assert np.array_equal(near(chosen, now, away, "tracked").T_cd, T_CD)  # type: ignore[arg-type]  # it has one


def test_a_sure_guess_for_which_no_match_speaks_is_not_the_last_word(
    goal: Goal, now: Pyramid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what repeats itself a wrong place can explain the whole image."""
    asked: list[int] = []

    def from_matches(self: Goal, found: Matches) -> list[np.ndarray]:
        asked.append(len(found.ratio))
        return []

    monkeypatch.setattr(Goal, "from_matches", from_matches)
    image = torch.from_numpy(grey_of(T_WC)).expand(1, 3, -1, -1)
    some = Guesses(None, CAMERA, (goal,), None)
    for speak, tries in ((4.0, 0), (1.0, 1)):
        asked.clear()
        monkeypatch.setattr(Goal, "support", lambda self, found, T_cd, speak=speak: speak)
        monkeypatch.setattr(guesses, "aligned", lambda goal, now, given: [Estimate(T_CD, 0.9, "network")])
        answer = some.best([0], image, [now], [T_CD])[0]
        assert len(asked) == tries
        assert (answer.best.score, answer.followed) == (0.9, speak)


def depth_of(known: np.ndarray) -> GoalDepth:
    view = View(torch.rand(1, 3, 224, 224), None, torch.from_numpy(known)[None].float(), CAMERA)
    found = GoalDepth.of(view, "auto")
    assert found is not None
    return found


def test_a_map_of_a_small_block_has_points_enough() -> None:
    known = np.full((224, 224), np.nan)
    known[80:140, 85:145] = 0.6
    pixels, points = goals._spread_points(CAMERA, depth_of(known))
    assert len(pixels) >= 20
    assert (points[:, 2] > 0).all()


@pytest.mark.parametrize(("first", "last"), [(90, 140), (118, 145)])
def test_a_map_of_a_band_is_no_line(first: int, last: int) -> None:
    """The second lies between two rows of the coarse grid."""
    known = np.full((224, 224), np.nan)
    known[first:last] = 0.6
    pixels, points = goals._spread_points(CAMERA, depth_of(known))
    assert len(pixels) >= 20
    assert np.ptp(pixels[:, 1]) > 9
    assert (points[:, 2] > 0).all()


def test_a_pixel_that_is_far_behind_is_none_of_the_scene() -> None:
    known = np.full((224, 224), 0.6)
    known[100:130, 100:130] = 80.0
    _, points = goals._spread_points(CAMERA, depth_of(known))
    assert points[:, 2].max() < 1


def test_points_on_a_line_give_no_pose() -> None:
    """OpenCV's assertion came through."""
    pixels = np.stack((np.linspace(10, 200, 7), np.full(7, 112.0)), 1)
    points = np.c_[(pixels - 111.5) / 300 * 0.6, np.full(7, 0.6)]
    assert pose_of_all(CAMERA, points, pixels) is None
