"""How sure a photometric law is of the pose: a covariance, from its normal equations and from what it leaves unexplained.

Sensor noise alone would make it a hundred times too small: what two photos of one place differ in beyond the light (lens distortion, relief,
resampling, errors of the poses that they were read by) moves whole neighbourhoods alike, and a part of it is taken for motion. Here the image
is cut into blocks. Of block b, with the image's gradient g, weights w and the residual r,

    s_b = sum w g r    and    G_b = sum w g g^T,

and a motion xi that is wrong moves the block's content by A_b xi, with A_b the interaction matrix of the block's middle [px]. What is left is
taken to be

    s_b = (G_b - N_b) (A_b xi + a_b + c_b) + n_b,

n_b noise of covariance k G_b, whatever its size and its correlation between pixels; a_b displacements of single blocks, of one variance; c_b
displacements that vary over the image: smooth fields, of correlation exp(-d^2 / 2 l^2) between blocks d apart, and the homography that moves the
image's corners, each of a variance of its own. Noise has gradients too: those are taken out of G and H, N_b = sum w grad r grad r^T / 4 (the mean
of two images has a half of each one's noise, the difference all of it). k and the variances are estimated from the part of s that no motion
explains (restricted maximum likelihood, Patterson and Thompson 1971, by the multiplicative updates of Zhou et al. 2019, "MM algorithms for
variance components models"). Few blocks say little of large fields, so each is taken one standard error higher. The covariance is what such
displacements and such noise make of the law's solution:

    C = H^-1 (sum A_b^T Cov(s_b, s_c) A_c) H^-1,    H = L^T W L - sum A_b^T N_b A_b.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from siame_se3.geometry.camera import Camera
from siame_se3.images.gradients import gradient
from siame_se3.laws.pose import point_interaction_matrix
from siame_se3.laws.types import Output, View

BLOCKS = 10  # a side
_SMOOTH = (0.2, 0.5)  # l, in widths of the image
_ROUNDS = 30
_LEAST = 1e-4  # of the mean: a direction of a block with less texture says nothing
AGREED = 0.6
_FEWEST = 24  # directions that have to say something


@runtime_checkable
class Certain(Protocol):
    """A law that knows how sure it is of the pose."""

    def __call__(self, view: View, state: Any) -> tuple[Output, Any]:
        """As `Law`."""

    def covariance(self, view: View, state: Any) -> Float[Tensor, "n 6 6"]:
        """Of the error of `Output.v` as the motion to the goal, (v, omega) in the current camera's frame [m, rad]; NaN where it is not known."""


def unknown(n: int) -> Float[Tensor, "n 6 6"]:
    """Covariances that are not known."""
    return torch.full((n, 6, 6), torch.nan, dtype=torch.float64)


def pose_covariance(
    gradients: tuple[Float[Tensor, "n c y x"], Float[Tensor, "n c y x"]],
    residual: Float[Tensor, "n c y x"],
    weight: Float[Tensor, "n c y x"],
    H: Float[Tensor, "n 6 6"],
    inverse_Z: Float[Tensor, "n"] | Float[Tensor, "n y x"],
    camera: Camera,
    border: int,
) -> Float[Tensor, "n 6 6"]:
    """Covariances of the poses that a photometric law ends at, (v, omega) in the current camera's frame [m, rad].

    Args:
        gradients: dI/du and dI/dv inside the border, of which L is made.
        residual: what is left of I - I* at the end.
        weight: of the pixels.
        H: L^T W L, once all else that is fitted is eliminated.
        inverse_Z: 1/Z [1/m], of each run, or of each pixel inside the border.
        camera: of the images. border: pixels left out on each side.

    Returns:
        Zero where nothing is left unexplained, NaN where too few blocks have a texture.
    """
    u, v = gradients
    rest_u, rest_v = (z / 2 for z in gradient(F.pad(residual, (3, 3, 3, 3), mode="replicate"), 3))
    pairs = ((u, u), (u, v), (v, v), (rest_u, rest_u), (rest_u, rest_v), (rest_v, rest_v), (u, residual), (v, residual))
    products = torch.stack([(weight * p * q).sum(1) for p, q in pairs], 1)
    rows, columns, fields = _blocks(camera, border)
    uu, uv, vv, nuu, nuv, nvv, su, sv = (rows.T @ products @ columns).double().flatten(2).unbind(1)
    G, N = (torch.stack(z, 2).unflatten(2, (2, 2)) for z in ((uu, uv, uv, vv), (nuu, nuv, nuv, nvv)))
    s = torch.stack((su, sv), 2)
    if inverse_Z.ndim == 1:
        q = inverse_Z.double()[:, None]
    else:  # of each block its mean
        q = (rows.T @ inverse_Z.float() @ columns).double().flatten(1) / torch.outer(
            rows.sum(0), columns.sum(0)
        ).flatten()
    found = [_of_one(G[k], N[k], s[k], fields, q[k], H[k].double()) for k in range(len(H))]
    return torch.stack(found) if found else unknown(0)


def motion_field(
    v: Float[Tensor, "n 6"], inverse_Z: Float[Tensor, "n"] | Float[Tensor, "n y x"], camera: Camera, border: int
) -> Float[Tensor, "n 2 y x"]:
    """How fast each pixel inside the border moves with a camera velocity [px/s]; 1/Z of each run, or of each of these pixels [1/m]."""
    u, w = camera.pixel_grid()[border : camera.height - border, border : camera.width - border].unbind(-1)
    x, y = (u - camera.cx) / camera.fx, (w - camera.cy) / camera.fy
    L = point_interaction_matrix(x, y, torch.ones_like(x))
    q = inverse_Z.double().reshape(len(v), 1, *(inverse_Z.shape[1:] or (1, 1)))
    moved = torch.einsum("yxij,nj->niyx", L[..., :3], v[:, :3].double()) * q
    moved = moved + torch.einsum("yxij,nj->niyx", L[..., 3:], v[:, 3:].double())
    return moved * moved.new_tensor([camera.fx, camera.fy])[:, None, None]


def agreement(seen: Float[Tensor, "n c y x"], desired: Float[Tensor, "n c y x"]) -> Float[Tensor, "n"]:
    """How far the textures of two images are the same, 1 for fully and about 0 for different ones: the correlation of their gradients, on means of
    4 x 4 pixels, in each block, by the root of what texture it has. Below `AGREED` what the law has come to is another place, as often as not,
    and small changes about it say nothing of the true one."""
    pairs, side = [], max(1, min(4, min(seen.shape[-2:]) // 8))  # smaller ones of small images
    for image in (seen, desired):
        z = F.avg_pool2d(image, side)
        pairs.append((z[..., 1:, 1:] - z[..., 1:, :-1], z[..., 1:, 1:] - z[..., :-1, 1:]))
    (a, b), (p, q) = pairs
    both, either = a * p + b * q, (a * a + b * b + p * p + q * q) / 2
    both, either = (F.adaptive_avg_pool2d(z.sum(1, keepdim=True), BLOCKS).flatten(1) for z in (both, either))
    weight = either.clamp(min=1e-9).sqrt()
    return (both / weight).sum(1) / weight.sum(1)


@dataclass(frozen=True, eq=False)
class _Fields:
    """What may displace blocks, all in pixels.

    Attributes:
        near, far: by a motion, the interaction matrices of blocks' middles: columns that go with 1/Z, at Z = 1, and the others.
        smooth: correlations between blocks of smooth fields, one for each of `_SMOOTH`.
        corners: displacements by a homography that moves each of the image's four corners by a pixel along either axis.
    """

    near: Float[Tensor, "b 2 6"]
    far: Float[Tensor, "b 2 6"]
    smooth: Float[Tensor, "l b b"]
    corners: Float[Tensor, "b 2 8"]


@lru_cache(maxsize=8)
def _blocks(camera: Camera, border: int) -> tuple[Tensor, Tensor, _Fields]:
    """Which block each row (y, k) and each column (x, k) of pixels belongs to, and what may displace them."""
    f64 = torch.float64
    along = [torch.arange(border, size - border) for size in (camera.height, camera.width)]
    rows, columns = (F.one_hot((torch.arange(len(z)) * BLOCKS) // len(z), BLOCKS).float() for z in along)
    middle_v, middle_u = (
        (z.to(f64) @ m.to(f64)) / m.to(f64).sum(0).clamp(min=1) for z, m in zip(along, (rows, columns), strict=True)
    )
    v, u = (z.flatten() for z in torch.meshgrid(middle_v, middle_u, indexing="ij"))
    x, y = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
    A = point_interaction_matrix(x, y, torch.ones_like(x)) * torch.tensor([camera.fx, camera.fy], dtype=f64)[:, None]
    near = A * torch.tensor([1, 1, 1, 0, 0, 0], dtype=f64)
    apart = (torch.stack((u, v), 1)[:, None] - torch.stack((u, v), 1)).square().sum(2) / camera.width**2
    smooth = torch.stack([torch.exp(-apart / (2 * length**2)) for length in _SMOOTH])
    w, h = camera.width - 1.0, camera.height - 1.0
    ends = torch.tensor([[0, 0], [w, 0], [w, h], [0, h]], dtype=f64)
    corners = _homographies(torch.stack((u, v), 1), w, h) @ torch.linalg.inv(_homographies(ends, w, h).reshape(8, 8))
    return rows, columns, _Fields(near, A - near, smooth, corners)


def _homographies(pixels: Float[Tensor, "p 2"], w: float, h: float) -> Float[Tensor, "p 2 8"]:
    """Displacements of pixels by homographies near the identity, eight numbers."""
    a, b = (2 * pixels / pixels.new_tensor([w, h]) - 1).unbind(1)
    one, zero = torch.ones_like(a), torch.zeros_like(a)
    along = torch.stack((one, a, b, zero, zero, zero, a * a, a * b), 1)
    down = torch.stack((zero, zero, zero, one, a, b, a * b, b * b), 1)
    return torch.stack((along, down), 1)


def _of_one(
    G: Float[Tensor, "b 2 2"],
    N: Float[Tensor, "b 2 2"],
    s: Float[Tensor, "b 2"],
    fields: _Fields,
    inverse_Z: Float[Tensor, "_"],
    H: Float[Tensor, "6 6"],
) -> Float[Tensor, "6 6"]:
    """Of one run. Directions of blocks are whitened: q = e^T s / sqrt(m) has the noise k where e is an eigenvector of G of eigenvalue m."""
    A = fields.near * inverse_Z[:, None, None] + fields.far
    H = H - torch.einsum("bij,bik,bkl->jl", A, N, A)
    m, e = torch.linalg.eigh(G)
    block, which = (m > _LEAST * m.mean()).nonzero().unbind(1)
    if len(block) < _FEWEST or not bool((torch.linalg.eigvalsh(H) > 0).all()):
        return unknown(1)[0]
    root, e = m[block, which].sqrt(), e[block, :, which]
    q = (e * s[block]).sum(1) / root
    seen = ((G - N)[block] @ e[..., None]).squeeze(-1) / root[:, None]  # what a displacement of the block adds to q
    design = (seen[:, None] @ A[block]).squeeze(1)
    parts = seen @ seen.T
    corners = (seen[:, None] @ fields.corners[block]).squeeze(1)
    noise, single = torch.eye(len(q), dtype=q.dtype), (block[:, None] == block) * parts
    smooth = fields.smooth[:, block[:, None], block] * parts
    kinds = torch.cat((torch.stack((noise, single, corners @ corners.T)), smooth))
    variances = _variances(q, design, kinds)
    taken = torch.linalg.solve(H, (root[:, None] * (e[:, None] @ A[block]).squeeze(1)).T)
    C = taken @ torch.tensordot(variances, kinds, 1) @ taken.T
    return (C + C.T) / 2


def _variances(
    q: Float[Tensor, "r"], design: Float[Tensor, "r 6"], kinds: Float[Tensor, "k r r"]
) -> Float[Tensor, "k"]:
    """Of each kind how much there is in q, from the part of it that the design does not explain, one standard error upwards."""
    free = torch.linalg.qr(design, mode="complete").Q[:, design.shape[1] :]
    y, parts = free.T @ q, free.T @ kinds @ free
    energy = float(y.square().sum())
    if not energy > 0:
        return kinds.new_zeros(len(kinds))
    found = energy / (len(kinds) * parts.diagonal(dim1=1, dim2=2).sum(1))
    inverse = torch.eye(len(y), dtype=q.dtype)
    for _ in range(_ROUNDS):
        S = torch.tensordot(found, parts, 1)
        S.diagonal().mul_(1 + 1e-9)
        factor, failed = torch.linalg.cholesky_ex(S)
        if bool(failed):
            return torch.full_like(found, torch.nan)
        inverse = torch.cholesky_inverse(factor)
        a = inverse @ y
        found = found * ((parts @ a @ a) / (parts * inverse).sum((1, 2))).sqrt()
    alike = inverse @ parts
    information = (alike * alike.mT).sum((1, 2)) / 2
    return found + information.rsqrt()


_SHIFTS = ("shift x", "shift y", "distance")
_TURNS = ("tilt x", "tilt y", "roll")


def sigmas(covariance: Float[Tensor, "*B 6 6"]) -> tuple[Float[Tensor, "*B"], Float[Tensor, "*B"]]:
    """Standard deviations of the distance [m] and of the angle [rad]: the root of the sum of the variances along, and about, the three axes."""
    variances = covariance.diagonal(dim1=-2, dim2=-1)
    return variances[..., :3].sum(-1).sqrt(), variances[..., 3:].sum(-1).sqrt()


def least_known(covariance: Float[Tensor, "6 6"]) -> str:
    """The direction in which a pose is least known, in words: 'shift x with tilt y'."""
    _, directions = torch.linalg.eigh(covariance[:3, :3])
    along = directions[:, -1]
    shift = int(along.abs().argmax())
    spread = covariance.diagonal()[3:].sqrt() * (along @ covariance[:3, :3] @ along).sqrt()
    with_turn = (along @ covariance[:3, 3:] / spread.clamp(min=1e-300)).abs()
    turn = int(with_turn.argmax())
    return _SHIFTS[shift] + (f" with {_TURNS[turn]}" if float(with_turn[turn]) > 0.7 else "")


def described(covariance: Float[Tensor, "n 6 6"]) -> str:
    """How well the poses of some runs are known, three standard deviations, the median of those that are; '' where none is."""
    known = covariance[covariance.isfinite().all(-1).all(-1)]
    if not len(known):
        return ""
    t, r = (3 * float(x.median()) for x in sigmas(known))
    text = f"{1e3 * t:.2g} mm and {math.degrees(r):.2g} deg (3 sigma{', median' if len(covariance) > 1 else ''})"
    size = known.diagonal(dim1=1, dim2=2).sum(1)
    if not bool((size > 0).any()):
        return text
    alike = (known[size > 0] / size[size > 0][:, None, None]).mean(0)
    return f"{text}; least along {least_known(alike)}"
