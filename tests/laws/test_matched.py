from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from poses_helpers import ask, velocity
from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.matched import MatchedPoints
from siame_se3.laws.pose import pbvs_velocity
from siame_se3.laws.types import View, check_law
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo

LAWS = {
    "pbvs-sift": MatchedPoints("pbvs", "sift"),
    "pbvs-orb": MatchedPoints("pbvs", "orb"),
    "ibvs-sift": MatchedPoints("ibvs", "sift"),
    "ibvs-orb": MatchedPoints("ibvs", "orb", "current"),
}
each_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())


@pytest.fixture(scope="module")
def plant() -> FlyingCameras:
    photo = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
    return FlyingCameras(Scene.from_photo(photo, 1.0), Camera.from_focal(300, 224))


def above(*shape: int, tilt: float = 0.1) -> Tensor:
    T = torch.eye(4, dtype=torch.float64).repeat(*shape, 1, 1)
    T[..., 2, 3] = -0.6
    return T @ lie.pose_from_vector(torch.tensor([0, 0, 0, tilt, -tilt, 0.2], dtype=torch.float64))


def away(*shape: int, seed: int = 0) -> Tensor:
    """About 9 cm and 15 deg."""
    sigma = torch.tensor([0.05] * 3 + [0.1, 0.1, 0.25], dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    return above(*shape) @ lie.pose_from_vector(
        torch.randn(*shape, 6, generator=generator, dtype=torch.float64) * sigma
    )


@each_law
@pytest.mark.parametrize("shape", [(1,), (6,)], ids=str)
def test_laws_keep_the_houses_promises(law: MatchedPoints, shape: tuple[int, ...], plant: FlyingCameras) -> None:
    check_law(law, plant.look(above(*shape)), plant.look(away(*shape)), zero_at_goal=1e-6)


@pytest.mark.parametrize("detector", ["sift", "orb"])
def test_pbvs_on_matches_is_pbvs(detector: Any, plant: FlyingCameras) -> None:
    T_wd, T_wc = above(8), away(8)
    v = velocity(MatchedPoints("pbvs", detector), plant.look(T_wd), plant.look(T_wc))
    expected = pbvs_velocity(lie.inverse(T_wd) @ T_wc)
    assert float(expected[:, :3].norm(dim=1).min()) > 0.03
    bound = {"sift": (0.004, math.radians(0.5)), "orb": (0.04, math.radians(4))}[detector]
    assert float((v - expected)[:, :3].norm(dim=1).max()) < bound[0]
    assert float((v - expected)[:, 3:].norm(dim=1).max()) < bound[1]


@each_law
@pytest.mark.slow
def test_laws_converge(law: MatchedPoints, plant: FlyingCameras) -> None:
    trajectory = servo(plant, law, plant.look(above(4)), away(4), ServoConfig(gain=8, max_iterations=40))
    distance, angle = trajectory.error_norms
    assert float(distance[0].max()) > 0.08
    bound = {"sift": (0.002, math.radians(0.2)), "orb": (0.01, math.radians(1))}[law.detector]
    assert float(distance[-1].max()) < bound[0]
    assert float(angle[-1].max()) < bound[1]


@each_law
@pytest.mark.parametrize("value", [0.5, math.nan, math.inf])
def test_an_image_without_keypoints_is_a_fault(law: MatchedPoints, value: float, plant: FlyingCameras) -> None:
    view = plant.look(away(2))
    assert view.image is not None
    view.image[0] = value
    output = ask(law, plant.look(above(2)), view)
    assert "keypoints" in output.faults[0]
    assert output.faults[1] == ""
    assert bool((output.v[0] == 0).all())
    assert float(output.v[1].norm()) > 0.01


@each_law
def test_a_view_of_something_else_is_a_fault(law: MatchedPoints, plant: FlyingCameras) -> None:
    noise = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    output = ask(law, plant.look(above(1)), View(image=noise, camera=plant.camera))
    assert "too few matches" in output.faults[0]
    assert bool((output.v == 0).all())


def test_a_lost_run_ends_and_says_why(plant: FlyingCameras) -> None:
    starts = away(2)
    starts[1, 0, 3] = 3.0
    trajectory = servo(plant, LAWS["pbvs-sift"], plant.look(above(2)), starts, ServoConfig(gain=8, lost_steps=3))
    assert trajectory.reason[0] == "settled"
    assert "keypoints" in trajectory.reason[1]
    assert torch.equal(trajectory.T_wc[-1, 1], starts[1])
    assert int(trajectory.iterations[1]) == 2


def test_without_the_desired_pose_the_plane_is_taken_square_on(plant: FlyingCameras) -> None:
    T_wd, T_wc = above(1, tilt=0.0), away(1)
    target = plant.look(T_wd)
    blind = View(image=target.image, depth=target.depth, camera=target.camera)
    view = plant.look(T_wc)
    v, seeing = (velocity(LAWS["pbvs-sift"], goal, view) for goal in (blind, target))
    torch.testing.assert_close(v, seeing, rtol=0, atol=1e-6)


def test_wrong_sizes_and_missing_images_are_refused(plant: FlyingCameras) -> None:
    law, state = LAWS["pbvs-sift"].aim(plant.look(above(1)))
    with pytest.raises(SiameError, match=r"pbvs-sift.*px"):
        law(FlyingCameras(plant.scene, plant.camera.resized(112)).look(above(1)), state)
    with pytest.raises(SiameError, match=r"pbvs-sift.*no image"):
        law(View(T_wc=above(1)), state)
    with pytest.raises(SiameError, match=r"pbvs-sift.*no image"):
        LAWS["pbvs-sift"].aim(View(T_wc=above(1)))


@pytest.mark.parametrize("options", [{"Z": math.nan}, {"ratio": 0.0}, {"features": 0}, {"least": 3}], ids=str)
def test_settings_that_are_no_numbers_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SiameError, match=next(iter(options))):
        MatchedPoints(**options)
