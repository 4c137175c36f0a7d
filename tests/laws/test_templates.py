from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from poses_helpers import AWAY
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import homography
from siame_se3.laws.templates import (
    ALIGNING,
    LEAST_KNOWN,
    VERIFYING,
    Plane,
    Pyramid,
    Template,
    local_contrast,
    moved,
    seen,
    window,
)
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene

CAMERA = Camera(310, 290, 100, 120, 224, 200)
seeds = st.integers(0, 10_000)


def pose(p: list[float]) -> Tensor:
    return lie.pose_from_vector(torch.tensor(p, dtype=torch.float64))


def views(seed: int) -> tuple[Tensor, Tensor]:
    """Two cameras that look at the plane z = 0."""
    p = np.random.default_rng(seed).uniform(-1, 1, (2, 6)) * [0.3, 0.3, 0.15, 0.3, 0.3, 3]
    p[:, 2] -= 0.6
    T_wd, T_wc = (pose(row) for row in p.tolist())
    return T_wd, T_wc


def plane_of(T_wd: Tensor) -> Plane:
    return Plane(CAMERA.K.numpy(), T_wd[2, :3].numpy(), -float(T_wd[2, 3]))


@pytest.fixture(scope="module")
def grey() -> np.ndarray:
    """A view of the coffee."""
    photo = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
    image = FlyingCameras(Scene.from_photo(photo, 1.0), CAMERA).look(pose([0, 0, -0.6, 0, 0, 0.3])[None]).image
    assert image is not None
    return image[0].mean(0).numpy()


# copies


def blot(h: int, w: int, x: float, y: float, size: float) -> np.ndarray:
    v, u = np.mgrid[0:h, 0:w]
    return np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * size**2)).astype(np.float32)


@pytest.mark.parametrize("size", [(224, 224), (480, 640), (300, 201), (100, 90)], ids=str)
def test_pixels_of_an_image_are_where_its_copies_have_them(size: tuple[int, int]) -> None:
    """A blot's middle, by its moments in each copy."""
    h, w = size
    place = np.array([0.4 * w + 0.3, 0.55 * h - 0.2])
    pyramid = Pyramid.of(blot(h, w, *place, min(size) / 10))
    assert len(pyramid.images) == len(pyramid.to_level) == 3
    for image, to_level in zip(pyramid.images, pyramid.to_level, strict=True):
        v, u = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
        middle = np.array([(image * u).sum(), (image * v).sum()]) / image.sum()
        np.testing.assert_allclose((to_level @ [*place, 1])[:2], middle, atol=0.03)
        # the image's outer edges are the copy's
        np.testing.assert_allclose(to_level @ [-0.5, -0.5, 1], [-0.5, -0.5, 1])
        np.testing.assert_allclose(to_level @ [w - 0.5, h - 0.5, 1], [image.shape[1] - 0.5, image.shape[0] - 0.5, 1])


def test_copies_are_small_and_halved() -> None:
    shapes = [image.shape for image in Pyramid.of(np.zeros((480, 640), np.float32)).images]
    assert shapes == [(112, 149), (56, 75), (28, 37)]
    assert Pyramid.of(np.zeros((90, 100), np.float32)).images[0].shape == (90, 100)
    assert min(Pyramid.of(np.zeros((10, 12), np.float32)).images[2].shape) == 8


# local contrast


@pytest.mark.parametrize("windows", [ALIGNING, VERIFYING])
@given(gain=st.floats(0.3, 1.0), share=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_local_contrast_is_the_same_under_another_exposure(
    grey: np.ndarray, windows: int, gain: float, share: float
) -> None:
    """Up to the floor, below which contrast is the sensor's noise."""
    copy = Pyramid.of(grey).images[0]
    bias = np.float32(share * (1 - gain))
    contrast, weight = local_contrast(copy, windows=windows)
    other, thinner = local_contrast(np.float32(gain) * copy + bias, windows=windows)
    textured = weight > 0.7
    assert textured.mean() > 0.2
    assert np.abs(other - contrast)[textured].max() < 0.45 * (1 / gain - 1) * np.abs(contrast).max() + 1e-3
    assert np.corrcoef(other[textured], contrast[textured])[0, 1] > 0.995
    # at no pixel is there more texture in a duller image
    assert (thinner <= weight + 1e-4).all()


def test_bias_alone_changes_nothing(grey: np.ndarray) -> None:
    copy = 0.5 * Pyramid.of(grey).images[0]
    for mine, other in zip(local_contrast(copy), local_contrast(copy + np.float32(0.4)), strict=True):
        np.testing.assert_allclose(other, mine, atol=2e-3)


def test_local_contrast_is_that_of_its_window(grey: np.ndarray) -> None:
    """(I - mean) / (standard deviation + 0.02) and the texture's weight, from the pixels themselves."""
    copy = Pyramid.of(grey).images[0]
    side = window(copy, ALIGNING)
    assert side % 2 == 1
    contrast, weight = local_contrast(copy)
    for y, x in ((30, 40), (60, 70), (80, 20)):
        r = side // 2
        part = copy[y - r : y + r + 1, x - r : x + r + 1].astype(float)
        assert contrast[y, x] == pytest.approx((copy[y, x] - part.mean()) / (part.std() + 0.02), abs=1e-3)
        assert weight[y, x] == pytest.approx(part.var() / (part.var() + 0.05**2), abs=1e-3)


def test_what_is_masked_has_no_contrast_and_changes_none(grey: np.ndarray) -> None:
    copy = Pyramid.of(grey).images[0]
    known = np.zeros_like(copy)
    known[20:70, 30:90] = 1
    contrast, weight = local_contrast(copy, known)
    assert (contrast[known == 0] == 0).all()
    assert np.abs(contrast[known == 1]).mean() > 0.3
    for other in (np.where(known == 1, copy, 0.7), np.where(known == 1, copy, 1 - copy)):
        again, thicker = local_contrast(other.astype(np.float32), known)
        np.testing.assert_allclose(again, contrast, atol=2e-3)
        np.testing.assert_allclose(thicker[known == 1], weight[known == 1], atol=2e-3)
    # far from the mask's edge it is that of the whole
    whole, _ = local_contrast(copy)
    np.testing.assert_allclose(contrast[40:50, 50:70], whole[40:50, 50:70], atol=2e-3)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_plain_image_has_no_contrast_and_no_texture(value: float) -> None:
    contrast, weight = local_contrast(np.full((56, 56), value, np.float32))
    assert np.abs(contrast).max() < 0.05
    assert weight.max() < 0.01


# the plane


@given(seeds)
@settings(deadline=None)
def test_homographies_of_the_plane_are_the_geometrys(seed: int) -> None:
    T_wd, T_wc = views(seed)
    H = plane_of(T_wd).homography((lie.inverse(T_wc) @ T_wd).numpy())
    expected = homography(CAMERA, T_wc, T_wd).numpy()
    np.testing.assert_allclose(H / np.linalg.norm(H), expected / np.linalg.norm(expected), atol=1e-9)
    # and a point of the plane, by the pinhole
    X_d = lie.inverse(T_wd) @ torch.tensor([0.1, -0.05, 0, 1], dtype=torch.float64)
    X_c = lie.inverse(T_wc) @ T_wd @ X_d
    mapped = H @ np.append(CAMERA.project(X_d[:3]).numpy(), 1)
    np.testing.assert_allclose(mapped[:2] / mapped[2], CAMERA.project(X_c[:3]).numpy(), rtol=1e-7, atol=1e-6)
    assert mapped[2] == pytest.approx(float(X_c[2] / X_d[2]))  # above 0 in front of the camera


def eight(D: np.ndarray) -> np.ndarray:
    """A homography near the identity as eight numbers, those that the alignment's equations are of: the last row's scale is left out."""
    E = D - np.eye(3)
    return np.array([E[0, 0] - E[2, 2], E[0, 1], E[0, 2], E[1, 0], E[1, 1] - E[2, 2], E[1, 2], E[2, 0], E[2, 1]])


@given(seeds)
@settings(deadline=None)
def test_the_planes_derivative_is_that_of_finite_differences(seed: int) -> None:
    T_wd, T_wc = views(seed)
    plane, T_cd = plane_of(T_wd), (lie.inverse(T_wc) @ T_wd).numpy()
    units = np.array([[1 / 56, 0, -1.0], [0, 1 / 56, -0.9], [0, 0, 1]])
    H = plane.homography(T_cd)
    found = plane.derivative(T_cd, H, units)
    assert found.shape == (8, 6)
    step = 1e-6
    for k in range(6):
        ends = []
        for sign in (1, -1):
            xi = np.zeros(6)
            xi[k] = sign * step
            G = plane.homography(T_cd @ moved(plane.distance * xi[:3], xi[3:]))
            ends.append(eight(units @ np.linalg.inv(H) @ G @ np.linalg.inv(units)))
        expected = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(found[:, k], expected, rtol=1e-5, atol=1e-6 * (1 + np.abs(expected).max()))


def test_a_motion_is_its_translation_and_its_rotation_vector() -> None:
    p = [0.1, -0.2, 0.3, 0.4, -0.5, 0.6]
    np.testing.assert_allclose(moved(np.array(p[:3]), np.array(p[3:])), pose(p).numpy(), atol=1e-12)


# what another image looks like from the goal's camera


@pytest.fixture(scope="module")
def template(grey: np.ndarray) -> Template:
    return Template.of(grey)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_goal_image_itself_is_seen_whole(template: Template, level: int) -> None:
    found = seen(template, template.pyramid, np.eye(3), level)
    assert found is not None
    image, known = found
    np.testing.assert_allclose(image, template.pyramid.images[level], atol=1e-6)
    assert (known == 1).all()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_shifted_image_is_seen_in_its_place(grey: np.ndarray, level: int) -> None:
    """By whole pixels of each copy; what has gone out of the image is not known."""
    x, y = 40, 24
    grey = cv2.resize(grey, (224, 224))
    template = Template.of(grey)
    current = np.zeros_like(grey)
    current[y:, x:] = grey[:-y, :-x]
    H = np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])
    found = seen(template, Pyramid.of(current), H, level)
    assert found is not None
    image, known = found
    assert known.mean() == pytest.approx((224 - x) / 224 * (224 - y) / 224, abs=0.06)
    inner = known == 1
    assert np.abs(image - template.pyramid.images[level])[inner].max() < 1e-4
    assert np.abs(Pyramid.of(current).images[level] - template.pyramid.images[level])[inner].mean() > 0.05


def test_a_nearer_view_is_seen_from_a_copy_of_its_scale(template: Template, grey: np.ndarray) -> None:
    """Its middle fills the image: as finely resolved as the goal's, it is the same."""
    H = np.array([[2, 0, -111.5], [0, 2, -99.5], [0, 0, 1.0]])
    current = cv2.warpPerspective(grey, H, (224, 200))
    found = seen(template, Pyramid.of(current), H, 0)
    assert found is not None
    image, known = found
    assert known.mean() == pytest.approx(0.25, abs=0.02)
    inner = known == 1
    assert np.abs(image - template.pyramid.images[0])[inner].mean() < 0.02


@pytest.mark.parametrize(
    "T_cd",
    [
        AWAY.numpy(),
        pose([0, 0, -1.5, 0, 0, 0]).numpy(),
        pose([0, 0, 0, 0, 2.5, 0]).numpy(),
        pose([3, 0, 0, 0, 0, 0]).numpy(),
    ],
    ids=["away", "behind", "turned-away", "beside"],
)
@pytest.mark.parametrize("level", [0, 2])
def test_a_plane_that_is_behind_or_out_of_sight_is_not_seen(template: Template, T_cd: np.ndarray, level: int) -> None:
    H = plane_of(pose([0, 0, -0.6, 0, 0, 0.3])).homography(T_cd)
    assert seen(template, template.pyramid, H, level) is None


def test_what_is_behind_the_camera_is_not_known(template: Template) -> None:
    """Of a plane that goes past the camera: known pixels are in front of it, whichever corner is behind."""
    T_wd = pose([0, 0, -0.6, 0, 0, 0])
    for angle in (-1.35, 1.35):
        T_cd = pose([0, 0, 0, 0, angle, 0]).numpy()
        T_cd[:3, 3] = -T_cd[:3, :3] @ [0, 0, 0.45]
        H = plane_of(T_wd).homography(T_cd)
        v, u = np.mgrid[0:100, 0:112] * 2.0 + 0.5
        depth = H[2, 0] * u + H[2, 1] * v + H[2, 2]
        assert (depth < 0).any()
        assert (depth > 0).any()
        found = seen(template, template.pyramid, H, 0)
        if found is not None:
            assert (depth[found[1] == 1] > 0).all()


@pytest.mark.parametrize(
    "H", [np.zeros((3, 3)), np.full((3, 3), np.nan), np.diag([1.0, 1, 0])], ids=["0", "nan", "far"]
)
def test_what_is_no_homography_sees_nothing(template: Template, H: np.ndarray) -> None:
    assert seen(template, template.pyramid, H, 0) is None


def test_too_little_is_nothing(template: Template) -> None:
    for share, enough in ((1.5 * LEAST_KNOWN, True), (0.5 * LEAST_KNOWN, False)):
        H = np.array([[1, 0, 224 * (1 - share)], [0, 1, 0], [0, 0, 1.0]])
        found = seen(template, template.pyramid, H, 0)
        assert (found is not None) == enough
    assert math.isclose(LEAST_KNOWN, 0.04)
