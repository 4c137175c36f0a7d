from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import TEACHERS, pbvs_velocity
from siame_se3.laws.types import View
from siame_se3.scenes.conditions import NONE, Augmentation
from siame_se3.scenes.overlap import overlap
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, reference_pose
from siame_se3.scenes.render import render
from siame_se3.training.ahead import planned
from siame_se3.training.batches import Batch, BatchSource
from siame_se3.training.cells import cell_matches, cell_points
from siame_se3.training.data import DataConfig
from siame_se3.training.schedule import Schedule

WORKSPACE = Workspace()
STRONG = Augmentation(blur=0.5, noise=0.1)


def source_of(
    scenes: list[Scene], camera: Camera, seed: int = 3, output: Any = "velocity", **changes: Any
) -> BatchSource:
    config = DataConfig(**({"views": 8, "near": 0.0, "spread": (1.0, 1.0), "augmentation": NONE} | changes))
    return BatchSource(scenes, camera, WORKSPACE, config, seed, output)


def poses_of(batch: Batch, camera: Camera) -> Tensor:
    """T_wc from the homography alone: H K has the rows t_x r_z - t_z r_x, t_y r_z - t_z r_y, r_z of R's rows r."""
    x, y, r_z = (batch.homography @ camera.K).unbind(-2)
    t_x, t_y = (x * r_z).sum(-1), (y * r_z).sum(-1)
    minus_tz_rx, minus_tz_ry = x - t_x[:, None] * r_z, y - t_y[:, None] * r_z
    t_z = -minus_tz_rx.norm(dim=-1)
    R = torch.stack((minus_tz_rx / -t_z[:, None], minus_tz_ry / -t_z[:, None], r_z), -2)
    return lie.pose(R, torch.stack((t_x, t_y, t_z), -1))


def assert_same(a: Batch, b: Batch) -> None:
    assert a.scene is b.scene
    for name in ("images", "current", "desired", "target", "weight", "homography"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name


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


@pytest.mark.parametrize("near", [0.0, 0.25])
def test_each_ordered_pair_is_there_once(scene: Scene, camera: Camera, near: float) -> None:
    batch = source_of([scene], camera, near=near).batch(0, 0)
    pairs = list(zip(batch.current.tolist(), batch.desired.tolist(), strict=True))
    assert len(pairs) == 8 * 7
    assert set(pairs) == {(i, j) for i in range(8) for j in range(8) if i != j}
    assert batch.target.shape == (56, 6)


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


def test_papers_pairs_are_a_view_and_its_own_start(scene: Scene, camera: Camera) -> None:
    source = source_of([scene], camera, pairs="paper", views=64)
    batch = source.batch(0, 0)
    assert batch.desired.tolist() == list(range(32))
    assert batch.current.tolist() == list(range(32, 64))
    T = poses_of(batch, camera)
    T_wd, T_wc = T[batch.desired], T[batch.current]
    assert float(overlap(camera, T_wd, T_wc, scene).min()) >= WORKSPACE.min_overlap
    assert float(T_wc[:, 2, 3].max()) <= -WORKSPACE.min_height
    offset = (T_wd[:, :3, 3] - torch.tensor([0, 0, -WORKSPACE.distance])).abs()
    assert float(offset[:, :2].max()) <= WORKSPACE.desired_sideways
    assert float(offset[:, 2].max()) <= WORKSPACE.desired_height


def test_papers_overlap_filter_bites(scene: Scene, camera: Camera) -> None:
    strict = BatchSource(
        [scene], camera, replace(WORKSPACE, min_overlap=0.7), DataConfig(64, pairs="paper", spread=(1.0, 1.0)), 3
    )
    shares = []
    for source in (strict, source_of([scene], camera, pairs="paper", views=64)):
        batch = source.batch(0, 0)
        T = poses_of(batch, camera)
        shares.append(float(overlap(camera, T[batch.desired], T[batch.current], scene).min()))
    assert shares[0] >= 0.7 > shares[1]


def test_spread_scales_the_distances(scene: Scene, camera: Camera) -> None:
    def lengths(low: float, high: float) -> Tensor:
        batch = source_of([scene], camera, pairs="paper", views=256, spread=(low, high)).batch(0, 0)
        return batch.target[:, :3].norm(dim=1)

    # A normal of 0.1 m an axis has a mean norm of 0.16 m; 128 draws know it to 4 %.
    assert float(lengths(0.1, 0.1).mean()) == pytest.approx(0.1 * 0.16, rel=0.12)
    mixed = lengths(0.0, 0.2)
    assert float(mixed.mean()) == pytest.approx(0.1 * 0.16, rel=0.2)
    assert float((mixed / mixed.mean()).std()) > 0.6 > float((lengths(0.1, 0.1) / lengths(0.1, 0.1).mean()).std())


@pytest.mark.parametrize(("near", "count"), [(0.25, 4), (0.5, 8), (0.0, 0)])
def test_near_share_are_neighbours_of_others(scene: Scene, camera: Camera, near: float, count: int) -> None:
    options = {"near": near, "near_smallest": 0.001, "near_largest": 0.01}
    batch = source_of([scene], camera, views=16, **options).batch(0, 0)
    T = poses_of(batch, camera)
    distance, angle = lie.error_norms(lie.inverse(T[:, None]) @ T[None])
    other = ~torch.eye(16, dtype=torch.bool)
    close = (distance < 5 * 0.01 * WORKSPACE.offset_t) & (angle < 5 * 0.01 * WORKSPACE.offset_roll) & other
    assert len(T) == 16
    neighbours = {(k, 16 - count + k) for k in range(count)}
    assert {(i, j) for i, j in close.nonzero().tolist() if i < j} == neighbours


def test_pairs_of_neighbours_have_a_weight_of_their_own(scene: Scene, camera: Camera) -> None:
    batch = source_of([scene], camera, views=16, near=0.25, near_weight=7.0).batch(0, 0)
    neighbours = {(k, 12 + k) for k in range(4)} | {(12 + k, k) for k in range(4)}
    for i, j, weight in zip(batch.current.tolist(), batch.desired.tolist(), batch.weight.tolist(), strict=True):
        assert weight == (7 if (i, j) in neighbours else 1)


@pytest.mark.parametrize("changes", [{"near": 0.0}, {"pairs": "paper", "near": 0.5}], ids=str)
def test_other_pairs_weigh_one(scene: Scene, camera: Camera, changes: dict[str, Any]) -> None:
    batch = source_of([scene], camera, near_weight=7.0, **changes).batch(0, 0)
    assert torch.equal(batch.weight, torch.ones(len(batch.target)))


@pytest.mark.parametrize(("alike", "same"), [(1.0, 32), (0.0, 0), (0.5, 16)])
def test_neighbours_share_the_light_and_the_patch(scene: Scene, camera: Camera, alike: float, same: int) -> None:
    """Neighbours a micrometre away: their images differ by their conditions alone."""
    options = {"near": 0.5, "near_smallest": 1e-5, "near_largest": 1e-5, "near_alike": alike}
    images = source_of([scene], camera, views=64, augmentation=replace(STRONG, noise=0.0), **options).batch(0, 0).images
    differences = (images[:32] - images[32:]).abs().mean((1, 2, 3))
    assert int((differences < 1e-3).sum()) == pytest.approx(same, abs=0 if alike in (0, 1) else 6)


def test_orbiting_neighbours_look_at_the_same_point(scene: Scene, camera: Camera) -> None:
    def shift_of_the_middle(orbit: float) -> float:
        options = {"near": 0.5, "near_smallest": 0.1, "near_largest": 0.1, "near_orbit": orbit}
        H = source_of([scene], camera, views=128, **options).batch(0, 0).homography
        middle = torch.tensor([camera.cx, camera.cy, 1.0], dtype=torch.float64)
        u, v, w = (torch.linalg.inv(H[64:]) @ H[:64] @ middle).unbind(1)
        return float(torch.stack((u / w - camera.cx, v / w - camera.cy)).norm(dim=0).mean())

    assert shift_of_the_middle(1.0) < 0.3 * shift_of_the_middle(0.0)


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


def test_cell_matches_are_where_both_see_the_same_point(scene: Scene, camera: Camera) -> None:
    """By rays and the plane, not by homographies."""
    batch = source_of([scene], camera, spread=(1.0, 1.0)).batch(0, 0)
    matches, known = cell_matches(batch, 4, 2)
    assert matches.shape == (56, 2, 4, 2)
    assert known.shape == (56, 4, 2)
    poses = poses_of(batch, camera).numpy()
    inside = 0
    for n, (current, desired) in enumerate(zip(batch.current.tolist(), batch.desired.tolist(), strict=True)):
        T, D = poses[current], poses[desired]
        for row in range(4):
            for column in range(2):
                u, v = (column + 0.5) * 16 - 0.5, (row + 0.5) * 8 - 0.5
                ray = T[:3, :3] @ np.array([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1])
                seen = D[:3, :3].T @ (T[:3, 3] - ray * T[2, 3] / ray[2] - D[:3, 3])
                x = 2 * (camera.fx * seen[0] / seen[2] + camera.cx + 0.5) / 32 - 1
                y = 2 * (camera.fy * seen[1] / seen[2] + camera.cy + 0.5) / 32 - 1
                near = ray[2] > 0 and seen[2] > 0 and abs(x) < 1.5 and abs(y) < 1.5
                assert float(known[n, row, column]) == float(near)
                if near:
                    np.testing.assert_allclose(matches[n, :, row, column], [x, y], rtol=0, atol=1e-4)
                    inside += 1
    assert 150 < inside < 448


@pytest.mark.parametrize("most", [10, 30])
def test_some_pairs_are_those_of_neighbours_and_others(scene: Scene, camera: Camera, most: int) -> None:
    batch = source_of([scene], camera, near=0.25, most_pairs=most, near_weight=5.0).batch(0, 0)
    pairs = set(zip(batch.current.tolist(), batch.desired.tolist(), strict=True))
    assert len(batch.current) == len(batch.target) == len(batch.weight) == len(pairs) == most
    neighbours = {(0, 6), (6, 0), (1, 7), (7, 1)}
    assert neighbours <= pairs
    of = {
        pair: float(w)
        for pair, w in zip(zip(batch.current.tolist(), batch.desired.tolist(), strict=True), batch.weight, strict=True)
    }
    assert {pair for pair, w in of.items() if w == 5.0} == neighbours


def test_cell_points_are_where_the_rays_meet_the_plane(scene: Scene, camera: Camera) -> None:
    batch = source_of([scene], camera, spread=(1.5, 1.5)).batch(0, 0)
    points, known = cell_points(batch, 4, 2)
    assert points.shape == (8, 2, 4, 2)
    assert known.shape == (8, 4, 2)
    compared = 0
    for n, T in enumerate(poses_of(batch, camera).numpy()):
        for row in range(4):
            for column in range(2):
                u, v = (column + 0.5) * 16 - 0.5, (row + 0.5) * 8 - 0.5
                ray = T[:3, :3] @ np.array([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1])
                X, Y, Z = T[:3, 3] - ray * T[2, 3] / ray[2]
                assert abs(Z) < 1e-12
                near = ray[2] > 0 and abs(X) < 0.8 and abs(Y) < 0.8
                assert float(known[n, row, column]) == float(near)
                if near:
                    np.testing.assert_allclose(points[n, :, row, column], [X / 0.4, Y / 0.4], rtol=0, atol=1e-5)
                    compared += 1
    assert 32 < compared <= 64
    assert float(points.abs().max()) <= 2


def colours_at(images: Tensor, uv: Tensor) -> Tensor:
    """(n, 3, k) of images (n, 3, h, w), at points (n, 2, k) in [-1, 1]^2 from edge to edge."""
    return F.grid_sample(images, uv.mT[:, None], padding_mode="border", align_corners=False)[:, :, 0]


def bent_batch(scene: Scene, camera: Camera, bend: float) -> Batch:
    return source_of([scene], camera, augmentation=replace(NONE, bend=bend), curriculum=0.0).batch(0, 0)


MIDDLES = (torch.arange(8) + 0.5) / 4 - 1  # of 8 cells along a side


def test_cells_of_bent_views_say_what_they_show(scene: Scene, camera: Camera) -> None:
    """The scene's colour at the point that a cell says is the colour in its middle."""
    batch = bent_batch(scene, camera, 0.08)
    v, u = torch.meshgrid(MIDDLES, MIDDLES, indexing="ij")
    seen = colours_at(batch.images, torch.stack((u, v)).flatten(1).expand(8, -1, -1))

    def apart(said: Batch) -> Tensor:
        points, _ = cell_points(said, 8, 8)
        points = points.flatten(2)
        inside = (points.abs() < torch.tensor([0.9, 0.65])[:, None]).all(1)  # half widths of a print of 0.8 x 0.6 m
        on_print = points / torch.tensor([1.0, 0.75])[:, None]
        there = colours_at(scene.texture.expand(8, -1, -1, -1), on_print)
        assert int(inside.sum()) > 200
        return (there - seen).abs().mean(1)[inside].mean()

    unbent = replace(batch, bend=torch.zeros(8, 2, 0, 0))
    assert float(apart(batch)) < 0.4 * float(apart(unbent))


def test_matches_of_bent_views_show_the_same(scene: Scene, camera: Camera) -> None:
    batch = bent_batch(scene, camera, 0.08)
    v, u = torch.meshgrid(MIDDLES, MIDDLES, indexing="ij")
    seen = colours_at(batch.images[batch.current], torch.stack((u, v)).flatten(1).expand(56, -1, -1))

    def apart(said: Batch) -> Tensor:
        points, known = cell_matches(said, 8, 8)
        points = points.flatten(2)
        inside = (points.abs() < 0.9).all(1) & (known.flatten(1) > 0)
        assert int(inside.sum()) > 500
        return (colours_at(batch.images[batch.desired], points) - seen).abs().mean(1)[inside].mean()

    unbent = replace(batch, bend=torch.zeros(8, 2, 0, 0))
    assert float(apart(batch)) < 0.5 * float(apart(unbent))


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


def test_far_views_are_current_ones_only(scenes: list[Scene], camera: Camera) -> None:
    source = source_of(scenes, camera, views=20, near=0.2, starts="wide")
    batch = source.batch(0, 0)
    T = poses_of(batch, camera)
    home, far, near = range(8), range(8, 16), range(16, 20)
    assert set(batch.desired.tolist()) == {*home, *near}
    assert set(batch.current.tolist()) == set(range(20))
    assert len(batch.current) == 19 * 20 - 8 * 19
    distance = (T[:, :3, 3] - reference_pose(0.6)[:3, 3]).norm(dim=1)
    assert float(distance[list(far)].mean()) > 2 * float(distance[list(home)].mean())
    # the heavier weight is that of a view and its neighbour
    heavy = batch.weight > 1
    pairs = {tuple(sorted(p)) for p in zip(batch.current[heavy].tolist(), batch.desired[heavy].tolist(), strict=True)}
    assert pairs == {(k, 16 + k) for k in range(4)}
    torch.testing.assert_close(
        batch.target.double(),
        pbvs_velocity(lie.inverse(T[batch.desired]) @ T[batch.current]),
        rtol=0,
        atol=1e-4,
    )


@pytest.mark.parametrize("changes", [{"pairs": "paper"}, {"near": 0.4}], ids=str)
def test_far_views_need_all_pairs_and_few_neighbours(changes: dict[str, Any]) -> None:
    with pytest.raises(SiameError, match="starts 'wide'"):
        DataConfig(starts="wide", **changes)


def mixed(camera: Camera, among: list[Scene], **changes: Any) -> BatchSource:
    options = {"views": 24, "scenes": 3, "near": 0.25, "spread": (1.0, 1.0), "augmentation": STRONG} | changes
    return BatchSource(among, camera, WORKSPACE, DataConfig(**options), 3)


def alike(scenes: list[Scene]) -> list[Scene]:
    """Of one size, with different pictures."""
    texture = scenes[0].texture
    return [
        Scene(texture.flip(k % 3).contiguous(), 0.8, 0.6, f"{k}", fill) for k, fill in enumerate((0.0, "mean", "edge"))
    ]  # type: ignore[arg-type]  # fills


def test_views_of_a_group_of_scenes_are_of_their_own_scene(scenes: list[Scene], camera: Camera) -> None:
    some = alike(scenes)
    source = mixed(camera, some, augmentation=NONE, curriculum=0.0)
    plan = source.plan(2, 0)
    batch = source.images(plan)
    assert len(plan.scenes) == 3
    for k, number in enumerate(plan.scenes):
        own = slice(8 * k, 8 * k + 8)
        expected, _ = render(some[number], camera, plan.T_wc[own])
        assert torch.equal(batch.images[own], expected)
    assert torch.equal(batch.current // 8, batch.desired // 8)
    assert len(batch.current) == 3 * 8 * 7
    assert int((batch.weight > 1).sum()) == 3 * 2 * 2


def test_pairs_of_a_group_of_scenes_are_so_many_of_each(scenes: list[Scene], camera: Camera) -> None:
    batch = mixed(camera, alike(scenes), most_pairs=10).batch(1, 0)
    assert torch.bincount(batch.current // 8).tolist() == [10, 10, 10]
    assert torch.equal(batch.current // 8, batch.desired // 8)


@pytest.mark.parametrize("changes", [{"scenes": 5}, {"scenes": 0}, {"scenes": 16}, {"pairs": "paper", "near": 0.0}])
def test_groups_of_scenes_that_cannot_be_are_refused(
    scenes: list[Scene], camera: Camera, changes: dict[str, Any]
) -> None:
    with pytest.raises(SiameError, match=r"data: .*scenes"):
        mixed(camera, alike(scenes), **changes)


def test_scenes_of_one_group_have_one_size(scenes: list[Scene], camera: Camera) -> None:
    other = Scene(scenes[0].texture, 0.7, 0.6)
    with pytest.raises(SiameError, match="of one size"):
        mixed(camera, [*alike(scenes), other])


@pytest.mark.slow
def test_batches_planned_ahead_are_those_of_the_step(scenes: list[Scene], camera: Camera) -> None:
    source = mixed(camera, alike(scenes))
    plans = planned(source, range(2), 3, Schedule(5, 5), 1)
    for step in (3, 4):
        for group in (0, 1):
            assert_same(source.images(next(plans)), source.batch(step, group, step / 5))
    with pytest.raises(StopIteration):
        next(plans)


@pytest.mark.parametrize("changes", [{"pairs": "paper", "views": 9}, {"views": 7, "near": 0.5}], ids=str)
def test_odd_numbers_of_views_are_shared_out(scenes: list[Scene], camera: Camera, changes: dict[str, Any]) -> None:
    """They ended in a traceback."""
    batch = source_of(scenes, camera, augmentation=STRONG, **changes).batch(0, 0)
    assert len(batch.images) in (changes["views"], changes["views"] - 1)
    assert bool(batch.images.isfinite().all())
