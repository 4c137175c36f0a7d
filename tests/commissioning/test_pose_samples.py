"""Samples of easy_handeye2 and of MoveIt's calibration."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from siame_se3.commissioning.poses import read_poses
from siame_se3.errors import InputError
from siame_se3.geometry import lie

TOOL, BOARD = [0.4, -0.1, 0.5, 2.1, -2.2, 0.1], [0.02, 0.01, 0.45, 0.1, 0.2, 1.3]


def test_samples_of_easy_handeye2(tmp_path: Path) -> None:
    sample = "- robot: {translation: {x: 0.1, y: 0.2, z: 0.3}, rotation: {x: 0.0, y: 0.0, z: 0.6, w: 0.8}}\n"
    sample += "  tracking: {translation: {x: 0.0, y: 0.0, z: 0.5}, rotation: {x: 1.0, y: 0.0, z: 0.0, w: 0.0}}\n"
    (tmp_path / "a.samples").write_text("parameters: {name: ''}\nsamples:\n" + 2 * sample)
    table = read_poses(tmp_path / "a.samples")
    assert table.T_co is not None
    assert table.T_co[1].diagonal().tolist() == [1, -1, -1, 1]
    assert table.poses()[0, :3, 3].tolist() == [0.1, 0.2, 0.3]
    assert float(table.poses()[0, 1, 0]) == pytest.approx(2 * 0.6 * 0.8)
    (tmp_path / "b.yaml").write_text("samples:\n- {robot: 3}\n")
    with pytest.raises(InputError, match=r"sample 1: two poses are expected, .*'robot' and 'tracking'"):
        read_poses(tmp_path / "b.yaml")


def test_samples_of_moveit(tmp_path: Path) -> None:
    """As it emits them: a list of two matrices each, row by row."""
    path = tmp_path / "samples.yaml"
    tool, board = (lie.pose_from_vector(torch.tensor(p, dtype=torch.float64)) for p in (TOOL, BOARD))

    def sample(T: Tensor, C: Tensor) -> str:
        blocks = (
            f"{name}:\n" + "".join(f"    - {x:g}\n" for x in M.flatten().tolist())
            for name, M in zip(("effector_wrt_world", "object_wrt_sensor"), (T, C), strict=True)
        )
        return "- " + "  ".join(blocks)

    path.write_text(sample(tool, board) + sample(tool @ tool, board @ board))
    table = read_poses(path)
    assert table.T_co is not None
    torch.testing.assert_close(table.poses(), torch.stack((tool, tool @ tool)), rtol=0, atol=1e-5)
    torch.testing.assert_close(table.T_co, torch.stack((board, board @ board)), rtol=0, atol=1e-5)
    path.write_text(sample(tool, board) + sample(tool.mT, board))
    with pytest.raises(InputError, match=r"sample 2: effector_wrt_world has a last row .*row by row"):
        read_poses(path)
    path.write_text(sample(1.2 * tool + torch.diag(torch.tensor([0.0, 0, 0, -0.2])), board))
    with pytest.raises(InputError, match="sample 1: effector_wrt_world is no rotation"):
        read_poses(path)
    path.write_text(sample(tool, board).replace("object_wrt_sensor", "object"))
    with pytest.raises(InputError, match="sample 1: two poses are expected"):
        read_poses(path)
    path.write_text(sample(tool, board).replace(f"{float(tool[0, 3]):g}", ".nan"))
    with pytest.raises(InputError, match=r"sample 1: a pose that cannot be read \(not finite\)"):
        read_poses(path)
    path.write_text("[]\n")
    with pytest.raises(InputError, match="no samples; give easy_handeye2's samples, or those that MoveIt's"):
        read_poses(path)
