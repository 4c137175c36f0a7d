"""A few pictures of a run of any length."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recordings_helpers import poses
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_pixels
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.recordings.pictures import Pictures


@pytest.mark.parametrize("count", [1, 2, 5, 9, 10, 37, 400])
def test_few_and_spread_whatever_the_length(count: int) -> None:
    pictures = Pictures(most=5)
    for k in range(count):
        pictures.see(View(torch.full((1, 3, 2, 2), k / 1000)))
    names = [name for name, _ in pictures.strip()]
    numbers = [0 if name == "start" else int(name.split()[-1]) for name in names]
    assert numbers[-1] == count - 1
    assert numbers == sorted(set(numbers))
    assert min(count, 3) <= len(numbers) <= 11
    if count > 1:
        assert numbers[0] == 0
        assert max(np.diff(numbers)) <= max(1, count / 2)
    for k, (_, pixels) in zip(numbers, pictures.strip(), strict=True):
        assert int(pixels[0, 0, 0]) == round(255 * k / 1000)


def test_runs_are_servo_s_and_the_last_one_is_shown(scene: Scene, camera: Camera) -> None:
    plant, (T_wd, T_wc) = FlyingCameras(scene, camera), poses()
    pictures = Pictures()
    assert pictures.strip() == []
    goal, config = plant.look(T_wd), ServoConfig(gain=8.0, max_iterations=30)
    pictures.servo(plant, PBVS(), goal, T_wd, config)
    made = pictures.servo(plant, PBVS(), goal, T_wc, config)
    found = dict(pictures.strip())
    assert goal.image is not None
    assert np.array_equal(found["goal image"], as_pixels(goal.image[0]))
    start = plant.look(T_wc).image
    assert start is not None
    assert np.array_equal(found["start"], as_pixels(start[0]))
    assert f"iteration {len(made.twist)}" in found
    assert np.abs(found["end - goal (grey: equal)"].astype(int) - 128).max() <= 3
