"""siame target: a plain goal moves nothing; a scan moves after it was allowed to, and writes depths; what cannot be is said first."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cli_helpers import Siame
from siame_se3.cli.robot import Robot
from siame_se3.commissioning.goal_folder import read_goal
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.servo.safety import Safety

GOAL = lie.pose_from_vector(torch.tensor([[0.02, 0.01, -0.6, 0.03, 0.05, 0.3]], dtype=torch.float64))
SCAN = ("--scan", "--ros2.pose", "/tool_pose", "--hand-eye", "hand-eye.yaml")
QUICK = (
    *("--pattern.views", 3, "--pattern.gain", 5, "--pattern.wait", 0.1, "--safety.max-twist", *([0.5] * 3 + [2] * 3)),
    *("--safety.max-change", *[10] * 6),
)


class Arm(FlyingCameras):
    """A robot with a camera: stays where it is, reports its camera's pose in its base, and can be stopped."""

    provides = frozenset({"image", "base_pose", "depth"})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene, Camera.from_focal(135, 96), dt=0.1)
        self.now = self.robot(super().reset(GOAL))
        self.twists: list[Tensor] = []
        self.dry = self.stopped = False
        self.fault = ""
        self.map: Tensor | None = None

    def with_depth(self, view: View) -> View:
        return view if self.map is None else replace(view, depth=self.map[None])

    def robot(self, view: View) -> View:
        return View(view.image, None, view.depth, self.camera, 0.0, "", view.T_wc)

    def reset(self, start: Tensor | None) -> View:
        assert start is None
        return self.now

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        assert not self.dry
        self.twists.append(v)
        view, applied = super().step(v)
        self.now = self.robot(view)
        return View(self.now.image, None, self.now.depth, self.camera, 0.0, self.fault, self.now.T_bc), applied

    def stop(self) -> None:
        self.stopped = True

    def ask_to_stop(self, reason: str) -> None:
        pass

    def watch(self, fault: Callable[[], str]) -> None:
        assert fault() == ""


@pytest.fixture
def arm(photo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Arm:
    """What the command opens; `photo` is small noise."""
    (tmp_path / "hand-eye.yaml").write_text("camera_in_tool: {translation: [0, 0, 0], rotation_vector: [0, 0, 0]}\n")
    made = Arm(Scene.from_photo(Path(__file__).parents[1] / "data" / "visp" / "coffee.png"))

    def opened(self: Robot, closing: contextlib.ExitStack, depth: float, dry: bool, safety: Safety) -> tuple[Any, None]:
        made.dry = dry
        return made, None

    monkeypatch.setattr(Robot, "open", opened)
    return made


def test_a_plain_goal_is_taken_and_nothing_can_move(siame: Siame, arm: Arm, tmp_path: Path) -> None:
    status, out, err = siame("target", "--out", "this place")
    assert (status, err) == (0, "")
    assert "written: this place; siame live --target 'this place'" in out
    assert arm.dry
    assert not arm.twists
    goal = read_goal(tmp_path / "this place")
    assert goal.depth is None
    assert goal.distance == 0.6
    assert goal.camera == arm.camera
    assert float((goal.image - arm.now.image[0]).abs().max()) < 0.003  # type: ignore[index]  # it has one


def test_the_circle_of_a_scan_does_not_limit_a_plain_goal(siame: Siame, arm: Arm, tmp_path: Path) -> None:
    assert siame("target", "--out", "place", "--depth", 0.06)[0] == 0
    assert read_goal(tmp_path / "place").distance == 0.06


def test_a_depth_cameras_map_is_part_of_the_goal(siame: Siame, arm: Arm, tmp_path: Path) -> None:
    arm.map = torch.full((96, 96), 0.55)
    arm.map[:24] = torch.nan
    status, out, err = siame("target", "--out", "place", "--ros2.depth", "/depth")
    assert (status, err) == (0, "")
    assert "written: place; depth known in 75 % of it, 0.55 m (0.55 to 0.55); siame live" in out
    assert not arm.twists
    depth = read_goal(tmp_path / "place").depth
    assert depth is not None
    torch.testing.assert_close(depth, arm.map, equal_nan=True)


def test_a_scan_writes_depths(siame: Siame, arm: Arm, tmp_path: Path) -> None:
    status, out, err = siame("target", *SCAN, *QUICK, "--yes")
    assert (status, err) == (0, "")
    assert "view 3 of 3" in out
    assert "% of the pixels" in out
    goal = read_goal(tmp_path / "goal")
    assert goal.depth is not None
    true = arm.scene.depth(arm.camera, GOAL)[0]
    assert float((goal.depth / true - 1).abs().nanmedian()) < 0.01
    notes = json.loads((tmp_path / "goal" / "goal.json").read_text())["notes"]
    assert notes["views"] == 3
    assert notes["command"].startswith("siame target --scan")
    assert arm.stopped
    status, _, err = siame("target")
    assert (status, err.count("\n")) == (2, 1), "the depths of a scan were replaced by a plain goal"
    assert "goal: there is a goal with its depths already" in err
    assert "--force" in err
    assert read_goal(tmp_path / "goal").depth is not None
    assert siame("target", "--force")[0] == 0
    assert read_goal(tmp_path / "goal").depth is None


def test_nothing_moves_before_it_is_allowed(siame: Siame, arm: Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def leave(question: str) -> str:
        asked.append(question)
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", leave)
    status, _, _ = siame("target", *SCAN)
    assert status == 130
    assert "8 places around this one, 4 cm away, turned by 3.8 deg, and back; Enter to go on" in asked[0]
    assert not arm.twists


def test_a_dry_run_shows_the_places(siame: Siame, arm: Arm, tmp_path: Path) -> None:
    status, out, err = siame("target", *SCAN, "--dry-run", "--pattern.views", 4)
    assert (status, err) == (0, "")
    assert "view 1: +40.0 +0.0 +0.0 mm in this camera's frame (not sent)" in out
    assert "nothing was sent" in out
    assert arm.dry
    assert not arm.twists
    assert not (tmp_path / "goal").exists()


def test_a_scan_that_is_stopped_has_status_1(siame: Siame, arm: Arm, tmp_path: Path) -> None:
    arm.fault = "protective stop"
    status, _, err = siame("target", *SCAN, *QUICK, "--yes")
    assert (status, err.splitlines()[-1]) == (1, "siame: scan: stopped after 0 of 4 views: protective stop")
    assert not (tmp_path / "goal" / "goal.json").exists()


def test_views_without_depth_have_status_2(siame: Siame, arm: Arm, tmp_path: Path) -> None:
    status, _, err = siame("target", *SCAN, *QUICK, "--yes", "--depth", 0.6, "--pattern.radius", 0.002)
    assert (status, err.count("\n")) == (2, 1)
    assert "too short a baseline" in err
    assert "--pattern.radius" in err
    assert not (tmp_path / "goal" / "goal.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--dry-run",), ("nothing moves without a scan", "--scan")),
        (("--scan", "--robot", "none"), ("move the robot", "--robot")),
        (("--scan", "--ros2.pose", "/p"), ("camera's place in the tool", "--hand-eye")),
        (("--scan", "--hand-eye", "hand-eye.yaml"), ("pose that the robot reports", "--ros2.pose")),
        ((*SCAN, "--pattern.radius", "0.4"), ("a circle of 0.4 m", "--pattern.radius", "--depth")),
        ((*SCAN, "--pattern.radius", "nan"), ("radius is nan", "--pattern.radius")),
        ((*SCAN, "--pattern.views", "1"), ("views is 1", "--pattern.views")),
        ((*SCAN, "--safety.reach", "0.02"), ("beyond the reach", "--safety.reach")),
        ((*SCAN, "--depths.worst", "2"), ("worst is 2", "--depths.worst")),
        ((*SCAN, "--depth", "-1"), ("--depth",)),
        (("--depth", "0"), ("a distance of 0 m", "--depth")),
        (("--depth", "nan"), ("a distance of nan m", "--depth")),
        (("--out", "photo.png"), ("photo.png: a file", "--out")),
        (("--out", "photo.png/goal"), ("photo.png/goal", "--out")),
        (("--hand-eye", "none.yaml"), ("none.yaml: no such file", "--hand-eye")),
    ],
)
def test_bad_input_gets_one_clear_line(
    siame: Siame, arm: Arm, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    status, _, err = siame("target", *arguments)
    assert (status, err.count("\n")) == (2, 1), err
    for word in words:
        assert word in err
    assert not arm.twists
