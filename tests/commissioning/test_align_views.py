"""Two cameras and a plane: what moves a block, and how."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from siame_se3.commissioning.align_views import Lens, TwoViews

ONE, OTHER = Lens(500, 510, 300, 230, 640, 480, 0.03, 0.02), Lens(420, 415, 200, 160, 400, 300, 0.2, 0.03)


@pytest.fixture
def pose() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rest = 0.05 * rng.normal(size=6)
    return cv2.Rodrigues(0.2 * rng.normal(size=3))[0], 0.2 * rng.normal(size=3), rest


@pytest.mark.parametrize("shared", [False, True])
def test_derivatives_are_finite_differences(shared: bool, pose: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    views = TwoViews(ONE, ONE if shared else OTHER, shared)
    R, t, rest = pose
    if shared:
        rest[[3, 5]] = rest[[2, 4]]
    pixels = np.random.default_rng(1).uniform(0, 480, (20, 2))
    at, J = views.jacobian(R, t, rest, pixels)
    np.testing.assert_allclose(at, views.predicted(R, t, rest, pixels), atol=1e-9)
    assert J.shape == (20, 2, 6 + len(views.prior))
    for k in range(J.shape[2]):
        step = np.zeros(J.shape[2])
        step[k] = 1e-6
        ahead, behind = (views.predicted(*views.moved(R, t, rest, s), pixels) for s in (step, -step))
        np.testing.assert_allclose(J[:, :, k], (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-3)


def test_a_block_is_where_the_plane_is(pose: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """By a point of the plane, carried from camera to camera."""
    views, (R, t, rest) = TwoViews(ONE, OTHER, False), pose
    rest[2:] = 0
    pixels = np.array([[100.0, 50.0], [400.0, 300.0]])
    x = views.goal.rays(pixels)
    X = np.c_[x, np.ones(2)] / views.near(rest, pixels)[:, None]  # in the reference's frame
    moved = X @ R.T + t
    expected = views.now.pixels(moved[:, :2] / moved[:, 2:])
    np.testing.assert_allclose(views.predicted(R, t, rest, pixels), expected)
    mapped = np.c_[pixels, np.ones(2)] @ views.homography(R, t, rest).T
    np.testing.assert_allclose(mapped[:, :2] / mapped[:, 2:], expected)
    middle = np.array([[(ONE.width - 1) / 2, (ONE.height - 1) / 2]])
    assert views.near(rest, middle) == pytest.approx(1.0), "the unit of length is the distance of the middle"


def test_one_camera_at_two_sizes_is_one() -> None:
    assert ONE.like(ONE.resized(320, 240))
    assert not ONE.like(OTHER)
    np.testing.assert_allclose(
        ONE.resized(320, 240).rays(np.array([[99.75, 49.75]])), ONE.rays(np.array([[200.0, 100.0]]))
    )
