"""The paper's losses: Eq. 4, 5, 6, and the two-weight variant. Their weights are thrown away after training.

y_hat and y are in units of the network's output scale, so sigma^2 = 1 is about the error before training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from siame_se3.errors import require_number
from siame_se3.files import require_types

GROUPS: dict[str, tuple[slice, ...]] = {
    "eq4": (slice(0, 3), slice(3, 6)),
    "eq5": (slice(0, 3), slice(3, 6)),
    "two": (slice(0, 3), slice(3, 6)),
    "eq6": (slice(0, 2), slice(2, 3), slice(3, 5), slice(5, 6)),
}


@dataclass(frozen=True)
class LossConfig:
    """Which loss.

    Attributes:
        kind: 'eq6', four groups with learned weights (v_xy, v_z, w_xy, w_z); 'eq5' / 'two', two groups (translation,
            rotation) with learned weights (Eq. 5 is this for a pose); 'eq4', two groups, fixed weight beta.
        beta: weight of the rotation in Eq. 4.
        norm: of a group's error: 'l2' is ||.||, 'squared' is ||.||^2.
        where: weight of the auxiliary task: each cell of the feature map says which point of the scene it looks at
            (scene coordinates, which the simulator knows); dense supervision that a single velocity an image is not.
            With 'spatial' pooling its layers are thrown away after training, as the loss weights are; with 'homography'
            pooling they are the network's own. 0 for none.
        velocity: weight of the error of the velocity (or pose), which the paper's loss is.
        plane: with fusion 'matching' or 'plane', weight of the distance between where the homography that was found takes the cells and where
            it should (see `plane_loss`); 0 for none.
        match: with fusion 'matching' or 'plane', whose cells say where in the desired image they are (`where` weighs that), weight of the cross entropy of
            which cell it is that shows the same.
        near: weight pairs by 1 / (|y| + near): relative errors count, so that the last centimetres do; 0 for equal weights.
    """

    kind: Literal["eq4", "eq5", "two", "eq6"] = "eq6"
    beta: float = 1.0
    norm: Literal["l2", "squared"] = "l2"
    near: float = 0.2
    where: float = 3.0
    match: float = 1.0
    velocity: float = 1.0
    plane: float = 0.0

    def __post_init__(self) -> None:
        require_types(self, "loss")
        for name in ("beta", "near", "where", "match", "velocity", "plane"):
            require_number(self, name, 0)


class ServoLoss(nn.Module):
    """Weighted sum of group errors; `log_variance` holds log sigma^2 of each group, 0 at the start (Eq. 5, 6)."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.config = config
        self.groups = GROUPS[config.kind]
        self.log_variance = nn.Parameter(torch.zeros(len(self.groups)), requires_grad=config.kind != "eq4")

    def forward(
        self, y_hat: Float[Tensor, "n 6"], y: Float[Tensor, "n 6"], weight: Float[Tensor, "n"] | None = None
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "g"]]:
        """Loss, and each group's mean error ||.|| in units of the output scale (detached)."""
        c = self.config
        difference = y_hat - y
        norms = torch.stack([difference[:, g].square().sum(1).add(1e-12).sqrt() for g in self.groups], 1)
        errors = norms if c.norm == "l2" else norms.square()
        if c.near > 0:
            near = 1 / (y.norm(dim=1) + c.near) ** (1 if c.norm == "l2" else 2)
            weight = near if weight is None else weight * near
        if weight is not None:
            errors = errors * (weight / weight.mean())[:, None]
        mean = errors.mean(0)
        if c.kind == "eq4":
            loss = mean[0] + c.beta * mean[1]
        else:
            # 1/(2 sigma^2) ||.|| + log sigma, with log_variance = log sigma^2
            loss = (0.5 * torch.exp(-self.log_variance) * mean + 0.5 * self.log_variance).sum()
        return loss, norms.detach().mean(0)


def where_loss(
    found: Float[Tensor, "n 2 y x"],
    log_scale: Float[Tensor, "n y x"],
    points: Float[Tensor, "n 2 y x"],
    known: Float[Tensor, "n y x"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Negative log likelihood of the cells' points under a Laplace law, distance / b + log b, and their mean distance
    (detached) [half scene widths].

    Cells that see no print count too: the plane goes on beyond it, and b learns how little they know of where.
    """
    distance = (found - points).square().sum(1).add(1e-8).sqrt()
    count = known.sum().clamp(min=1)
    loss = ((distance * torch.exp(-log_scale) + log_scale) * known).sum() / count
    return loss, (distance.detach() * known).sum() / count


def match_loss(
    log_p: Float[Tensor, "n k k"], points: Float[Tensor, "n 2 y x"], known: Float[Tensor, "n y x"]
) -> Float[Tensor, ""]:
    """Cross entropy of the desired image's cells (second axis of `log_p`) for each cell of the current one that is in it: the four cells
    around its point, by their bilinear weights."""
    rows, columns = points.shape[-2:]
    flat = points.flatten(2)
    inside = known.flatten(1) * (flat.abs() < 1).all(1)
    x, y = ((flat[:, k] + 1) / 2 * n - 0.5 for k, n in ((0, columns), (1, rows)))
    left, top = x.floor(), y.floor()
    around = [(i, j) for i in (left, left + 1) for j in (top, top + 1)]
    share = torch.stack([(1 - (x - i).abs()) * (1 - (y - j).abs()) for i, j in around], 2)
    place = torch.stack([j.clamp(0, rows - 1) * columns + i.clamp(0, columns - 1) for i, j in around], 2)
    total = -(share * log_p.gather(2, place.long())).sum(2)
    return (total * inside).sum() / inside.sum().clamp(min=1)


_FEW = 0.1  # share of the desired image's cells: pairs of which the current one shows fewer count for nothing in `plane_loss`
_FINE = 0.05  # [half images]: a pair's error counts relative to this and its motion


def plane_loss(
    H: Float[Tensor, "n 3 3"],
    uv: Float[Tensor, "3 k"],
    points: Float[Tensor, "n 2 y x"],
    known: Float[Tensor, "n y x"],
    weight: Float[Tensor, "n"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Distance between where H takes the cells at uv and where they are in the desired image, of the cells that are there, relative to how far they
    moved, and its mean as it is (detached) [half images]."""
    true, inside = points.flatten(2), known.flatten(1)
    inside = inside * (true.abs() < 1).all(1)
    mapped = H @ uv
    z = mapped[:, 2:]
    found = (mapped[:, :2] / z.clamp(min=0.05)).clamp(-4, 4)
    count = inside.sum(1)
    distance = ((found - true).square().sum(1).add(1e-10).sqrt() * inside).sum(1) / count.clamp(min=1)
    moved = ((true - uv[:2]).square().sum(1).sqrt() * inside).sum(1) / count.clamp(min=1)
    enough = (count > _FEW * inside.shape[1]).float()
    share = enough * weight / (moved + _FINE)
    total = enough.sum().clamp(min=1)
    return (distance * share).sum() / share.sum().clamp(min=1e-6) * 10, (distance.detach() * enough).sum() / total
