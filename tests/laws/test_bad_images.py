"""No law ever gives a velocity that is not finite, and where it cannot see it says so and stands still."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from siame_se3.errors import LawError, SiameError
from siame_se3.geometry.camera import Camera
from siame_se3.laws.auto import Auto
from siame_se3.laws.handoff import Handoff
from siame_se3.laws.light import LightDVS
from siame_se3.laws.matched import MatchedPoints
from siame_se3.laws.neural import Neural
from siame_se3.laws.registry import LAWS, controller_for
from siame_se3.laws.types import Controller, Law, View
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.engines import TorchEngine
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import reference_pose

SIZE = 112
NAMES = [name for name in LAWS if name not in ("pbvs", "ibvs", "2.5d")]  # those take no image
each_law = pytest.mark.parametrize("name", NAMES)


def controller(name: str) -> Controller:
    if name in ("neural", "auto", "handoff"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            config = NetworkConfig("test_resnet", 32, head=(32,))
            network = Neural(TorchEngine(SiameseNetwork(config)))
        return {"neural": network, "auto": Auto(network), "handoff": Handoff(Auto(network), LightDVS())}[name]
    return controller_for(name)


@cache
def aimed(name: str) -> tuple[Law, Any, View]:
    photo = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
    target = FlyingCameras(Scene.from_photo(photo), Camera.from_focal(300, 224).resized(SIZE)).look(
        reference_pose(0.6)[None]
    )
    return *controller(name).aim(target), target


def output_of(name: str, image: Tensor) -> Any:
    law, state, target = aimed(name)
    return law(View(image[None], target.T_wc, target.depth, target.camera), state)[0]


def spoiled(kind: str, seed: int, share: float) -> Tensor:
    """The desired image with a part of it spoiled; share 1 spoils all."""
    *_, target = aimed("dvs")
    assert target.image is not None
    image = target.image[0].clone()
    generator = torch.Generator().manual_seed(seed)
    rows = max(1, round(share * SIZE))
    value = {"nan": math.nan, "inf": math.inf, "black": 0.0, "white": 1.0, "huge": 1e30}.get(kind)
    part = torch.rand(3, rows, SIZE, generator=generator) if value is None else torch.full((3, rows, SIZE), value)
    image[:, :rows] = part
    return image


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in ("auto", "handoff") else name for name in NAMES]
)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(["nan", "inf", "black", "white", "noise", "huge"]),
    seed=st.integers(0, 1000),
    share=st.floats(0.0, 1.0),
)
def test_velocities_are_finite_and_faults_stand_still(name: str, kind: str, seed: int, share: float) -> None:
    output = output_of(name, spoiled(kind, seed, share))
    assert output.v.shape == (1, 6)
    assert bool(output.v.isfinite().all())
    if output.faults[0]:
        assert bool((output.v == 0).all())


@each_law
@pytest.mark.parametrize("kind", ["nan", "inf", "black", "white"])
def test_an_image_of_nothing_is_a_fault(name: str, kind: str) -> None:
    fault = output_of(name, spoiled(kind, 0, 1.0)).faults[0]
    assert fault != ""
    assert "\n" not in fault


@each_law
@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_in_the_dark_a_cameras_noise_is_no_image(name: str, noise: float) -> None:
    """The lamp is off or the lens capped: two hundredths of the light, and noise [grey levels]."""
    *_, target = aimed(name)
    assert target.image is not None
    generator = torch.Generator().manual_seed(1)
    dark = 0.02 * target.image[0] + noise / 255 * torch.randn(3, SIZE, SIZE, generator=generator)
    output = output_of(name, dark.clamp(0, 1))
    assert output.faults[0] != ""
    assert bool((output.v == 0).all())


@each_law
def test_a_target_of_nothing_is_refused_or_a_fault(name: str) -> None:
    *_, target = aimed(name)
    black = View(torch.zeros(1, 3, SIZE, SIZE), target.T_wc, target.depth, target.camera)
    try:
        law, state = controller(name).aim(black)
        output, _ = law(target, state)
    except SiameError as error:
        assert "\n" not in str(error)
    else:
        assert bool(output.v.isfinite().all())
        assert name == "neural" or (output.faults[0] != "" and bool((output.v == 0).all()))


@each_law
def test_a_wrong_size_is_refused_in_one_line(name: str) -> None:
    law, state, target = aimed(name)
    if name == "neural":  # takes any size
        return
    with pytest.raises(SiameError, match="px") as caught:
        law(View(torch.rand(1, 3, 60, 80), target.T_wc, target.depth, target.camera), state)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("law", [Auto(), MatchedPoints()], ids=["auto", "points"])
def test_a_goal_image_of_another_size_than_its_cameras_is_refused(law: Any) -> None:
    """Its pixels were used with the wrong K."""
    target = View(torch.rand(1, 3, 64, 64), None, torch.tensor([0.6]), Camera.from_focal(40, 32))
    with pytest.raises(LawError, match=r"64 x 64 px, .* 32 x 32"):
        law.aim(target)
