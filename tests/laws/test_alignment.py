from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from poses_helpers import AWAY
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import homography
from siame_se3.laws import alignment
from siame_se3.laws.alignment import least_determined, refined, verified
from siame_se3.laws.templates import Plane, Pyramid, Template
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.overlap import overlap
from siame_se3.scenes.planar import Scene

CAMERA = Camera.from_focal(300, 224)
AWAY_BY = {  # views of the goal's plane, from the desired one [m, rad]
    "near": (0.02, -0.01, 0.02, 0.03, 0.02, 0.05),
    "far": (0.08, -0.05, 0.06, 0.1, -0.15, 0.4),
    "turned": (0.03, 0.05, -0.05, 0.1, 0.05, 3.0),
    "nearer": (0.02, 0.0, 0.2, 0.0, 0.1, 0.1),
}
each_view = pytest.mark.parametrize("view", AWAY_BY)


def offset(*p: float) -> Tensor:
    return lie.pose_from_vector(torch.tensor(p, dtype=torch.float64))


T_WD = offset(0.02, -0.03, -0.6, 0.1, -0.05, 0.3)


@dataclass
class Pair:
    """A goal, an image of it (h, w), and the true T_cd."""

    template: Template
    plane: Plane
    image: np.ndarray
    T_cd: np.ndarray

    def now(self) -> Pyramid:
        return Pyramid.of(np.ascontiguousarray(self.image, np.float32))

    def score(self, T_cd: np.ndarray, level: int = 0) -> float:
        return verified(self.template, self.now(), self.plane.homography(T_cd), level).score

    def wrong_by(self, T_cd: np.ndarray) -> float:
        """How far a pose takes what the image shows of the goal from where it is, on average [px]."""
        grid = CAMERA.pixel_grid()[::16, ::16].reshape(-1, 2).numpy()
        places = []
        for T in (T_cd, self.T_cd):
            H = homography(CAMERA, T_WD @ lie.inverse(torch.from_numpy(T)), T_WD).numpy()
            mapped = np.c_[grid, np.ones(len(grid))] @ H.T
            places.append(mapped[:, :2] / mapped[:, 2:])
        shown = ((places[1] > 0) & (places[1] < 223)).all(1)
        return float(np.linalg.norm(places[0] - places[1], axis=1)[shown].mean())


def grey_of(scene: Scene, T_wc: Tensor) -> np.ndarray:
    image = FlyingCameras(scene, CAMERA).look(T_wc[None]).image
    assert image is not None
    return image[0].mean(0).numpy()


@pytest.fixture(scope="module")
def coffee() -> Scene:
    return Scene.from_photo(Path(__file__).parents[1] / "data" / "visp" / "coffee.png", 1.0)


@pytest.fixture(scope="module")
def template(coffee: Scene) -> Template:
    return Template.of(grey_of(coffee, T_WD))


@pytest.fixture
def pair(coffee: Scene, template: Template, view: str) -> Pair:
    T_wc = T_WD @ offset(*AWAY_BY[view])
    plane = Plane(CAMERA.K.numpy(), T_WD[2, :3].numpy(), -float(T_WD[2, 3]))
    return Pair(template, plane, grey_of(coffee, T_wc), (lie.inverse(T_wc) @ T_WD).numpy())


def guess(pair: Pair, seed: int, size: float = 1.0) -> np.ndarray:
    """Some pixels off."""
    sigma = size * torch.tensor([0.005, 0.005, 0.008, 0.008, 0.008, 0.015], dtype=torch.float64)
    p = torch.randn(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * sigma
    return pair.T_cd @ lie.pose_from_vector(p).numpy()


def aligned(pair: Pair, T_cd: np.ndarray, levels: tuple[int, ...] = (1, 0)) -> np.ndarray:
    return refined(pair.template, pair.now(), pair.plane, T_cd, levels)


@each_view
@pytest.mark.parametrize("seed", range(3))
def test_a_guess_some_pixels_off_becomes_the_true_pose(pair: Pair, seed: int) -> None:
    begun = guess(pair, seed)
    assert pair.wrong_by(begun) > 0.9
    found = aligned(pair, begun)
    assert pair.wrong_by(found) < min(0.6, pair.wrong_by(begun) / 2)
    t, r = lie.error_norms(torch.from_numpy(np.linalg.inv(pair.T_cd) @ found))
    assert float(t) < 0.02
    assert float(r) < 0.035
    assert pair.score(found) > pair.score(begun)


@pytest.mark.parametrize("view", ["far"])
def test_coarse_copies_lead_from_farther_away(pair: Pair) -> None:
    begun = guess(pair, 0, 4.0)
    assert pair.wrong_by(begun) > 10
    assert pair.wrong_by(aligned(pair, begun, (2, 1, 0))) < 0.8


@each_view
@pytest.mark.parametrize(("gain", "bias"), [(0.5, 0.0), (0.6, 0.3), (0.3, 0.6)])
def test_exposure_changes_nothing(pair: Pair, gain: float, bias: float) -> None:
    pair.image = gain * pair.image + bias
    found = aligned(pair, guess(pair, 0))
    assert pair.wrong_by(found) < 0.7
    assert pair.score(found) > 0.5


@each_view
@pytest.mark.parametrize("texture", [False, True], ids=["plain", "texture"])
def test_something_in_the_way_of_a_quarter_costs_its_own_windows(pair: Pair, texture: bool) -> None:
    whole = pair.score(pair.T_cd)
    noise = np.random.default_rng(0).random((14, 14)) if texture else np.full((14, 14), 0.5)
    pair.image = pair.image.copy()
    pair.image[56:168, 56:168] = np.kron(noise, np.ones((8, 8)))
    found = aligned(pair, guess(pair, 0))
    assert pair.wrong_by(found) < 1
    assert 0.3 * whole < pair.score(found) < whole


@pytest.mark.parametrize("view", ["near"])
def test_alignment_leaves_a_true_pose(pair: Pair, template: Template) -> None:
    """Of the goal image itself, to rounding."""
    now = template.pyramid
    found = refined(template, now, pair.plane, np.eye(4), (2, 1, 0))
    np.testing.assert_allclose(found, np.eye(4), atol=1e-6)
    assert verified(template, now, np.eye(3)).score == pytest.approx(1, abs=1e-3)
    assert verified(template, now, np.eye(3)).known == pytest.approx(1)


@each_view
def test_the_truth_explains_the_image(pair: Pair) -> None:
    """By the share of the goal that is seen: a score near 1 where all of it is."""
    found = verified(pair.template, pair.now(), pair.plane.homography(pair.T_cd))
    T_wc = T_WD @ lie.inverse(torch.from_numpy(pair.T_cd))
    assert found.known == pytest.approx(float(overlap(CAMERA, T_WD, T_wc)), abs=0.1)
    assert 0.85 < found.score / math.sqrt(found.known) <= 1
    if found.known > 0.9:
        assert found.score > 0.85


@each_view
@pytest.mark.parametrize(
    "wrong",
    [(0.1, 0, 0, 0, 0, 0), (0, 0, 0.15, 0, 0, 0), (0, 0, 0, 0, 0, 0.5), (0, 0, 0, 0, 0, math.pi), (0, 0, 0, 0.2, 0, 0)],
    ids=["beside", "nearer", "turned", "upside-down", "tilted"],
)
def test_a_wrong_pose_does_not(pair: Pair, wrong: tuple[float, ...]) -> None:
    assert pair.score(pair.T_cd @ offset(*wrong).numpy()) < 0.3


@pytest.mark.parametrize("view", ["near"])
@pytest.mark.parametrize("place", range(4))
def test_another_scene_does_not(pair: Pair, scenes: list[Scene], place: int) -> None:
    """Aligned or not."""
    pair.image = grey_of(scenes[place], T_WD)
    assert pair.score(pair.T_cd) < 0.3
    assert pair.score(aligned(pair, pair.T_cd, (2, 1, 0))) < 0.3


@pytest.mark.parametrize("view", ["near"])
def test_what_the_image_does_not_show_has_no_score(pair: Pair) -> None:
    for T_cd in (offset(2.0, 0, 0, 0, 0, 0).numpy(), AWAY.numpy()):
        found = verified(pair.template, pair.now(), pair.plane.homography(T_cd))
        assert (found.score, found.known) == (-1, 0)
        assert np.array_equal(aligned(pair, T_cd), T_cd)


@pytest.mark.parametrize("view", ["near"])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_an_image_of_nothing_is_no_crash(pair: Pair, value: float) -> None:
    pair.image = np.full_like(pair.image, value)
    assert np.isfinite(aligned(pair, pair.T_cd, (2, 1, 0))).all()
    assert pair.score(pair.T_cd) < 0.1


def test_edges_between_plain_surfaces_do_not_determine_a_pose() -> None:
    """Two half planes: along their edge nothing changes. With texture all is known to a few per cent."""
    camera = Camera.from_focal(300, 224)
    plane = Plane(camera.K.numpy(), np.array([0.0, 0.0, 1.0]), 0.6)
    y, x = np.mgrid[0:224, 0:224].astype(np.float32)
    edge = np.where(x + 0.3 * y > 140, 0.8, 0.2).astype(np.float32)
    noise = cv2.GaussianBlur(np.random.default_rng(0).random((224, 224)).astype(np.float32), (0, 0), 3)
    texture = (noise - noise.min()) / (noise.max() - noise.min())
    assert least_determined(Template.of(edge), plane) > 0.3
    assert least_determined(Template.of(texture), plane) < 0.05
    assert least_determined(Template.of(np.full((224, 224), 0.5, np.float32)), plane) > 1


@each_view
def test_a_homography_some_pixels_off_becomes_the_true_one(pair: Pair) -> None:
    """Of a plane that nobody has described: eight numbers."""
    begun = pair.plane.homography(guess(pair, 0, 0.7))
    found = alignment.aligned(pair.template, pair.now(), begun, (1, 0))
    true = pair.plane.homography(pair.T_cd)
    grid = CAMERA.pixel_grid()[::16, ::16].reshape(-1, 2).numpy()
    places = []
    for H in (begun, found, true):
        mapped = np.c_[grid, np.ones(len(grid))] @ H.T
        places.append(mapped[:, :2] / mapped[:, 2:])
    shown = ((places[2] > 20) & (places[2] < 203)).all(1)
    before, after = (float(np.linalg.norm(p - places[2], axis=1)[shown].mean()) for p in places[:2])
    assert after < min(1.0, before / 2)


def test_a_part_that_is_left_out_changes_nothing(coffee: Scene) -> None:
    """What covers it in the image lowers the score of the whole, and not of the rest."""
    goal = grey_of(coffee, T_WD)
    counts = np.ones_like(goal)
    counts[:, 112:] = 0
    image = goal.copy()
    image[:, 112:] = np.random.default_rng(0).uniform(0, 1, (224, 112))
    whole, part = (verified(Template.of(goal, c), Pyramid.of(image), np.eye(3)) for c in (None, counts))
    assert whole.score < 0.7
    assert part.score > 0.95
    assert part.known > 0.99, "of what counts"
    untouched = Template.of(goal, np.ones_like(goal))
    assert untouched.counts == ()
    np.testing.assert_array_equal(untouched.contrast[0], Template.of(goal).contrast[0])
