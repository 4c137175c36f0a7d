"""Fusion 'matching': cells by their descriptors, the homography between two images, the command from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.matching import Matching
from siame_se3.networks.siamese import SiameseNetwork


@pytest.fixture(scope="session")
def matching(tiny: NetworkConfig) -> NetworkConfig:
    return replace(tiny, pooling="descriptors", fusion="matching", stride=4)  # 8 x 8 cells


def network(config: NetworkConfig) -> SiameseNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SiameseNetwork(config).eval().requires_grad_(False)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_images_give_unit_vectors_and_six_numbers(matching: NetworkConfig) -> None:
    net = network(matching)
    s = net.embed(rand(3, 3, 32, 32))
    assert s.shape == (3, 12 * 64)
    norms = s.unflatten(1, (12, 64))[:, :8].norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(3, 64), rtol=0, atol=1e-5)
    v = net(rand(3, 3, 32, 32, seed=1), s)
    assert v.shape == (3, 6)
    assert float(v.abs().min()) > 0


@pytest.mark.parametrize("n", [1, 5])
def test_equal_images_command_exactly_zero(matching: NetworkConfig, n: int) -> None:
    net = network(matching)
    images = rand(n, 3, 32, 32)
    assert torch.equal(net(images, net.embed(images)), torch.zeros(n, 6))


@pytest.mark.parametrize("zero_at_goal", [True, False])
def test_pairs_are_regressed_and_differentiated_as_one_by_one(matching: NetworkConfig, zero_at_goal: bool) -> None:
    net = network(replace(matching, zero_at_goal=zero_at_goal))
    s = net.embed(rand(4, 3, 32, 32)).requires_grad_()
    current, desired = torch.tensor([0, 1, 3, 2, 0]), torch.tensor([1, 0, 1, 3, 3])
    pairs, single = net.regress_pairs(s, current, desired), net.regress(s[current], s[desired])
    torch.testing.assert_close(pairs, single, rtol=1e-4, atol=1e-5)
    (fast,), (slow,) = (torch.autograd.grad(y.square().sum(), s) for y in (pairs, single))
    torch.testing.assert_close(fast, slow, rtol=1e-3, atol=1e-4 * float(slow.abs().max()))


def shifted(side: int, shift: tuple[int, int]) -> tuple[Matching, Tensor, Tensor]:
    """A sharp matching of `side` x `side` cells, and the descriptors of two images, the second moved by so many cells (right, down)."""
    room = Matching(16, side).eval().requires_grad_(False)
    room.temperature.fill_(0.5)  # e^5
    larger = torch.randn(1, 24, 2 * side, 2 * side, generator=torch.Generator().manual_seed(3))
    larger = torch.cat((F.normalize(larger[:, :16], dim=1), larger[:, 16:]), 1)
    x, y = shift
    k = side // 2
    current = larger[..., k : k + side, k : k + side]
    desired = larger[..., k - y : k - y + side, k - x : k - x + side]
    return room, current.flatten(1), desired.flatten(1)


def test_cells_are_found_where_they_are() -> None:
    room, s, s_desired = shifted(9, (2, -1))
    found = room.match(s, s_desired)
    assert found.log_p.exp().sum(2).flatten().tolist() == pytest.approx([1.0] * 81, abs=1e-5)
    step = 2 / 9
    wanted = room.uv[:2].unflatten(1, (9, 9)) + torch.tensor([2 * step, -1 * step])[:, None, None]
    inside = (wanted.abs() < 1).all(0)
    assert int(inside.sum()) == 7 * 8
    torch.testing.assert_close(found.points[0][:, inside], wanted[:, inside], rtol=0, atol=0.02)


def test_a_shift_is_found_with_the_cells_that_leave_the_view_weighed_down() -> None:
    room, s, s_desired = shifted(9, (0, -1))
    room.refine[-1].bias.copy_(torch.tensor([0.0, 0.0, -3.0]))  # type: ignore[union-attr, operator]  # all cells are sure
    h = room(s, s_desired)[0] / room.units
    wanted = torch.tensor([0, 0, 0, 0, 0, -2 / 9, 0, 0])  # of H - 1
    torch.testing.assert_close(h, wanted, rtol=0, atol=0.05)
    plain = room.train()(s, s_desired)[0] / room.units
    assert float((h - wanted).norm()) < 0.5 * float((plain - wanted).norm())


def test_no_motion_is_none_whatever_the_cells_bias() -> None:
    room, s, _ = shifted(9, (0, 0))
    room.refine[-1].bias.copy_(torch.tensor([0.5, -0.3, 0.0]))  # type: ignore[union-attr, operator]  # a bias of a last layer
    assert float(room.still(s).abs().max()) > 0.01
    assert torch.equal(room(s, s), torch.zeros(1, 8))


@pytest.mark.parametrize(
    "changes", [{"fusion": "matching"}, {"pooling": "descriptors"}, {"fusion": "geometric", "pooling": "descriptors"}]
)
def test_matching_and_descriptors_belong_together(tiny: NetworkConfig, changes: dict[str, str]) -> None:
    with pytest.raises(SiameError, match="does not read pooling"):
        replace(tiny, **changes)  # type: ignore[arg-type]  # names of fields
