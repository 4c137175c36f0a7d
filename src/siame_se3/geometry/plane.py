"""The plane z = 0 of the world: its homographies, its depth, and poses from homographies."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from siame_se3.geometry.camera import Camera


def plane_from_pixel(camera: Camera, T_wc: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 3 3"]:
    """Homography from pixels (u, v, 1) to points (X, Y, 1) [m] of the plane z = 0, up to a scale.

    With the ray r of a pixel and T_wc = (R, t): X = t - t_z R r / (R r)_z. The third row of the result is (R r)_z,
    positive for a pixel that looks at the plane from z < 0.
    """
    R, t = T_wc[..., :3, :3], T_wc[..., :3, 3]
    xy = t[..., :2, None] * R[..., 2:, :] - t[..., 2:, None] * R[..., :2, :]
    rays = torch.linalg.inv(camera.K).to(T_wc)
    return torch.cat((xy, R[..., 2:, :]), -2) @ rays


def pixel_from_plane(camera: Camera, T_wc: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 3 3"]:
    """Homography from points (X, Y, 1) [m] of the plane z = 0 to pixels (u, v, 1), scaled so that the third row gives
    the depth [m]."""
    R, t = T_wc[..., :3, :3], T_wc[..., :3, 3]
    columns = torch.cat((R.mT[..., :2], -(R.mT @ t[..., None])), -1)
    return camera.K.to(T_wc) @ columns


def homography(camera: Camera, T_wa: Float[Tensor, "*B 4 4"], T_wb: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 3 3"]:
    """H_ab: pixels of view b to pixels of view a through the plane; H_ab H_bc = H_ac up to scale."""
    return pixel_from_plane(camera, T_wa) @ plane_from_pixel(camera, T_wb)


def depth(camera: Camera, T_wc: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B h w"]:
    """Depth Z [m] of the plane at each pixel; infinite where the pixel does not look at it."""
    h, w = camera.size
    pixels = torch.cat((camera.pixel_grid(T_wc.dtype).to(T_wc.device), T_wc.new_ones(h, w, 1)), -1)
    third = (plane_from_pixel(camera, T_wc)[..., 2:, :] @ pixels.reshape(-1, 3).mT).reshape(*T_wc.shape[:-2], h, w)
    Z = -T_wc[..., 2, 3, None, None] / third
    return torch.where(Z > 0, Z, torch.inf)


def points_on_plane(
    camera: Camera, T_wc: Float[Tensor, "*B 4 4"], pixels: Float[Tensor, "p 2"]
) -> tuple[Float[Tensor, "*B p 2"], Bool[Tensor, "*B p"]]:
    """Points (X, Y) [m] of the plane z = 0 that each camera sees at pixels (u, v), and which of them it sees from the front (z < 0);
    the others' points mean nothing."""
    rays = torch.cat((pixels, torch.ones_like(pixels[:, :1])), -1).to(T_wc)
    mapped = rays @ plane_from_pixel(camera, T_wc).mT
    seen = (mapped[..., 2] > 1e-9) & (T_wc[..., 2, 3] < 0)[..., None]
    return mapped[..., :2] / torch.where(seen, mapped[..., 2], 1.0)[..., None], seen


# The functions from here on are traced by exporters: they use only operations that ONNX and OpenVINO know, and `lie` is their plain twin.


def pose_between(a: Float[Tensor, "*B 6"], b: Float[Tensor, "*B 6"]) -> Float[Tensor, "*B 6"]:
    """T_ab of T_wa and T_wb, all as vectors (t, theta u) [m, rad], theta at most 180 deg.

    What `lie.vector_from_pose(inverse(T_wa) @ T_wb)` is, by quaternions.
    """

    def quaternion(w: Tensor) -> tuple[Tensor, Tensor]:
        half = w.square().sum(-1, keepdim=True).clamp(min=1e-16).sqrt() / 2
        return half.cos(), w * (half.sin() / half) / 2

    (ca, ua), (cb, ub) = quaternion(a[..., 3:]), quaternion(b[..., 3:])
    t = b[..., :3] - a[..., :3]
    t = t + 2 * _cross(ua, _cross(ua, t) - ca * t)  # by the inverse of the first rotation
    c = ca * cb + (ua * ub).sum(-1, keepdim=True)
    u = ca * ub - cb * ua - _cross(ua, ub)
    u = torch.where(c < 0, -u, u)
    s = u.square().sum(-1, keepdim=True).clamp(min=1e-16).sqrt()
    return torch.cat((t, u * (2 * torch.atan2(s, c.abs()) / s)), -1)


def pose_from_homography(
    H: Float[Tensor, "*B 3 3"], rays: Float[Tensor, "4"], half_width: float
) -> tuple[Float[Tensor, "*B 3 3"], Float[Tensor, "*B 3"]]:
    """R and t [m] of T_wc from the homography between a camera's image and the plane z = 0, which the camera looks at from z < 0.

    On rays H is (t_xy r3 - t_z (r1, r2); r3) with the rows r of R (see `plane_from_pixel`), r3 forward. The two rows of -t_z (r1, r2)
    of an H with errors are not quite orthogonal, nor of one length: the nearest directions that are, and their mean length, are taken.

    Args:
        H: takes image points (u, v, 1), u and v in [-1, 1], to points of the plane in half widths, up to a scale.
        rays: (a, b, c, d): the image point (u, v) is on the ray (a u + b, c v + d, 1).
        half_width: of the scene [m].
    """
    a, b, c, d = rays.unbind(0)
    u, v = H[..., 0] / a, H[..., 1] / c
    G = torch.stack((u, v, H[..., 2] - u * b - v * d), -1)
    r3 = _unit(G[..., 2, :])
    top = G[..., :2, :] * (half_width / G[..., 2, :].norm(dim=-1))[..., None, None]
    t_xy = (top * r3[..., None, :]).sum(-1)
    apart = t_xy[..., None] * r3[..., None, :] - top  # t_z (r1, r2), t_z < 0
    first, second = apart[..., 0, :], apart[..., 1, :]
    t_z = -(first.norm(dim=-1) + second.norm(dim=-1)) / 2
    first, second = _unit(-first), _unit(-second)
    middle, across = _unit(first + second), _unit(first - second)  # orthogonal, as the vectors are of one length
    r1 = _unit(middle + across)
    return torch.stack((r1, _cross(r3, r1), r3), -2), torch.cat((t_xy, t_z[..., None]), -1)


def in_frame(R: Float[Tensor, "*B 3 3"], t: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3"]:
    """R^T t: a vector of the scene in the frame of a camera with the rotation R to the scene."""
    return (R.transpose(-1, -2) @ t[..., None]).squeeze(-1)


def rotation_vector(R: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 3"]:
    """theta u [rad] of a rotation by less than 180 deg: what `lie.so3_log` is there."""
    w = torch.stack((R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]), -1) / 2
    sine = w.square().sum(-1, keepdim=True).clamp(min=1e-16).sqrt()
    cosine = (R[..., 0, 0] + R[..., 1, 1] + R[..., 2, 2] - 1)[..., None] / 2
    return w * (torch.atan2(sine, cosine) / sine)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """a x b over the last axis: torch.linalg.cross is not in every exporter."""
    x, y = a[..., [1, 2, 0]], b[..., [1, 2, 0]]
    return (a * y - x * b)[..., [1, 2, 0]]


def _unit(x: Tensor) -> Tensor:
    return x / x.square().sum(-1, keepdim=True).clamp(min=1e-16).sqrt()
