"""Forms in which other programs write the camera's place in the tool: ROS messages with their frames, and matrices (OpenCV)."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.geometry import lie

_CAMERA = re.compile(r"cam(era)?(?![a-z])|optical|realsense|(?<![a-z])(rgb|colou?r|depth|lens|zed|kinect)(?![a-z])")
BODY = re.compile(
    r"(_link|(?<![a-z])(colou?r|depth|infra\d?|rgb|left_camera|right_camera)_frame)$"
)  # x forward; drivers' optical frames say so
_PART = re.compile(r"mount|holder|bracket|adapter|plate|flange")  # of the tool, named after the camera that it carries
_TOOL = re.compile(r"tool|flange|grip|effector|hand|wrist|cam|(?<![a-z])(ee|eef|tcp)(?![a-z])")
_BASE = re.compile(r"(.*/)?(base(_link|_footprint)?|world|map|odom|([a-z0-9]+_)?link_?0)")
_POSES = ("T_cam2gripper", "hand_eye")  # 4 x 4
_ROTATION, _PLACE = "R_cam2gripper", "t_cam2gripper"
_INVERSE = re.compile(r"[RTt]_gripper2cam")
_BESIDE = re.compile(r"[RTt]_cam2base")
_OFF = 0.02  # of a rotation's columns from length 1 and right angles, as a quaternion's length


def one_transform(content: dict[Any, Any], path: Path) -> dict[Any, Any]:
    """Of what `ros2 topic echo /tf_static` prints, its transform; other content as it is.

    Raises:
        InputError: several transforms; names them.
    """
    listed = content.get("transforms")
    if not isinstance(listed, list) or not listed or not all(isinstance(x, dict) for x in listed):
        return content
    if len(listed) > 1:
        named = [" to ".join(_shown(x) for x in _frames(item)) for item in listed]
        more = f" and {len(named) - 4} more" if len(named) > 4 else ""
        raise InputError(
            f"{path}: {len(listed)} transforms ({', '.join(named[:4])}{more}); keep the one of the camera's optical frame in the tool's frame"
        )
    return {key: value for key, value in content.items() if key != "transforms"} | listed[0]


def check_frames(content: dict[Any, Any], path: Path) -> None:
    """By the frames that a message names: the parent is the tool's, the child the camera's.

    Raises:
        InputError: the tool in the camera's frame, or the camera in the robot's base.
    """
    parent, child = _frames(content)
    if _is_camera(parent) and _is_camera(child) and re.search(r"_(link|frame)$", parent.lower()):
        raise InputError(
            f"{path}: it is {_shown(child)} in {_shown(parent)}, within the camera; give the camera in the tool's frame"
        )
    if _is_camera(parent) and not _is_camera(child):
        what = f"it is {_shown(child)} in {_shown(parent)}" if child else f"its pose is one in {_shown(parent)}"
        raise InputError(f"{path}: {what}; give the camera in the tool's frame (the inverse)")
    if _BASE.fullmatch(parent.lower()) and not _TOOL.search(parent.lower()):
        what = f"it is {_shown(child)} in {_shown(parent)}" if child else f"its pose is one in {_shown(parent)}"
        raise InputError(f"{path}: {what}, the robot's base; give the camera in the tool's frame")


def _frames(content: dict[Any, Any]) -> tuple[str, str]:
    """Parent and child; '' where there is none."""
    header = content.get("header")
    parent = (header if isinstance(header, dict) else content).get("frame_id")
    child = content.get("child_frame_id")
    return _name(parent), _name(child)


def _name(frame: Any) -> str:
    return frame.strip().strip("/") if isinstance(frame, str) else ""


def _is_camera(frame: str) -> bool:
    name = frame.lower()
    return "optical" in name or (bool(_CAMERA.search(name)) and not _PART.search(name))


def _shown(frame: str) -> str:
    return repr(frame[:40]) if frame else "a frame without a name"


def matrix_values(content: dict[Any, Any], path: Path) -> list[float] | None:
    """Position and rotation vector of R_cam2gripper and t_cam2gripper (OpenCV's calibrateHandEye), or of a 4 x 4 matrix; None where there are none.

    Raises:
        InputError: the inverse, a camera beside the robot, or what is no rotation.
        KeyError, TypeError, ValueError: one of the two alone, or not numbers of that count.
    """
    names = [str(key)[:40] for key in content]
    if not {_ROTATION, _PLACE, *_POSES} & {*names}:
        if inverse := [name for name in names if _INVERSE.fullmatch(name)]:
            raise InputError(
                f"{path}: {inverse[0]} is the tool in the camera's frame; give the inverse, R_cam2gripper and t_cam2gripper"
            )
        if beside := [name for name in names if _BESIDE.fullmatch(name)]:
            raise InputError(
                f"{path}: {beside[0]}: the camera stands beside the robot in it; calibrate a camera on the tool (eye in hand)"
            )
        return None
    if name := next((name for name in _POSES if name in content), ""):
        return pose_of_matrix(content[name], name, str(path))
    turn, place = _elements(content[_ROTATION], (3, 9)), _elements(content[_PLACE], (3,))
    return place + (
        turn if len(turn) == 3 else _turn(torch.tensor(turn, dtype=torch.float64).reshape(3, 3), _ROTATION, str(path))
    )


def pose_of_matrix(value: Any, name: str, where: str) -> list[float]:
    """Position and rotation vector of a 4 x 4 matrix, row by row: OpenCV's mapping, a list of rows, or a list.

    Raises:
        InputError: another last row, or no rotation.
        KeyError, TypeError, ValueError: not 16 numbers.
    """
    T = torch.tensor(_elements(value, (16,)), dtype=torch.float64).reshape(4, 4)
    if float((T[3] - torch.tensor([0.0, 0, 0, 1], dtype=torch.float64)).abs().max()) > 1e-6:
        raise InputError(f"{where}: {name} has a last row other than 0, 0, 0, 1; give the matrix row by row")
    return T[:3, 3].tolist() + _turn(T[:3, :3], name, where)


def _elements(value: Any, counts: tuple[int, ...]) -> list[float]:
    """The elements of a matrix, row by row: OpenCV's mapping, a list of rows, or a list."""
    rows = value["data"] if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise TypeError("not a matrix")
    elements = [x for row in rows for x in (row if isinstance(row, list) else [row])]
    if len(elements) not in counts or any(
        isinstance(x, bool) or not isinstance(x, int | float | str) for x in elements
    ):
        raise ValueError(f"not {' or '.join(map(str, counts))} numbers")
    found = [float(x) for x in elements]  # 1e-05 is a text to YAML
    if not all(map(math.isfinite, found)):
        raise ValueError("not finite")
    return found


def _turn(R: Float[Tensor, "3 3"], name: str, where: str) -> list[float]:
    """The rotation vector of the rotation nearest to a matrix that nearly is one."""
    off = float((R.mT @ R - torch.eye(3, dtype=R.dtype)).abs().max())
    if off > 2 * _OFF or float(torch.linalg.det(R)) < 0:
        what = "its columns are not at right angles and of length 1" if off > 2 * _OFF else "it mirrors"
        raise InputError(f"{where}: {name} is no rotation ({what}); give the matrix as it was written")
    U, _, Vh = torch.linalg.svd(R)
    return [float(x) for x in lie.so3_log(U @ Vh)]
