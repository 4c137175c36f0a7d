from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.servo.trajectory import Trajectory
from trajectory_helpers import trajectory_of


def test_error_norms_are_those_of_the_pose_between() -> None:
    trajectory = trajectory_of(6)
    t, r = trajectory.error_norms
    assert t.shape == r.shape == (5, 6)
    T_dc = torch.linalg.inv(trajectory.T_wd) @ trajectory.T_wc
    torch.testing.assert_close(t, T_dc[..., :3, 3].norm(dim=-1), rtol=1e-9, atol=0)
    trace = T_dc[..., 0, 0] + T_dc[..., 1, 1] + T_dc[..., 2, 2]
    torch.testing.assert_close(r.cos(), (trace - 1) / 2, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(1,), (6,)], ids=str)
@pytest.mark.parametrize("steps", [0, 4])
def test_trajectory_comes_back_as_it_was(tmp_path: Path, shape: tuple[int, ...], steps: int) -> None:
    trajectory = trajectory_of(*shape, steps=steps)
    trajectory.save(tmp_path / "runs.npz")
    again = Trajectory.load(tmp_path / "runs.npz")
    for f in dataclasses.fields(Trajectory):
        ours, theirs = getattr(trajectory, f.name), getattr(again, f.name)
        if isinstance(ours, Tensor):
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs)
        else:
            assert ours == theirs
    assert [p.name for p in tmp_path.iterdir()] == ["runs.npz"]


def test_poses_that_are_not_known_come_back(tmp_path: Path) -> None:
    trajectory = dataclasses.replace(trajectory_of(2), T_wd=torch.full((2, 4, 4), math.nan, dtype=torch.float64))
    trajectory.save(tmp_path / "runs.npz")
    assert bool(Trajectory.load(tmp_path / "runs.npz").T_wd.isnan().all())


def test_a_scene_whose_file_s_name_is_no_utf8_can_be_read_back(tmp_path: Path) -> None:
    """It was written, and then refused as a damaged file."""
    trajectory = dataclasses.replace(trajectory_of(2), settings={"scene": "caf\udce9.jpg", "law": "naïve δ"})
    trajectory.save(tmp_path / "runs.npz")
    assert Trajectory.load(tmp_path / "runs.npz").settings == {"scene": "caf?.jpg", "law": "naïve δ"}


def test_the_name_is_kept_as_given(tmp_path: Path) -> None:
    trajectory_of(2).save(tmp_path / "runs")
    assert (tmp_path / "runs").is_file()
    assert Trajectory.load(tmp_path / "runs").reason == ["settled"] * 2


def test_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.npz"
    trajectory_of(2).save(path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        dataclasses.replace(trajectory_of(2), settings={"tensor": torch.zeros(1)}).save(path)
    assert path.read_bytes() == before


def test_joined_runs_are_a_batch_that_ends_when_the_last_does() -> None:
    def made(T: int, seed: int, *batch: int) -> Trajectory:
        g = torch.Generator().manual_seed(seed)
        T_wc = lie.exp(torch.randn(T + 1, *batch, 6, generator=g, dtype=torch.float64))
        twist = torch.randn(T, *batch, 6, generator=g, dtype=torch.float64)
        active, stage = torch.ones(T, *batch, dtype=torch.bool), torch.zeros(T, *batch, dtype=torch.long)
        iterations = torch.full(batch, T)
        seconds = torch.full((T,), 0.001 * (seed + 1), dtype=torch.float64)
        return Trajectory(
            T_wc, T_wc[-1], twist, twist / 2, active, stage, iterations, [f"run {seed}"], seconds, 0.04, {"a": 1}
        )

    runs = [made(3, 0, 1), made(5, 1, 1)]
    both = Trajectory.joined(runs)
    assert both.T_wc.shape == (6, 2, 4, 4)
    assert torch.equal(both.T_wc[:4, 0], runs[0].T_wc[:, 0])
    assert torch.equal(both.T_wc[4:, 0], runs[0].T_wc[-1].expand(2, 4, 4))
    assert torch.equal(both.twist[:, 1], runs[1].twist[:, 0])
    assert float(both.twist[3:, 0].abs().max()) == 0
    assert both.active[:, 0].tolist() == [True] * 3 + [False] * 2
    assert both.stage[:, 0].tolist() == [0] * 3 + [-1] * 2
    assert both.iterations.tolist() == [3, 5]
    assert both.reason == ["run 0", "run 1"]
    torch.testing.assert_close(both.step_seconds, torch.tensor([0.0015] * 3 + [0.002] * 2, dtype=torch.float64))
