"""Each way to make six numbers of the codes of two images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import plane_from_pixel
from siame_se3.laws.pose import pbvs_velocity
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.siamese import SiameseNetwork
from siamese_helpers import network, rand, randn

FUSIONS = ["difference", "concatenation", "relative"]
SHAPES = [(), (1,), (3, 2)]
each_fusion = pytest.mark.parametrize("fusion", FUSIONS)


def ordered_pairs(n: int) -> tuple[Tensor, Tensor]:
    i, j = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    return i.flatten(), j.flatten()


@each_fusion
@pytest.mark.parametrize("pooling", ["average", "spatial", "homography"])
@pytest.mark.parametrize("n", [1, 5])
def test_images_give_a_code_and_six_numbers(tiny: NetworkConfig, fusion: str, pooling: str, n: int) -> None:
    net = network(tiny, fusion=fusion, pooling=pooling)
    s = net.embed(rand(n, 3, 32, 32))
    assert s.shape == (n, {"average": 96, "spatial": tiny.embedding, "homography": 8}[pooling])
    v = net(rand(n, 3, 32, 32, seed=1), s)
    assert v.shape == (n, 6)
    assert s.dtype == v.dtype == torch.float32
    assert bool(v.isfinite().all())
    assert float(v.abs().min()) > 0


@each_fusion
@pytest.mark.parametrize("zero_at_goal", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_head_takes_any_batch_axes(
    tiny: NetworkConfig, fusion: str, zero_at_goal: bool, shape: tuple[int, ...]
) -> None:
    net = network(tiny, fusion=fusion, zero_at_goal=zero_at_goal)
    s, s_desired = randn(*shape, tiny.embedding), randn(*shape, tiny.embedding, seed=1)
    y = net.regress(s, s_desired)
    assert y.shape == (*shape, 6)
    one_by_one = [
        net.regress(a[None], b[None]) for a, b in zip(s.reshape(-1, 32), s_desired.reshape(-1, 32), strict=True)
    ]
    torch.testing.assert_close(y.reshape(-1, 6), torch.cat(one_by_one), rtol=0, atol=2e-6)


@each_fusion
@pytest.mark.parametrize("n", [1, 2, 7, 64])
@pytest.mark.parametrize("head", [(32,), (512, 256)], ids=str)
def test_equal_images_command_exactly_zero(tiny: NetworkConfig, fusion: str, n: int, head: tuple[int, ...]) -> None:
    net = network(tiny, fusion=fusion, head=head)
    images = rand(n, 3, 32, 32)
    assert torch.equal(net(images, net.embed(images)), torch.zeros(n, 6))


@each_fusion
def test_without_zero_at_goal_equal_images_command_something(tiny: NetworkConfig, fusion: str) -> None:
    net = network(tiny, fusion=fusion, zero_at_goal=False)
    images = rand(2, 3, 32, 32)
    assert float(net(images, net.embed(images)).abs().min()) > 1e-6


@each_fusion
def test_zero_at_goal_subtracts_what_the_head_says_at_the_goal(tiny: NetworkConfig, fusion: str) -> None:
    with_zero, without = network(tiny, fusion=fusion), network(tiny, fusion=fusion, zero_at_goal=False)
    s, s_desired = randn(5, 32), randn(5, 32, seed=1)
    expected = without.regress(s, s_desired) - without.regress(s_desired, s_desired)
    torch.testing.assert_close(with_zero.regress(s, s_desired), expected, rtol=0, atol=1e-6)


@each_fusion
@pytest.mark.parametrize("zero_at_goal", [True, False])
def test_pairs_are_regressed_as_one_by_one(tiny: NetworkConfig, fusion: str, zero_at_goal: bool) -> None:
    net = network(tiny, fusion=fusion, zero_at_goal=zero_at_goal, head=(64, 32))
    s = randn(9, tiny.embedding)
    current, desired = ordered_pairs(9)
    expected = net.regress(s[current], s[desired])
    assert float(expected.abs().max()) > 0.1
    torch.testing.assert_close(net.regress_pairs(s, current, desired), expected, rtol=0, atol=2e-6)


@each_fusion
def test_pairs_are_differentiated_as_one_by_one(tiny: NetworkConfig, fusion: str) -> None:
    net = network(tiny, fusion=fusion).requires_grad_(True)
    s = randn(5, tiny.embedding).requires_grad_()
    current, desired = ordered_pairs(5)
    inputs = [s, *net.head.parameters()]
    fast = torch.autograd.grad(net.regress_pairs(s, current, desired).square().sum(), inputs)
    slow = torch.autograd.grad(net.regress(s[current], s[desired]).square().sum(), inputs)
    largest = max(float(g.abs().max()) for g in slow)
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6 * largest)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_absolute_fusion_is_the_pose_between_two_poses(tiny: NetworkConfig, shape: tuple[int, ...]) -> None:
    """Whatever frame of the scene the poses are in."""
    net = network(tiny, fusion="absolute", output="pose")
    s, s_desired = randn(*shape, tiny.embedding), randn(*shape, tiny.embedding, seed=1)
    p, p_desired = (net.head(x) * net.scale for x in (s, s_desired))
    T = lie.inverse(lie.pose_from_vector(p_desired.double())) @ lie.pose_from_vector(p.double())
    torch.testing.assert_close(net.command(s, s_desired).double(), lie.vector_from_pose(T), rtol=1e-4, atol=1e-5)
    assert float(net.command(s, s).abs().max()) < 1e-6


def test_absolute_pairs_are_regressed_and_differentiated_as_one_by_one(tiny: NetworkConfig) -> None:
    net = network(tiny, fusion="absolute", output="pose").requires_grad_(True)
    s = randn(4, tiny.embedding)
    current, desired = ordered_pairs(4)
    pairs = net.regress_pairs(s, current, desired)
    torch.testing.assert_close(pairs, net.regress(s[current], s[desired]), rtol=1e-4, atol=1e-6)
    pairs.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.head.parameters())


def test_absolute_fusion_gives_poses_only(tiny: NetworkConfig) -> None:
    with pytest.raises(SiameError, match="gives no velocity; give output pose"):
        replace(tiny, fusion="absolute")


def geometric(camera: Camera, **changes: Any) -> SiameseNetwork:
    return SiameseNetwork(NetworkConfig("test_resnet", 32, fusion="geometric", **changes).seen_by(camera, 0.8)).eval()


def exact_code(network: SiameseNetwork, camera: Camera, T_wc: Tensor) -> Tensor:
    """S(I) of a network that makes no error."""
    w, h = camera.width, camera.height
    pixels = torch.tensor([[w / 2, 0, w / 2 - 0.5], [0, h / 2, h / 2 - 0.5], [0, 0, 1]], dtype=torch.float64)
    H = torch.diag(torch.tensor([2.5, 2.5, 1.0], dtype=torch.float64)) @ plane_from_pixel(camera, T_wc) @ pixels
    units: Any = network.pool.units
    return ((H / H[..., 2:, 2:]).flatten(-2)[..., :8] * units).float()


def poses(*shape: int, seed: int) -> Tensor:
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    spread = torch.tensor([0.1, 0.1, 0.1, 0.3, 0.3, 0.9], dtype=torch.float64)
    p = torch.randn(*shape, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return T @ lie.pose_from_vector(p * spread)


OFF_CENTRE = replace(Camera.from_focal(300, 224).resized(32), cx=17.0, cy=13.0, fy=40.0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("output", ["velocity", "pose"])
def test_geometric_fusion_is_pbvs_of_the_two_homographies(shape: tuple[int, ...], output: Any) -> None:
    net = geometric(OFF_CENTRE, output=output)
    T_wc, T_wd = poses(*shape, seed=0), poses(*shape, seed=1)
    y = net.command(exact_code(net, OFF_CENTRE, T_wc), exact_code(net, OFF_CENTRE, T_wd)).double()
    T_dc = lie.inverse(T_wd) @ T_wc
    expected = lie.vector_from_pose(T_dc) if output == "pose" else pbvs_velocity(T_dc)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-5)
    at_goal = net.command(exact_code(net, OFF_CENTRE, T_wd), exact_code(net, OFF_CENTRE, T_wd))
    assert torch.equal(at_goal, torch.zeros(*shape, 6))


def test_geometric_pairs_are_regressed_and_differentiated_as_one_by_one() -> None:
    net = geometric(OFF_CENTRE)
    s = (exact_code(net, OFF_CENTRE, poses(5, seed=2)) + 0.01 * randn(5, 8)).requires_grad_()
    current, desired = ordered_pairs(5)
    pairs, single = net.regress_pairs(s, current, desired), net.regress(s[current], s[desired])
    torch.testing.assert_close(pairs, single, rtol=1e-5, atol=1e-5)
    (fast,), (slow,) = (torch.autograd.grad(y.square().sum(), s) for y in (pairs, single))
    assert bool(fast.isfinite().all())
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-4 * float(slow.abs().max()))


def test_poses_of_homographies_with_errors_are_rotations_near_the_true_ones() -> None:
    net = geometric(OFF_CENTRE)
    T = poses(200, seed=3)
    R, t = net.poses(exact_code(net, OFF_CENTRE, T) + 0.005 * randn(200, 8))
    R, t = R.double(), t.double()
    torch.testing.assert_close(R @ R.mT, torch.eye(3, dtype=torch.float64).expand(200, 3, 3), rtol=0, atol=1e-5)
    assert float((torch.linalg.det(R) - 1).abs().max()) < 1e-5
    assert float((t - T[:, :3, 3]).norm(dim=1).median()) < 0.005
    assert float(lie.so3_log(R.mT @ T[:, :3, :3]).norm(dim=1).median()) < 0.01


def test_geometric_fusion_needs_homographies(tiny: NetworkConfig) -> None:
    with pytest.raises(SiameError, match="does not read pooling 'spatial'; give pooling homography"):
        replace(tiny, fusion="geometric")
