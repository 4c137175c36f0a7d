"""A goal's folder: what is written is read; what is missing, damaged or of another camera is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from siame_se3.commissioning.goal_folder import Goal, read_goal, view_for, write_goal
from siame_se3.commissioning.targets import target_from
from siame_se3.errors import CameraError, InputError
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import read_picture
from siame_se3.laws.types import View

CAMERA = Camera.from_focal(40, 24, 16)


def goal(depth: bool = True) -> Goal:
    generator = torch.Generator().manual_seed(0)
    image = (255 * torch.rand(3, 16, 24, generator=generator)).round() / 255
    map_ = 0.5 + 0.2 * torch.rand(16, 24, generator=generator)
    map_[3:6, 5:9] = torch.nan
    return Goal(image, CAMERA, 0.6, *((map_, 0.01 * map_) if depth else (None, None)), notes={"views": 8})


@pytest.mark.parametrize("depth", [True, False])
def test_what_is_written_is_read(depth: bool, tmp_path: Path) -> None:
    written = goal(depth)
    write_goal(tmp_path / "goal", written)
    read = read_goal(tmp_path / "goal")
    assert torch.equal(read.image, written.image)
    assert (read.camera, read.distance, read.notes) == (CAMERA, 0.6, {"views": 8})
    if depth:
        assert read.depth is not None
        assert written.depth is not None
        assert torch.equal(read.depth.nan_to_num(), written.depth.nan_to_num())
        assert torch.equal(read.depth.isnan(), written.depth.isnan())
        shown = read_picture(tmp_path / "goal" / "depth.png")
        assert shown.shape == (16, 24, 3)
    else:
        assert read.depth is read.std is None


def test_laws_get_the_map_or_the_distance(tmp_path: Path) -> None:
    write_goal(tmp_path, goal())
    view = view_for(tmp_path, CAMERA, 0.9)
    assert view.batch == (1,)
    assert view.depth_map is not None
    assert view.depth_map.shape == (1, 16, 24)
    assert view.distance is not None
    assert 0.5 < float(view.distance) < 0.7
    write_goal(tmp_path, goal(depth=False))
    view = view_for(tmp_path, CAMERA, 0.9)
    assert view.depth_map is None
    assert view.depth is not None
    assert float(view.depth) == 0.9
    assert not (tmp_path / "depth.npz").exists(), "that of the goal before"


def test_live_takes_a_goals_folder(tmp_path: Path) -> None:
    write_goal(tmp_path / "goal", goal())
    plant: Any = SimpleNamespace(
        camera=CAMERA, reset=lambda start: View(torch.zeros(1, 3, 16, 24), depth=torch.tensor([0.7]), camera=CAMERA)
    )
    view = target_from(tmp_path / "goal", plant)
    assert view.depth_map is not None
    write_goal(tmp_path / "flat", goal(depth=False))
    for given, distance in ((None, 0.6), (0.9, 0.9)):
        view = target_from(tmp_path / "flat", plant, given)
        assert view.distance is not None
        assert float(view.distance) == distance
    write_goal(tmp_path / "unknown", replace(goal(depth=False), distance=None))
    view = target_from(tmp_path / "unknown", plant)
    assert view.distance is not None
    assert float(view.distance) == pytest.approx(0.7)
    plant.camera = replace(CAMERA, fx=50.0)
    with pytest.raises(CameraError, match="taken by another camera"):
        target_from(tmp_path / "goal", plant)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def store(path: Path, **arrays: np.ndarray) -> None:
    np.savez(path, **arrays)


DEPTH = np.full((16, 24), 0.5, np.float32)
DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no goal.json": (
        lambda f: (f / "goal.json").unlink(),
        "goal.json: no such file; give a folder that 'siame target'",
    ),
    "another json": (lambda f: (f / "goal.json").write_text("[1]"), "is not that of a goal"),
    "later": (lambda f: change(f / "goal.json", version=9), "version 9; it needs a newer"),
    "distance": (lambda f: change(f / "goal.json", distance=-1), "its goal.json is damaged"),
    "flag": (lambda f: change(f / "goal.json", depth="yes"), "its goal.json is damaged"),
    "no image": (lambda f: (f / "image.png").unlink(), "image.png: no such file"),
    "no picture": (lambda f: (f / "image.png").write_text("text"), "image.png: not an image"),
    "no camera": (lambda f: (f / "camera.yaml").unlink(), "camera.yaml: no such file"),
    "other size": (lambda f: Camera.from_focal(40, 32).to_yaml(f / "camera.yaml"), "by a camera of 32 x 32 px"),
    "no depth": (lambda f: (f / "depth.npz").unlink(), "depth.npz: no such file"),
    "no std": (lambda f: store(f / "depth.npz", depth=DEPTH), "no std for each pixel"),
    "shape": (lambda f: store(f / "depth.npz", depth=DEPTH[:8], std=DEPTH), "no depth for each pixel"),
    "type": (lambda f: store(f / "depth.npz", depth=DEPTH.astype(int), std=DEPTH), "no depth for each pixel"),
    "behind": (lambda f: store(f / "depth.npz", depth=-DEPTH, std=DEPTH), "a depth that is not above 0"),
    "infinite": (lambda f: store(f / "depth.npz", depth=DEPTH / 0, std=DEPTH), "a depth that is not above 0"),
    "unknown": (lambda f: store(f / "depth.npz", depth=DEPTH * np.nan, std=DEPTH), "no depth is known"),
}


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_folder_is_one_clear_line(case: str, tmp_path: Path) -> None:
    damage, words = DAMAGE[case]
    write_goal(tmp_path, goal())
    damage(tmp_path)
    with pytest.raises(InputError) as error:
        read_goal(tmp_path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_no_folder_and_no_place_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_goal(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="give a folder that can be written"):
        write_goal(tmp_path / "file", goal())


def test_a_goal_that_was_written_half_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_goal(tmp_path, goal())

    def full(*args: Any) -> None:
        raise InputError("disk full")

    monkeypatch.setattr("siame_se3.commissioning.goal_folder.atomically", full)
    with pytest.raises(InputError, match="disk full"):
        write_goal(tmp_path, goal())
    with pytest.raises(InputError, match=r"goal\.json: no such file"):
        read_goal(tmp_path)


def test_a_corner_of_a_sensor_is_read_again(tmp_path: Path) -> None:
    """By a roi: its principal point is far from its middle."""
    corner = Camera(1500.0, 1500.0, 879.5, 599.5, 24, 16)
    write_goal(tmp_path / "goal", replace(goal(), camera=corner))
    assert read_goal(tmp_path / "goal").camera == corner
