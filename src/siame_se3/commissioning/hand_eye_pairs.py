"""T_tc from pairs of pictures (after Park and Martin 1994), in sums over the pairs: memory grows with the number of pictures, not of pairs.

For each pair A X = X B, with A the tool's and B the camera's motion: first R (log R_A = R log R_B), then t. Both follow from sums of products
over the pairs, and so does what comes out without some pictures: their pairs are subtracted.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from siame_se3.geometry import lie

_HALF_TURN = 3.0  # beyond this the axis of a measured turn may have either sign [rad]
_AT_ONCE = 16_000  # pairs: some 50 MB
_RANK = 1e-12  # of the normal equations, relative


def _terms(
    T_i: Float[Tensor, "*B 4 4"],
    T_j: Float[Tensor, "*B 4 4"],
    C_i: Float[Tensor, "*B 4 4"],
    C_j: Float[Tensor, "*B 4 4"],
) -> Float[Tensor, "*B 58"]:
    """What a pair adds to the sums: with L = R_A - 1, and t_A, t_B: log R_A log R_B^T, L^T L, L^T outer t_B, -L^T t_A, t_B^2, -t_A t_B^T."""
    A, B = lie.inverse(T_i) @ T_j, C_i @ lie.inverse(C_j)
    a, b = lie.so3_log(A[..., :3, :3]), lie.so3_log(B[..., :3, :3])
    sure = ((a.norm(dim=-1) < _HALF_TURN) & (b.norm(dim=-1) < _HALF_TURN))[..., None]
    L = A[..., :3, :3] - torch.eye(3, dtype=A.dtype)
    t_A, t_B = A[..., :3, 3], B[..., :3, 3]
    products = (
        (a * sure)[..., :, None] * b[..., None, :],
        L.mT @ L,
        L.mT[..., None] * t_B[..., None, None, :],
        -(L.mT @ t_A[..., None]),
        (t_B * t_B).sum(-1)[..., None, None],
        -t_A[..., :, None] * t_B[..., None, :],
    )
    return torch.cat([x.reshape(*A.shape[:-2], -1) for x in products], -1)


def _solution(sums: Float[Tensor, "*B 58"], any_scale: bool) -> tuple[Float[Tensor, "*B 4 4"], Float[Tensor, "*B"]]:
    """T_tc, and the unit of the board's lengths, of sums."""
    M, N, G, h, s, Q = sums.split((9, 9, 27, 3, 1, 9), -1)
    batch = sums.shape[:-1]
    U, _, Vh = torch.linalg.svd(M.reshape(*batch, 3, 3))
    flip = torch.linalg.det(U @ Vh)
    U = torch.cat((U[..., :2], U[..., 2:] * flip[..., None, None]), -1)
    R = U @ Vh
    N = N.reshape(*batch, 3, 3)
    turned = torch.einsum("...dab,...ab->...d", G.reshape(*batch, 3, 3, 3), R)
    if not any_scale:
        return lie.pose(R, _least(N, h + turned)), torch.ones(batch, dtype=sums.dtype)
    q = (Q.reshape(*batch, 3, 3) * R).sum((-2, -1))[..., None]
    left = torch.cat((torch.cat((N, -turned[..., None]), -1), torch.cat((-turned, s), -1)[..., None, :]), -2)
    x = _least(left, torch.cat((h, -q), -1))
    return lie.pose(R, x[..., :3]), x[..., 3]


def _least(N: Float[Tensor, "*B k k"], right: Float[Tensor, "*B k"]) -> Float[Tensor, "*B k"]:
    """Solution of normal equations whose unknowns may have very different units."""
    size = N.diagonal(dim1=-2, dim2=-1).clamp(min=1e-300).sqrt()
    inverse = torch.linalg.pinv(N / (size[..., :, None] * size[..., None, :]), rtol=_RANK, hermitian=True)
    return (inverse @ (right / size)[..., None])[..., 0] / size


def solve(
    T_bt: Float[Tensor, "*B n 4 4"], T_co: Float[Tensor, "*B n 4 4"], any_scale: bool = False
) -> tuple[Float[Tensor, "*B 4 4"], Float[Tensor, "*B"]]:
    """T_tc, batched, without any check.

    Args:
        T_bt, T_co: the tool in the base's frame, the board in the camera's.
        any_scale: lengths of T_co are in an unknown unit.

    Returns:
        T_tc, and that unit [m] (1 where it is known).
    """
    i, j = torch.tril_indices(T_bt.shape[-3], T_bt.shape[-3], -1)
    batch = T_bt.shape[:-3]
    sums = torch.zeros(*batch, 58, dtype=T_bt.dtype)
    for p, q in zip(*(k.split(max(1, _AT_ONCE // max(1, batch.numel()))) for k in (i, j)), strict=True):
        pairs = (T[..., k, :, :] for T in (T_bt, T_co) for k in (p, q))
        sums = sums + _terms(*pairs).sum(-2)
    return _solution(sums, any_scale)


@dataclass(frozen=True)
class PairSums:
    """Sums over all pairs of pictures, and over those of each picture.

    Attributes:
        T_bt, T_co: the tool in the base's frame, the board in the camera's.
        total, each: the sums.
    """

    T_bt: Float[Tensor, "n 4 4"]
    T_co: Float[Tensor, "n 4 4"]
    total: Float[Tensor, "58"]
    each: Float[Tensor, "n 58"]

    @staticmethod
    def of(T_bt: Float[Tensor, "n 4 4"], T_co: Float[Tensor, "n 4 4"]) -> PairSums:
        """Of all pairs, some at a time."""
        n = len(T_bt)
        i, j = torch.tril_indices(n, n, -1)
        each = torch.zeros(n, 58, dtype=T_bt.dtype)
        for p, q in zip(i.split(_AT_ONCE), j.split(_AT_ONCE), strict=True):
            terms = _terms(T_bt[p], T_bt[q], T_co[p], T_co[q])
            each.index_add_(0, p, terms).index_add_(0, q, terms)
        return PairSums(T_bt, T_co, each.sum(0) / 2, each)

    def solve(self, any_scale: bool = False) -> tuple[Float[Tensor, "4 4"], Float[Tensor, ""]]:
        """As `solve` of all pictures."""
        return _solution(self.total, any_scale)

    def without_places(
        self, places: Int[Tensor, "n"], any_scale: bool = False
    ) -> tuple[Float[Tensor, "p 4 4"], Float[Tensor, "p"]]:
        """As `solve` without all pictures of a place, for each of the places 0 to p - 1; `places` has each picture's."""
        sums = self.total.repeat(int(places.max()) + 1, 1).index_add_(0, places, self.each, alpha=-1)
        i, j = torch.tril_indices(len(places), len(places), -1)
        inside = places[i] == places[j]  # pairs within a place were subtracted twice
        i, j = i[inside], j[inside]
        for p, q in zip(i.split(_AT_ONCE), j.split(_AT_ONCE), strict=True) if len(i) else ():
            sums.index_add_(0, places[p], _terms(self.T_bt[p], self.T_bt[q], self.T_co[p], self.T_co[q]))
        return _solution(sums, any_scale)

    def without(
        self, out: Int[Tensor, "m k"], any_scale: bool = False
    ) -> tuple[Float[Tensor, "m 4 4"], Float[Tensor, "m"]]:
        """As `solve` of all pictures but k, whose numbers ascend; for each of m choices."""
        sums = self.total - self.each[out].sum(1)
        for a in range(out.shape[1]):
            for b in range(a):
                i, j = out[:, a], out[:, b]
                sums = sums + _terms(self.T_bt[i], self.T_bt[j], self.T_co[i], self.T_co[j])
        return _solution(sums, any_scale)
