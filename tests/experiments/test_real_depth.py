"""Folders of real pictures with depth: the public formats are written here, from a room whose views and depths are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from boxes_helpers import poses, save
from rgbd_helpers import CAMERA, Views, edited, one_line, seven, tum
from siame_se3.errors import InputError
from siame_se3.experiments.real import rgbd
from siame_se3.experiments.real.folders import read_folder
from siame_se3.experiments.real.pictures import between
from siame_se3.experiments.real.rgbd import chosen_pairs
from siame_se3.geometry import lie


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
