"""The homography that a feature map's cells agree on. In operations that every exporter knows."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from siame_se3.networks.part_configs import FitConfig


class HomographyFit(nn.Module):
    """The homography that takes cells at (u, v) in [-1, 1]^2 to the points that they see.

    Weighted linear least squares (DLT with h33 = 1; Hartley and Zisserman 2004, Sec. 4.1): each cell at (u, v) in
    [-1, 1]^2 that sees the point (X, Y) with an error of scale b asks with weight 1 / b^2
    that X (h31 u + h32 v + 1) = h11 u + h12 v + h13, and likewise Y. A weak prior holds what
    no cell knows. Cells of a covered or black part say so by a large b; the others still give the whole pose. Those that are
    sure and wrong are weighed down by a few rounds of re-weighting (Geman and McClure) at run time; not in training, where it
    would hide from the cells what they got wrong. What is wrong is judged by the image's own residuals, of which the kernel's
    scale is a multiple: the cells of a network that has trained for five minutes are less sure than they say.

    The normal equations are written with few, large operations, and solved by blocks: ONNX and OpenVINO have no solver.
    """

    uv: Tensor
    products: Tensor
    prior: Tensor
    cycle: Tensor
    units: Tensor

    size = 8

    def __init__(self, side: int, config: FitConfig) -> None:
        super().__init__()
        self.rounds, self.kernel = config.rounds, config.kernel
        axis = (torch.arange(side) + 0.5) / side * 2 - 1
        v, u = torch.meshgrid(axis, axis, indexing="ij")
        uv = torch.stack((u, v, torch.ones_like(u))).flatten(1)
        self.register_buffer("uv", uv, persistent=False)
        # Moments of uv uv^T, and before them the same in the four orders that its cofactors are made of (see `_cofactors`).
        i, j = torch.arange(3)[:, None], torch.arange(3)[None]
        orders = torch.cat([(3 * ((i + r) % 3) + (j + c) % 3).flatten() for r, c in _ORDERS])
        products = (uv[:, None] * uv[None]).flatten(0, 1).T
        self.register_buffer("products", products[:, orders].contiguous(), persistent=False)
        first, last = config.stiffness
        held = torch.zeros(4, 3, 3)
        held[0] = first * torch.eye(3)
        held[1, 0, 2] = held[2, 1, 2] = first * config.prior
        held[3, :2, :2] = last * torch.eye(2)
        self.register_buffer("prior", held.flatten(1)[:, orders].contiguous(), persistent=False)
        eye = torch.eye(3)
        self.register_buffer("cycle", torch.cat((eye.roll(1, 0), eye.roll(2, 0)), 1), persistent=False)
        self.register_buffer("units", torch.tensor([config.units[0]] * 6 + [config.units[1]] * 2), persistent=False)

    def fit(self, points: Tensor, log_scale: Tensor) -> Tensor:
        """h11 ... h32 (n, 8), in `units`, from the points (n, 2, y, x) that the cells see and the log of their scale of error (n, y, x)."""
        XY = points.flatten(2)
        sure = torch.exp(-2 * log_scale.flatten(1))[:, None]
        known = torch.cat((torch.ones_like(sure), XY, XY.square().sum(1, keepdim=True)), 1) * sure
        H = self._fit(known)
        weight = torch.ones_like(sure)
        for _ in range(0 if self.training else self.rounds):
            seen = H @ self.uv
            residual = seen[:, :2] - XY * seen[:, 2:]
            scaled = residual.square().sum(1, keepdim=True) * sure
            inliers = (scaled * weight).sum(2, keepdim=True) / weight.sum(2, keepdim=True)  # their mean square
            weight = (scaled / (self.kernel * inliers + 1e-12) + 1).square().reciprocal()
            H = self._fit(known * weight)
        return H.flatten(1)[:, :8] * self.units

    def _fit(self, weighted: Float[Tensor, "n 4 cells"]) -> Float[Tensor, "n 3 3"]:
        """The homography (h33 = 1) from w, wX, wY and w(X^2 + Y^2) of each cell.

        Its first two rows share their 3 x 3 block M; eliminating them leaves two equations for (h31, h32, 1), whose
        direction is the cross product of the two.
        """
        moments = weighted @ self.products + self.prior
        cofactors = _cofactors(moments[:, 0])
        determinant = (moments[:, 0, 36:39] * cofactors[:, :3]).sum(1, keepdim=True)
        inverse = (cofactors / determinant).unflatten(1, (1, 3, 3))
        # of each row: its two columns against (h31, h32), its right hand side
        ask = moments[:, 1:3, 36:].unflatten(2, (3, 3))
        solved = (inverse @ ask).flatten(1, 2)
        coupling = ask.flatten(1, 2)[..., :2].transpose(-1, -2) @ solved
        left = (moments[:, 3, 36:42].unflatten(1, (2, 3)) - coupling) @ self.cycle
        last = left[:, 0, :3] * left[:, 1, 3:] - left[:, 0, 3:] * left[:, 1, :3]
        last = (last / last[:, 2:])[..., None]
        return torch.cat((solved @ last, last), 1).unflatten(1, (3, 3)).squeeze(-1)


def homography_of(h: Float[Tensor, "*B 8"], units: Float[Tensor, "8"]) -> Float[Tensor, "*B 3 3"]:
    """The matrix, with h33 = 1, of what `HomographyFit.fit` gives."""
    h = h / units
    return torch.cat((h, torch.ones_like(h[..., :1])), -1).unflatten(-1, (3, 3))


_ORDERS = ((1, 1), (2, 2), (1, 2), (2, 1), (0, 0))


def _cofactors(m: Float[Tensor, "n 45"]) -> Float[Tensor, "n 9"]:
    """Of 3 x 3 matrices: M[i+1, j+1] M[i+2, j+2] - M[i+1, j+2] M[i+2, j+1], indices modulo 3, from M in these four orders."""
    return m[:, :9] * m[:, 9:18] - m[:, 18:27] * m[:, 27:36]
