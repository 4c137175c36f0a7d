from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.mismatch import Mismatch
from siame_se3.plants.types import check_plant
from siame_se3.scenes.conditions import NONE
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.render import render

KINDS = {
    "focal": Mismatch(focal=1.05),
    "size": Mismatch(size=0.8),
    "tilt": Mismatch(tilt_deg=10),
    "card": Mismatch(card=0.03),
    "exposure": Mismatch(exposure=0.02),
    "gloss": Mismatch(gloss=0.5),
}
each_kind = pytest.mark.parametrize("mismatch", KINDS.values(), ids=KINDS.keys())


def above(n: int, seed: int = 0, spread: float = 0.05) -> Tensor:
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    p = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return T @ lie.pose_from_vector(spread * p)


def seen(scene: Scene, camera: Camera, mismatch: Mismatch | None, T_wc: Tensor, **options: int) -> Tensor:
    image = FlyingCameras(scene, camera, mismatch=mismatch, **options).look(T_wc).image
    assert image is not None
    return image


@each_kind
@pytest.mark.parametrize("n", [1, 6])
def test_plants_that_differ_keep_the_promises(scene: Scene, camera: Camera, mismatch: Mismatch, n: int) -> None:
    check_plant(FlyingCameras(scene, camera, mismatch=mismatch), above(n))


@each_kind
def test_a_run_alone_is_the_one_of_the_batch(scene: Scene, camera: Camera, mismatch: Mismatch) -> None:
    start, v = above(4), 0.3 * torch.ones(4, 6, dtype=torch.float64)
    batch = FlyingCameras(scene, camera, mismatch=mismatch, seed=3)
    batch.reset(start)
    together = batch.step(v)[0].image
    alone = FlyingCameras(scene, camera, mismatch=mismatch, seed=3, first_run=2)
    alone.reset(start[2:3])
    single = alone.step(v[2:3])[0].image
    assert together is not None
    assert single is not None
    torch.testing.assert_close(together[2:3], single, rtol=0, atol=1e-5)


def test_no_difference_is_none(scene: Scene, camera: Camera) -> None:
    assert torch.equal(seen(scene, camera, Mismatch(), above(3)), seen(scene, camera, None, above(3)))


def test_the_true_focal_length_makes_the_image_and_the_assumed_one_the_view(scene: Scene, camera: Camera) -> None:
    plant = FlyingCameras(scene, camera, mismatch=KINDS["focal"])
    view = plant.look(above(2))
    true = replace(camera, fx=1.05 * camera.fx, fy=1.05 * camera.fy)
    assert view.camera == camera
    assert view.image is not None
    torch.testing.assert_close(view.image, render(scene, true, above(2))[0], rtol=0, atol=1e-6)


def test_in_a_larger_scene_the_camera_gets_less_far(scene: Scene, camera: Camera) -> None:
    plant = FlyingCameras(scene, camera, dt=0.1, mismatch=Mismatch(size=1.25))
    plant.reset(above(1))
    v = torch.tensor([[0.5, -0.25, 0.1, 0.2, 0.1, -0.3]], dtype=torch.float64)
    view, applied = plant.step(v)
    expected = torch.tensor([[0.4, -0.2, 0.08, 0.2, 0.1, -0.3]], dtype=torch.float64)
    torch.testing.assert_close(applied, expected)
    assert view.T_wc is not None
    assert view.image is not None
    torch.testing.assert_close(view.T_wc, above(1) @ lie.exp(0.1 * expected))
    # in true metres: a print and distances 1.25 times as large, and the twist as it was commanded
    large = replace(scene, width=1.25 * scene.width, height=1.25 * scene.height)
    T = above(1)
    T[:, :3, 3] *= 1.25
    image, _ = render(large, camera, T @ lie.exp(0.1 * v))
    torch.testing.assert_close(view.image, image, rtol=0, atol=1e-4)


def test_the_print_is_tilted_by_the_angle_in_directions_of_its_runs(scene: Scene, camera: Camera) -> None:
    n, same = 40, above(1, spread=0.0).expand(40, 4, 4)
    tilted = seen(scene, camera, KINDS["tilt"], same)
    assert float((tilted - seen(scene, camera, None, same)).abs().mean((1, 2, 3)).min()) > 1e-3
    # each is what a camera sees that has gone around the print's middle by 10 deg about some axis of the print
    angles = torch.arange(72, dtype=torch.float64) * (math.tau / 72)
    turn = torch.zeros(72, 6, dtype=torch.float64)
    turn[:, 3], turn[:, 4] = math.radians(10) * angles.cos(), math.radians(10) * angles.sin()
    around, _ = render(scene, camera, lie.exp(turn) @ same[:1])
    distance = torch.cdist(tilted.flatten(1), around.flatten(1)) / math.sqrt(tilted[0].numel())
    assert float(distance.amin(1).max()) < 0.01
    assert len(set(distance.argmin(1).tolist())) > n // 2


def test_the_card_stands_out_and_the_rest_is_as_it_was(scene: Scene, camera: Camera) -> None:
    height, T = 0.1, above(6, spread=0.0)
    size = (0.12, 0.1)
    images = seen(scene, camera, Mismatch(card=height, card_size=size), T)
    plain = seen(scene, camera, None, T)
    # from straight above, a part of the print that is nearer by `height` is the print, magnified
    near = T.clone()
    near[:, 2, 3] += height
    magnified = render(scene, camera, near)[0]
    on = (images - plain).abs().sum(1) > 1e-6
    torch.testing.assert_close(images.movedim(1, -1)[on], magnified.movedim(1, -1)[on], rtol=0, atol=1e-6)
    pixels = size[0] * size[1] * (camera.fx / (0.6 - height)) ** 2
    assert on.sum((1, 2)).float().median() == pytest.approx(pixels, rel=0.25)
    boxes = {tuple(x.nonzero()[0].tolist()) for x in on}
    assert len(boxes) > 3  # each run's is elsewhere


def test_motion_blurs_and_rest_does_not(scene: Scene, camera: Camera) -> None:
    plant = FlyingCameras(scene, camera, dt=0.04, mismatch=Mismatch(exposure=0.02))
    at_rest = plant.reset(above(2)).image
    assert at_rest is not None
    assert torch.equal(at_rest, seen(scene, camera, None, above(2)))
    v = torch.tensor([[1.0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 5]], dtype=torch.float64)
    view, _ = plant.step(v)
    assert view.T_wc is not None
    assert view.image is not None
    shutter = [render(scene, camera, view.T_wc @ lie.exp(-t * v))[0] for t in (0, 0.005, 0.01, 0.015, 0.02)]
    torch.testing.assert_close(view.image, torch.stack(shutter).mean(0), rtol=0, atol=1e-5)
    assert float((view.image - shutter[0]).abs().mean((1, 2, 3)).min()) > 1e-3


def test_highlights_are_where_the_print_mirrors_the_lamps(camera: Camera) -> None:
    """Angle of incidence and of reflection are equal there, for a camera anywhere."""
    from siame_se3.plants.mismatch import _drawn, _seen_points, highlights

    camera = camera.resized(96)
    T = above(8, spread=0.1)
    _, _, lamps = _drawn(torch.arange(8), 0)
    points, _ = _seen_points(camera, T)
    for k in range(2):
        light = highlights(camera, T, lamps[:, k : k + 1]).flatten(1)
        best = light.argmax(1)
        at = points[torch.arange(8), best]
        found = light.amax(1) > 0.98  # the others' highlights are out of view
        assert int(found.sum()) >= 2
        viewer, lamp = T[:, :2, 3] - at, lamps[:, k, :2] - at
        slope = viewer / T[:, 2, 3, None] + lamp / lamps[:, k, 2, None]  # opposite and equal
        assert float(slope[found].norm(dim=1).max()) < 0.05


def test_highlights_move_over_the_print_with_the_camera(scene: Scene, camera: Camera) -> None:
    T = above(1, spread=0.0).repeat(2, 1, 1)
    T[1, 0, 3] = 0.1
    plant = [FlyingCameras(scene, camera, mismatch=Mismatch(gloss=g)) for g in (0.5, 0.0)]
    shining, plain = (p.look(T[k : k + 1]).image for k in (0, 1) for p in plant[:1]), plant[1].look(T[:1]).image
    first, second = shining
    assert first is not None
    assert second is not None
    assert plain is not None
    assert float((first - plain).min()) >= -1e-6
    assert float((first - plain).max()) > 0.2
    assert float(first.max()) <= 1


def test_a_patch_a_frame_moves_from_frame_to_frame(scene: Scene, camera: Camera) -> None:
    conditions = replace(NONE, occlusion=0.3, occlusion_rate=0.5, least=0.1, each_frame=True)
    plant = FlyingCameras(scene, camera, conditions=conditions)
    start, still = above(20), above(20)
    plant.reset(start)
    covered = []
    for k in range(6):
        view, _ = plant.step(1e-9 * torch.ones(20, 6, dtype=torch.float64) * (k + 1))
        assert view.image is not None
        covered.append((view.image - seen(scene, camera, None, still)).abs().sum(1) > 1e-3)
    share = torch.stack(covered).float().mean((2, 3))
    assert 0.3 < float((share > 0).float().mean()) < 0.7
    assert float(share.max()) <= 0.3 + 0.05
    both = (share[0] > 0) & (share[1] > 0)
    assert int(both.sum()) > 2
    assert all(not torch.equal(covered[0][k], covered[1][k]) for k in both.nonzero()[:, 0])


@pytest.mark.parametrize("bad", [{"focal": 0.0}, {"size": -1.0}, {"tilt_deg": 75.0}, {"exposure": -0.1}], ids=str)
def test_impossible_differences_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(SiameError, match="tilted" if "tilt_deg" in bad else next(iter(bad))):
        Mismatch(**bad)  # type: ignore[arg-type]  # its own fields
