from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import depth
from siame_se3.laws.types import View
from siame_se3.plants.depth_camera import DepthCamera
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.mismatch import Mismatch
from siame_se3.plants.types import Plant, check_plant
from siame_se3.scenes.conditions import NONE, Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.render import render

SHAPES = [(1,), (6,)]
EVERYTHING = Augmentation(blur=1.0, occlusion_rate=0.5, noise=0.05)


def poses(*shape: int, seed: int = 0) -> Tensor:
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    p = torch.randn(*shape, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return T @ lie.pose_from_vector(0.1 * p)


def twists(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def images_of(plant: FlyingCameras, start: Tensor, steps: list[Tensor]) -> list[Tensor]:
    views = [plant.reset(start), *(plant.step(v)[0] for v in steps)]
    assert all(view.image is not None for view in views)
    return [view.image for view in views if view.image is not None]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("conditions", [None, EVERYTHING], ids=["plain", "perturbed"])
def test_flying_cameras_keep_the_promises(
    scene: Scene, camera: Camera, shape: tuple[int, ...], conditions: Augmentation | None
) -> None:
    plant = FlyingCameras(scene, camera, conditions=conditions)
    assert isinstance(plant, Plant)
    check_plant(plant, poses(*shape))


class Drifting(FlyingCameras):
    """Moves by itself."""

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        view, applied = super().step(v + 1e-3)
        return view, applied - 1e-3


class Boastful(FlyingCameras):
    """Says that it moved as it was told, and does half of it."""

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        return super().step(v / 2)[0], v


class Blind(FlyingCameras):
    """Promises images and gives none."""

    def reset(self, start: Tensor | None) -> View:
        return replace(super().reset(start), image=None)


@pytest.mark.parametrize("kind", [Drifting, Boastful, Blind])
def test_check_plant_finds_bad_plants(scene: Scene, camera: Camera, kind: type[FlyingCameras]) -> None:
    with pytest.raises(AssertionError):
        check_plant(kind(scene, camera), poses(2))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_views_are_what_the_cameras_see(scene: Scene, camera: Camera, shape: tuple[int, ...]) -> None:
    plant = FlyingCameras(scene, camera, dt=0.1)
    start, v = poses(*shape), twists(*shape)
    plant.reset(start)
    view, applied = plant.step(v)
    T_wc = start @ lie.exp(0.1 * v)
    assert torch.equal(applied, v)
    assert view.image is not None
    assert view.T_wc is not None
    assert view.depth is not None
    assert view.camera == camera
    torch.testing.assert_close(view.T_wc, T_wc, rtol=0, atol=1e-14)
    assert view.image.shape == (*shape, 3, 32, 32)
    torch.testing.assert_close(view.image, render(scene, camera, T_wc)[0], rtol=0, atol=1e-5)
    one_pixel = replace(camera, width=2, height=2, cx=0.0, cy=0.0)  # its first pixel looks along the optical axis
    torch.testing.assert_close(view.depth, depth(one_pixel, T_wc)[..., 0, 0], rtol=1e-12, atol=0)


def test_look_is_without_conditions_and_moves_nothing(scene: Scene, camera: Camera) -> None:
    plant = FlyingCameras(scene, camera, conditions=EVERYTHING)
    plant.reset(poses(2))
    seen = plant.look(poses(3, seed=5))
    assert seen.image is not None
    assert torch.equal(seen.image, render(scene, camera, poses(3, seed=5))[0])
    still, _ = plant.step(torch.zeros(2, 6))
    assert still.T_wc is not None
    assert torch.equal(still.T_wc, poses(2))


def test_start_is_not_written_to(scene: Scene, camera: Camera) -> None:
    start = poses(3)
    plant = FlyingCameras(scene, camera)
    first = plant.reset(start)
    assert first.image is not None
    image = first.image.clone()
    plant.step(twists(3))
    assert torch.equal(start, poses(3))
    assert torch.equal(first.image, image)


def test_views_once_given_stay_as_they_are(scene: Scene, camera: Camera) -> None:
    plant = FlyingCameras(scene, camera, conditions=EVERYTHING)
    plant.reset(poses(3))
    view, _ = plant.step(twists(3))
    assert view.image is not None
    image = view.image.clone()
    plant.step(twists(3))
    assert torch.equal(view.image, image)


def test_conditions_change_the_images_of_each_run_differently(scene: Scene, camera: Camera) -> None:
    same = poses().expand(4, 4, 4)
    images = images_of(FlyingCameras(scene, camera, conditions=EVERYTHING), same, [])[0]
    plain = render(scene, camera, same)[0]
    assert float((images - plain).abs().mean((1, 2, 3)).min()) > 0.01
    for k in range(3):
        assert float((images[k] - images[k + 1]).abs().mean()) > 0.01


@pytest.mark.parametrize("seed", [0, 7])
def test_a_runs_disturbance_is_the_same_alone_and_in_a_batch(scene: Scene, camera: Camera, seed: int) -> None:
    start, steps = poses(5), [twists(5, seed=s) for s in range(3)]
    batch = images_of(FlyingCameras(scene, camera, conditions=EVERYTHING, seed=seed), start, steps)
    for k in range(5):
        plant = FlyingCameras(scene, camera, conditions=EVERYTHING, seed=seed, first_run=k)
        alone = images_of(plant, start[k : k + 1], [v[k : k + 1] for v in steps])
        for one, all_ in zip(alone, batch, strict=True):
            torch.testing.assert_close(one[0], all_[k], rtol=0, atol=1e-6)


def test_large_batches_are_the_same_too(scene: Scene) -> None:
    camera = Camera.from_focal(8, 8)
    start, v = poses(300), twists(300)
    batch = images_of(FlyingCameras(scene, camera, conditions=EVERYTHING), start, [v])
    for k in (0, 127, 128, 299):
        plant = FlyingCameras(scene, camera, conditions=EVERYTHING, first_run=k)
        alone = images_of(plant, start[k : k + 1], [v[k : k + 1]])
        for one, all_ in zip(alone, batch, strict=True):
            torch.testing.assert_close(one[0], all_[k], rtol=0, atol=1e-6)


def test_the_batch_does_not_change_the_disturbance(scene: Scene, camera: Camera) -> None:
    def plant() -> FlyingCameras:
        return FlyingCameras(scene, camera, conditions=EVERYTHING)

    flat = images_of(plant(), poses(6), [twists(6)])
    single = images_of(plant(), poses(6)[:1], [twists(6)[:1]])
    for a, c in zip(flat, single, strict=True):
        torch.testing.assert_close(a[:1], c, rtol=0, atol=1e-6)


def test_another_seed_is_another_disturbance(scene: Scene, camera: Camera) -> None:
    a, b = (images_of(FlyingCameras(scene, camera, conditions=EVERYTHING, seed=s), poses(3), [])[0] for s in (0, 1))
    assert float((a - b).abs().mean((1, 2, 3)).min()) > 0.01


def test_reset_begins_anew(scene: Scene, camera: Camera) -> None:
    plant = FlyingCameras(scene, camera, conditions=EVERYTHING)
    first = images_of(plant, poses(2), [twists(2)])
    again = images_of(plant, poses(2), [twists(2)])
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_a_zero_twist_keeps_the_pose_and_what_does_not_change_from_frame_to_frame(scene: Scene, camera: Camera) -> None:
    plant = FlyingCameras(scene, camera, conditions=replace(EVERYTHING, noise=0.0))
    v = twists(4)
    v[1] = v[3] = 0
    before, after, later = images_of(plant, poses(4), [v, torch.zeros(4, 6)])
    for k in range(4):
        assert torch.equal(before[k], after[k]) == (k in (1, 3))
    assert torch.equal(after, later)


@pytest.mark.parametrize(
    "conditions",
    [
        pytest.param(replace(NONE, noise=0.1), id="noise"),
        pytest.param(replace(NONE, occlusion=0.3, occlusion_rate=1.0, each_frame=True), id="a patch in each frame"),
    ],
)
def test_a_camera_that_stands_sees_another_frame_until_its_run_has_ended(
    conditions: Augmentation, scene: Scene, camera: Camera
) -> None:
    """Before, one unlucky frame lasted as long as a law waited for a better one."""
    plant = FlyingCameras(scene, camera, conditions=conditions)
    still = torch.zeros(3, 6)
    before, after = images_of(plant, poses(3), [still])
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    plant.runs_ended(torch.tensor([False, True, False]))
    view, applied = plant.step(still)
    assert view.image is not None
    assert view.T_wc is not None
    assert [torch.equal(a, b) for a, b in zip(after, view.image, strict=True)] == [False, True, False]
    torch.testing.assert_close(view.T_wc, poses(3), rtol=0, atol=0)
    assert not applied.any()
    again = plant.reset(poses(3)).image  # all are in use again
    assert again is not None
    second = plant.step(still)[0].image
    assert second is not None
    assert not torch.equal(again[1], second[1])


def test_a_camera_that_stands_is_sharp_after_a_blurred_frame(scene: Scene, camera: Camera) -> None:
    plant = FlyingCameras(scene, camera, mismatch=Mismatch(exposure=0.03))
    _, blurred, after = images_of(plant, poses(2), [twists(2), torch.zeros(2, 6)])
    assert not torch.equal(blurred, after)
    where = plant.step(torch.zeros(2, 6))[0].T_wc
    assert where is not None
    torch.testing.assert_close(after, plant.reset(where).image, rtol=0, atol=1e-5)


def test_a_depth_camera_that_stands_measures_again(scene: Scene, camera: Camera) -> None:
    plant = FlyingCameras(scene, camera, depth_camera=DepthCamera())
    first = plant.reset(poses(2)).depth
    second = plant.step(torch.zeros(2, 6))[0].depth
    assert first is not None
    assert second is not None
    assert not torch.equal(first.nan_to_num(), second.nan_to_num())


def test_runs_that_stand_still_do_not_change_the_others(scene: Scene, camera: Camera) -> None:
    v = twists(4)
    stopped = v.clone()
    stopped[2] = 0
    all_move = images_of(FlyingCameras(scene, camera, conditions=EVERYTHING), poses(4), [v, v])
    three_move = images_of(FlyingCameras(scene, camera, conditions=EVERYTHING), poses(4), [stopped, stopped])
    for a, b in zip(all_move, three_move, strict=True):
        torch.testing.assert_close(a[[0, 1, 3]], b[[0, 1, 3]], rtol=0, atol=1e-6)


def test_noise_is_new_at_each_step_and_the_patch_stays(scene: Scene, camera: Camera) -> None:
    tiny_step = torch.full((2, 6), 1e-9, dtype=torch.float64)
    noisy = images_of(FlyingCameras(scene, camera, conditions=replace(NONE, noise=0.1)), poses(2), [tiny_step])
    assert float((noisy[0] - noisy[1]).abs().mean()) > 1e-3
    patch = replace(NONE, occlusion=0.3, occlusion_rate=1.0)
    first, second = images_of(FlyingCameras(scene, camera, conditions=patch), poses(2), [tiny_step])
    assert float((first - render(scene, camera, poses(2))[0]).abs().mean()) > 1e-3
    torch.testing.assert_close(first, second, rtol=0, atol=1e-5)


def test_no_start_is_refused(scene: Scene, camera: Camera) -> None:
    with pytest.raises(SiameError, match="start"):
        FlyingCameras(scene, camera).reset(None)


def test_step_before_reset_is_refused(scene: Scene, camera: Camera) -> None:
    with pytest.raises(SiameError, match="reset"):
        FlyingCameras(scene, camera).step(torch.zeros(1, 6))
