"""How far 'siame live' takes the scene to be: what the goal's folder says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from cli_helpers import Siame
from siame_se3.cli.robot import Robot
from siame_se3.commissioning.goal_folder import Goal, write_goal
from siame_se3.geometry.camera import Camera
from siame_se3.laws.photometric import DVS
from siame_se3.laws.types import View


@pytest.mark.parametrize(
    ("map_", "given", "plane", "goal"),
    [(None, (), 0.15, 0.15), (None, ("--goal-depth", "0.3"), 0.3, 0.3), (0.25, (), 0.25, None)],
    ids=["number", "overridden", "scanned"],
)
def test_live_takes_the_distance_of_a_goals_folder(
    siame: Siame,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    map_: float | None,
    given: tuple[str, ...],
    plane: float,
    goal: float | None,
) -> None:
    """It was 0.6 m whatever the folder said, and translations four times too large."""
    camera = Camera.from_focal(60, 48)
    image = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0))
    depth = None if map_ is None else torch.full((48, 48), map_)
    write_goal(tmp_path / "goal", Goal(image, camera, 0.15, depth))
    picture = (255 * image).byte().permute(1, 2, 0).numpy()
    for k in range(20):
        cv2.imwrite(str(tmp_path / f"{k:03d}.png"), np.ascontiguousarray(picture))
    camera.to_yaml(tmp_path / "camera.yaml")
    aimed: list[View] = []
    seen: list[float] = []
    aim = DVS.aim

    def noting(self: Any, target: View) -> Any:
        aimed.append(target)
        return aim(self, target)

    opened = Robot.open

    def opening(self: Robot, closing: Any, distance: float, *more: Any) -> Any:
        seen.append(distance)
        return opened(self, closing, distance, *more)

    monkeypatch.setattr(DVS, "aim", noting)
    monkeypatch.setattr(Robot, "open", opening)
    words = ["--robot", "none", "--dry-run", "--camera-source", "opencv", "--source", "%03d.png", "--target", "goal"]
    words += ["--start", "--law", "dvs", "--max-iterations", "2", "--safety.max-age", "60", "--camera", "camera.yaml"]
    status, _, err = siame("live", *words, *given)
    assert status in (0, 1), err
    assert seen == [pytest.approx(plane)]
    target = aimed[0]
    assert target.distance is not None
    assert float(target.distance) == pytest.approx(goal or plane)
    assert (target.depth_map is not None) == (map_ is not None)
