"""Cells that look at each other, and the velocity that a homography is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from siame_se3.errors import ModelError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.geometry.plane import homography
from siame_se3.laws.neural import Neural
from siame_se3.laws.pose import pbvs_velocity
from siame_se3.networks.attention import Layer, places
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.engines import TorchEngine
from siame_se3.networks.matching import Matches
from siame_se3.networks.part_configs import AttentionConfig
from siame_se3.networks.siamese import SiameseNetwork

SMALL = NetworkConfig(
    image_size=32,
    pooling="context",
    fusion="plane",
    head=(),
    squeeze=8,
    output_scale=(0.5, 0.5, 0.5, 1.0, 1.0, 1.0),
    attention=AttentionConfig(width=16, heads=2, own=1, rounds=1),
)
CAMERA = default_camera(32)


def network(config: NetworkConfig = SMALL) -> SiameseNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SiameseNetwork(config.seen_by(CAMERA, 0.8)).eval()


def images(n: int, h: int = 32, w: int = 32) -> Tensor:
    return torch.rand(n, 3, h, w, generator=torch.Generator().manual_seed(1))


def starts(n: int) -> Tensor:
    p = torch.randn(n, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return lie.pose_from_vector(p * torch.tensor([0.03, 0.03, 0.03, 0.1, 0.1, 0.3], dtype=torch.float64))


def square_on(distance: float) -> Tensor:
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -distance
    return T


def units(side: int) -> Tensor:
    """From pixels to [-1, 1]^2."""
    return torch.tensor([[2 / side, 0, 1 / side - 1], [0, 2 / side, 1 / side - 1], [0, 0, 1]], dtype=torch.float64)


def knowing(net: SiameseNetwork, H: Tensor) -> None:
    """Lets the cells say where H (n, 3, 3) takes them, from current to desired image, in [-1, 1]^2."""

    def match(s: Tensor, s_desired: Tensor) -> Matches:
        mapped = H.float() @ net.matching.uv
        side = net.config.side
        points = (mapped[:, :2] / mapped[:, 2:]).unflatten(2, (side, side))
        return Matches(points, torch.full((len(H), side, side), -5.0), torch.zeros(len(H), side**2, side**2))

    net.matching.match = match  # type: ignore[method-assign]


def true_homographies(T_dc: Tensor, distance: float) -> Tensor:
    T_wd = square_on(distance)
    G = homography(CAMERA, T_wd, T_wd @ T_dc)  # desired pixels from current ones
    return units(32) @ G @ torch.linalg.inv(units(32))


def test_no_two_places_are_alike() -> None:
    found = places(14, 128)
    apart = torch.cdist(found, found) + torch.eye(196) * 9
    assert found.shape == (196, 128)
    assert float(apart.min()) > 0.5


def test_a_layer_hands_on_what_it_gets_at_first_and_looks_at_the_others() -> None:
    torch.manual_seed(0)
    layer = Layer(AttentionConfig(16, 2))
    a, b = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    assert (layer(a, b) - a).abs().max() < 0.3
    assert (layer(a, b) - layer(a, b + 1 + torch.randn(2, 7, 16))).abs().max() > 1e-4
    order = torch.randperm(7)
    torch.testing.assert_close(layer(a, b[:, order]), layer(a, b))


def test_the_velocity_is_eq_3_of_a_goal_seen_square_on() -> None:
    net, T_dc = network(), starts(6)
    knowing(net, true_homographies(T_dc, 0.5))
    v = net(images(6), net.embed(images(6))).double()
    torch.testing.assert_close(v, pbvs_velocity(T_dc), atol=2e-3, rtol=0)
    pose = network(replace(SMALL, output="pose"))
    knowing(pose, true_homographies(T_dc, 0.5))
    y = pose(images(6), pose.embed(images(6))).double()
    torch.testing.assert_close(y, lie.vector_from_pose(T_dc), atol=2e-3, rtol=0)


def test_no_motion_commands_none() -> None:
    net = network()
    knowing(net, torch.eye(3).repeat(2, 1, 1))
    assert net(images(2), net.embed(images(2))).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (48, 80)])
def test_homographies_between_pixels_of_any_image(size: tuple[int, int]) -> None:
    """From the goal's pixels to the current ones; of the centred square of images that are none."""
    h, w = size
    side = min(h, w)
    net, T_dc = network(), starts(3)
    knowing(net, true_homographies(T_dc, 0.5))
    law = Neural(TorchEngine(net))
    law.engine.network.matching.match = net.matching.match  # type: ignore[attr-defined]  # an engine has a copy
    _, state = law.aim(_view(images(3, h, w)))
    found = law.homographies(images(3, h, w), state)
    focal = CAMERA.fx * side / 32
    camera = Camera(focal, focal, (w - 1) / 2, (h - 1) / 2, w, h)
    T_wd = square_on(0.5)
    true = homography(camera, T_wd @ T_dc, T_wd)
    corners = torch.tensor([[0, 0, 1], [side, 0, 1], [0, side, 1], [side, side, 1.0]], dtype=torch.float64)
    assert found is not None
    ours, theirs = ((corners @ H.mT)[..., :2] / (corners @ H.mT)[..., 2:] for H in (found, true))
    assert (ours - theirs).abs().max() < 0.02 * side


def _view(goal: Tensor):
    from siame_se3.laws.types import View

    return View(goal)


def test_other_networks_find_no_homography() -> None:
    other = SiameseNetwork(NetworkConfig(image_size=32))
    engine = TorchEngine(other)
    assert engine.between(images(1), engine.embed(images(1))) is None


def test_units_of_the_output_are_the_distance() -> None:
    with pytest.raises(ModelError, match="output_scale"):
        replace(SMALL, output_scale=(0.5, 0.5, 0.4, 1.0, 1.0, 1.0))
    with pytest.raises(ModelError, match="width"):
        AttentionConfig(width=18, heads=2)
