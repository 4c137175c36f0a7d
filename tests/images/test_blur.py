"""The current image's blur: told (blurred by OpenCV and by a lens's disc), and matched by the light-fitting law."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from poses_helpers import above, near, velocity
from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.blur import BlurScale
from siame_se3.laws.light import LightDVS
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.conditions import NONE
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo

OFFSET = lie.pose_from_vector(torch.tensor([0.008, -0.006, 0.01, 0.01, 0.015, 0.03], dtype=torch.float64))


@pytest.fixture(scope="session")
def lens() -> Camera:
    return Camera.from_focal(300, 224).resized(112)


def filtered(image: Tensor, kernel: float, disc: bool) -> Tensor:
    """An image (3, h, w) under a Gaussian of this standard deviation, or a lens's disc of this radius [px]."""
    pixels = image.permute(1, 2, 0).numpy()
    if not disc:
        out = cv2.GaussianBlur(pixels, (0, 0), kernel, borderType=cv2.BORDER_REPLICATE)
    else:
        axis = (np.arange(161) - 80) / 8  # each pixel of the kernel from 8 x 8 samples
        inside = (axis[:, None] ** 2 + axis**2 <= kernel**2).astype(np.float32)[:160, :160]
        cells = inside.reshape(20, 8, 20, 8).mean((1, 3))
        out = cv2.filter2D(pixels, -1, cells / cells.sum(), borderType=cv2.BORDER_REPLICATE)
    return torch.from_numpy(out).permute(2, 0, 1)


@pytest.mark.parametrize(
    ("kernel", "disc"), [(1.0, False), (2.0, False), (3.0, False), (4.0, False), (4.0, True), (6.0, True)]
)
def test_blur_is_told_from_another_view(kernel: float, disc: bool, photo: Scene, lens: Camera) -> None:
    plant = FlyingCameras(photo, lens)
    desired, current = (plant.look(T).image for T in (above(), above() @ OFFSET))
    assert desired is not None
    assert current is not None
    scale = BlurScale.of(desired.mean(0)[None], 10, 5.0)
    image = filtered(current, kernel, disc)
    sigma = float(scale.read((0.8 * image + 0.1).mean(0)[None]))
    assert sigma == pytest.approx(kernel / 2 if disc else kernel, rel=0.15)


@pytest.mark.parametrize(
    "conditions",
    [
        NONE,
        replace(NONE, noise=0.1, least=1.0),
        replace(NONE, lamps=4, lamp_gain=0.2, lamp_width=0.5),
        replace(NONE, occlusion=0.33, occlusion_rate=1.0, least=0.5),
        replace(NONE, brightness=0.6, contrast=0.6, saturation=0.4),
    ],
    ids=["none", "noise", "lamps", "patch", "jitter"],
)
def test_what_is_no_blur_is_not_taken_for_one(conditions: object, photo: Scene, lens: Camera) -> None:
    goal = above(16)
    desired = FlyingCameras(photo, lens).look(goal).image
    current = FlyingCameras(photo, lens, conditions=conditions, seed=4).reset(goal @ OFFSET).image  # type: ignore[arg-type]
    assert desired is not None
    assert current is not None
    sigma = BlurScale.of(desired.mean(1), 10, 5.0).read(current.mean(1))
    assert sigma.tolist() == [0.0] * 16


def test_sharp_images_get_the_law_without_it(photo: Scene, lens: Camera) -> None:
    plant = FlyingCameras(photo, lens)
    target, view = plant.look(above()), plant.look(above() @ OFFSET)
    assert torch.equal(velocity(LightDVS(), target, view), velocity(LightDVS(blur=0), target, view))


def test_a_blurred_camera_ends_at_the_sharp_photo(photo: Scene, lens: Camera) -> None:
    goal = above(4)
    starts = goal @ OFFSET @ lie.pose_from_vector(torch.linspace(-0.01, 0.01, 24, dtype=torch.float64).reshape(4, 6))
    plant = FlyingCameras(photo, lens, conditions=replace(NONE, blur=3.0, least=1.0), seed=1)
    target = FlyingCameras(photo, lens).look(goal)

    def end(law: LightDVS) -> Tensor:
        run = servo(plant, law, target, starts, ServoConfig(gain=10, max_iterations=100))
        return torch.stack(lie.error_norms(lie.inverse(goal) @ run.T_wc[-1])).amax(1)

    t, r = end(LightDVS()).tolist()
    assert t < 5e-4
    assert math.degrees(r) < 0.05
    assert float(end(LightDVS(blur=0))[0]) > 5e-3


def test_parts_of_a_batch_are_the_batch(photo: Scene, lens: Camera) -> None:
    goal = near(6, seed=5)
    target = FlyingCameras(photo, lens).look(goal)
    view = FlyingCameras(photo, lens, conditions=replace(NONE, blur=4.0, least=0.3), seed=2).reset(goal @ OFFSET)
    law, state = LightDVS().aim(target)
    v = law(view, state)[0].v
    for runs in torch.arange(6)[:, None]:
        torch.testing.assert_close(law(view[runs], state[runs])[0].v, v[runs], rtol=1e-3, atol=1e-6)


def test_least_blur_that_is_asked_for_is_no_error(photo: Scene, lens: Camera) -> None:
    plant = FlyingCameras(photo, lens)
    v = velocity(LightDVS(blur=0.1), plant.look(above()), plant.look(above() @ OFFSET))
    assert bool(v.isfinite().all())


@pytest.mark.parametrize("blur", [-1.0, 21.0, math.nan])
def test_bad_blur_is_refused(blur: float) -> None:
    with pytest.raises(SiameError, match="give 0 to 20"):
        LightDVS(blur=blur)
