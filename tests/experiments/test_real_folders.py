"""Folders of real pictures of a plane: each format, and bad ones in one line."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from real_helpers import CAMERA, pixels_at, poses, save, through_lens, write_ours
from siame_se3.errors import InputError
from siame_se3.experiments.real.folders import read_folder
from siame_se3.experiments.real.pictures import between, within
from siame_se3.geometry import lie
from siame_se3.geometry.plane import homography, pixel_from_plane
from siame_se3.scenes.planar import Scene

LENS = (-0.12, 0.05, 0.001, -0.002, 0.0)


def write_homographies(folder: Path, scene: Scene, picture: str, matrix: str) -> Tensor:
    """A folder of HPatches' or Oxford's format."""
    folder.mkdir()
    T_wc = poses()
    for k, rgb in enumerate(pixels_at(scene, T_wc), 1):
        save(folder / picture.format(k), rgb)
        if k > 1:
            H = homography(CAMERA, T_wc[k - 1], T_wc[0]).numpy()
            np.savetxt(folder / matrix.format(k), -3 * H)  # of any scale
    return T_wc


def assert_same_homography(a: np.ndarray, b: np.ndarray, atol: float = 1e-9) -> None:
    np.testing.assert_allclose(a / a[2, 2], b / b[2, 2], rtol=1e-7, atol=atol)


def test_our_own_format(tmp_path: Path, photo: Scene) -> None:
    T_wc = write_ours(tmp_path / "desk", photo)
    folder = read_folder(tmp_path / "desk")
    assert (folder.name, folder.metric) == ("desk", True)
    assert [p.name for p in folder.pictures] == ["0.png", "1.png", "2.png"]
    for picture, T, rgb in zip(folder.pictures, T_wc, pixels_at(photo, T_wc), strict=True):
        assert np.array_equal(picture.rgb, rgb)
        assert picture.camera == CAMERA
        torch.testing.assert_close(picture.T_wc, T)
        # by the pinhole's formula: a point of the plane, in the camera's frame, divided by its depth
        X = lie.inverse(T) @ torch.tensor([0.1, -0.05, 0, 1], dtype=torch.float64)
        mapped = picture.from_plane @ np.array([0.1, -0.05, 1])
        np.testing.assert_allclose(mapped[:2] / mapped[2], CAMERA.project(X[:3]).numpy())


def test_pictures_of_a_lens_are_made_straight(tmp_path: Path, photo: Scene) -> None:
    camera = replace(CAMERA, distortion=LENS)
    T_wc = write_ours(tmp_path / "desk", photo, camera)
    folder = read_folder(tmp_path / "desk")
    inner = (slice(20, -20), slice(20, -20))
    for picture, rgb in zip(folder.pictures, pixels_at(photo, T_wc), strict=True):
        assert picture.camera == CAMERA
        assert np.abs(picture.rgb[inner].astype(float) - rgb[inner]).mean() < 2
        assert np.abs(through_lens(rgb, camera)[inner].astype(float) - rgb[inner]).mean() > 4


@pytest.mark.parametrize(
    ("picture", "matrix"),
    [("{}.ppm", "H_1_{}"), ("img{}.ppm", "H1to{}p"), ("img{}.png", "H1to{}p")],
    ids=["hpatches", "oxford", "oxford-png"],
)
def test_formats_with_homographies(tmp_path: Path, photo: Scene, picture: str, matrix: str) -> None:
    """Poses are right up to the assumed size and field of view, which these pictures have."""
    T_wc = write_homographies(tmp_path / "wall", photo, picture, matrix)
    folder = read_folder(tmp_path / "wall")
    assert (folder.name, folder.metric) == ("wall", False)
    assert [p.name for p in folder.pictures] == [picture.format(k) for k in (1, 2, 3)]
    first = folder.pictures[0]
    for found, T, rgb in zip(folder.pictures, T_wc, pixels_at(photo, T_wc), strict=True):
        assert np.array_equal(found.rgb, rgb)
        assert_same_homography(
            found.from_plane @ np.linalg.inv(first.from_plane), homography(CAMERA, T, T_wc[0]).numpy(), 1e-6
        )
        torch.testing.assert_close(found.T_wc, T, rtol=0, atol=1e-5)
        assert_same_homography(found.from_plane, pixel_from_plane(found.camera, found.T_wc).numpy(), 0.02)


def test_pictures_after_a_missing_one_are_noted(tmp_path: Path, photo: Scene) -> None:
    write_homographies(tmp_path / "wall", photo, "img{}.png", "H1to{}p")
    assert read_folder(tmp_path / "wall").notes == ()
    (tmp_path / "wall" / "img3.png").rename(tmp_path / "wall" / "img4.png")
    folder = read_folder(tmp_path / "wall")
    assert len(folder.pictures) == 2
    assert folder.notes == ("there is no img3; pictures after it are left out: 4",)


def test_a_link_to_a_folder_has_its_own_name(tmp_path: Path, scene: Scene) -> None:
    write_ours(tmp_path / "a" / "photos", scene)
    (tmp_path / "desk").symlink_to(tmp_path / "a" / "photos", target_is_directory=True)
    assert read_folder(tmp_path / "desk").name == "desk"
    assert read_folder(tmp_path / "a" / ".." / "a" / "photos").name == "photos"


def test_how_far_pictures_are_apart(tmp_path: Path, photo: Scene) -> None:
    write_ours(tmp_path / "desk", photo)
    a, b, _ = read_folder(tmp_path / "desk").pictures
    assert between(a, a) == pytest.approx((0, 0), abs=1e-9)
    moved = math.hypot(0.05, 0.04, 0.06), math.degrees(math.hypot(0.1, 0.12, 0.2))
    assert between(a, b) == pytest.approx(moved, rel=1e-6)
    assert between(b, a) == pytest.approx(moved, rel=1e-6)
    assert within(a, b)
    assert not within(a, replace(b, T_wc=b.T_wc @ lie.pose_from_vector(torch.tensor([0, 0, 0, 0, 0, 0.9]).double())))
    assert not within(a, replace(b, T_wc=b.T_wc @ lie.pose_from_vector(torch.tensor([0.4, 0, 0, 0, 0, 0]).double())))


def edited(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        (folder / name).write_text("\n".join(change(lines)) + "\n", encoding="utf-8")

    return edit


def third(**values: str) -> Callable[[Path], None]:
    """Change values of the second picture's line, the file's third."""

    def change(lines: list[str]) -> list[str]:
        names = lines[0].split(",")
        row = dict(zip(names, lines[2].split(","), strict=True)) | values
        return [*lines[:2], ",".join(row.values()), *lines[3:]]

    return edited("poses.csv", change)


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def smaller(name: str) -> Callable[[Path], None]:
    return lambda folder: save(folder / name, np.full((100, 120, 3), 90, np.uint8))


def binary(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(bytes(100))


BAD_OURS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no picture": (without("images/1.png"), r"poses\.csv, line 3: no picture '1\.png' in"),
    "no name": (third(picture=""), r"poses\.csv, line 3: no picture"),
    "header": (edited("poses.csv", lambda x: ["name,x,y,z,rx,ry,rz", *x[1:]]), r"poses\.csv: its first line is 'name,"),
    "no header": (edited("poses.csv", lambda x: x[1:]), r"poses\.csv: its first line is '0\.png,"),
    "empty": (lambda folder: (folder / "poses.csv").write_bytes(b""), r"poses\.csv: its first line is ''"),
    "nan": (third(x="nan"), r"poses\.csv, line 3: .*finite"),
    "infinite": (third(rz="-inf"), r"poses\.csv, line 3: .*finite"),
    "word": (third(y="far"), r"poses\.csv, line 3: .*no number"),
    "line in a word": (third(y='"far\naway"'), r"poses\.csv, line \d: .*no number"),
    "line in a name": (third(picture='"1\n.png"'), r"poses\.csv, line \d: no picture"),
    "short": (edited("poses.csv", lambda x: [*x[:2], "1.png,0,0,-1", *x[3:]]), r"poses\.csv, line 3: 4 values"),
    "long": (edited("poses.csv", lambda x: [*x[:2], x[2] + ",0", *x[3:]]), r"poses\.csv, line 3: 8 values"),
    "long field": (third(picture="1" * 200_000), r"poses\.csv, line 3"),
    "binary": (binary("poses.csv"), r"poses\.csv"),
    "millimetres": (third(z="-600"), r"poses\.csv, line 3: give metres and radians"),
    "degrees": (third(rz="90"), r"poses\.csv, line 3: give metres and radians"),
    "twice": (edited("poses.csv", lambda x: [*x, x[1]]), r"poses\.csv, line \d+: '0\.png' is there twice"),
    "many": (
        edited("poses.csv", lambda x: [x[0], *(f"{k:04d}.png,0,0,-0.6,0,0,0" for k in range(401))]),
        r"poses\.csv: 401 pictures, .* give 200 at most, one of every 3",
    ),
    "behind": (third(z="0.5"), r"poses\.csv, line 3: this camera does not look at the plane"),
    "looks away": (
        third(rx=str(math.pi), ry="0", rz="0"),
        r"poses\.csv, line 3: this camera does not look at the plane",
    ),
    "another size": (smaller("images/1.png"), r"1\.png: 120 x 100 px, camera\.yaml has 320 x 240"),
    "no picture's file": (binary("images/1.png"), r"1\.png"),
    "one picture": (edited("poses.csv", lambda x: x[:2]), r"desk: 1 pictures"),
    "no pictures": (edited("poses.csv", lambda x: x[:1]), r"desk: 0 pictures"),
    "no camera": (without("camera.yaml"), r"camera\.yaml"),
    "damaged camera": (binary("camera.yaml"), r"camera\.yaml"),
    "unknown": (without("poses.csv"), r"desk: no poses\.csv"),
}


@pytest.mark.parametrize(("damage", "message"), BAD_OURS.values(), ids=BAD_OURS)
def test_bad_folders_are_one_line(tmp_path: Path, scene: Scene, damage: Callable[[Path], None], message: str) -> None:
    folder = tmp_path / "desk"
    write_ours(folder, scene)
    damage(folder)
    with pytest.raises(InputError, match=message) as error:
        read_folder(folder)
    assert len(str(error.value).splitlines()) == 1


BAD_HPATCHES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no homography": (without("H_1_3"), r"H_1_3"),
    "words": (edited("H_1_2", lambda x: ["a b c"]), r"H_1_2: not nine numbers"),
    "eight": (edited("H_1_2", lambda x: [" ".join("12345678")]), r"H_1_2: not nine numbers"),
    "empty": (edited("H_1_2", lambda x: []), r"H_1_2: not nine numbers"),
    "nan": (edited("H_1_2", lambda x: ["nan 0 0 0 1 0 0 0 1"]), r"H_1_2: no homography"),
    "infinite": (edited("H_1_2", lambda x: ["1 0 inf 0 1 0 0 0 1"]), r"H_1_2: no homography"),
    "singular": (edited("H_1_2", lambda x: ["1 2 3 2 4 6 0 0 1"]), r"H_1_2: no homography"),
    "huge": (edited("H_1_2", lambda x: ["1e300 0 0 0 1e300 0 0 0 1e300"]), r"H_1_2: no homography"),
    "mirrored": (edited("H_1_2", lambda x: ["-1 0 319 0 1 0 0 0 1"]), r"H_1_2: it mirrors"),
    "at infinity": (
        edited("H_1_2", lambda x: ["1 0 0 0 1 0 -0.0062695924764890 0 1"]),
        r"H_1_2: it mirrors picture 1, or takes a part of it behind",
    ),
    "binary": (binary("H_1_2"), r"H_1_2"),
    "no picture's file": (binary("2.ppm"), r"2\.ppm"),
    "one picture": (without("2.ppm"), r"wall: 1 pictures"),
    "no first picture": (without("1.ppm"), r"wall: no 1 with one of the endings .*\.ppm"),
    "unknown": (without("H_1_2"), r"wall: no poses\.csv .*H_1_2"),
}


@pytest.mark.parametrize(("damage", "message"), BAD_HPATCHES.values(), ids=BAD_HPATCHES)
def test_bad_homographies_are_one_line(
    tmp_path: Path, scene: Scene, damage: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / "wall"
    write_homographies(folder, scene, "{}.ppm", "H_1_{}")
    damage(folder)
    with pytest.raises(InputError, match=message) as error:
        read_folder(folder)
    assert len(str(error.value).splitlines()) == 1


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        read_folder(tmp_path / "nowhere")
