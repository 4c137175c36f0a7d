from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from siame_se3.errors import ModelError, SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import plane_from_pixel
from siame_se3.laws.pose import pbvs_velocity
from siame_se3.networks.config import FusionName, NetworkConfig, PoolingName
from siame_se3.networks.fusion import FUSIONS as FUSION_CLASSES
from siame_se3.networks.part_configs import FitConfig
from siame_se3.networks.pooling import POOLINGS, HomographyPool
from siame_se3.networks.siamese import SiameseNetwork

FUSIONS = ["difference", "concatenation", "relative"]
SHAPES = [(), (1,), (3, 2)]
each_fusion = pytest.mark.parametrize("fusion", FUSIONS)


def network(config: NetworkConfig, **changes: Any) -> SiameseNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SiameseNetwork(replace(config, **changes)).eval().requires_grad_(False)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


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


def test_command_is_in_units_of_the_output_scale(tiny: NetworkConfig) -> None:
    scale = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    net = network(tiny, output_scale=scale)
    s, s_desired = randn(4, 32), randn(4, 32, seed=1)
    assert torch.equal(net.command(s, s_desired), net.regress(s, s_desired) * torch.tensor(scale))


def test_grey_network_sees_luma_only(tiny: NetworkConfig) -> None:
    net = network(tiny, colour=False)
    images = rand(3, 3, 32, 32)
    luma = (images * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True).expand_as(images)
    expected = net.embed(luma)
    assert float((net.embed(1 - images) - expected).abs().max()) > 1e-2
    torch.testing.assert_close(net.embed(images), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_colour_network_sees_chroma(tiny: NetworkConfig) -> None:
    net = network(tiny)
    images = rand(3, 3, 32, 32)
    assert float((net.embed(images) - net.embed(images.flip(1))).abs().max()) > 1e-3


def test_the_papers_network_is_1536_1024_256_6() -> None:
    net = network(replace(NetworkConfig.paper(), pretrained=False))
    widths = [layer.in_features for layer in net.head if isinstance(layer, torch.nn.Linear)]
    assert widths == [1536, 1024, 256]
    assert net.channels == 1536
    assert isinstance(net.head[-1], torch.nn.Linear)
    assert net.head[-1].out_features == 6


@pytest.mark.parametrize("stride", [16, 8, 4])
def test_spatial_pooling_takes_the_map_of_the_stride(tiny: NetworkConfig, stride: int) -> None:
    net = network(tiny, stride=stride)
    features = net.features(rand(2, 3, 32, 32))
    assert features.shape[-2:] == (32 // stride, 32 // stride)
    assert features.shape[1] == net.channels
    assert net.embed(rand(2, 3, 32, 32)).shape == (2, tiny.embedding)


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


def test_vgg_pose_is_the_compared_network() -> None:
    with torch.device("meta"):  # 134 million weights, without their memory
        net = SiameseNetwork(replace(NetworkConfig.vgg_pose(), pretrained=False))
    assert net.channels == 4096
    assert [tuple(p.shape) for p in net.head.parameters()] == [(6, 4096), (6,)]
    assert 130e6 < sum(p.numel() for p in net.parameters()) < 140e6  # the paper: 550 MB


class Fixed(torch.nn.Module):
    """Cells that always say the same."""

    def __init__(self, points: Tensor, log_scale: Tensor) -> None:
        super().__init__()
        self.said = points, log_scale

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.said


def homography_of_cells(seed: int = 0) -> tuple[HomographyPool, Tensor, Tensor]:
    """A pool of 7 x 7 cells, a random homography, and the points that the cells see under it."""
    pool = HomographyPool(4, 7)
    h = torch.tensor([0.55, 0, 0, 0, 0.55, 0, 0, 0]) + 0.1 * randn(8, seed=seed)
    H = torch.cat((h, torch.ones(1))).reshape(3, 3)
    points = H @ pool.uv
    return pool, h, (points[:2] / points[2:]).reshape(1, 2, 7, 7)


@pytest.mark.parametrize("covered", [0, 20])
def test_homography_pool_is_the_homography_of_the_cells_that_know(covered: int) -> None:
    pool, h, points = homography_of_cells()
    log_scale = torch.full((1, 7, 7), -4.0)
    points.flatten(2)[..., :covered] += randn(1, 2, covered)
    log_scale.flatten(1)[..., :covered] = 1.0
    pool.points = Fixed(points, log_scale)  # type: ignore[assignment]  # stands in for the learned layers
    tolerance = 2e-3 if covered == 0 else 2e-2  # the prior's pull; a cell that does not know weighs e^-10
    torch.testing.assert_close(pool(torch.zeros(1, 4, 7, 7))[0] / pool.units, h, rtol=0, atol=tolerance)


def test_homography_pool_solves_the_weighted_normal_equations() -> None:
    """Against the 8 x 8 system written out, by LAPACK; the pool keeps products of u and v in float32."""
    pool, _, points = homography_of_cells()
    pool = pool.double().train()
    points, log_scale = (points + 0.1 * randn(1, 2, 7, 7)).double(), -2 * rand(1, 7, 7).double()
    pool.points = Fixed(points, log_scale)  # type: ignore[assignment]  # stands in for the learned layers
    u, v, one = pool.uv
    X, Y = points.flatten(2)[0]
    zero = 0 * one
    row_x = torch.stack((u, v, one, zero, zero, zero, -u * X, -v * X), -1)
    row_y = torch.stack((zero, zero, zero, u, v, one, -u * Y, -v * Y), -1)
    A, b = torch.cat((row_x, row_y)), torch.cat((X, Y))
    weight = torch.exp(-2 * log_scale.flatten()).repeat(2)
    first, last = FitConfig().stiffness
    damping = torch.tensor([first] * 6 + [last] * 2).double()
    prior = FitConfig().prior * torch.tensor([1, 0, 0, 0, 1, 0, 0, 0]).double()
    h = torch.linalg.solve((A.mT * weight) @ A + damping.diag(), (A.mT * weight) @ b + damping * prior)
    torch.testing.assert_close(pool(torch.zeros(1, 4, 7, 7))[0] / pool.units, h, rtol=0, atol=1e-7)


def test_homography_pool_weighs_down_cells_that_are_sure_and_wrong() -> None:
    pool, h, points = homography_of_cells()
    points.flatten(2)[..., :6] += 0.5  # a patch over a corner
    pool.points = Fixed(points, torch.full((1, 7, 7), -3.0))  # type: ignore[assignment]  # as above
    plain, robust = (pool.train(mode)(torch.zeros(1, 4, 7, 7))[0] / pool.units for mode in (True, False))
    assert float((robust - h).abs().max()) < 0.2 * float((plain - h).abs().max())


def test_homography_pool_without_knowledge_is_the_prior() -> None:
    pool, _, points = homography_of_cells()
    pool.points = Fixed(0 * points, torch.full((1, 7, 7), 9.0))  # type: ignore[assignment]  # as above
    prior = FitConfig().prior * pool.units * torch.tensor([1, 0, 0, 0, 1, 0, 0, 0])
    torch.testing.assert_close(pool(torch.zeros(1, 4, 7, 7))[0], prior, rtol=0, atol=1e-5)


def test_homography_pooling_trains_its_cells(tiny: NetworkConfig) -> None:
    net = network(tiny, pooling="homography").requires_grad_(True)
    net.embed(rand(3, 3, 32, 32)).square().sum().backward()
    for name, p in net.pool.named_parameters():
        assert p.grad is not None, name
        assert bool(p.grad.isfinite().all()), name
        assert float(p.grad.abs().max()) > 0, name


@pytest.mark.parametrize("size", [32, 40, 48])
def test_image_size_need_not_be_a_multiple_of_the_stride(tiny: NetworkConfig, size: int) -> None:
    assert network(tiny, image_size=size).embed(rand(2, 3, size, size)).shape == (2, tiny.embedding)


def test_same_seed_same_weights(tiny: NetworkConfig) -> None:
    a, b = network(tiny).state_dict(), network(tiny).state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)


SUMS = {  # printed by the code before the classes (revision 37eb243): torch.manual_seed(5), then of the state of
    # SiameseNetwork(NetworkConfig(image_size=32, pooling=..., fusion=...)) the sum of each part's numbers
    ("homography", "relative"): {"backbone": 1051.06305, "pool": 6.16841711, "head": 16.4827296},
    ("homography", "geometric"): {"backbone": 1051.06305, "pool": 6.16841711},
    ("descriptors", "matching"): {
        "backbone": 1051.06305,
        "pool": 1.62530398,
        "matching": 10.0121709,
        "head": 11.0501003,
    },
    ("spatial", "concatenation"): {"backbone": 1051.06305, "pool": 13.1110075, "head": 9.08176253},
    ("average", "difference"): {"backbone": 4966.22904, "head": 13.6427916},
}


@pytest.mark.parametrize(("pooling", "fusion"), SUMS)
def test_a_seed_gives_the_weights_that_it_gave_before(pooling: Any, fusion: Any) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        weights = SiameseNetwork(NetworkConfig(image_size=32, pooling=pooling, fusion=fusion)).state_dict()
    sums: dict[str, float] = {}
    for name, w in weights.items():
        part = name.split(".")[0]
        sums[part] = sums.get(part, 0.0) + float(w.double().sum())
    assert sums == pytest.approx(SUMS[pooling, fusion], rel=1e-6)


TOGETHER = {
    "average": {"difference", "concatenation", "relative", "absolute"},
    "spatial": {"difference", "concatenation", "relative", "absolute"},
    "homography": {"difference", "concatenation", "relative", "absolute", "geometric"},
    "descriptors": {"matching"},
    "context": {"plane"},
}


@pytest.mark.parametrize("fusion", FUSION_CLASSES)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_what_goes_together_and_what_does_not(tiny: NetworkConfig, pooling: Any, fusion: Any) -> None:
    output: Any = "pose" if fusion == "absolute" else "velocity"
    if fusion == "plane":
        tiny = replace(tiny, output_scale=(0.6, 0.6, 0.6, 1.0, 1.0, 1.0))
    if fusion in TOGETHER[pooling]:
        net = network(tiny, pooling=pooling, fusion=fusion, output=output)
        assert isinstance(net.pool, POOLINGS[pooling])
        assert isinstance(net.fusion, FUSION_CLASSES[fusion])
        assert net.pool.size == net.embed(rand(1, 3, 32, 32)).shape[1]
    else:
        with pytest.raises(ModelError, match=f"'{fusion}' does not read pooling '{pooling}'; give pooling") as caught:
            replace(tiny, pooling=pooling, fusion=fusion, output=output)
        assert caught.value.settings == ("network.pooling", "network.fusion")


def test_each_class_has_its_name_in_the_config() -> None:
    assert set(POOLINGS) == set(get_args(PoolingName))
    assert set(FUSION_CLASSES) == set(get_args(FusionName))


def test_a_copy_of_a_network_is_all_its_own(tiny: NetworkConfig) -> None:
    """The fusion of a copy works on the copy's weights."""
    net = network(tiny)
    s, s_desired = randn(2, 32), randn(2, 32, seed=1)
    y = net.regress(s, s_desired)
    other = copy.deepcopy(net)
    other.head[-1].weight.zero_()  # type: ignore[operator, union-attr]  # a Linear
    assert float(other.regress(s, s_desired).abs().max()) == 0
    assert torch.equal(net.regress(s, s_desired), y)


@pytest.mark.parametrize("field", ["stride", "squeeze", "embedding", "image_size", "head"])
def test_sizes_out_of_bounds_name_their_setting(tiny: NetworkConfig, field: str) -> None:
    changes: dict[str, Any] = {field: (1 << 40,) if field == "head" else 1 << 40}
    with pytest.raises(ModelError, match=f"network: {field} is") as caught:
        replace(tiny, **changes)
    assert caught.value.settings == (f"network.{field}",)


@pytest.mark.parametrize("pooling", ["average", "spatial"])
@pytest.mark.parametrize(("typed", "meant"), [("resnet10", "resnet10t"), ("efficientnetb3", "efficientnet_b3")])
def test_unknown_backbone_names_close_ones(tiny: NetworkConfig, pooling: str, typed: str, meant: str) -> None:
    with pytest.raises(SiameError, match=f"'{typed}'.*{meant}") as caught:
        network(tiny, backbone=typed, pooling=pooling)
    assert "\n" not in str(caught.value)


def test_unknown_backbone_far_from_all(tiny: NetworkConfig) -> None:
    with pytest.raises(SiameError, match="zzzzzzzz"):
        network(tiny, backbone="zzzzzzzz")


def test_stride_that_the_backbone_lacks_names_those_it_has(tiny: NetworkConfig) -> None:
    with pytest.raises(SiameError, match=r"test_resnet.*stride 12.*16"):
        network(tiny, stride=12)


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
