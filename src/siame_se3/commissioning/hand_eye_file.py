"""Files of the camera's place in the tool: ours, and those of ViSP, easy_handeye, easy_handeye2, ROS and OpenCV."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.hand_eye_forms import BODY, check_frames, matrix_values, one_transform
from siame_se3.errors import InputError
from siame_se3.files import read_yaml, write_text
from siame_se3.geometry import lie

MOST_TURN = 7.0  # a rotation vector's elements [rad]; more are degrees
_HALF_TURN = 3.2  # a rotation vector's length [rad], rounded up; small degrees look like more
_MOST_REACH = 1.0  # a camera's distance from its tool [m]; more are millimetres


def hand_eye_to_yaml(T_tc: Float[Tensor, "4 4"], path: Path, comment: str = "") -> None:
    """Write what `hand_eye_from_yaml` reads; `comment` is a line about how it was found."""
    import yaml

    p = lie.vector_from_pose(T_tc).tolist()
    text = yaml.safe_dump({"camera_in_tool": {"translation": p[:3], "rotation_vector": p[3:]}}, sort_keys=False)
    head = "# the camera (optical frame) in the tool's frame [m, rad]\n" + (f"# {comment}\n" if comment else "")
    write_text(path, head + text)


def hand_eye_from_yaml(path: Path) -> Float[Tensor, "4 4"]:
    """T_tc of a file: what `hand_eye_to_yaml` wrote (or with a quaternion x, y, z, w), ViSP's ePc (vpPoseVector), a calibration of easy_handeye or
    easy_handeye2, a ROS message with the transform, or OpenCV's R_cam2gripper and t_cam2gripper.

    Raises:
        InputError: no such file, another content, other frames, or other units than metres and radians.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; calibrate the hand-eye transform first", "hand_eye")
    wrong = InputError(
        f"{path}: not a hand-eye file; it has camera_in_tool with translation and rotation_vector, three numbers each, "
        "or is ViSP's ePc, easy_handeye's calibration, one TransformStamped, or OpenCV's R_cam2gripper with t_cam2gripper"
    )
    try:
        content = read_yaml(path, 100_000)
    except InputError:
        raise wrong from None
    if not isinstance(content, dict):
        raise wrong
    content = one_transform(content, path)
    check_frames(content, path)
    _check_eye_in_hand(content, path)
    try:
        if "camera_in_tool" in content:
            values = _our_values(content["camera_in_tool"])
        else:
            values = matrix_values(content, path) or pose_values(content)
    except (KeyError, TypeError, ValueError):
        raise wrong from None
    if len(values) not in (6, 7) or not all(map(math.isfinite, values)):
        raise wrong
    if _MOST_REACH < (far := max(map(abs, values[:3]))) < 10:  # no millimetres: one that is elsewhere
        raise InputError(f"{path}: a camera {far:g} m from the tool; give the place of one that is on it, in metres")
    check_units(values, f"{path}", _MOST_REACH, "a camera")
    if len(values) == 6 and math.hypot(*values[3:]) > _HALF_TURN:
        turn = f"{math.hypot(*values[3:]):g} rad is more than half a turn"
        raise InputError(f"{path}: a rotation vector of {turn}; give radians, not degrees, the short way round")
    return pose_of_values(values, str(path))


def _check_eye_in_hand(content: dict[Any, Any], path: Path) -> None:
    """By what easy_handeye and tf write beside the transform.

    Raises:
        InputError: a camera beside the robot, or the place of a camera's body (x forward) instead of its optical frame (z forward; REP 103).
    """
    for said in (content, content.get("parameters")):
        if not isinstance(said, dict):
            continue
        kind = str(said.get("calibration_type", ""))[:40]
        hand = str(said.get("eye_on_hand", "")).lower()
        beside = "robot_base_frame" in said and not (said.get("robot_effector_frame") or hand or kind)
        if beside or hand in ("false", "no", "0") or kind not in ("", "eye_in_hand"):
            raise InputError(
                f"{path}: the camera stands beside the robot in it; calibrate a camera on the tool (eye in hand)"
            )
        for name in ("tracking_base_frame", "child_frame_id"):
            if BODY.search(str(said.get(name, "")).lower()):
                raise InputError(
                    f"{path}: {name} is {str(said[name])[:40]!r}, a frame whose x is forward; give the camera's optical frame, whose z is "
                    "(..._optical_frame), with the transform to it"
                )


def _our_values(ours: Any) -> list[float]:
    """Position and rotation vector, or position and quaternion (x, y, z, w)."""
    if "quaternion" not in ours:
        return [_number(x) for name in ("translation", "rotation_vector") for x in _so_many(ours[name], 3)]
    if "rotation_vector" in ours:
        raise ValueError("two rotations")
    q = ours["quaternion"]
    q = [q[name] for name in "xyzw"] if isinstance(q, dict) else _so_many(q, 4)
    return [_number(x) for x in (*_so_many(ours["translation"], 3), *q)]


def _so_many(values: Any, count: int) -> list[Any]:
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"not {count} numbers")
    return values


def pose_values(content: Any) -> list[float]:
    """Six numbers (position, rotation vector) or seven (position, quaternion x, y, z, w) of what other tools write.

    Raises:
        KeyError, TypeError, ValueError: none of these.
    """
    for name in ("transformation", "transform", "pose"):
        if isinstance(content.get(name), dict):
            content = content[name]
    if "data" in content:  # ViSP: vpPoseVector, 6 x 1
        rows = [x for row in content["data"] for x in (row if isinstance(row, list) else [row])]
        if len(rows) != 6 or (content.get("rows"), content.get("cols")) not in ((6, 1), (1, 6)):
            raise ValueError("not a vpPoseVector")
        return [_number(x) for x in rows]
    if "qw" in content:  # easy_handeye
        return [_number(content[name]) for name in ("x", "y", "z", "qx", "qy", "qz", "qw")]
    place = content["translation"] if "translation" in content else content["position"]
    turn = content["rotation"] if "rotation" in content else content["orientation"]
    return [_number(place[name]) for name in "xyz"] + [_number(turn[name]) for name in "xyzw"]


def check_units(values: list[float], where: str, reach: float, what: str) -> None:
    """Refuse millimetres and degrees.

    Raises:
        InputError: a position beyond `reach` [m], or a rotation vector of more than a turn.
    """
    if max(map(abs, values[:3])) > reach:
        raise InputError(f"{where}: {what} {max(map(abs, values[:3])):g} m away; give metres, not millimetres")
    if len(values) == 6 and max(map(abs, values[3:])) > MOST_TURN:
        most = max(map(abs, values[3:]))
        raise InputError(f"{where}: a rotation vector of {most:g} rad is more than a turn; give radians, not degrees")


def pose_of_values(values: list[float], where: str) -> Float[Tensor, "4 4"]:
    """A pose of `pose_values`.

    Raises:
        InputError: a quaternion whose length is not 1.
    """
    if len(values) == 6:
        return lie.pose_from_vector(torch.tensor(values, dtype=torch.float64))
    length = math.sqrt(sum(x * x for x in values[3:]))
    if not 0.98 < length < 1.02:
        raise InputError(f"{where}: a quaternion of length {length:.3f}; it has to be 1")
    x, y, z, w = (v / length for v in values[3:])
    K = lie.hat(torch.tensor([x, y, z], dtype=torch.float64))
    R = torch.eye(3, dtype=torch.float64) + 2 * w * K + 2 * K @ K
    return lie.pose(R, torch.tensor(values[:3], dtype=torch.float64))


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError("not a number")
    return float(value)
