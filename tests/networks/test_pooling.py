"""The homography that cells see, as a pooling."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.part_configs import FitConfig
from siame_se3.networks.pooling import HomographyPool
from siamese_helpers import network, rand, randn


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
