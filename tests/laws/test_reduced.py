"""Laws over cameras of many pixels: the motion is the same, and what is asked is a smaller image."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from siame_se3.errors import InputError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_image
from siame_se3.laws.certainty import Certain
from siame_se3.laws.light import LightDVS
from siame_se3.laws.photometric import DVS
from siame_se3.laws.pose import PBVS
from siame_se3.laws.reduced import Reduced, reduced, smaller
from siame_se3.laws.types import View, check_law
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo

LARGE, SMALL = (Camera.from_focal(300, 224).resized(side) for side in (192, 96))
DESIRED = torch.eye(4, dtype=torch.float64)[None].clone()
DESIRED[:, 2, 3] = -0.6
START = DESIRED @ lie.pose_from_vector(torch.tensor([[0.01, -0.008, 0.012, 0.01, -0.015, 0.02]], dtype=torch.float64))


def seen(scene: Scene, camera: Camera, T_wc: torch.Tensor) -> View:
    plant = FlyingCameras(scene, camera)
    return plant.reset(T_wc)


@pytest.mark.parametrize("law", [DVS("gauss-newton", "mean"), LightDVS()])
def test_a_law_over_a_smaller_image_gives_what_it_gives_over_a_camera_of_fewer_pixels(law: Any, photo: Scene) -> None:
    target, view = (seen(photo, LARGE, T) for T in (DESIRED, START))
    fewer = [seen(photo, SMALL, T) for T in (DESIRED, START)]
    check_law(reduced(law, 96), target, view)
    answers = []
    for controller, (goal, now) in ((reduced(law, 96), (target, view)), (law, fewer)):
        function, state = controller.aim(goal)
        answers.append(function(now, state)[0].v)
    torch.testing.assert_close(answers[0], answers[1], rtol=0.05, atol=2e-3)


def test_it_arrives(photo: Scene) -> None:
    plant = FlyingCameras(photo, LARGE)
    run = servo(plant, reduced(LightDVS(), 96), plant.reset(DESIRED), START, ServoConfig(gain=8.0, max_iterations=60))
    t, r = run.error_norms
    assert float(t[0].max()) > 0.01
    assert float(t[-1].max()) < 1e-4
    assert float(r[-1].max()) < math.radians(0.01)


def test_what_is_seen_of_a_larger_view(photo: Scene) -> None:
    view = seen(photo, LARGE, START)
    depth = torch.full((1, 192, 192), 0.6, dtype=torch.float64)
    depth[:, :40] = torch.nan
    view = View(view.image, view.T_wc, depth, view.camera, age=0.1, fault="x")
    few = smaller(view, 96)
    assert few.image is not None
    assert view.image is not None
    assert few.image.shape == (1, 3, 96, 96)
    torch.testing.assert_close(few.image.mean(), view.image.mean(), atol=1e-3, rtol=0)
    assert few.camera == SMALL
    assert few.depth_map is not None
    assert few.depth_map.shape == (1, 96, 96)
    assert int(few.depth_map.isnan().sum()) == 20 * 96
    assert (few.age, few.fault) == (0.1, "x")
    assert smaller(view, 192) is view
    assert smaller(few, 480) is few


def test_sides_that_differ_keep_their_ratio() -> None:
    view = View(
        as_image(torch.zeros(300, 400, 3, dtype=torch.uint8).numpy())[None],
        camera=Camera(300, 300, 199.5, 149.5, 400, 300),
    )
    few = smaller(view, 150)
    assert few.image is not None
    assert few.image.shape[-2:] == (150, 200)
    assert few.camera == Camera(150, 150, 99.5, 74.5, 200, 150)


def test_a_law_keeps_what_it_knows_of_its_pose(photo: Scene) -> None:
    near = DESIRED @ lie.pose_from_vector(torch.full((1, 6), 2e-4, dtype=torch.float64))
    target, view = (seen(photo, LARGE, T) for T in (DESIRED, near))
    law, state = reduced(LightDVS(), 96).aim(target)
    assert isinstance(law, Certain)
    assert bool(law.covariance(view, state).isfinite().all())
    assert not isinstance(reduced(DVS(), 96).aim(target)[0], Certain)


def test_no_size_is_no_change_and_a_bad_one_is_refused() -> None:
    assert reduced(PBVS(), 0) == PBVS()
    assert Reduced(PBVS()).needs == {"pose"}
    for bad in (8, -1):
        with pytest.raises(InputError, match=f"image size .* is {bad}; give a whole number at least 32"):
            reduced(PBVS(), bad)
