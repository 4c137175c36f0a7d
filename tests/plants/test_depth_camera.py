"""Depth cameras, alone and on flying cameras."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.plants.depth_camera import DepthCamera
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.mismatch import Mismatch
from siame_se3.plants.types import check_plant
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.relief import Relief

CAMERA = Camera.from_focal(300, 224)
SMALL = CAMERA.resized(48)


def poses(n: int = 3) -> Tensor:
    p = torch.randn(n, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    return T @ lie.pose_from_vector(0.05 * p)


def generators(n: int = 1) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(k) for k in range(n)]


def two_levels(near: float = 0.5, far: float = 0.8, columns: int = 100) -> Tensor:
    """A wall, with something before it on its left."""
    Z = torch.full((1, 224, 224), far)
    Z[:, 60:160, 60 : 60 + columns] = near
    return Z


def test_the_ideal_one_says_the_truth() -> None:
    Z = two_levels()
    Z[0, 0, 0] = torch.nan
    found = DepthCamera.ideal().measure(Z, CAMERA, generators())
    torch.testing.assert_close(found, Z, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0])
def test_noise_grows_with_the_square_of_the_distance(distance: float) -> None:
    only_noise = replace(DepthCamera.ideal(), noise=0.0015, grain=1.5)
    Z = torch.full((1, 224, 224), distance)
    error = only_noise.measure(Z, CAMERA, generators()) - Z
    assert float(error.std()) == pytest.approx(0.0015 * distance**2, rel=0.1)
    assert abs(float(error.mean())) < 0.0015 * distance**2 / 5
    beside = (error[:, :, 1:] * error[:, :, :-1]).mean() / error.square().mean()
    assert float(beside) > 0.5  # neighbours err alike


def test_range_and_specks_and_steps() -> None:
    Z = torch.linspace(0.1, 6, 224 * 224).reshape(1, 224, 224)
    found = replace(DepthCamera.ideal(), nearest=0.3, farthest=4.0).measure(Z, CAMERA, generators())
    assert torch.equal(found.isnan(), (Z < 0.3) | (Z > 4))
    stepped = replace(DepthCamera.ideal(), step=0.01).measure(Z, CAMERA, generators())
    assert 0.004 < float((stepped - Z).abs().max()) <= 0.00501
    specks = replace(DepthCamera.ideal(), specks=0.1).measure(Z, CAMERA, generators())
    assert float(specks.isnan().float().mean()) == pytest.approx(0.1, rel=0.1)


def test_holes_are_at_edges() -> None:
    found = replace(DepthCamera.ideal(), edge=2).measure(two_levels(), CAMERA, generators())[0]
    holes = found.isnan()
    assert holes[100].nonzero()[:, 0].tolist() == [58, 59, 60, 61, 158, 159, 160, 161]
    slanted = torch.linspace(0.5, 0.8, 224).expand(1, 224, 224)
    assert not bool(replace(DepthCamera.ideal(), edge=2).measure(slanted, CAMERA, generators()).isnan().any())


def test_what_one_of_the_pair_sees_is_not_known() -> None:
    """To the left of what is near, over as many pixels as the disparities differ."""
    pair = replace(DepthCamera.ideal(), baseline=0.05)
    found = pair.measure(two_levels(), CAMERA, generators())[0]
    expected = 0.05 * 300 * (1 / 0.5 - 1 / 0.8)  # 11.25 px
    row = found[100].isnan().nonzero()[:, 0].tolist()
    assert row == list(range(60 - int(expected), 60))
    assert not bool(found[30].isnan().any())


@pytest.mark.parametrize(
    "wrong",
    [{"noise": -1.0}, {"edge": -1}, {"specks": 2.0}, {"jump": 0.0}, {"nearest": 5.0}, {"farthest": float("nan")}],
)
def test_cameras_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        DepthCamera(**wrong)  # type: ignore[arg-type]


# -- on flying cameras ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def relief(photo: Scene) -> Relief:
    return Relief.drawn(photo, 0.1, 1, ("box", "cylinder"))


def test_flying_cameras_over_a_relief_keep_the_promises(relief: Relief) -> None:
    for camera in (None, DepthCamera(), DepthCamera.ideal()):
        check_plant(FlyingCameras(relief, SMALL, depth_camera=camera), poses())


def test_views_have_the_depth_of_each_pixel(relief: Relief) -> None:
    plant = FlyingCameras(relief, SMALL, dt=0.1, depth_camera=DepthCamera.ideal())
    v = torch.zeros(3, 6, dtype=torch.float64)
    v[0, 2] = v[2, 0] = 0.5
    start = plant.reset(poses())
    moved, _ = plant.step(v)
    assert moved.depth_map is not None
    assert moved.T_wc is not None
    torch.testing.assert_close(moved.depth_map, relief.depth(SMALL, moved.T_wc), rtol=1e-5, atol=0, equal_nan=True)
    assert start.depth_map is not None
    assert torch.equal(start.depth_map[1], moved.depth_map[1])
    goal = plant.look(poses().reshape(3, 1, 4, 4))
    assert goal.depth_map is not None
    assert goal.depth_map.shape == (3, 1, 48, 48)
    without = FlyingCameras(relief, SMALL).look(poses())
    assert without.depth_map is None
    torch.testing.assert_close(without.depth, relief.distance(poses()))


def test_a_runs_depths_are_the_same_alone_and_in_a_batch(relief: Relief) -> None:
    v = torch.full((3, 6), 0.05, dtype=torch.float64)

    def maps(first: int, count: int) -> list[Tensor]:
        plant = FlyingCameras(relief, SMALL, depth_camera=DepthCamera(), seed=3, first_run=first)
        some = slice(first, first + count)
        goal, view = plant.look(poses()[some]), plant.reset(poses()[some])
        found = [goal.depth_map, view.depth_map, plant.step(v[some])[0].depth_map]
        assert all(part is not None for part in found)
        return [part for part in found if part is not None]

    batch = maps(0, 3)
    for k in range(3):
        for alone, together in zip(maps(k, 1), batch, strict=True):
            torch.testing.assert_close(alone[0], together[k], rtol=1e-5, atol=1e-6, equal_nan=True)
    goal, start, _ = batch
    known = goal.isfinite() & start.isfinite()
    assert float((goal - start)[known].abs().mean()) > 1e-4  # noise of its own


def test_what_is_of_a_print_is_refused_over_others(relief: Relief) -> None:
    for wrong in (Mismatch(card=0.1), Mismatch(gloss=0.3)):
        with pytest.raises(InputError, match="is none"):
            FlyingCameras(relief, SMALL, mismatch=wrong)
    with pytest.raises(InputError, match="one of them"):
        FlyingCameras(relief, SMALL, mismatch=Mismatch(focal=1.1), depth_camera=DepthCamera())
