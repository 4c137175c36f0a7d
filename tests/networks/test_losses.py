from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from siame_se3.networks.losses import LossConfig, ServoLoss, match_loss, plane_loss, where_loss

KINDS = ["eq4", "eq5", "two", "eq6"]
NORMS = ["l2", "squared"]
COLUMNS = {  # which of (vx, vy, vz, wx, wy, wz) share a weight
    "eq4": [[0, 1, 2], [3, 4, 5]],
    "eq5": [[0, 1, 2], [3, 4, 5]],
    "two": [[0, 1, 2], [3, 4, 5]],
    "eq6": [[0, 1], [2], [3, 4], [5]],
}
BETA = 2.5
each_kind = pytest.mark.parametrize("kind", KINDS)
each_norm = pytest.mark.parametrize("norm", NORMS)


def problem(n: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 6, generator=generator), torch.randn(n, 6, generator=generator)


def loss_of(kind: Any, log_variance: list[float] | None = None, **options: Any) -> ServoLoss:
    loss = ServoLoss(LossConfig(**({"kind": kind, "beta": BETA, "near": 0.0} | options)))
    if log_variance is not None:
        loss.log_variance.data = torch.tensor(log_variance[: len(loss.groups)])
    return loss


def norms_by_hand(kind: str, y_hat: Tensor, y: Tensor) -> np.ndarray:
    """(groups, n)."""
    difference = y_hat.double().numpy() - y.double().numpy()
    return np.stack([np.sqrt((difference[:, columns] ** 2).sum(1)) for columns in COLUMNS[kind]])


def loss_by_hand(kind: str, means: np.ndarray, log_variance: list[float]) -> float:
    """The paper's formulas, written with sigma."""
    if kind == "eq4":
        return float(means[0] + BETA * means[1])
    sigma = np.exp(np.array(log_variance[: len(means)]) / 2)
    return float((means / (2 * sigma**2)).sum() + np.log(sigma.prod()))


@each_kind
@each_norm
@pytest.mark.parametrize("log_variance", [[0.0, 0.0, 0.0, 0.0], [0.3, -1.2, 0.8, 0.1]], ids=["start", "later"])
def test_loss_is_the_papers(kind: str, norm: str, log_variance: list[float]) -> None:
    y_hat, y = problem()
    norms = norms_by_hand(kind, y_hat, y)
    loss, errors = loss_of(kind, log_variance, norm=norm)(y_hat, y)
    means = (norms if norm == "l2" else norms**2).mean(1)
    assert loss.item() == pytest.approx(loss_by_hand(kind, means, log_variance), rel=1e-6)
    np.testing.assert_allclose(errors.numpy(), norms.mean(1), rtol=1e-6)


@pytest.mark.parametrize(("kind", "groups"), [("eq5", 2), ("two", 2), ("eq6", 4)])
def test_sigma_starts_at_one(kind: str, groups: int) -> None:
    log_variance = loss_of(kind).log_variance
    assert torch.equal(log_variance.detach(), torch.zeros(groups))
    assert log_variance.requires_grad


def test_weights_of_eq4_are_not_learned() -> None:
    assert not loss_of("eq4").log_variance.requires_grad


@pytest.mark.parametrize("kind", ["eq5", "two", "eq6"])
@each_norm
def test_sigma_is_at_rest_where_its_square_is_the_mean_error(kind: str, norm: str) -> None:
    y_hat, y = problem()
    norms = norms_by_hand(kind, y_hat, y)
    means = (norms if norm == "l2" else norms**2).mean(1)
    at_rest = np.log(means).tolist()
    for shift, sign in ((0.0, 0), (0.1, 1), (-0.1, -1)):
        loss = loss_of(kind, [x + shift for x in at_rest], norm=norm)
        loss(y_hat, y)[0].backward()
        gradient = loss.log_variance.grad
        assert gradient is not None
        expected = (1 - np.exp(-shift)) / 2
        assert np.sign(expected) == sign
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=0, atol=1e-6)


@each_kind
def test_gradient_at_equal_values_is_finite_and_zero(kind: str) -> None:
    _, y = problem()
    y_hat = y.clone().requires_grad_()
    loss_of(kind)(y_hat, y)[0].backward()
    assert y_hat.grad is not None
    assert torch.equal(y_hat.grad, torch.zeros_like(y))


@each_kind
@pytest.mark.parametrize(("norm", "power"), [("l2", 1), ("squared", 2)])
def test_near_weights_pairs_by_their_length(kind: str, norm: str, power: int) -> None:
    y_hat, y = problem()
    norms = norms_by_hand(kind, y_hat, y)
    weight = 1 / (np.linalg.norm(y.double().numpy(), axis=1) + 0.3) ** power
    means = ((norms if norm == "l2" else norms**2) * weight / weight.mean()).mean(1)
    loss, errors = loss_of(kind, norm=norm, near=0.3)(y_hat, y)
    assert loss.item() == pytest.approx(loss_by_hand(kind, means, [0.0] * 4), rel=1e-6)
    np.testing.assert_allclose(errors.numpy(), norms.mean(1), rtol=1e-6)


@each_kind
def test_given_weights_count_beside_near(kind: str) -> None:
    y_hat, y = problem()
    w = torch.linspace(0.1, 3, len(y))
    total = w.double().numpy() / (np.linalg.norm(y.double().numpy(), axis=1) + 0.5)
    means = (norms_by_hand(kind, y_hat, y) * total / total.mean()).mean(1)
    loss, _ = loss_of(kind, near=0.5)(y_hat, y, w)
    assert loss.item() == pytest.approx(loss_by_hand(kind, means, [0.0] * 4), rel=1e-6)


def test_weights_of_one_change_nothing() -> None:
    y_hat, y = problem()
    loss = loss_of("eq6")
    assert loss(y_hat, y, torch.full((len(y),), 3.0))[0].item() == pytest.approx(loss(y_hat, y)[0].item(), rel=1e-6)


def where_problem() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    found, points = torch.randn(2, 3, 2, 4, 4, generator=generator)
    log_scale = torch.randn(3, 4, 4, generator=generator)
    known = (torch.rand(3, 4, 4, generator=generator) < 0.6).float()
    return found, log_scale, points, known


def test_where_is_the_laplace_likelihood_of_the_known_cells() -> None:
    found, log_scale, points, known = where_problem()
    distance = np.linalg.norm(found.double().numpy() - points.double().numpy(), axis=1)
    a = log_scale.double().numpy()
    loss, mean = where_loss(found, log_scale, points, known)
    assert 0 < known.mean() < 1
    assert mean.item() == pytest.approx(distance[known.numpy() > 0].mean(), rel=1e-5)
    assert loss.item() == pytest.approx((distance / np.exp(a) + a)[known.numpy() > 0].mean(), rel=1e-5)


def test_where_is_least_where_the_scale_is_the_distance() -> None:
    found, _, points, known = where_problem()
    log_scale = torch.zeros(3, 4, 4, requires_grad=True)
    scale = (found - points).norm(dim=1).log()
    where_loss(found, scale.requires_grad_(), points, known)[0].backward()
    assert scale.grad is not None
    assert float(scale.grad.abs().max()) < 1e-6
    where_loss(found, log_scale, points, known)[0].backward()
    assert log_scale.grad is not None
    assert float(log_scale.grad.abs().max()) > 1e-3


def test_where_takes_no_notice_of_unknown_cells() -> None:
    found, log_scale, points, known = where_problem()
    elsewhere = torch.where(known[:, None] > 0, points, 1e3)
    found.requires_grad_()
    value = where_loss(found, log_scale, points, known)[0]
    assert where_loss(found, log_scale, elsewhere, known)[0].item() == value.item()
    value.backward()
    assert found.grad is not None
    assert torch.equal(found.grad.abs().sum(1) > 0, known > 0)


def test_where_of_nothing_known_is_zero() -> None:
    found, log_scale, points, known = where_problem()
    assert where_loss(found, log_scale, points, torch.zeros_like(known))[0].item() == 0


def test_match_is_the_cross_entropy_of_the_four_cells_around() -> None:
    rows, columns = 3, 4
    generator = torch.Generator().manual_seed(1)
    log_p = torch.randn(2, 12, 12, generator=generator).log_softmax(2)
    points = 2.4 * torch.rand(2, 2, rows, columns, generator=generator) - 1.2
    known = (torch.rand(2, rows, columns, generator=generator) < 0.8).float()
    total, count = 0.0, 0
    for n in range(2):
        for cell in range(12):
            x, y = points[n].flatten(1)[:, cell].tolist()
            if not known[n].flatten()[cell] or max(abs(x), abs(y)) >= 1:
                continue
            count += 1
            for other in range(12):
                row, column = divmod(other, columns)
                # a point between the last cell's middle and the image's edge is that cell's
                u = min(max((x + 1) / 2 * columns - 0.5, 0), columns - 1)
                v = min(max((y + 1) / 2 * rows - 0.5, 0), rows - 1)
                share = max(0.0, 1 - abs(u - column)) * max(0.0, 1 - abs(v - row))
                total -= share * float(log_p[n, cell, other])
    assert count > 8
    assert float(match_loss(log_p, points, known)) == pytest.approx(total / count, rel=1e-5)


def test_match_of_cells_that_are_nowhere_is_zero() -> None:
    log_p = torch.zeros(1, 4, 4, requires_grad=True)
    loss = match_loss(log_p, torch.full((1, 2, 2, 2), 1.4), torch.ones(1, 2, 2))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert log_p.grad is not None
    assert float(log_p.grad.abs().max()) == 0.0


def grid(side: int = 6) -> Tensor:
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack((u, v, torch.ones_like(u))).flatten(1)


def where(H: Tensor, side: int = 6) -> Tensor:
    mapped = H @ grid(side)
    return (mapped[:, :2] / mapped[:, 2:]).unflatten(2, (side, side))


def test_plane_loss_is_the_distance_between_what_two_homographies_say() -> None:
    true = torch.eye(3).repeat(2, 1, 1)
    true[:, 0, 2] = 0.2
    known = torch.ones(2, 6, 6)
    loss, distance = plane_loss(true, grid(), where(true), known, torch.ones(2))
    assert float(loss) < 1e-3
    assert float(distance) < 1e-4
    found = true.clone()
    found[0, 1, 2] = 0.1
    loss, distance = plane_loss(found, grid(), where(true), known, torch.ones(2))
    assert float(distance) == pytest.approx(0.05, abs=1e-4)
    assert float(loss) == pytest.approx(10 * 0.05, rel=1e-2)


def test_plane_loss_counts_a_short_way_more_and_what_is_out_of_view_not_at_all() -> None:
    near, far = torch.eye(3), torch.eye(3)
    near[0, 2], far[0, 2] = 0.01, 0.8
    true = torch.stack((near, far))
    off_near, off_far = true.clone(), true.clone()
    off_near[0, 1, 2], off_far[1, 1, 2] = 0.05, 0.05
    known = torch.ones(2, 6, 6)
    a, b = (plane_loss(H, grid(), where(true), known, torch.ones(2))[0] for H in (off_near, off_far))
    assert float(a) > 5 * float(b)
    gone = torch.eye(3)[None].clone()
    gone[0, 0, 2] = 5.0
    assert float(plane_loss(torch.eye(3)[None], grid(), where(gone), torch.ones(1, 6, 6), torch.ones(1))[0]) == 0
