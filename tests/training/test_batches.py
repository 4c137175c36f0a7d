from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import TEACHERS, pbvs_velocity
from siame_se3.laws.types import View
from siame_se3.scenes.conditions import NONE, Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.render import render
from training_helpers import STRONG, assert_same, poses_of, source_of


@pytest.mark.parametrize("pairs", ["all", "paper"])
def test_a_batch_is_a_function_of_seed_step_and_group(scenes: list[Scene], camera: Camera, pairs: str) -> None:
    options = {"pairs": pairs, "augmentation": STRONG}
    source = source_of(scenes, camera, **options)
    first = source.batch(5, 1)
    torch.manual_seed(99)
    source.batch(4, 1)
    source.batch(5, 0)
    assert_same(source.batch(5, 1), first)
    assert_same(source_of(scenes, camera, **options).batch(5, 1), first)


@pytest.mark.parametrize(("seed", "step", "group"), [(4, 5, 1), (3, 6, 1), (3, 5, 2), (3, 1, 5), (5, 3, 1)])
def test_another_seed_step_or_group_is_another_batch(
    scene: Scene, camera: Camera, seed: int, step: int, group: int
) -> None:
    one = source_of([scene], camera).batch(5, 1)
    other = source_of([scene], camera, seed).batch(step, group)
    assert float((one.homography - other.homography).abs().amin((1, 2)).max()) > 0
    assert not bool((one.images == other.images).flatten(1).all(1).any())


def test_global_random_numbers_are_left_alone(scene: Scene, camera: Camera) -> None:
    before = torch.random.get_rng_state()
    source_of([scene], camera, augmentation=STRONG).batch(0, 0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_images_are_what_the_cameras_see(scene: Scene, camera: Camera) -> None:
    batch = source_of([scene], camera).batch(0, 0)
    assert batch.images.shape == (8, 3, 32, 32)
    assert batch.images.dtype == torch.float32
    expected, _ = render(scene, camera, poses_of(batch, camera))
    torch.testing.assert_close(batch.images, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pairs", ["all", "paper"])
def test_target_is_pbvs_of_the_poses(scene: Scene, camera: Camera, pairs: str) -> None:
    batch = source_of([scene], camera, pairs=pairs, augmentation=STRONG).batch(2, 0)
    T = poses_of(batch, camera).numpy()
    assert batch.target.dtype == torch.float32
    for i, j, target in zip(batch.current.tolist(), batch.desired.tolist(), batch.target.numpy(), strict=True):
        T_dc = np.linalg.inv(T[j]) @ T[i]
        R, t = T_dc[:3, :3], T_dc[:3, 3]
        expected = np.concatenate((-R.T @ t, -Rotation.from_matrix(R).as_rotvec()))
        np.testing.assert_allclose(target, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("teacher", ["ibvs", "2.5d"])
def test_target_is_the_teachers(scene: Scene, camera: Camera, teacher: str) -> None:
    batch = source_of([scene], camera, teacher=teacher, spread=(0.2, 0.4)).batch(0, 0)
    T = poses_of(batch, camera)
    law, state = TEACHERS[teacher].aim(View(T_wc=T[batch.desired]))
    v = law(View(T_wc=T[batch.current]), state)[0].v
    torch.testing.assert_close(batch.target, v.float(), rtol=1e-5, atol=1e-6)
    other = source_of([scene], camera, spread=(0.2, 0.4)).batch(0, 0)
    assert float((batch.target - other.target).abs().max()) > 1e-3


def test_target_of_output_pose_is_the_pose_vector(scene: Scene, camera: Camera) -> None:
    batch, velocity = (source_of([scene], camera, output=output).batch(1, 0) for output in ("pose", "velocity"))
    T = poses_of(batch, camera).numpy()
    for i, j, target in zip(batch.current.tolist(), batch.desired.tolist(), batch.target.numpy(), strict=True):
        T_dc = np.linalg.inv(T[j]) @ T[i]
        expected = np.concatenate((T_dc[:3, 3], Rotation.from_matrix(T_dc[:3, :3]).as_rotvec()))
        np.testing.assert_allclose(target, expected, rtol=0, atol=1e-7)
    v = pbvs_velocity(lie.pose_from_vector(batch.target.double()))
    torch.testing.assert_close(v.float(), velocity.target, rtol=0, atol=1e-6)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_curriculum_ramps_the_augmentation(scene: Scene, camera: Camera, strength: float) -> None:
    augmentation = replace(Augmentation(), blur=0.5)
    ramped = source_of([scene], camera, augmentation=augmentation, curriculum=0.2)
    fixed = source_of([scene], camera, augmentation=augmentation.scaled(strength), curriculum=0.0)
    assert_same(ramped.batch(4, 0, progress=0.2 * strength), fixed.batch(4, 0, progress=0.7))


def test_curriculum_starts_with_plain_images_and_ends_with_full_strength(scene: Scene, camera: Camera) -> None:
    source = source_of([scene], camera, augmentation=STRONG, curriculum=0.2)
    start, end = source.batch(4, 0, progress=0.0), source.batch(4, 0, progress=0.2)
    plain, _ = render(scene, camera, poses_of(start, camera))
    torch.testing.assert_close(start.images, plain, rtol=0, atol=1e-5)
    assert float((end.images - plain).abs().mean()) > 0.03
    assert_same(source.batch(4, 0, progress=1.0), end)


def test_curriculum_ramps_the_number_of_scenes(scenes: list[Scene], camera: Camera) -> None:
    source = source_of(scenes, camera, curriculum=0.5)

    def seen(progress: float) -> set[str]:
        return {source.batch(step, 0, progress).scene.name for step in range(40)}

    names = [scene.name for scene in scenes]
    assert seen(0.0) == {names[0]}
    assert seen(0.25) == set(names[:2])
    assert seen(0.5) == set(names)


def test_all_views_of_a_group_are_bent_alike(scene: Scene, camera: Camera) -> None:
    """They are by one camera, and what is between two of them is their motion; those of another step are by another."""
    source = source_of([scene], camera, augmentation=replace(NONE, bend=0.02), curriculum=0.0)
    first, second = source.batch(0, 0).bend, source.batch(1, 0).bend
    assert float(first.abs().max()) > 1e-3
    assert torch.equal(first, first[:1].expand_as(first))
    assert float((first - second).abs().max()) > 1e-3


def test_what_lies_beyond_the_photo_is_another_thing_in_each_view(scene: Scene, camera: Camera) -> None:
    small = Scene(scene.texture, 0.3, 0.225)
    plain, other = (
        source_of([small], camera, augmentation=replace(NONE, surroundings=share), curriculum=0.0).batch(0, 0)
        for share in (0.0, 1.0)
    )
    beyond = (plain.images == 0).all(1)  # the scene's fill
    assert float(beyond.float().mean()) > 0.2
    assert float((other.images == 0).all(1)[beyond].float().mean()) < 0.02
    means = torch.stack([image[:, outside].mean(1) for image, outside in zip(other.images, beyond, strict=True)])
    assert float(means.std(0).min()) > 0.1


def test_no_scene_is_refused(camera: Camera) -> None:
    with pytest.raises(SiameError, match="photo"):
        source_of([], camera)


@pytest.mark.parametrize("pairs", ["all", "paper"])
def test_a_scene_that_no_camera_sees_is_refused(scene: Scene, camera: Camera, pairs: str) -> None:
    dot = Scene(scene.texture, 1e-3, 1e-3, name="dot")
    with pytest.raises(SiameError, match=r"dot.*width") as caught:
        source_of([dot], camera, pairs=pairs).batch(0, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [{"views": 1}, {"views": 0}, {"near": 0.75}, {"near": -0.5}, {"groups": 0}, {"near": 0.25, "near_smallest": 0.0}],
    ids=str,
)
def test_options_that_make_no_batch_are_refused(scene: Scene, camera: Camera, changes: dict[str, Any]) -> None:
    with pytest.raises(SiameError):
        source_of([scene], camera, **changes).batch(0, 0)


@pytest.mark.parametrize("changes", [{"pairs": "paper", "views": 9}, {"views": 7, "near": 0.5}], ids=str)
def test_odd_numbers_of_views_are_shared_out(scenes: list[Scene], camera: Camera, changes: dict[str, Any]) -> None:
    """They ended in a traceback."""
    batch = source_of(scenes, camera, augmentation=STRONG, **changes).batch(0, 0)
    assert len(batch.images) in (changes["views"], changes["views"] - 1)
    assert bool(batch.images.isfinite().all())
