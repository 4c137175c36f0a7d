"""Images that are late, frozen or changed stop a robot; it keeps none of them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from guard_helpers import ALONG, CAMERA, CONFIG, PHOTO, Says, pose, run
from siame_se3.geometry import lie
from siame_se3.laws.types import View
from siame_se3.plants.faults import FaultyCamera
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.types import WrappedPlant
from siame_se3.scenes.planar import Scene
from siame_se3.servo.guard import Guard
from siame_se3.servo.safety import Safety
from siame_se3.servo.watch import ImageWatch


@pytest.mark.parametrize(
    ("kind", "words", "within"),
    [
        ("stops", "stale image", Safety().max_age),
        ("late", "stale image", 0.0),
        ("freezes", "frozen image", Safety().frozen + 0.04),
        ("black", "the view changed", 0.0),
        ("occluded", "the view changed", 0.0),
        ("flickers", "the same pixels", 0.3),
    ],
)
@pytest.mark.parametrize("frames", [9, 14, 21])
def test_faulty_cameras_stop_the_robot(plant: FlyingCameras, kind: Any, words: str, within: float, frames: int) -> None:
    trajectory = run(FaultyCamera(plant, kind, frames * plant.dt))
    assert words in trajectory.reason[0]
    still = (trajectory.applied == 0).all(-1)
    last = 0 if bool(still.all()) else int((~still).nonzero().max()) + 1
    assert frames <= last <= frames + round(within / plant.dt) + 1
    assert not bool(trajectory.active[last:].any())


def test_images_from_the_future_are_refused(plant: FlyingCameras) -> None:
    view = plant.look(pose()[None])
    halt = Guard(Safety(), plant, view).seen(replace(view, age=-0.5))
    assert halt is not None
    assert "future" in halt.reason


FREEZES_AT = 8


class Stuck(WrappedPlant):
    """The image stays as it was, but for what a function makes of it; the camera moves on."""

    def __init__(self, plant: FlyingCameras, change: Callable[[Tensor, int], Tensor]) -> None:
        super().__init__(plant)
        self.change, self.steps, self.kept = change, 0, torch.zeros(0)

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        view, applied = self.plant.step(v)
        self.steps += 1
        assert view.image is not None
        if self.steps < FREEZES_AT:
            self.kept = view.image
            return view, applied
        return replace(view, image=self.change(self.kept.clone(), self.steps)), applied


def one_pixel(image: Tensor, step: int) -> Tensor:
    image[..., 0, 0] = 0.5 * (step % 2)
    return image


def noise(image: Tensor, step: int) -> Tensor:
    return image + 0.01 * torch.randn(image.shape, generator=torch.Generator().manual_seed(step))


@pytest.mark.parametrize("change", [one_pixel, noise])
@pytest.mark.parametrize(
    ("law", "most"),
    [
        (ALONG, 0.25),
        (Says(lambda k: (0.015, 0, 0, 0, 0, 0)), 0.4),
        (Says(lambda k: (0.004, 0, 0, 0, 0, 0)), 0.7),
        (Says(lambda k: (0, 0, 0, 0, 0, 0.17)), 0.4),
        (Says(lambda k: (0, 0, 0.04, 0, 0.1, 0)), 0.3),
    ],
    ids=["along x", "slowly", "very slowly", "about the axis", "mixed"],
)
def test_an_image_that_does_not_move_is_frozen_whatever_flickers_in_it(
    plant: FlyingCameras, change: Any, law: Says, most: float
) -> None:
    trajectory = run(Stuck(plant, change), law)
    # all other pixels are equal to the bit: that is seen as soon as it may be
    words, most = ("", 0.3) if change is one_pixel else ("it has not moved", most)
    assert f"frozen image: {words}" in trajectory.reason[0]
    assert FREEZES_AT + 0.2 / plant.dt <= len(trajectory.twist) <= FREEZES_AT + most / plant.dt + 2


@pytest.mark.parametrize("sigma", [0.0, 0.01], ids=["equal pixels", "noise"])
@pytest.mark.parametrize("late", [3, 100], ids=["a camera three frames late", "a frozen one"])
def test_a_robot_that_stood_is_not_frozen_when_it_begins_to_move(plant: FlyingCameras, sigma: float, late: int) -> None:
    """A robot stood while its law looked for the goal; the frames of its first motion, not yet in the image, were 'frozen for 0.26 s of motion'."""
    watch, noise, began, found = ImageWatch(Safety()), torch.Generator().manual_seed(1), 25, []
    for k in range(50):
        T = [pose(0.004 * max(0, j - began), 0, 0, 0, 0, 0) for j in (k, k - late)]
        image = plant.look(T[1][None]).image
        assert image is not None
        seen = image[0] + sigma * torch.randn(image[0].shape, generator=noise)
        if watch.look(seen, CAMERA, 0.04 * k, T[0]) is not None:
            found.append(k)
            break
    if late == 3:
        assert not found
    else:  # 0.25 s of motion, and not before
        assert 0.25 <= (found[0] - began) * 0.04 <= 0.45


@pytest.mark.parametrize("nearer", [0.7, 1.0, 1.4])
def test_a_shift_and_a_turn_that_cancel_each_other_are_no_frozen_image(nearer: float) -> None:
    """Of a robot that goes around what it looks at, which is not quite as far away as assumed."""
    scene, camera = Scene.from_photo(PHOTO, 1.0), CAMERA.resized(112)
    plant = FlyingCameras(scene, camera)
    true, assumed = pose(0, 0, 0.6 - 0.6 * nearer, 0, 0, 0), pose()
    watch = ImageWatch(Safety())
    v = torch.tensor([0.02, 0, 0, 0, -0.02 / (0.6 * nearer), 0], dtype=torch.float64)
    noise = torch.Generator().manual_seed(1)
    for k in range(50):
        step = lie.exp(v * 0.04 * k)
        view = plant.look((true @ step)[None])
        assert view.image is not None
        image = view.image[0] + 0.01 * torch.randn(view.image[0].shape, generator=noise)
        assert watch.look(image, camera, 0.04 * k, assumed @ step) is None


class Counting(WrappedPlant):
    """Counts which of its images somebody still holds."""

    def __init__(self, plant: FlyingCameras) -> None:
        super().__init__(plant)
        self.images: list[weakref.ref[Tensor]] = []
        self.held: list[int] = []

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        view, applied = self.plant.step(v)
        assert view.image is not None
        self.images.append(weakref.ref(view.image))
        self.held.append(sum(image() is not None for image in self.images))
        return view, applied


def test_a_long_run_keeps_no_images(plant: FlyingCameras) -> None:
    counting = Counting(plant)
    trajectory = run(counting, config=replace(CONFIG, max_iterations=40, settle_v=1e-12, settle_w=1e-12))
    assert trajectory.reason == ["iterations"]
    assert len(counting.held) >= 40
    assert max(counting.held) <= 4, "the one that is seen, the last one and the first of equal ones"
