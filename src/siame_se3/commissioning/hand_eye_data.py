"""A hand-eye calibration from files: which pose belongs to which picture, and what the board's poses are."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning import boards
from siame_se3.commissioning.boards import Board, Seen
from siame_se3.commissioning.hand_eye import calibrate_hand_eye
from siame_se3.commissioning.hand_eye_order import in_order, sessions
from siame_se3.commissioning.hand_eye_solver import (
    FEWEST,
    HandEye,
    check_motion,
    check_number,
    solve,
    spread_of,
)
from siame_se3.commissioning.poses import PoseTable, read_poses
from siame_se3.commissioning.slips import explained, explained_by_order, resolve_turns
from siame_se3.errors import InputError
from siame_se3.geometry.camera import Camera

_OTHER_FALLS = 0.6  # taken the other way, as rectified or not, pictures bring the spread down to this share and less


def hand_eye_of_pictures(
    poses: Path, folder: Path, camera_file: Path, board: Board, rectified: bool = False, on_tool: bool = False
) -> tuple[list[str], HandEye, list[str]]:
    """From pictures of a board and a file of poses.

    Args:
        poses: file of the tool's poses.
        folder: with the pictures.
        camera_file: the camera's calibration.
        board: that is in the pictures.
        rectified: the pictures are rectified already: the file's P holds for them.
        on_tool: the camera is on the tool, though it may look as if it stood beside the robot.

    Returns:
        The pictures' names, the estimate, and notes for the user.

    Raises:
        InputError: files that cannot be read, poses that belong to no picture, or that contradict the pictures.
    """
    camera, table = Camera.from_yaml(camera_file, rectified), read_poses(poses)
    paths = boards.pictures(folder)
    rows = table.of_pictures(paths)
    check_number(len(rows))
    paths = in_order(paths)
    seen = boards.look([path for path in paths if path in rows], board, least=FEWEST)
    if seen[0].size != camera.size:
        raise InputError(
            f"{seen[0].path}: {seen[0].size[1]} x {seen[0].size[0]} px, the camera is calibrated for {camera.width} x {camera.height}"
        )
    notes = [f"{path.name}: board not found" for path in paths if path in rows and path not in {s.path for s in seen}]
    notes += [f"{path.name}: no pose of this picture" for path in paths if path not in rows]
    T_co = _board_poses(seen, camera)
    names, order = [s.path.name for s in seen], [rows[s.path] for s in seen]
    values, T_bt = poses_of(table, order, T_co, names)
    check_motion(T_bt)
    if board.turns < 4:
        T_co, turned = resolve_turns(T_bt, T_co, board)
        notes.append(f"a {board.name} looks the same turned: by the robot's motion {turned} pictures show it so")
    _check_rectified(camera_file, rectified, seen, board, T_bt, T_co)
    try:
        return names, calibrate_hand_eye(T_bt, T_co, names, values, on_tool=on_tool), notes
    except InputError as error:
        if len(seen) == len(paths) == len(table.names):  # the order is looked at already
            raise
        taken = sessions(paths, rows, [s.path for s in seen], table.poses(), T_co)
        said = explained_by_order(T_bt, T_co, taken)
        if not said:
            raise
        raise InputError(f"hand-eye: poses and pictures contradict each other: {said}", *error.settings) from None


def _board_poses(seen: list[Seen], camera: Camera) -> Float[Tensor, "n 4 4"]:
    return torch.stack([boards.board_pose(s, camera) for s in seen])


def _check_rectified(
    camera_file: Path,
    rectified: bool,
    seen: list[Seen],
    board: Board,
    T_bt: Float[Tensor, "n 4 4"],
    T_co: Float[Tensor, "n 4 4"],
) -> None:
    """That poses do not fit the pictures much better where these are taken the other way: rectified by P, or as they come by K and D.

    Raises:
        InputError: they do.
    """
    try:
        other = Camera.from_yaml(camera_file, not rectified)
        boards_so = _board_poses(seen, other)
        if board.turns < 4:
            boards_so, _ = resolve_turns(T_bt, boards_so, board)
    except InputError:  # a file without P
        return
    before, after = (spread_of(T_bt, solve(T_bt, T)[0], T) for T in (T_co, boards_so))
    if not after.explained or after.t > _OTHER_FALLS * before.t:
        return
    taken = "as they come, by K and D" if rectified else "rectified, by P"
    raise InputError(
        f"hand-eye: poses and pictures contradict each other: the board's place differs by {before}; with the pictures taken as {taken} of "
        f"{camera_file.name}, it differs by {after}: say whether they are rectified",
        "rectified",
    )


def hand_eye_of_boards(poses: Path, on_tool: bool = False) -> tuple[list[str], HandEye, list[str]]:
    """From a file that has the board's poses too: ViSP's pose_cPo_*.yaml, or samples of easy_handeye2 or MoveIt; `on_tool` as there.

    Raises:
        InputError: as `hand_eye_of_pictures`, or a file of the tool's poses alone.
    """
    table = read_poses(poses, boards=True)
    if table.T_co is None:
        raise InputError(
            f"{poses}: poses of the tool alone; give the pictures and the camera's calibration", "camera", "pictures"
        )
    names = list(table.names)
    values, T_bt = poses_of(table, list(range(len(names))), table.T_co, names)
    return (
        names,
        calibrate_hand_eye(T_bt, table.T_co, names, values, boards_read=True, on_tool=on_tool),
        [f"{poses}: with the board's poses, no pictures used"],
    )


def poses_of(
    table: PoseTable, order: list[int], T_co: Float[Tensor, "n 4 4"], names: list[str]
) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n 4 4"]]:
    """The table's numbers and poses in the pictures' order.

    Raises:
        InputError: too many; or not metres and radians: says as what they would agree with the pictures.
    """
    check_number(len(order))
    values = torch.tensor([table.values[row] for row in order], dtype=torch.float64)
    try:
        return values, table.poses()[order]
    except InputError as error:
        said = explained(None, T_co, None, names, values)
        raise InputError(f"{error}; {said}" if said else str(error), *error.settings) from None
