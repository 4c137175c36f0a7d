"""Files of the hand-eye transform: ours, ViSP's, easy_handeye's and easy_handeye2's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from boards_helpers import T_TC
from siame_se3.commissioning.hand_eye_file import hand_eye_from_yaml, hand_eye_to_yaml
from siame_se3.errors import InputError
from siame_se3.geometry import lie

POSE = lie.pose_from_vector(torch.tensor([0.048, 0.0096, -0.0365, 0.0, 0.0, 1.2], dtype=torch.float64))
Q = "0.5646424733950354", "0.8253356149096783"  # sin and cos of 0.6
EASY = f"""parameters:
  eye_on_hand: true
  robot_base_frame: base_link
transformation: {{qw: {Q[1]}, qx: 0.0, qy: 0.0, qz: {Q[0]}, x: 0.048, y: 0.0096, z: -0.0365}}
"""
EASY2 = f"""parameters:
  name: x
  calibration_type: eye_in_hand
transform:
  translation: {{x: 0.048, y: 0.0096, z: -0.0365}}
  rotation: {{x: 0.0, y: 0.0, z: {Q[0]}, w: {Q[1]}}}
"""
VISP = "rows: 6\ncols: 1\ndata: \n  - [0.048]\n  - [0.0096]\n  - [-0.0365]\n  - [0]\n  - [0]\n  - [1.2]\n"
OURS = "camera_in_tool:\n  translation: [0.048, 0.0096, -0.0365]\n  rotation_vector: [0, 0, 1.2]\n"


TRANSFORM = f"{{translation: {{x: 0.048, y: 0.0096, z: -0.0365}}, rotation: {{x: 0.0, y: 0.0, z: {Q[0]}, w: {Q[1]}}}}}"
POSITION = TRANSFORM.replace("translation", "position").replace("rotation", "orientation")
QUATERNION = f"camera_in_tool: {{translation: [0.048, 0.0096, -0.0365], quaternion: [0.0, 0.0, {Q[0]}, {Q[1]}]}}\n"


def stamped(parent: str, child: str, transform: str = TRANSFORM) -> str:
    return f"header: {{frame_id: {parent}}}\nchild_frame_id: {child}\ntransform: {transform}\n"


def static(*frames: tuple[str, str]) -> str:
    """As `ros2 topic echo /tf_static` prints it."""
    listed = (f"- header: {{frame_id: {p}}}\n  child_frame_id: {c}\n  transform: {TRANSFORM}\n" for p, c in frames)
    return "transforms:\n" + "".join(listed) + "---\n"


def opencv(name: str, rows: int, cols: int, values: list[float]) -> str:
    data = ", ".join(f"{x!r}" for x in values)
    return f"{name}: !!opencv-matrix\n   rows: {rows}\n   cols: {cols}\n   dt: d\n   data: [ {data} ]\n"


HEAD = "%YAML:1.0\n---\n"
R_OPENCV = opencv("R_cam2gripper", 3, 3, POSE[:3, :3].flatten().tolist())
T_OPENCV = opencv("t_cam2gripper", 3, 1, POSE[:3, 3].tolist())
MATRIX = POSE.flatten().tolist()


def test_there_and_back(tmp_path: Path) -> None:
    hand_eye_to_yaml(T_TC, tmp_path / "h.yaml", "12 pictures")
    assert "# 12 pictures" in (tmp_path / "h.yaml").read_text()
    torch.testing.assert_close(hand_eye_from_yaml(tmp_path / "h.yaml"), T_TC)


FILES = {
    "easy_handeye": EASY,
    "easy_handeye2": EASY2,
    "easy_handeye2, fields in another order": "---\ntransform:\n"
    f"  rotation: {{w: {Q[1]}, z: {Q[0]}, y: 0.0, x: 0.0}}\n  translation: {{z: -0.0365, y: 0.0096, x: 0.048}}\n---\n",
    "ViSP": VISP,
    "ViSP in a row": "rows: 1\ncols: 6\ndata:\n  - [0.048, 0.0096, -0.0365, 0, 0, 1.2]\n",
    "ours": OURS,
    "ours, a quaternion": QUATERNION,
    "ours, a quaternion by names": QUATERNION.replace("[0.0, 0.0, ", "{w: 1, x: 0.0, y: 0.0, z: ")
    .replace(f", {Q[1]}]", "}")
    .replace("w: 1", f"w: {Q[1]}"),
    "TransformStamped": stamped("tool0", "camera_color_optical_frame"),
    "TransformStamped, no frames": stamped("''", "''"),
    "of a frame on the tool that is named after the camera": stamped("camera_mount", "camera_color_optical_frame"),
    "a gripper's base": stamped("/gripper_base_link", "/optical"),
    "a gripper's base, named by its maker": stamped("robotiq_85_base_link", "camera_optical_frame"),
    "a frame of unknown axes": stamped("tool0", "usb_cam"),
    "a frame whose name says nothing": stamped("tool0", "camera_frame"),
    "PoseStamped": f"header: {{frame_id: flange}}\npose: {POSITION}\n---\n",
    "tf_static": static(("link_6", "camera_optical_frame")),
    "OpenCV": HEAD + R_OPENCV + T_OPENCV,
    "OpenCV, a rotation vector": HEAD + opencv("R_cam2gripper", 3, 1, [0.0, 0.0, 1.2]) + T_OPENCV,
    "OpenCV, 4 x 4": HEAD + opencv("T_cam2gripper", 4, 4, MATRIX),
    "OpenCV, 4 x 4 by another name": HEAD + opencv("hand_eye", 4, 4, MATRIX),
    "a matrix in rows": f"T_cam2gripper: {POSE.tolist()}\n",
    "ours, by OpenCV's head": "%YAML:1.0\n---\n# für Kamera 3\n" + OURS,
}


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_files_of_other_tools(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "h.yaml").write_text(text, encoding=encoding)
    torch.testing.assert_close(hand_eye_from_yaml(tmp_path / "h.yaml"), POSE, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a hand-eye file"),
        ("a: [", "not a hand-eye file"),
        ("- 1", "not a hand-eye file"),
        ("camera_in_tool: 3", "not a hand-eye file"),
        ("camera_in_tool: {translation: [1, 2], rotation_vector: [0, 0, 0]}", "not a hand-eye file"),
        ("camera_in_tool: {translation: [0, 0, 0, 0.1], rotation_vector: [0, 0]}", "not a hand-eye file"),
        ("camera_in_tool: {translation: '123', rotation_vector: [0, 0, 0]}", "not a hand-eye file"),
        ("camera_in_tool: {translation: [1, 2, .nan], rotation_vector: [0, 0, 0]}", "not a hand-eye file"),
        ("camera_in_tool: {translation: [1, 2, x], rotation_vector: [0, 0, 0]}", "not a hand-eye file"),
        ("camera_in_tool: {translation: [1, 2, true], rotation_vector: [0, 0, 0]}", "not a hand-eye file"),
        ("camera_in_tool: &a {translation: *a, rotation_vector: *a}", "not a hand-eye file"),
        (VISP.replace("rows: 6", "rows: 5"), "not a hand-eye file"),
        (OURS.replace("[0.048,", "[48.0,"), "48 m away; give metres, not millimetres"),
        (OURS.replace("1.2]", "90.6]"), r"90\.6 rad is more than a turn; give radians, not degrees"),
        (OURS.replace("[0, 0, 1.2]", "[1.0e+300, 0, 0]"), "give radians, not degrees"),
        (OURS.replace("[0, 0, 1.2]", "[0, -90, 0]"), "90 rad is more than a turn; give radians, not degrees"),
        (OURS.replace("[0, 0, 1.2]", "[2.5, -3.5, 4.5]"), r"6\.2\d+ rad is more than half a turn; give radians"),
        (OURS.replace("[0, 0, 1.2]", "[5, 5, 0]"), "more than half a turn; give radians, not degrees"),
        (VISP.replace("[1.2]", "[4]"), "4 rad is more than half a turn"),
        (OURS.replace("0.048,", "4.8,"), "metres"),
        (OURS.replace("rotation_vector", "rpy"), "not a hand-eye file; it has camera_in_tool with"),
        (OURS.replace("0.048", "0,048"), "not a hand-eye file"),
        ("T_cam2gripper: [[1, 0, 0, 0.1], [0, 1, 0, 0], [0, 0, 1, 0]]", "not a hand-eye file"),
        ("T_cam2gripper: 3", "not a hand-eye file"),
        ("hand_eye: [[1, 0, 0, true], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]", "not a hand-eye file"),
        ("hand_eye: [[1, 0, 0, .nan], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]", "not a hand-eye file"),
        ("hand_eye: [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0.1, 0, 0, 1]]", "last row other than 0, 0, 0, 1"),
        ("hand_eye: [[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]", "hand_eye is no rotation .it mirrors"),
        ("hand_eye: [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]", "no rotation .its columns"),
        ("hand_eye: [[1, 0, 0, 48], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]", "48 m away; give metres"),
        (HEAD + R_OPENCV, "not a hand-eye file"),
        (HEAD + T_OPENCV, "not a hand-eye file"),
        (
            HEAD + (R_OPENCV + T_OPENCV).replace("cam2gripper", "gripper2cam"),
            "R_gripper2cam is the tool in the camera's",
        ),
        (HEAD + (R_OPENCV + T_OPENCV).replace("gripper", "base"), "R_cam2base: the camera stands beside the robot"),
        (QUATERNION.replace("}", ", rotation_vector: [0, 0, 1.2]}"), "not a hand-eye file"),
        (QUATERNION.replace("[0.0, 0.0, 0", "[0.0, 0"), "not a hand-eye file"),
        (QUATERNION.replace(Q[1], "0.1"), "a quaternion of length"),
        (
            stamped("camera_color_optical_frame", "tool0"),
            "it is 'tool0' in 'camera_color_optical_frame'; give the camera in the tool's frame .the inverse",
        ),
        (
            stamped("camera_link", "tool_link"),
            "it is 'tool_link' in 'camera_link'; give the camera in the tool's frame",
        ),
        (stamped("/wrist_cam/rgb_optical", "link_6"), "it is 'link_6' in 'wrist_cam/rgb_optical'; give the camera in"),
        (
            stamped("hand_camera_link", "tool0"),
            "it is 'tool0' in 'hand_camera_link'; give the camera in the tool's frame",
        ),
        (static(("cam0", "flange")), "it is 'flange' in 'cam0'; give the camera in the tool's frame .the inverse"),
        (
            stamped("camera_link", "camera_color_optical_frame"),
            "camera_link', within the camera; give the camera in the tool's frame",
        ),
        (
            f"header: {{frame_id: camera_optical_frame}}\npose: {POSITION}\n",
            "its pose is one in 'camera_optical_frame'; give the camera in the tool's frame .the inverse",
        ),
        (stamped("base_link", "camera_optical_frame"), "'camera_optical_frame' in 'base_link', the robot's base; give"),
        (stamped("panda_link0", "camera_optical_frame"), "in 'panda_link0', the robot's base; give"),
        (
            static(("tool0", "camera_link"), ("camera_link", "camera_optical_frame")),
            "2 transforms .'tool0' to 'camera_link', 'camera_link' to 'camera_optical_frame'.; keep the one",
        ),
        ("transforms: []", "not a hand-eye file"),
        ("transforms: [1]", "not a hand-eye file"),
        (VISP.replace("[1.2]", "[68.8]"), "give radians, not degrees"),
        (EASY.replace("x: 0.048", "x: 48"), "not millimetres"),
        (EASY.replace(Q[1], "0.1"), "a quaternion of length"),
        (EASY.replace("eye_on_hand: true", "eye_on_hand: false"), "stands beside the robot"),
        (EASY.replace("eye_on_hand: true", "eye_on_hand: 'False'"), "stands beside the robot"),
        (EASY2.replace("eye_in_hand", "eye_on_base"), "stands beside the robot"),
        ("eye_on_hand: false\n" + EASY.split("\n", 3)[3], "stands beside the robot"),
        ("robot_base_frame: base_link\n" + EASY.split("\n", 3)[3], "stands beside the robot"),
        (
            EASY.replace("robot_base_frame: base", "tracking_base_frame: camera"),
            "camera_link', a frame whose x is forward",
        ),
        ("child_frame_id: cam_link\n" + EASY2, "cam_link', a frame whose x is forward"),
        *(
            (f"child_frame_id: {frame}\n" + EASY2, f"{frame}', a frame whose x is forward")
            for frame in ("camera_color_frame", "d435_infra1_frame", "zed_left_camera_frame", "depth_frame")
        ),
        (OURS.replace("[0.048,", "[1.2,"), "a camera 1.2 m from the tool; give the place of one that is on it"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as error:
        hand_eye_from_yaml(path)
    assert str(error.value).startswith(f"{path}: ")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        hand_eye_from_yaml(tmp_path / "h.yaml")


def test_numbers_that_yaml_takes_for_text_are_numbers(tmp_path: Path) -> None:
    """Python's JSON writes 1e-05, which YAML 1.1 reads as a text."""
    text = '{"R_cam2gripper": [[1.0, -1e-05, 0.0], [1e-05, 1.0, 0.0], [0.0, 0.0, 1.0]], "t_cam2gripper": [0.03, 0.0, 5e-2]}'
    (tmp_path / "he.json").write_text(text)
    assert hand_eye_from_yaml(tmp_path / "he.json")[:3, 3].tolist() == [0.03, 0.0, 0.05]
