from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from siame_se3.errors import ModelError, SiameError
from siame_se3.networks.config import FusionName, NetworkConfig, PoolingName
from siame_se3.networks.fusion import FUSIONS as FUSION_CLASSES
from siame_se3.networks.pooling import POOLINGS
from siame_se3.networks.siamese import SiameseNetwork
from siamese_helpers import network, rand, randn


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


def test_vgg_pose_is_the_compared_network() -> None:
    with torch.device("meta"):  # 134 million weights, without their memory
        net = SiameseNetwork(replace(NetworkConfig.vgg_pose(), pretrained=False))
    assert net.channels == 4096
    assert [tuple(p.shape) for p in net.head.parameters()] == [(6, 4096), (6,)]
    assert 130e6 < sum(p.numel() for p in net.parameters()) < 140e6  # the paper: 550 MB


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
