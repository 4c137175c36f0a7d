"""SO(3) and SE(3): exp, log, inverse, adjoint; batched over leading axes.

Poses are 4x4 matrices `T_ab` that take coordinates in frame b to frame a; letters cancel:
`T_ac = T_ab @ T_bc`. Twists are `v = (v, omega)`, translation first, in the frame that moves
(`T_wc <- T_wc @ exp(v dt)`). Use float64 for poses.

Each coefficient that divides by a small angle has a Taylor twin below `_SMALL`; the two meet within
a few ulp, because a servo loop converges exactly at zero.

References: Ma, Soatto, Kosecka, Sastry, *An Invitation to 3-D Vision*, ch. 2; Shepperd (1978) for
matrix to quaternion; Chaumette and Hutchinson (2006) for the twist transform.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_SMALL = 0.3  # [rad] below this the series are used: nine terms reach 1 ulp of float64


def _series(t2: Tensor, first: float, ratio: tuple[float, ...]) -> Tensor:
    """first * (1 - t2/r1 * (1 - t2/r2 * (...))): an alternating series, by Horner's rule."""
    total = torch.ones_like(t2)
    for r in reversed(ratio):
        total = 1 - t2 / r * total
    return first * total


def _sin_over(t: Tensor) -> Tensor:
    """sin(t)/t."""
    return torch.sinc(t / torch.pi)


def _one_minus_cos_over(t: Tensor) -> Tensor:
    """(1 - cos t)/t^2, without cancellation: sinc(t/2)^2 / 2."""
    return _sin_over(t / 2) ** 2 / 2


def _t_minus_sin_over(t: Tensor) -> Tensor:
    """(t - sin t)/t^3."""
    t2 = t * t
    near = _series(t2, 1 / 6, tuple(float((2 * k) * (2 * k + 1)) for k in range(2, 9)))
    safe = torch.where(t < _SMALL, torch.ones_like(t), t)
    return torch.where(t < _SMALL, near, (safe - safe.sin()) / safe**3)


def _left_jacobian_inverse_coefficient(t: Tensor) -> Tensor:
    """(1 - (t/2) cot(t/2))/t^2, finite from 0 to pi."""
    t2 = t * t
    # Bernoulli numbers: 1/12 + t^2/720 + t^4/30240 + t^6/1209600 + t^8/47900160 + 691 t^10/1307674368000
    coefficients = (1 / 12, 1 / 720, 1 / 30240, 1 / 1209600, 1 / 47900160, 691 / 1307674368000)
    near = torch.zeros_like(t)
    for c in reversed(coefficients):
        near = near * t2 + c
    half = torch.where(t < _SMALL, torch.ones_like(t), t) / 2
    far = (1 - half * half.cos() / half.sin()) / (4 * half * half)
    return torch.where(t < _SMALL, near, far)


def hat(w: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """Cross-product matrix: hat(a) @ b = a x b."""
    zero = torch.zeros_like(w[..., 0])
    x, y, z = w.unbind(-1)
    rows = (zero, -z, y, z, zero, -x, -y, x, zero)
    return torch.stack(rows, -1).reshape(*w.shape[:-1], 3, 3)


def so3_exp(theta_u: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """Rotation matrix of the axis-angle vector theta*u [rad] (Rodrigues)."""
    t = theta_u.norm(dim=-1)[..., None, None]
    k = hat(theta_u)
    eye = torch.eye(3, dtype=theta_u.dtype, device=theta_u.device)
    return eye + _sin_over(t) * k + _one_minus_cos_over(t) * (k @ k)


def so3_log(R: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 3"]:
    """Axis-angle vector theta*u [rad], 0 <= theta <= pi, of a rotation matrix.

    Goes through the quaternion by its largest component (Shepperd), so that it is as accurate at pi as at 0.
    """
    m = R.unbind(-2)
    (r00, r01, r02), (r10, r11, r12), (r20, r21, r22) = (row.unbind(-1) for row in m)
    # Four times the outer product of the quaternion (w, x, y, z) with itself; its largest row is well conditioned.
    outer = torch.stack(
        (
            *(1 + r00 + r11 + r22, r21 - r12, r02 - r20, r10 - r01),
            *(r21 - r12, 1 + r00 - r11 - r22, r01 + r10, r02 + r20),
            *(r02 - r20, r01 + r10, 1 - r00 + r11 - r22, r12 + r21),
            *(r10 - r01, r02 + r20, r12 + r21, 1 - r00 - r11 + r22),
        ),
        -1,
    ).reshape(*R.shape[:-2], 4, 4)
    best = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)
    q = outer.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    q = q / q.norm(dim=-1, keepdim=True)
    q = torch.where(q[..., :1] < 0, -q, q)
    w, xyz = q[..., :1], q[..., 1:]
    s = xyz.norm(dim=-1, keepdim=True)
    tiny = torch.finfo(R.dtype).tiny
    return torch.where(s < tiny, 2 * xyz, xyz * (2 * torch.atan2(s, w) / s.clamp(min=tiny)))


def pose(R: Float[Tensor, "*B 3 3"], t: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 4 4"]:
    """Homogeneous matrix of a rotation and a translation [m]."""
    shape = torch.broadcast_shapes(R.shape[:-2], t.shape[:-1])
    T = torch.zeros(*shape, 4, 4, dtype=R.dtype, device=R.device)
    T[..., :3, :3] = R
    T[..., :3, 3] = t
    T[..., 3, 3] = 1
    return T


def pose_from_vector(p: Float[Tensor, "*B 6"]) -> Float[Tensor, "*B 4 4"]:
    """Pose of (tx, ty, tz, theta*ux, theta*uy, theta*uz) [m, rad]: translation as it is, rotation by exp."""
    return pose(so3_exp(p[..., 3:]), p[..., :3])


def vector_from_pose(T: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 6"]:
    """(tx, ty, tz, theta*ux, theta*uy, theta*uz) [m, rad] of a pose: inverse of `pose_from_vector`."""
    return torch.cat((T[..., :3, 3], so3_log(T[..., :3, :3])), -1)


def inverse(T: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 4 4"]:
    """T_ba of T_ab."""
    R = T[..., :3, :3].mT
    return pose(R, -(R @ T[..., :3, 3:]).squeeze(-1))


def exp(twist: Float[Tensor, "*B 6"]) -> Float[Tensor, "*B 4 4"]:
    """Pose reached after one second of a constant body twist (v, omega) [m/s, rad/s]."""
    v, w = twist[..., :3], twist[..., 3:]
    t = w.norm(dim=-1)[..., None, None]
    k = hat(w)
    k2 = k @ k
    eye = torch.eye(3, dtype=twist.dtype, device=twist.device)
    b = _one_minus_cos_over(t)
    R = eye + _sin_over(t) * k + b * k2
    V = eye + b * k + _t_minus_sin_over(t) * k2
    return pose(R, (V @ v[..., None]).squeeze(-1))


def log(T: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 6"]:
    """Body twist (v, omega) [m/s, rad/s] that reaches T in one second; |omega| <= pi."""
    w = so3_log(T[..., :3, :3])
    t = w.norm(dim=-1)[..., None, None]
    k = hat(w)
    eye = torch.eye(3, dtype=T.dtype, device=T.device)
    V_inverse = eye - k / 2 + _left_jacobian_inverse_coefficient(t) * (k @ k)
    return torch.cat(((V_inverse @ T[..., :3, 3:]).squeeze(-1), w), -1)


def adjoint(T: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 6 6"]:
    """Twist transform: v_a = adjoint(T_ab) @ v_b, the same motion seen from frame a."""
    R, t = T[..., :3, :3], T[..., :3, 3]
    top = torch.cat((R, hat(t) @ R), -1)
    bottom = torch.cat((torch.zeros_like(R), R), -1)
    return torch.cat((top, bottom), -2)


def error_norms(T: Float[Tensor, "*B 4 4"]) -> tuple[Float[Tensor, "*B"], Float[Tensor, "*B"]]:
    """Length of the translation [m] and angle of the rotation [rad] of a pose."""
    return T[..., :3, 3].norm(dim=-1), so3_log(T[..., :3, :3]).norm(dim=-1)
