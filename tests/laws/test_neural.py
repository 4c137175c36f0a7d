"""The learned law around its engine: what a network says becomes a velocity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from siame_se3.files import model_file
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.neural import Neural
from siame_se3.laws.pose import pbvs_velocity
from siame_se3.laws.types import View
from siame_se3.networks import checkpoint

SAID = torch.tensor([[0.1, -0.2, 0.3, 0.05, -0.1, 0.4]])
IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
CAMERA = Camera.from_focal(40, 32)


@dataclass
class Says:
    """An engine of a network that always says the same."""

    name: str = "says"
    image_size: int = 32

    def embed(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :4]

    def step(self, images: Tensor, s_desired: Tensor) -> Tensor:
        return SAID.expand(len(images), 6)

    def between(self, images: Tensor, s_desired: Tensor) -> Tensor | None:
        return None


def velocity(law: Neural, depth: Tensor | None) -> Tensor:
    step, state = law.aim(View(IMAGES, depth=depth, camera=CAMERA))
    return step(View(IMAGES, camera=CAMERA), state)[0].v


@pytest.mark.parametrize(("depth", "factor"), [((0.12, 0.6, 2.0), (0.2, 1.0, 10 / 3)), (None, (1.0, 1.0, 1.0))])
def test_the_translation_of_a_network_of_many_scenes_goes_with_the_goals_distance(
    depth: tuple[float, ...] | None, factor: tuple[float, ...]
) -> None:
    v = velocity(Neural(Says(), unit_distance=0.6), None if depth is None else torch.tensor(depth))
    expected = SAID.double() * torch.tensor([[f] * 3 + [1.0] * 3 for f in factor])
    torch.testing.assert_close(v, expected, rtol=1e-6, atol=0)


def test_a_network_of_its_own_scene_knows_its_size() -> None:
    v = velocity(Neural(Says()), torch.tensor((0.12, 0.6, 2.0)))
    torch.testing.assert_close(v, SAID.double().expand(3, 6))


def test_a_pose_becomes_the_velocity_of_pbvs() -> None:
    v = velocity(Neural(Says(), output="pose"), None)
    torch.testing.assert_close(v, pbvs_velocity(lie.pose_from_vector(SAID.double())).expand(3, 6))


def test_a_model_says_whether_its_translation_goes_with_the_distance() -> None:
    assert Neural.from_model(checkpoint.load(model_file(Path("any-scene"))), "torch").unit_distance > 0
    assert Neural.from_model(checkpoint.load(model_file(Path("coffee"))), "torch").unit_distance == 0
