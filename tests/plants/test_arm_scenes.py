"""The arm over scenes that are not flat. Skipped where MuJoCo or mink are missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import PBVS
from siame_se3.plants.arm import ArmConfig, ArmPlant
from siame_se3.plants.depth_camera import DepthCamera
from siame_se3.plants.types import check_plant
from siame_se3.scenes.mujoco_objects import Pile, dropped
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.relief import Relief
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.simulation import Task, simulate_on_arm

if not all(importlib.util.find_spec(name) for name in ("mujoco", "mink", "daqp")):
    pytest.skip("MuJoCo, mink or daqp are not installed", allow_module_level=True)

CAMERA = Camera.from_focal(300, 224).resized(48)


def pose(*vector: float) -> Tensor:
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    return (T @ lie.pose_from_vector(torch.tensor(vector, dtype=torch.float64)))[None]


@pytest.fixture(scope="module")
def relief(photo: Scene) -> Relief:
    return Relief.drawn(photo, 0.1, 1, ("box", "cylinder"))


@pytest.fixture(scope="module")
def arm(relief: Relief) -> Iterator[ArmPlant]:
    plant = ArmPlant(relief, CAMERA, ArmConfig(focal=1.02), depth_camera=DepthCamera.ideal())
    yield plant
    plant.close()


def test_it_keeps_the_promises(arm: ArmPlant) -> None:
    check_plant(arm, pose(0.05, -0.03, 0.02, 0.05, 0.1, 0.2), tolerance=2e-4)


def test_views_are_those_of_the_scene_at_the_cameras_place(arm: ArmPlant, relief: Relief) -> None:
    view = arm.look(pose(0.02, 0.01, 0.05, 0.1, -0.1, 0.3))
    true = Camera(CAMERA.fx * 1.02, CAMERA.fy * 1.02, CAMERA.cx, CAMERA.cy, 48, 48)
    assert view.T_wc is not None
    assert view.image is not None
    assert view.depth_map is not None
    torch.testing.assert_close(view.image, relief.render(true, view.T_wc)[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(view.depth_map, relief.depth(true, view.T_wc), rtol=1e-6, atol=0, equal_nan=True)


def test_a_late_image_has_its_own_depths(relief: Relief) -> None:
    plant = ArmPlant(relief, CAMERA, ArmConfig(latency=0.08), depth_camera=DepthCamera.ideal())
    first = plant.reset(pose(0.0, 0, 0, 0, 0, 0))
    v = torch.tensor([[0.0, 0, 0.2, 0, 0, 0]], dtype=torch.float64)
    second, _ = plant.step(v)
    assert first.depth_map is not None
    assert second.depth_map is not None
    assert torch.equal(second.depth_map.nan_to_num(0), first.depth_map.nan_to_num(0))  # what was seen 80 ms ago
    third = plant.step(v)[0]
    fourth = plant.step(v)[0]
    assert fourth.depth_map is not None
    assert third.depth_map is not None
    assert float((fourth.depth_map - first.depth_map).nanmedian()) < -1e-3
    plant.close()


def test_runs_over_a_relief(relief: Relief) -> None:
    task = Task(relief, CAMERA, "table1", 2, seed=4, depth="camera")
    trajectory, desired, last = simulate_on_arm(PBVS(), task, ServoConfig(gain=8.0), ArmConfig(), quiet=True)
    t, _ = trajectory.error_norms
    assert float(t[-1].max()) < 1e-3
    assert desired.image is not None
    assert last.image is not None
    assert float((desired.image - last.image).abs().mean()) < 0.01


@pytest.mark.slow
def test_runs_over_objects() -> None:
    scene = dropped(3, pile=Pile(least=4, most=4))
    task = Task(scene, CAMERA, "table1", 1, seed=4, depth="map")
    try:
        trajectory, _, _ = simulate_on_arm(PBVS(), task, ServoConfig(gain=8.0), quiet=True)
    except SiameError as error:
        if "cannot render" in str(error):
            pytest.skip(str(error))
        raise
    assert float(trajectory.error_norms[0][-1].max()) < 1e-3
    scene.close()
