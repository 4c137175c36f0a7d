"""Folders of real pictures with depth: the public formats are written here, from a room whose views and depths are known."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from boxes_helpers import poses, save, write_seven_scenes
from rgbd_helpers import CAMERA, Views, tum
from siame_se3.errors import InputError
from siame_se3.experiments.real import report, rgbd
from siame_se3.experiments.real.folders import read_folder
from siame_se3.experiments.real.pictures import between
from siame_se3.experiments.real.rgbd import chosen_pairs
from siame_se3.experiments.real.rows import Settings
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera

T_CI = torch.tensor(  # a Kinect's, as the documents have it
    [
        [0.9999651801, 0.0026765126, -0.0079041012, -0.0255589432],
        [-0.0027409311, 0.9999630280, -0.0081504521, 0.0001010964],
        [0.0078819942, 0.0081718329, 0.9999355456, 0.0020318322],
        [0, 0, 0, 1],
    ],
    dtype=torch.float64,
)


def seven(folder: Path, views: Views) -> Path:
    write_seven_scenes(folder, [rgb for rgb, _ in views], [Z for _, Z in views], poses(len(views)))
    CAMERA.to_yaml(folder / "camera.yaml")
    return folder


def ours(folder: Path, views: Views) -> Path:
    """PNG in mm, or .npy in m; the room's poses look at no plane z = 0."""
    lines = ["picture,x,y,z,rx,ry,rz"]
    (folder / "depth").mkdir(parents=True)
    for k, ((rgb, Z), T) in enumerate(zip(views, poses(len(views)), strict=True)):
        save(folder / "images" / f"{k}.png", rgb)
        if k % 2:
            np.save(folder / "depth" / f"{k}.npy", Z.astype(np.float32))
        else:
            save(folder / "depth" / f"{k}.png", np.rint(1000 * np.nan_to_num(Z)).astype(np.uint16))
        lines.append(",".join([f"{k}.png", *(repr(x) for x in lie.vector_from_pose(T).tolist())]))
    (folder / "poses.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    CAMERA.to_yaml(folder / "camera.yaml")
    return folder


FORMATS: dict[str, Callable[[Path, Views], Path]] = {"tum": tum, "seven": seven, "ours": ours}


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_each_format_gives_pictures_depths_and_poses(
    tmp_path: Path, room: Views, write: Callable[[Path, Views], Path]
) -> None:
    folder = read_folder(write(tmp_path / "office", room))
    assert (folder.name, folder.metric, len(folder.pictures)) == ("office", True, 4)
    assert len(folder.worlds) == rgbd.WORLDS
    assert set(folder.worlds) <= set(folder.pairs)
    for picture, (rgb, Z), T in zip(folder.pictures, room, poses(4), strict=True):
        assert picture.camera == CAMERA
        assert picture.from_plane is None
        assert np.array_equal(picture.rgb, rgb)
        torch.testing.assert_close(picture.T_wc, T, rtol=0, atol=2e-6)
        assert picture.depth is not None
        np.testing.assert_allclose(picture.depth, Z, atol=0.6e-3, equal_nan=True)
    assert set(folder.pairs) == {
        (i, j)
        for i in range(4)
        for j in range(4)
        if i != j and between(folder.pictures[i], folder.pictures[j])[0] >= 0.02
    }


def test_a_pixels_depth_is_where_another_picture_sees_it(tmp_path: Path, room: Views) -> None:
    """Frames, intrinsics, depth and poses fit together: the goal, moved by its depth, is the other picture."""
    a, b, *_ = read_folder(tum(tmp_path / "office", room)).pictures
    assert a.depth is not None
    known = np.isfinite(a.depth)
    T_ba = lie.inverse(b.T_wc) @ a.T_wc
    X = (CAMERA.rays(CAMERA.pixel_grid()) * torch.from_numpy(a.depth)[..., None])[torch.from_numpy(known)].double()
    pixels = CAMERA.project(X @ T_ba[:3, :3].T + T_ba[:3, 3]).numpy().astype(np.float32)
    moved = cv2.remap(b.rgb, pixels[None, :20000, 0], pixels[None, :20000, 1], cv2.INTER_LINEAR)[0].astype(float)
    there = a.rgb[known][:20000]
    inside = ((pixels > 1) & (pixels < (158, 118))).all(1)[:20000]
    assert np.median(np.abs(moved - there)[inside]) < 4
    still = cv2.absdiff(a.rgb, b.rgb)[known][:20000]
    assert np.mean(still[inside]) > 3 * np.mean(np.abs(moved - there)[inside])


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


def test_other_scales_of_depth(tmp_path: Path, room: Views) -> None:
    folder = tum(tmp_path / "office", room)
    text = (folder / "camera.yaml").read_text(encoding="utf-8")
    (folder / "camera.yaml").write_text(text + "depth_scale: 0.001\n", encoding="utf-8")
    depth = read_folder(folder).pictures[1].depth
    assert depth is not None
    np.testing.assert_allclose(depth, 5 * room[1][1], atol=3e-3)
    (folder / "camera.yaml").write_text(text + "depth_scale: many\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"camera\.yaml: depth_scale 'many' is no number"):
        read_folder(folder)


def edited(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        (folder / name).write_text("\n".join(change(lines)) + "\n", encoding="utf-8")

    return edit


def line(name: str, number: int, text: str) -> Callable[[Path], None]:
    return edited(name, lambda lines: [*lines[: number - 1], text, *lines[number:]])


def without(pattern: str) -> Callable[[Path], None]:
    return lambda folder: next(iter(sorted(folder.glob(pattern)))).unlink()


def all_like(pattern: str, pixels: np.ndarray) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for path in folder.glob(pattern):
            save(path, pixels)

    return write


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


@contextmanager
def one_line(message: str) -> Iterator[None]:
    with pytest.raises(InputError, match=message) as error:
        yield
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(("damage", "message"), BAD_TUM.values(), ids=BAD_TUM)
def test_bad_sequences_of_tum_are_one_line(
    tmp_path: Path, room: Views, damage: Callable[[Path], None], message: str
) -> None:
    folder = tum(tmp_path / "office", room[:2])
    damage(folder)
    with one_line(message):
        read_folder(folder)


def test_seven_scenes_own_cameras(tmp_path: Path) -> None:
    """Without a camera.yaml depth is moved from the depth camera to the colour camera, and so are poses."""
    infrared, colour = Camera(585.0, 585.0, 320.0, 240.0, 640, 480), Camera(525.0, 525.0, 320.0, 240.0, 640, 480)
    normal, T_wi = np.array([0.2, -0.3, 1.0]), poses(2)  # a wall, in the depth camera's frame: normal . X = 1 m
    Z = 1 / (infrared.rays(infrared.pixel_grid()).numpy() @ normal)
    grey = np.full((480, 640, 3), 90, np.uint8)
    write_seven_scenes(tmp_path / "seq-01", [grey] * 2, [Z] * 2, T_wi)
    folder = read_folder(tmp_path / "seq-01")
    in_colour = T_CI[:3, :3].numpy() @ normal
    true = (1 + in_colour @ T_CI[:3, 3].numpy()) / (colour.rays(colour.pixel_grid()).numpy() @ in_colour)
    for picture, T in zip(folder.pictures, T_wi, strict=True):
        assert picture.camera == colour
        torch.testing.assert_close(picture.T_wc @ T_CI, T, rtol=0, atol=1e-6)
        assert picture.depth is not None
        known = np.isfinite(picture.depth)
        assert 0.7 < known.mean() < 0.85  # the depth camera sees less
        np.testing.assert_allclose(picture.depth[known], true[known], atol=2e-3)


def test_frames_that_were_not_tracked_are_left_out(tmp_path: Path, room: Views) -> None:
    folder = seven(tmp_path / "seq-01", room)
    (folder / "frame-000001.pose.txt").write_text("-inf " * 16, encoding="utf-8")
    (folder / "frame-000002.depth.png").unlink()
    assert [p.name for p in read_folder(folder).pictures] == ["frame-000000.color.png", "frame-000003.color.png"]


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


ODD_SEVEN: dict[str, tuple[Callable[[Path], None], int]] = {
    "hidden files": (lambda f: [(f / f"._{p.name}").write_bytes(b"\0\5Mac") for p in f.glob("frame*")] and None, 4),
    "Thumbs.db": (lambda f: (f / "Thumbs.db").write_bytes(b"\0") and None, 4),
    "a copy": (lambda f: (f / "frame-000002 - Copy.pose.txt").write_text("x") and None, 4),
    "another copy": (lambda f: (f / "frame-000002 (1).pose.txt").write_text("x") and None, 4),
    "a folder": (lambda f: (f / "x.pose.txt").mkdir(), 4),
    **{
        f"tracking lost, {name}": (edited("frame-000002.pose.txt", lambda x, text=text: [text]), 3)  # type: ignore[misc]
        for name, text in {"nan": "nan " * 16, "Windows": "-1.#IND " * 16, "zeros": "0 " * 16, "empty": ""}.items()
    },
}


@pytest.mark.parametrize(("change", "frames"), ODD_SEVEN.values(), ids=ODD_SEVEN)
def test_odd_sequences_of_seven_scenes_lose_a_frame_at_most(
    tmp_path: Path, room: Views, change: Callable[[Path], None], frames: int
) -> None:
    path = seven(tmp_path / "seq-01", room)
    change(path)
    folder = read_folder(path)
    assert len(folder.pictures) == frames
    assert folder.notes == (("1 of 4 frames are left out: 1 without tracking",) if frames < 4 else ())


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_a_picture_whose_depth_map_is_empty_is_no_goal(
    tmp_path: Path, room: Views, write: Callable[[Path, Views], Path]
) -> None:
    path = write(tmp_path / "office", room)
    empty = next(
        p for p in sorted(path.rglob("*")) if "depth" in str(p.relative_to(path)) and p.suffix in (".png", ".npy")
    )
    save(empty, np.zeros((120, 160), np.uint16))
    folder = read_folder(path)
    assert len(folder.pictures) == 4
    assert folder.pictures[0].depth is None
    assert {goal for goal, _ in folder.pairs} == {1, 2, 3}
    assert 0 in {current for _, current in folder.pairs}
    assert all(0 not in pair for pair in folder.worlds)
    assert folder.notes == ("1 of 4 pictures are no goals: their depth maps know less than 10 %",)


def test_a_table_of_poses_with_no_picture_is_one_line(tmp_path: Path, room: Views) -> None:
    path = ours(tmp_path / "office", room)
    edited("poses.csv", lambda lines: lines[:1])(path)
    with one_line(r"office: frames with picture, depth and pose: 0; give two or more"):
        read_folder(path)


def test_a_link_to_a_sequence_of_tum_has_its_own_name_and_the_sequences_camera(tmp_path: Path) -> None:
    grey = np.full((480, 640, 3), 90, np.uint8)
    path = tum(tmp_path / "rgbd_dataset_freiburg3_desk", [(grey, np.full((480, 640), 1.0))] * 2, None)
    (tmp_path / "desk").symlink_to(path, target_is_directory=True)
    folder = read_folder(tmp_path / "desk")
    assert folder.name == "desk"
    assert folder.pictures[0].camera.fx == 535.4


def test_a_scene_that_is_still_packed_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "chess").mkdir()
    (tmp_path / "chess" / "seq-01.zip").write_bytes(b"PK")
    with one_line(r"chess: seq-01\.zip is packed; unpack it"):
        read_folder(tmp_path / "chess")


def test_an_archive_that_knows_nothing_is_no_goal_either(tmp_path: Path, room: Views) -> None:
    path = ours(tmp_path / "office", room)
    first = sorted((path / "depth").iterdir())[0]
    first.unlink()
    np.savez(first.with_suffix(".npz"), depth=np.zeros((120, 160), np.uint16))
    assert read_folder(path).pictures[0].depth is None


def test_a_scale_may_be_written_with_an_exponent(tmp_path: Path, room: Views) -> None:
    """YAML 1.1 reads 2e-3 as a text."""
    path = ours(tmp_path / "office", room)
    place = path / "camera.yaml"
    text = place.read_text(encoding="utf-8")
    for written in ("2e-3", "0.002", "'0.002'"):
        place.write_text(f"{text}depth_scale: {written}\n", encoding="utf-8")
        rig = rgbd.rig_of(path, None)
        assert rig is not None
        assert rig.scale == 0.002


def giant_png(side: int) -> bytes:
    """A 16-bit grey PNG that says it is so large, and holds nothing."""
    header = struct.pack(">IIBBBBB", side, side, 16, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


NO_ROTATION = "2 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"


MIRRORED = "-1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"


BAD_SEVEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no pose": (line("frame-000001.pose.txt", 2, "a b c d"), r"frame-000001\.pose\.txt: not 16 numbers"),
    "short": (edited("frame-000001.pose.txt", lambda x: x[:3]), r"frame-000001\.pose\.txt: not 16 numbers"),
    "no rotation": (
        edited("frame-000000.pose.txt", lambda x: [NO_ROTATION]),
        r"000\.pose\.txt: no pose; its upper left",
    ),
    "mirrored": (edited("frame-000000.pose.txt", lambda x: [MIRRORED]), r"frame-000000\.pose\.txt: no pose"),
    "damaged picture": (lambda f: (f / "frame-000000.color.png").write_bytes(b"no"), r"000\.color\.png: not an image"),
    "damaged depth": (lambda f: (f / "frame-000001.depth.png").write_bytes(b"no"), r"001\.depth\.png: not an image"),
    "no pictures": (lambda f: [p.unlink() for p in f.glob("*.color.png")] and None, r"seq-01: no frame has a \.color"),
    "other pictures": (all_like("*.color.png", np.zeros((60, 80, 3), np.uint8)), r"80 x 60 px, its camera has 160"),
    "another recorder's": (
        lambda f: (f / "camera.yaml").unlink() or ((f / "info.txt").write_text("m_depthShift = 1000\n") and None),
        r"seq-01: not 7-Scenes itself \(info\.txt .*camera\.yaml",
    ),
    "giant depth": (
        lambda f: (f / "frame-000000.depth.png").write_bytes(giant_png(40_000)) and None,
        r"frame-000000\.depth\.png: .*megapixels",
    ),
    "not 7-Scenes' own": (without("camera.yaml"), r"160 x 120 px, its camera has 640 x 480; give its camera\.yaml"),
}


@pytest.mark.parametrize(("damage", "message"), BAD_SEVEN.values(), ids=BAD_SEVEN)
def test_bad_sequences_of_seven_scenes_are_one_line(
    tmp_path: Path, room: Views, damage: Callable[[Path], None], message: str
) -> None:
    folder = seven(tmp_path / "seq-01", room[:2])
    damage(folder)
    with one_line(message):
        read_folder(folder)


def test_a_scene_of_sequences_names_one(tmp_path: Path, room: Views) -> None:
    seven(tmp_path / "office" / "seq-02", room[:2])
    with one_line(r"office: a scene of several sequences; give one of them, such as .*office/seq-02"):
        read_folder(tmp_path / "office")


def test_our_own_format_without_a_map(tmp_path: Path, room: Views) -> None:
    folder = ours(tmp_path / "desk", room)
    (folder / "depth" / "1.npy").unlink()
    with one_line(r"depth: no depth map of '1\.png'; give 1\.png \(mm\) or 1\.npy \(m\)"):
        read_folder(folder)


def test_few_frames_have_all_their_pairs() -> None:
    T = torch.eye(4, dtype=torch.float64).repeat(4, 1, 1)
    T[:, 0, 3] = torch.tensor([0.0, 0.01, 0.1, 0.3])
    T[2] = T[2] @ lie.pose_from_vector(torch.tensor([0, 0, 0, 0, 0, math.radians(36)], dtype=torch.float64))
    assert chosen_pairs(T) == []
    T[2, :3, :3] = torch.eye(3)
    assert sorted(chosen_pairs(T)) == [(0, 2), (1, 2), (2, 0), (2, 1), (2, 3), (3, 2)]


def test_many_frames_have_a_choice_of_pairs_at_all_distances() -> None:
    T = torch.eye(4, dtype=torch.float64).repeat(1000, 1, 1)
    T[:, 0, 3] = 0.005 * torch.arange(1000)
    pairs = chosen_pairs(T)
    assert pairs == chosen_pairs(T)
    assert len(pairs) == len(set(pairs)) == rgbd.GOALS * rgbd.EACH
    goals, others = (torch.tensor(x) for x in zip(*pairs, strict=True))
    apart = 0.005 * (goals - others).abs()
    assert 0.02 <= float(apart.min()) < 0.08
    assert 0.2 < float(apart.max()) <= 0.25 + 1e-9
    assert int(goals.unique().diff().max()) < 100
    assert int(goals.min()) < 60
    assert int(goals.max()) > 940
