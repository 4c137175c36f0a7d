"""siame servo over scenes with depth."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from siame_se3 import cli
from siame_se3.commissioning import scan
from siame_se3.plants.arm import ArmPlant
from siame_se3.servo.safety import Safety
from siame_se3.servo.trajectory import Trajectory

PHOTO = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
SERVO = ["servo", "--law", "pbvs", "--runs", "2", "--scene", str(PHOTO), "--fov", "40"]


def servo(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([*SERVO, *arguments])
    return int(ended.value.code or 0)


@pytest.mark.slow
@pytest.mark.parametrize("depth", ["map", "camera", "plane"])
def test_drawn_relief(depth: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert servo("--relief", "0.2", "--depth", depth, "--save", str(tmp_path / "runs.npz")) == 0
    assert "100.0 %" in capsys.readouterr().out
    assert Trajectory.load(tmp_path / "runs.npz").settings["depth"] == depth


@pytest.mark.slow
def test_height_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "map.npy", 0.05 * np.random.default_rng(0).random((20, 30)))
    assert servo("--heights", str(tmp_path / "map.npy"), "--depth", "map") == 0
    assert "mm high" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--relief", "1"], ("relief 1", "(--relief)")),
        (["--relief", "nan"], ("relief nan", "(--relief)")),
        (["--relief", "0.1", "--heights", "map.npy"], ("give one of them", "(--heights, --relief)")),
        (["--tallest", "0.1"], ("no map", "(--heights)")),
        (["--heights", "no-such.npy"], ("no-such.npy: no such file",)),
        (["--heights", str(PHOTO)], ("the height of its highest place", "(--tallest)")),
        (["--depth-camera.noise", "-1", "--depth", "camera"], ("noise", "--depth-camera.noise")),
        (["--relief", "0.1", "--depth", "scan"], ("depth scan", "--plant arm", "(--depth)")),
        (["--scene", "relief", "--relief", "0.1"], ("heights go under a photo", "(--relief)")),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert servo(*arguments) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in words), err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.slow
def test_an_arm_scans_each_goal_before_it_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, Safety, Tensor]] = []

    def scanned(plant: ArmPlant, distance: float, *, safety: Safety, start: Tensor) -> SimpleNamespace:
        asked.append((distance, safety, start))
        return SimpleNamespace(goal=plant.look(start))

    monkeypatch.setattr(scan, "scan", scanned)
    runs = tmp_path / "runs.npz"
    arm = ("--plant", "arm", "--relief", "0.2", "--depth", "scan", "--safety.drift", "0.3")
    assert servo(*arm, "--distance", "0.55", "--save", str(runs)) == 0
    trajectory = Trajectory.load(runs)
    assert trajectory.settings["not_scanned"] == []
    assert [(distance, safety.drift) for distance, safety, _ in asked] == [(0.55, 0.3)] * 2
    torch.testing.assert_close(torch.cat([start for *_, start in asked]), trajectory.T_wd, atol=1e-3, rtol=0)
