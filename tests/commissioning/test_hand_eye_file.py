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
        ("T_cam2gripper: [[1, 0, 0, 0.1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]", "not a hand-eye file"),
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
