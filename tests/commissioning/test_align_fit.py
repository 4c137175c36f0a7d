"""The pose that blocks agree on, and what its covariance promises."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from siame_se3.commissioning.align_fit import USED, Solution, certain, fitted
from siame_se3.commissioning.align_views import Lens, TwoViews

LENS = Lens(540, 540, 319.5, 239.5, 640, 480, 0.003, 0.005)
VIEWS = TwoViews(LENS, LENS, True)
R, T = cv2.Rodrigues(np.array([0.02, -0.03, 0.05]))[0], np.array([0.05, -0.03, 0.02])
REST = np.array([0.2, -0.1, 0, 0, 0, 0])
BEGIN = (np.eye(3), np.zeros(3), np.zeros(6))


def blocks(sigma: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a grid: where they are, are seen, and the covariance that is said, for a noise of `sigma` [px]."""
    x, y = np.meshgrid(np.linspace(20, 620, 12), np.linspace(20, 460, 9))
    pixels = np.stack((x.ravel(), y.ravel()), 1)
    noise = sigma * np.random.default_rng(seed).normal(size=pixels.shape)
    return pixels, VIEWS.predicted(R, T, REST, pixels) + noise, np.tile(max(sigma, 0.01) ** 2 * np.eye(2), (108, 1, 1))


def error(found: Solution) -> np.ndarray:
    """Of (t, omega)."""
    return np.r_[found.t - T, cv2.Rodrigues(R.T @ found.R)[0][:, 0]]


def test_without_noise_it_is_the_pose() -> None:
    found = fitted(VIEWS, *blocks(0), BEGIN, steps=40)
    assert np.abs(error(found)).max() < 2e-3, "but for what is assumed of plane and lens beforehand"
    assert found.weight.min() > USED


def test_the_covariance_is_that_of_the_errors() -> None:
    """Over draws of noise: the mean square of errors, each over its standard deviation, is about 1, and less as variances are taken a bit higher."""
    ratios = []
    for seed in range(12):
        given = blocks(0.2, seed)
        sure = certain(VIEWS, *given, fitted(VIEWS, *given, BEGIN))
        assert sure is not None
        ratios.append(error(sure) / np.sqrt(np.diag(sure.covariance)))
    assert 0.15 < np.mean(np.square(ratios)) < 1.5
    assert np.abs(ratios).max() < 4


def test_blocks_that_move_on_their_own_are_left_out() -> None:
    pixels, seen, covariance = blocks(0.05)
    moving = pixels[:, 0] > 420
    seen[moving] += np.random.default_rng(1).choice([-6.0, 5.0], (int(moving.sum()), 2))
    found = fitted(VIEWS, pixels, seen, covariance, BEGIN)
    assert found.weight[moving].max() < USED
    assert found.weight[~moving].min() > USED
    sure = certain(VIEWS, pixels, seen, covariance, found)
    assert sure is not None
    assert np.abs(error(sure)[:3]).max() < 5e-3


def test_displacements_that_vary_smoothly_make_it_less_sure() -> None:
    """As a lens makes them: a hundred blocks with noise say more than a hundred that are displaced alike."""
    pixels, seen, covariance = blocks(0.05)
    plain = certain(VIEWS, pixels, seen, covariance, fitted(VIEWS, pixels, seen, covariance, BEGIN))
    bent = seen + 0.5 * np.sin(pixels[:, ::-1] / 90)
    other = certain(VIEWS, pixels, bent, covariance, fitted(VIEWS, pixels, bent, covariance, BEGIN))
    assert plain is not None
    assert other is not None
    assert np.diag(other.covariance)[:3].sum() > 10 * np.diag(plain.covariance)[:3].sum()


def test_a_guessed_field_of_view_is_in_the_covariance() -> None:
    given = blocks(0.05)
    sizes = []
    for spread in (0.003, 0.25):
        lens = replace(LENS, focal_sd=spread)
        views = TwoViews(lens, lens, True)
        sure = certain(views, *given, fitted(views, *given, BEGIN))
        assert sure is not None
        sizes.append(np.sqrt(np.diag(sure.covariance)[:3].sum()))
    assert sizes[1] > 2 * sizes[0]


def test_too_few_blocks_say_nothing() -> None:
    pixels, seen, covariance = (z[:7] for z in blocks(0.05))
    assert certain(VIEWS, pixels, seen, covariance, fitted(VIEWS, pixels, seen, covariance, BEGIN)) is None
