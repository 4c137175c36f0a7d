"""Sequences in TUM's format: what belongs together, what is left out, and what is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from boxes_helpers import poses
from rgbd_helpers import Views, all_like, edited, line, one_line, tum, without
from siame_se3.errors import InputError
from siame_se3.experiments.real import report
from siame_se3.experiments.real.folders import read_folder
from siame_se3.experiments.real.rows import Settings
from siame_se3.geometry import lie


def test_poses_are_interpolated_and_depth_is_the_nearest(tmp_path: Path, room: Views) -> None:
    """Poses at 100 Hz beside a picture's time: half of the way is half of the motion."""
    folder = tum(tmp_path / "office", room)
    T = poses(4)
    at = 1305031102.1753
    half = lie.pose_from_vector(0.5 * lie.vector_from_pose(lie.inverse(T[0]) @ T[1]))
    lines = (folder / "groundtruth.txt").read_text(encoding="utf-8").splitlines()
    for k, shift in ((2, -0.005), (3, -1 / 30 + 0.005)):  # the first two poses, before and after the first picture
        words = lines[k].split()
        lines[k] = " ".join([f"{float(words[0]) + shift:.6f}", *words[1:]])
    (folder / "groundtruth.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = next(p for p in read_folder(folder).pictures if p.name == f"{at:.6f}.png")
    # straight in space, as `half` up to what turning adds
    torch.testing.assert_close(found.T_wc[:3, 3], (T[0] + T[1])[:3, 3] / 2, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.T_wc[:3, :3], (T[0] @ half)[:3, :3], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("late", "frames"), [(0.0199, 4), (0.0205, 3), (-0.0201, 3), (0.05, 3)])
def test_what_is_more_than_20_ms_apart_does_not_belong_together(
    tmp_path: Path, room: Views, late: float, frames: int
) -> None:
    """At 30 Hz a depth map that is too late is the next picture's, as long as that is near; the first or the last picture has none then."""
    assert len(read_folder(tum(tmp_path / "office", room, late=late)).pictures) == frames


def test_a_sequence_whose_depth_is_late_has_no_frame(tmp_path: Path, room: Views) -> None:
    with pytest.raises(InputError, match=r"office: no picture has a depth map and a pose within 20 ms"):
        read_folder(tum(tmp_path / "office", room, late=60.0))


@pytest.mark.parametrize(
    ("name", "fx", "distorted"),
    [("rgbd_dataset_freiburg1_desk", 517.3, True), ("freiburg2_xyz", 520.9, True), ("fr3_office", 535.4, False)],
)
def test_intrinsics_of_freiburg(tmp_path: Path, name: str, fx: float, distorted: bool) -> None:
    grey = np.full((480, 640, 3), 90, np.uint8)
    grey[200:280, 300:340] = 200
    folder = read_folder(tum(tmp_path / name, [(grey, np.full((480, 640), 1.0))] * 2, None))
    assert {picture.camera.fx for picture in folder.pictures} == {fx}
    assert not any(picture.camera.distortion for picture in folder.pictures)
    assert np.array_equal(folder.pictures[0].rgb, grey) is not distorted
    assert folder.pictures[0].depth is not None
    assert np.nanmax(np.abs(folder.pictures[0].depth - 1)) < 1e-6


AWAY = "1305031102.1753 5 0 0 0 0 0 1"


BAD_TUM: dict[str, tuple[Callable[[Path], None], str]] = {
    "no list of pictures": (without("rgb.txt"), r"rgb\.txt: no such file; a TUM sequence has rgb\.txt, depth\.txt"),
    "no list of depth": (without("depth.txt"), r"depth\.txt: no such file"),
    "no poses": (without("groundtruth.txt"), r"groundtruth\.txt: no such file"),
    "empty list": (edited("rgb.txt", lambda x: x[:1]), r"rgb\.txt: 0 lines; a sequence has 1 to"),
    "binary": (lambda folder: (folder / "rgb.txt").write_bytes(bytes(99)), r"rgb\.txt: not a text file"),
    "no time": (line("rgb.txt", 3, "soon rgb/1.png"), r"rgb\.txt, line 3: 'soon rgb/1\.png' is not a time and"),
    "time nan": (line("depth.txt", 2, "nan depth/1.png"), r"depth\.txt, line 2: 'nan depth/1\.png' is not a time"),
    "no name": (line("rgb.txt", 2, "1305031102.1"), r"rgb\.txt, line 2: '1305031102\.1' is not a time and a file's"),
    "short pose": (line("groundtruth.txt", 3, "1 2 3"), r"groundtruth\.txt, line 3: '1 2 3' is not a pose: time tx"),
    "pose of words": (
        line("groundtruth.txt", 4, "a b c d e f g h"),
        r"groundtruth\.txt, line 4: 'a b c d e f g h' is not",
    ),
    "infinite time": (line("groundtruth.txt", 3, "inf 1 0 0 0 0 0 1"), r"groundtruth\.txt, line 3: .* is not a pose"),
    "never tracked": (
        edited("groundtruth.txt", lambda x: [f"{word.split()[0]} nan nan nan nan nan nan nan" for word in x[1:]]),
        r"groundtruth\.txt: tracking is lost in all \d lines",
    ),
    "no quaternion": (
        line("groundtruth.txt", 3, "1 0 0 0 0 0 0 2"),
        r"groundtruth\.txt, line 3: a quaternion of length 2",
    ),
    "a picture is missing": (
        without("rgb/*"),
        r"office: frames with picture, depth and pose: 1; give two or more; 1 of 2 frames are left out: 1 whose picture or depth map is missing",
    ),
    "all maps are missing": (
        lambda folder: [p.unlink() for p in folder.glob("depth/*")] and None,
        r"office: no frame is left; 2 of 2 frames are left out: 2 whose picture or depth map is missing",
    ),
    "no camera": (without("camera.yaml"), r"office: neither a camera\.yaml nor freiburg1, 2 or 3 in its name"),
    "no calibration": (line("camera.yaml", 1, "image_width: many"), r"camera\.yaml"),
    "other pictures": (all_like("rgb/*", np.zeros((60, 80, 3), np.uint8)), r"80 x 60 px, its camera has 160 x 120"),
    "depth of 8 bits": (all_like("depth/*", np.full((120, 160), 9, np.uint8)), r"a picture of 1 x 8 bits a pixel"),
    "depth of another shape": (
        all_like("depth/*", np.full((120, 120), 5000, np.uint16)),
        r"120 x 120 px, the pictures have 160 x 120; give registered depth",
    ),
    "nothing known": (all_like("depth/*", np.zeros((120, 160), np.uint16)), r"office: no goal's depth map knows 10 %"),
    "next to nothing known": (
        all_like("depth/*", np.pad(np.full((9, 9), 5000, np.uint16), ((0, 111), (0, 151)))),
        r"office: no goal's depth map knows 10 % of its picture",
    ),
    "far apart": (
        edited("groundtruth.txt", lambda x: [*x[:2], AWAY, x[3].replace(x[3].split()[1], "9.0", 1)]),
        r"office: no two of \d frames are 2 to 25 cm and up to 35 deg apart",
    ),
}


@pytest.mark.parametrize(("damage", "message"), BAD_TUM.values(), ids=BAD_TUM)
def test_bad_sequences_of_tum_are_one_line(
    tmp_path: Path, room: Views, damage: Callable[[Path], None], message: str
) -> None:
    folder = tum(tmp_path / "office", room[:2])
    damage(folder)
    with one_line(message):
        read_folder(folder)


NEVER = " ".join(["nan"] * 7)


def first_words(name: str, words: str) -> Callable[[Path], None]:
    """The second line that is no comment keeps its time only."""
    return edited(name, lambda x: [*x[:2], f"{x[2].split()[0]} {words}", *x[3:]])


ODD_TUM: dict[str, tuple[Callable[[Path], None], int]] = {
    "header without #": (edited("groundtruth.txt", lambda x: ["timestamp tx ty tz qx qy qz qw", *x[1:]]), 4),
    "headers without #": (edited("rgb.txt", lambda x: ["timestamp filename", *x[1:]]), 4),
    "backslashes": (edited("rgb.txt", lambda x: [word.replace("rgb/", "rgb\\") for word in x]), 4),
    "hidden files": (lambda folder: (folder / "._rgb.txt").write_bytes(bytes(9)) and None, 4),
    "picture and map in a line": (
        edited("rgb.txt", lambda x: [f"{word} 1305031102.2 depth/none.png" for word in x if word[0] != "#"]),
        4,
    ),
    "map and picture in a line": (
        edited("rgb.txt", lambda x: [f"1305031102.2 depth/none.png {word}" for word in x if word[0] != "#"]),
        4,
    ),
    "nan": (first_words("groundtruth.txt", NEVER), 3),
    "-inf": (first_words("groundtruth.txt", "-inf " * 7), 3),
    "Windows' nan": (first_words("groundtruth.txt", "-1.#IND " * 7), 3),
    "zeros": (first_words("groundtruth.txt", "0 0 0 0 0 0 0"), 3),
    "a missing picture": (without("rgb/*"), 3),
    "a missing map": (without("depth/*"), 3),
}


@pytest.mark.parametrize(("change", "frames"), ODD_TUM.values(), ids=ODD_TUM)
def test_odd_sequences_of_tum_lose_a_frame_at_most(
    tmp_path: Path, room: Views, change: Callable[[Path], None], frames: int
) -> None:
    path = tum(tmp_path / "office", room)
    change(path)
    folder = read_folder(path)
    assert len(folder.pictures) == frames
    assert len(folder.notes) == (frames < 4)
    assert all(
        note.startswith("1 of 4 frames are left out: 1 wh") or "1 without tracking" in note for note in folder.notes
    )


def test_what_was_left_out_is_said_once(tmp_path: Path, room: Views, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tum(tmp_path / "office", room)
    without("rgb/*")(path)
    for part in (report.one_step, report.two_photos):
        monkeypatch.setattr(part, "run", lambda folder, settings: None)
    monkeypatch.setattr(report, "page", lambda *_: "")
    said: list[str] = []
    report.run(Settings(tmp_path, 1, 0, (), say=said.append), [read_folder(path)], "siame bench real office")
    assert said == ["office: 1 of 4 frames are left out: 1 whose picture or depth map is missing"]


def test_a_link_to_a_sequence_of_tum_has_its_own_name_and_the_sequences_camera(tmp_path: Path) -> None:
    grey = np.full((480, 640, 3), 90, np.uint8)
    path = tum(tmp_path / "rgbd_dataset_freiburg3_desk", [(grey, np.full((480, 640), 1.0))] * 2, None)
    (tmp_path / "desk").symlink_to(path, target_is_directory=True)
    folder = read_folder(tmp_path / "desk")
    assert folder.name == "desk"
    assert folder.pictures[0].camera.fx == 535.4
