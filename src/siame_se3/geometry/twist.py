"""The frames in which robots take twists, and the camera's twist in each."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError, RobotError
from siame_se3.geometry import lie

FRAMES = ("camera", "tool", "base", "spatial")


def twist_in(
    frame: str, v_c: Float[Tensor, "6"], T_tc: Float[Tensor, "4 4"], T_bt: Float[Tensor, "4 4"] | None
) -> Float[Tensor, "6"]:
    """The camera's twist as a robot takes it [m/s, rad/s].

    Args:
        frame: 'camera': as it is. 'tool': of the tool, in its own frame, v_t = Ad(T_tc) v_c. 'base': velocity of the tool's origin and
            rotation, in the base's axes (UR's speedL, Cartesian velocity controllers), blockdiag(R_bt, R_bt) v_t. 'spatial': in the base's
            frame with the full adjoint of the moving camera, v_b = Ad(T_bt T_tc) v_c: of the point at the base's origin.
        v_c: in the camera's (optical) frame.
        T_tc: camera in the tool's frame (hand-eye).
        T_bt: tool in the base's frame, now; for 'base' and 'spatial'.

    Raises:
        InputError: an unknown frame.
        RobotError: no T_bt.
    """
    if frame not in FRAMES:
        raise InputError(f"twist frame '{frame}': use one of {', '.join(FRAMES)}")
    if frame == "camera":
        return v_c
    v_t = lie.adjoint(T_tc) @ v_c
    if frame == "tool":
        return v_t
    if T_bt is None:
        raise RobotError(
            f"twist frame '{frame}': the robot's pose is not known; give its topic, or take 'camera' or 'tool'",
            *("ros2.pose", "ros2.frame"),
        )
    if frame == "spatial":
        return lie.adjoint(T_bt) @ v_t
    R_bt = T_bt[:3, :3]
    return torch.cat((R_bt @ v_t[:3], R_bt @ v_t[3:]))


def camera_twist(
    frame: str, v: Float[Tensor, "6"], T_tc: Float[Tensor, "4 4"], T_bt: Float[Tensor, "4 4"]
) -> Float[Tensor, "6"]:
    """The camera's twist [m/s, rad/s] of one in another frame: the inverse of `twist_in`, with the same arguments.

    Raises:
        InputError: an unknown frame.
    """
    if frame not in FRAMES:
        raise InputError(f"twist frame '{frame}': use one of {', '.join(FRAMES)}")
    if frame == "camera":
        return v
    if frame == "spatial":
        v = lie.adjoint(lie.inverse(T_bt)) @ v
    elif frame == "base":
        R_tb = T_bt[:3, :3].mT
        v = torch.cat((R_tb @ v[:3], R_tb @ v[3:]))
    return lie.adjoint(lie.inverse(T_tc)) @ v
