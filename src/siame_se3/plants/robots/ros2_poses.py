"""Poses and ROS 2's PoseStamped: from one to the other."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import RobotError
from siame_se3.geometry import lie
from siame_se3.plants.robots.bus import messages
from siame_se3.plants.robots.checks import pose_fault


def pose_message(T: Float[Tensor, "4 4"], header: Any) -> Any:
    """A PoseStamped of a pose."""
    m = messages()
    w, x, y, z = quaternion(T[:3, :3])
    return m.PoseStamped(header, m.Pose(m.Point(*T[:3, 3].tolist()), m.Quaternion(x, y, z, w)))


def quaternion(R: Float[Tensor, "3 3"]) -> tuple[float, ...]:
    """(w, x, y, z) of a rotation."""
    theta_u = lie.so3_log(R.double())
    half = theta_u.norm() / 2
    w = torch.cos(half)
    return (float(w), *(0.5 * torch.sinc(half / torch.pi) * theta_u).tolist())


def pose_of(message: Any) -> Float[Tensor, "4 4"]:
    """The pose of a PoseStamped [m].

    Raises:
        RobotError: it is none: its quaternion is not of length 1, or its place is not finite or far away.
    """
    p, q = message.pose.position, message.pose.orientation
    w, v = float(q.w), torch.tensor([q.x, q.y, q.z], dtype=torch.float64)
    size = float((w * w + v @ v) ** 0.5)
    if not 0.99 < size < 1.01:
        raise RobotError(f"pose: a quaternion of length {size:.3f}; the robot's driver is at fault")
    w, v = w / size, v / size
    K = lie.hat(v)
    R = torch.eye(3, dtype=torch.float64) + 2 * w * K + 2 * K @ K
    T = lie.pose(R, torch.tensor([p.x, p.y, p.z], dtype=torch.float64))
    if fault := pose_fault(T):
        raise RobotError(f"pose: {fault}; the robot's driver is at fault")
    return T
