"""Sequences in 7-Scenes' format: their cameras, what is left out, and what is refused in one line."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from boxes_helpers import poses, write_seven_scenes
from rgbd_helpers import Views, all_like, edited, line, one_line, seven, without
from siame_se3.experiments.real.folders import read_folder
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


def test_a_scene_that_is_still_packed_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "chess").mkdir()
    (tmp_path / "chess" / "seq-01.zip").write_bytes(b"PK")
    with one_line(r"chess: seq-01\.zip is packed; unpack it"):
        read_folder(tmp_path / "chess")


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
