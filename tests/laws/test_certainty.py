from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from poses_helpers import above, near
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import homography
from siame_se3.images.gradients import gradient
from siame_se3.laws.certainty import (
    Certain,
    agreement,
    described,
    least_known,
    motion_field,
    pose_covariance,
    sigmas,
    unknown,
)
from siame_se3.laws.handoff import Handoff
from siame_se3.laws.light import LightDVS
from siame_se3.laws.luminance import luminance_interaction
from siame_se3.laws.pose import PBVS, point_interaction_matrix
from siame_se3.laws.types import View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.conditions import NONE, Augmentation
from siame_se3.scenes.planar import Scene

BORDER = 6
CAMERA = Camera.from_focal(300, 224).resized(112)
Z = 0.6


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def image(photo: Scene) -> Tensor:
    view = FlyingCameras(photo, CAMERA).look(above(1)).image
    assert view is not None
    return view


def cases(image: Tensor, residuals: Tensor, camera: Camera = CAMERA) -> tuple[Tensor, Tensor]:
    """Covariances where these residuals (n, y, x) are added to an image that a law sees at its goal, and the motions that it takes them for."""
    grey, n = image.mean(1), len(residuals)
    L = luminance_interaction(grey, camera, torch.full((1, 1), 1 / Z), BORDER)[0].double()
    H = L @ L.T
    e = residuals.flatten(1).double()
    taken = e @ torch.linalg.solve(H, L).T
    left = (e - taken @ L).float().reshape(n, 1, *residuals.shape[1:])
    u, v = (g[:, None].expand(n, -1, -1, -1) for g in gradient(grey, BORDER))
    C = pose_covariance((u, v), left, torch.ones_like(left), H.expand(n, 6, 6), torch.full((n,), 1 / Z), camera, BORDER)
    return C, taken


def within(error: Tensor, C: Tensor) -> Tensor:
    """Whether distance and angle are both within three standard deviations."""
    t, r = sigmas(C)
    return (error[:, :3].norm(dim=1) <= 3 * t) & (error[:, 3:].norm(dim=1) <= 3 * r)


def moved(image: Tensor, shift: Tensor) -> Tensor:
    """How the image changes where its pixels are displaced by `shift` (n, 2, y, x) [px]."""
    u, v = gradient(image.mean(1), BORDER)
    return u * shift[:, 0] + v * shift[:, 1]


def test_white_noise_alone_gives_the_covariance_of_least_squares(image: Tensor) -> None:
    inner = CAMERA.width - 2 * BORDER
    C, taken = cases(image, 0.004 * randn(12, inner, inner, seed=0))
    t, _ = sigmas(C)
    assert bool(within(taken, C).all())
    predicted, true = float(t.square().mean().sqrt()), float(taken[:, :3].square().sum(1).mean().sqrt())
    assert 0.7 * true < predicted < 2 * true


@pytest.mark.parametrize("length", [2, 4], ids=["whole image", "half of it"])
def test_smooth_displacements_are_known_by_what_no_motion_explains(image: Tensor, length: int) -> None:
    """Of 0.3 px: the residual's own variance would say a tenth of the true error."""
    inner = CAMERA.width - 2 * BORDER
    coarse = 0.3 * randn(24, 2, length + 1, length + 1, seed=1)
    shift = F.interpolate(coarse, size=(inner, inner), mode="bicubic", align_corners=True)
    residual = moved(image, shift) + 0.002 * randn(24, inner, inner, seed=2)
    C, taken = cases(image, residual)
    assert float(within(taken, C).double().mean()) >= 0.95
    t, _ = sigmas(C)
    assert float(t.median()) < 5 * float(taken[:, :3].norm(dim=1).median())
    white, _ = cases(image, 0.002 * randn(24, inner, inner, seed=2))
    assert not bool(within(taken, white).any())


def test_a_plane_is_least_known_along_a_shift_with_a_tilt(image: Tensor) -> None:
    inner = CAMERA.width - 2 * BORDER
    C, _ = cases(image, 0.004 * randn(1, inner, inner, seed=0))
    assert least_known(C[0]) in ("shift x with tilt y", "shift y with tilt x")
    spread = C[0].diagonal().sqrt()
    correlation = C[0] / (spread[:, None] * spread)
    assert abs(float(correlation[0, 4])) > 0.9
    assert abs(float(correlation[1, 3])) > 0.9
    assert float(spread[2]) < 0.3 * float(spread[0])


def test_a_flat_image_says_nothing_and_an_equal_one_leaves_no_doubt(image: Tensor) -> None:
    inner = CAMERA.width - 2 * BORDER
    nothing, some = torch.zeros(1, 1, inner, inner), torch.ones(1, 1, inner, inner)
    eye = torch.eye(6, dtype=torch.float64)[None]
    flat = pose_covariance((nothing, nothing), nothing, some, eye, torch.ones(1), CAMERA, BORDER)
    assert bool(flat.isnan().all())
    C, _ = cases(image, torch.zeros(2, inner, inner))
    assert not bool(C.any())
    assert described(C) == "0 mm and 0 deg (3 sigma, median)"


def test_noise_that_looks_like_texture_is_not_counted_as_texture(image: Tensor) -> None:
    """A dim image, whose gradients are largely those of the noise, is not surer than its texture alone makes it."""
    grey, inner, pad = 0.05 * image, CAMERA.width - 2 * BORDER, 3
    noise = 0.02 * randn(1, inner + 2 * pad, inner + 2 * pad, seed=5)
    rest = noise[:, pad:-pad, pad:-pad].contiguous()
    u, v = (
        (of_image + of_noise / 2)[:, None]
        for of_image, of_noise in zip(gradient(grey.mean(1), BORDER), gradient(noise, pad), strict=True)
    )
    x, y = (
        CAMERA.pixel_grid(torch.float64)[BORDER:-BORDER, BORDER:-BORDER] - torch.tensor([CAMERA.cx, CAMERA.cy])
    ).unbind(-1)
    points = point_interaction_matrix(x / CAMERA.fx, y / CAMERA.fy, torch.full_like(x, Z)) * CAMERA.fx
    L = (u[0, 0, ..., None] * points[..., 0, :] + v[0, 0, ..., None] * points[..., 1, :]).reshape(-1, 6)
    clean = luminance_interaction(grey.mean(1), CAMERA, torch.full((1, 1), 1 / Z), BORDER)[0].double()
    assert float((L.T @ L).trace()) > 2 * float((clean @ clean.T).trace())
    C = pose_covariance(
        (u, v), rest[:, None], torch.ones_like(u), (L.T @ L)[None], torch.tensor([1 / Z]), CAMERA, BORDER
    )
    true = 0.02 * float(torch.linalg.inv(clean @ clean.T).diagonal()[:3].sum().sqrt())
    assert true < float(sigmas(C)[0]) < 4 * true


@pytest.mark.parametrize("noise", [0.01, 0.04])
def test_noisy_views_at_the_goal_are_within_three_sigma(photo: Scene, noise: float) -> None:
    goals = near(24, seed=3)
    grainy = replace(NONE, noise=noise, least=1.0)
    target = FlyingCameras(photo, CAMERA, conditions=grainy, seed=1).reset(goals)
    view = FlyingCameras(photo, CAMERA, conditions=grainy, seed=2).reset(goals)
    law, state = LightDVS().aim(target)
    assert isinstance(law, Certain)
    C, v = law.covariance(view, state), law(view, state)[0].v
    assert float(within(v, C).double().mean()) >= 0.95
    t, _ = sigmas(C)
    assert float(t.median()) < 3 * float(v[:, :3].norm(dim=1).median())


def test_a_run_is_the_same_in_any_batch_and_unusable_images_are_not_known(photo: Scene) -> None:
    dim = Augmentation(occlusion=0.0)
    target = FlyingCameras(photo, CAMERA).look(near(6, seed=3))
    view = FlyingCameras(photo, CAMERA, conditions=dim, seed=2).reset(near(6, seed=3))
    assert view.image is not None
    view.image[4] = 0.3
    law, state = LightDVS().aim(target)
    assert isinstance(law, Certain)
    C = law.covariance(view, state)
    for k in (0, 3, 5):
        one = slice(k, k + 1)
        torch.testing.assert_close(C[one], law.covariance(view[one], state[one]), rtol=1e-2, atol=1e-12)
    assert bool(C[4].isnan().all())
    assert bool(C[[0, 1, 2, 3, 5]].isfinite().all())


@dataclass(frozen=True)
class Aside:
    """PBVS to 3 mm beside the goal."""

    needs = frozenset({"pose"})

    def aim(self, target: View) -> Any:
        assert target.T_wc is not None
        return PBVS().aim(View(T_wc=target.T_wc @ lie.pose_from_vector(3 * MILLIMETRE)))


MILLIMETRE = torch.tensor([0.001, 0, 0, 0, 0, 0], dtype=torch.float64)


def test_another_place_is_not_known(photo: Scene) -> None:
    """However small the step that the law asks for there."""
    goals = above(3)
    target = FlyingCameras(photo, CAMERA).look(goals)
    law, state = LightDVS().aim(target)
    assert isinstance(law, Certain)
    moved_by = torch.zeros(3, 6, dtype=torch.float64)
    moved_by[1, 0], moved_by[2, 5] = 0.15, math.pi
    lit = Augmentation(lamps=2, noise=0.02, occlusion=0.1, occlusion_rate=1.0)
    view = FlyingCameras(photo, CAMERA, conditions=lit, seed=4).reset(goals @ lie.pose_from_vector(moved_by))
    assert law.covariance(view, state).isnan().all(-1).all(-1).tolist() == [False, True, True]
    assert view.image is not None
    assert target.image is not None
    assert bool((agreement(target.image, target.image) > 0.999).all())
    shuffled = target.image.flatten(2)[..., torch.randperm(CAMERA.width**2, generator=torch.Generator().manual_seed(0))]
    assert bool((agreement(shuffled.reshape(target.image.shape), target.image).abs() < 0.3).all())


@pytest.mark.parametrize("size", [26, 31, 40])
def test_small_images_are_no_fault(photo: Scene, size: int) -> None:
    plant = FlyingCameras(photo, Camera.from_focal(300, 224).resized(size))
    target = plant.look(above(2))
    law, state = LightDVS().aim(target)
    assert isinstance(law, Certain)
    C = law.covariance(plant.look(near(2)), state)
    assert C.shape == (2, 6, 6)
    assert not bool(C.isinf().any())


def test_a_handoff_knows_the_poses_of_its_fine_law(photo: Scene) -> None:
    """Not of what is far; and where the coarse law has the last word, what the fine one would still do is an error."""
    goals = above(3)
    plant = FlyingCameras(photo, CAMERA, conditions=replace(NONE, noise=0.01, least=1.0))
    target = FlyingCameras(photo, CAMERA).look(goals)
    far, aside = (lie.pose_from_vector(k * MILLIMETRE) for k in (200, 3))
    view = plant.reset(torch.stack((goals[0] @ far, goals[1] @ aside, goals[2] @ aside)))
    fine = LightDVS()
    law, state = Handoff(Aside(), fine).aim(target)
    _, state = law(view, state)
    assert state.stage.tolist() == [0, 1, 1]
    state = replace(state, stage=torch.tensor([0, 1, 0]))
    assert isinstance(law, Certain)
    C = law.covariance(view, state)
    assert bool(C[0].isnan().all())
    alone, goal = fine.aim(target)
    assert isinstance(alone, Certain)
    own = alone.covariance(view, goal)
    torch.testing.assert_close(C[1], own[1], rtol=1e-3, atol=0)
    left = alone(view, goal)[0].v[2]
    assert float(left[:3].norm()) > 1e-3
    torch.testing.assert_close(C[2], own[2] + torch.outer(left, left), rtol=1e-3, atol=0)
    assert not isinstance(Aside().aim(View(T_wc=goals))[0], Certain)


def test_pixels_move_as_the_scene_is_rendered(photo: Scene) -> None:
    """Against a small motion of the camera and the plane's own homography."""
    v = torch.tensor([[0.3, -0.2, 0.4, 0.1, -0.2, 0.3], [0, 0, 0, 0, 0, 1]], dtype=torch.float64)
    field = motion_field(v, torch.full((2,), 1 / Z, dtype=torch.float64), CAMERA, BORDER)
    dt = 1e-5
    H = homography(CAMERA, above(2) @ lie.exp(v * dt), above(2))
    inner = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    pixels = CAMERA.pixel_grid()[inner]
    mapped = torch.cat((pixels, torch.ones_like(pixels[..., :1])), -1).flatten(0, 1) @ H.mT
    apart = (mapped[..., :2] / mapped[..., 2:] - pixels.flatten(0, 1)) / dt
    torch.testing.assert_close(field.flatten(2).mT, apart, rtol=1e-3, atol=1e-2)


def test_words() -> None:
    assert described(unknown(3)) == ""
    C = torch.diag(torch.tensor([1e-6, 4e-8, 1e-8, 1e-8, 1e-8, 1e-8], dtype=torch.float64))[None]
    t, r = sigmas(C)
    assert float(t) == pytest.approx(math.sqrt(1.05e-6))
    assert float(r) == pytest.approx(math.sqrt(3e-8))
    assert described(C) == "3.1 mm and 0.03 deg (3 sigma); least along shift x"
    C[0, 0, 4] = C[0, 4, 0] = -0.9e-7
    assert (
        described(torch.cat((unknown(1), C)))
        == "3.1 mm and 0.03 deg (3 sigma, median); least along shift x with tilt y"
    )
    far = torch.diag(torch.tensor([1e-8, 1e-8, 1e-6, 1e-8, 1e-8, 1e-8], dtype=torch.float64))
    assert least_known(far) == "distance"


def test_no_usable_image_at_all_is_no_fault(photo: Scene) -> None:
    target = FlyingCameras(photo, CAMERA).look(above(1))
    law, state = LightDVS().aim(target)
    black = View(torch.zeros(1, 3, CAMERA.height, CAMERA.width), target.T_wc, None, CAMERA)
    assert isinstance(law, Certain)
    assert bool(law.covariance(black, state).isnan().all())
