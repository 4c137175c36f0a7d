"""The parts of `scan_depth`: geometry and derivatives against finite differences, windows that stop at edges, poses that images correct."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from scan_boxes import Boxes
from siame_se3.commissioning.scan import ScanPattern
from siame_se3.commissioning.scan_poses import adjusted, pixel_rates
from siame_se3.commissioning.scan_refine import Photometry, plane_fit, step
from siame_se3.commissioning.scan_sweep import Lines, best_half, levels, neighbours, sweep
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.luma import luma

CAMERA = replace(Camera.from_focal(110, 128, 96), fy=115.0, cx=60.0)
T_GK = lie.pose_from_vector(
    torch.tensor([[0.03, -0.02, 0.01, 0.02, 0.05, 0.3], [-0.02, 0.03, -0.02, 0.05, 0, -0.2]], dtype=torch.float64)
)


def test_lines_are_projections_of_the_pixels_points() -> None:
    lines = Lines.of(CAMERA, T_GK)
    pixels = torch.tensor([[3.0, 90.0], [60.0, 48.0], [120.0, 5.0]], dtype=torch.float64)
    for d in (0.5, 2.0):
        X_g = CAMERA.rays(pixels) / d
        for k, T in enumerate(T_GK):
            expected = CAMERA.project((X_g - T[:3, 3]) @ T[:3, :3]).numpy()
            x = np.concatenate((pixels.numpy(), np.ones((3, 1))), 1) @ lines.A[k].T + d * lines.b[k]
            np.testing.assert_allclose(x[:, :2] / x[:, 2:], expected, atol=1e-9)
            start = lines.start(k)[:, [90, 48, 5], [3, 60, 120]]
            np.testing.assert_allclose(start.T + d * lines.b[k], x, rtol=1e-5)


def test_levels_are_less_than_a_pixel_apart() -> None:
    lines = Lines.of(CAMERA, T_GK)
    at = levels(lines, 0.8, 4.0, 1.6)
    step_px = np.linalg.norm(lines.parallax(1.6), axis=-1).mean(1).max() / 1.6 * (at[1] - at[0])
    assert (at[0], at[-1]) == (0.8, 4.0)
    assert 0.5 < step_px <= 0.75


def test_pixel_rates_are_finite_differences_of_the_projection() -> None:
    X = torch.tensor([[0.1, -0.05, 0.6], [-0.2, 0.1, 0.9]], dtype=torch.float64)
    rates, h = pixel_rates(CAMERA.fx, CAMERA.fy, X), 1e-6
    for axis in range(6):
        twist = torch.zeros(6, dtype=torch.float64)
        twist[axis] = h

        def seen(v: Tensor) -> Tensor:
            T = lie.inverse(lie.exp(v))
            return CAMERA.project(X @ T[:3, :3].T + T[:3, 3])

        torch.testing.assert_close(rates[..., axis], (seen(twist) - seen(-twist)) / (2 * h), rtol=1e-6, atol=1e-4)


def smooth_image(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[0:96, 0:128]
    waves = [np.sin(a * u + b * v + c) for a, b, c in rng.uniform(-0.25, 0.25, (6, 3)) * (1, 1, 12)]
    return (0.5 + 0.07 * np.sum(waves, 0)).astype(np.float32)


def test_derivatives_by_depth_are_finite_differences() -> None:
    photometry = Photometry(smooth_image(0), [smooth_image(1), smooth_image(2)], Lines.of(CAMERA, T_GK))
    d, h, inside = np.full(CAMERA.size, 1.6, np.float32), 0.1, (slice(30, 66), slice(40, 88))
    for k in range(2):
        low, here, high = (photometry.shown(k, d + s) for s in (-h, 0, h))
        expected = ((high[0] - low[0]) / (2 * h))[inside]
        _, ju, jv, du, dv, seen = here
        assert seen[inside].all()
        assert np.abs(expected).max() > 0.05
        np.testing.assert_allclose((ju * du + jv * dv)[inside], expected, atol=0.05 * np.abs(expected).max())


def test_half_of_the_views_that_are_beside_each_other_count() -> None:
    costs = [np.full((1, 1), c, np.float32) for c in (0.1, 0.2, 0.9, 0.9, 0.9, 0.3)]
    assert best_half(costs)[0, 0] == pytest.approx(0.2)  # the sixth, first and second
    apart = [np.full((1, 1), c, np.float32) for c in (0.1, 0.9, 0.1, 0.9, 0.1, 0.9)]
    assert best_half(apart)[0, 0] == pytest.approx((0.1 + 0.9 + 0.1) / 3)


def test_views_are_ordered_around_the_goal() -> None:
    places = ScanPattern(views=6).places(0.6)
    order = [2, 5, 0, 4, 1, 3]
    found = [order[k] for k in neighbours(Lines.of(CAMERA, places[order]))]
    first = found.index(0)
    assert found[first:] + found[:first] in ([0, 1, 2, 3, 4, 5], [0, 5, 4, 3, 2, 1])


def test_a_sweep_finds_a_plane_square_to_the_goal() -> None:
    image = np.random.default_rng(0).random((24, 32), np.float32)
    import cv2

    goal = cv2.resize(image, (128, 96), interpolation=cv2.INTER_CUBIC)
    lines = Lines.of(CAMERA, T_GK)
    d = 1.7
    views = []
    for k in range(2):
        H = lines.A[k] + d * np.outer(lines.b[k], [0, 0, 1])
        views.append(cv2.warpPerspective(goal, H, (128, 96), borderMode=cv2.BORDER_REFLECT))
    swept = sweep(goal, views, lines, levels(lines, 0.8, 4.0, 1.6))
    inside = (slice(20, 76), slice(20, 108))
    assert np.median(np.abs(swept.d[inside] / d - 1)) < 0.02
    assert (np.abs(swept.d[inside] / d - 1) < 0.1).mean() > 0.97
    assert swept.inner[inside].mean() > 0.97


def test_a_plane_fit_keeps_slants_and_edges() -> None:
    v, u = np.mgrid[0:40, 0:60].astype(np.float32)
    left, right = 1.0 + 0.01 * u - 0.004 * v, 2.0 - 0.005 * u + 0.01 * v
    true = np.where(u < 30, left, right).astype(np.float32)
    rng = np.random.default_rng(0)
    noisy = (true + 0.02 * rng.standard_normal(true.shape)).astype(np.float32)
    information = np.full(true.shape, 1 / 0.02**2, np.float32)
    with ThreadPoolExecutor(2) as pool:
        exact, _ = plane_fit(true, information, true, 0.05, pool)
        fitted, known = plane_fit(noisy, information, true, 0.05, pool)
    assert np.abs(exact - true).max() < 0.005
    error = (fitted - true)[4:-4, 4:-4]
    assert error.std() < 0.25 * 0.02
    assert (error * np.sqrt(known[4:-4, 4:-4])).std() == pytest.approx(1.0, abs=0.25)
    assert np.abs(error[:, 22:30]).max() < 0.03, "nothing comes over the edge"


def test_images_correct_the_measured_poses() -> None:
    """Errors of 0.3 mm and 0.1 deg become less than half; depths come nearer too."""
    scene, places = Boxes(samples=1), ScanPattern(views=6).places(0.6)
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    images, _ = scene.render(CAMERA, torch.cat((T[None], T @ places)))
    grey = [np.ascontiguousarray((luma(x, torch.float32) / 255).numpy()) for x in images]
    d = (1 / scene.depth(CAMERA, T[None])[0]).numpy()
    generator = torch.Generator().manual_seed(0)
    std = (0.0003, math.radians(0.1))
    scale = torch.tensor([std[0]] * 3 + [std[1]] * 3, dtype=torch.float64)
    measured = places @ lie.exp(torch.randn(6, 6, generator=generator, dtype=torch.float64) * scale)

    def away(T_gk: Tensor) -> float:
        return float((lie.log(lie.inverse(places) @ T_gk) / scale).square().mean().sqrt())

    valid, photometry = np.ones(CAMERA.size, bool), Photometry(grey[0], grey[1:], Lines.of(CAMERA, measured))
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            found = adjusted(photometry, d, valid, measured, std, pool)
            photometry = photometry.moved(found.T_gk)
            fit = step(photometry, d, valid, pool, 0.2)
            d = fit.d
    assert away(found.T_gk) < 0.5 * away(measured)
    assert 0 < np.median(found.std * 0.6) < 0.02
