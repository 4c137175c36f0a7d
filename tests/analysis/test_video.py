"""Videos: as many pictures as there are views, with what was seen, in files that open."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from recordings_helpers import poses
from siame_se3.analysis import frames, video
from siame_se3.errors import InputError
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import PBVS
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.simulation import Task, simulate


@pytest.fixture(scope="module")
def pictures(scene: Scene, camera: Camera) -> list[np.ndarray]:
    """Of a run of 12 iterations."""
    task = Task(scene, camera, runs=2, seed=5)
    trajectory, _, _ = simulate(PBVS(), task, ServoConfig(gain=8.0, max_iterations=12), quiet=True)
    images, goal = frames.images_of(task, trajectory, 1), frames.goal_of(task, trajectory, 1)
    return list(video.frames(images, goal, trajectory, 1, "pbvs"))


def test_a_picture_a_view(pictures: list[np.ndarray]) -> None:
    assert len(pictures) == 13
    assert {picture.shape for picture in pictures} == {pictures[0].shape}
    assert pictures[0].shape[0] % 2 == pictures[0].shape[1] % 2 == 0
    panel = (slice(40, 260), slice(520, 740))  # of the difference: grey where equal
    apart = [float(np.abs(picture[panel].astype(float) - 128).mean()) for picture in pictures]
    assert apart[0] > 3 * apart[-1]
    goal = (slice(40, 260), slice(270, 490))
    assert all(np.array_equal(pictures[0][goal], picture[goal]) for picture in pictures)
    current = (slice(40, 260), slice(20, 240))
    assert float(np.abs(pictures[-1][current].astype(float) - pictures[-1][goal]).mean()) < 40


def test_curves_grow(pictures: list[np.ndarray]) -> None:
    """To the right, in their colours."""
    blue = np.array([0x00, 0x72, 0xB2])
    right = [int(np.argwhere(np.abs(p[320:, :380].astype(int) - blue).sum(2) < 30)[:, 1].max()) for p in pictures]
    assert right == sorted(right)
    assert right[-1] > right[0] + 200


@pytest.mark.parametrize("name", ["out.mp4", "out.gif"])
@pytest.mark.slow
def test_files_open_and_hold_every_picture(name: str, tmp_path: Path, pictures: list[np.ndarray]) -> None:
    held, pictures = 15, pictures[::3]
    assert video.write_video(tmp_path / name, pictures, 10.0) == 5 + held
    assert (tmp_path / name).stat().st_size < 400_000
    if name.endswith("gif"):
        with Image.open(tmp_path / name) as found:
            durations = []
            for k in range(getattr(found, "n_frames", 1)):
                found.seek(k)
                durations.append(found.info["duration"])
            assert sum(durations) == 100 * (5 + held)  # equal pictures are one, shown longer
            assert len(durations) >= 5
            last = np.asarray(found.convert("RGB")).astype(float)
        assert np.abs(last - pictures[-1]).mean() < 6
        return
    capture = cv2.VideoCapture(str(tmp_path / name))
    assert capture.get(cv2.CAP_PROP_FPS) == 10
    read = []
    while (got := capture.read())[0]:
        read.append(got[1][..., ::-1])
    assert len(read) == 5 + held
    for k in range(5):
        assert np.abs(read[k].astype(float) - pictures[k]).mean() < 8


def test_long_runs_are_shown_faster() -> None:
    assert video.shown_views(300) == set(range(300))
    assert len(video.shown_views(301)) == 151
    found = video.shown_views(1000)
    assert {0, 999} <= found
    assert len(found) <= 301


def test_what_cannot_be_written_is_one_line(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"no format of videos; give a name that ends in .mp4 or .gif"):
        video.write_video(tmp_path / "out.avi", pictures, 25.0)
    with pytest.raises(InputError, match="there is no picture to show"):
        video.write_video(tmp_path / "out.gif", [], 25.0)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        video.write_video(tmp_path / "file" / "out.mp4", pictures[:2], 25.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_images_of_any_shape_fit(scene: Scene) -> None:
    wide = Camera.from_focal(60, 64, 30)
    task = Task(scene, wide, runs=1, seed=5)
    T_wd, T_wc = poses()
    assert T_wd.shape == T_wc.shape
    trajectory, _, _ = simulate(PBVS(), task, ServoConfig(max_iterations=1), quiet=True)
    image = torch.zeros(3, 30, 64)
    (first, *_) = video.frames([image], image, trajectory, 0, "x" * 300)
    assert first[60, 100].tolist() == [235, 235, 235]
    assert first[150, 100].tolist() == [0, 0, 0]
    assert not math.isnan(float(first.mean()))


def test_a_name_that_is_no_utf8_is_refused_for_opencv(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    """It ended the program with a segmentation fault. GIFs are Pillow's, which takes any name."""
    with pytest.raises(InputError, match="names in UTF-8 only"):
        video.write_video(tmp_path / "caf\udce9.mp4", pictures[:1], 10.0)
    video.write_video(tmp_path / "caf\udce9.gif", pictures[:1], 10.0)
    assert [path.name for path in tmp_path.iterdir()] == ["caf\udce9.gif"]
