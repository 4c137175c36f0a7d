"""How sure a law was, in files of trajectories and in joined ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from siame_se3.errors import InputError
from siame_se3.servo.trajectory import Trajectory
from trajectory_helpers import arrays_of, randn, trajectory_of


def sure_trajectory(n: int = 3, steps: int = 4, seed: int = 7) -> Trajectory:
    """With confidences and covariances, of which one run's is not known."""
    root = randn(n, 6, 6, seed=seed)
    covariance = root @ root.mT
    covariance[0] = torch.nan
    confidence = randn(steps, n, seed=seed + 1).float()
    confidence[-1, 0] = torch.nan
    return dataclasses.replace(trajectory_of(n, steps=steps), confidence=confidence, covariance=covariance)


def test_how_sure_a_law_was_comes_back(tmp_path: Path) -> None:
    saved = sure_trajectory()
    saved.save(tmp_path / "runs.npz")
    again = Trajectory.load(tmp_path / "runs.npz")
    for name in ("confidence", "covariance"):
        ours, theirs = getattr(saved, name), getattr(again, name)
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(theirs, ours, rtol=0, atol=0, equal_nan=True)


def test_files_without_it_are_those_of_before(good: Path) -> None:
    """A law that says nothing adds nothing to the file, and a file of an older version, which has neither, is read."""
    assert not {"confidence", "covariance"} & set(arrays_of(good))
    again = Trajectory.load(good)
    assert again.confidence is None
    assert again.covariance is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("confidence", np.zeros((4, 2), np.float32), "confidence of shape"),
        ("confidence", np.zeros((4, 3), np.int64), "confidence of type"),
        ("confidence", np.full((4, 3), 1e9, np.float32), "confidence beyond"),
        ("covariance", np.zeros((3, 6)), "covariance of shape"),
        ("covariance", -np.eye(6)[None].repeat(3, 0), "variances below 0"),
        ("covariance", 1e9 * np.eye(6)[None].repeat(3, 0), "covariance beyond"),
    ],
)
def test_nonsense_of_how_sure_it_was_is_refused(
    tmp_path: Path, bad: Path, name: str, value: np.ndarray, words: str
) -> None:
    sure_trajectory().save(tmp_path / "sure.npz")
    arrays = arrays_of(tmp_path / "sure.npz")
    arrays[name] = value
    np.savez(bad, **arrays)  # type: ignore[arg-type]  # names of arrays
    with pytest.raises(InputError, match=words):
        Trajectory.load(bad)


def test_joined_runs_keep_how_sure_they_were() -> None:
    first = dataclasses.replace(sure_trajectory(1, 3), reason=["a"])
    second, silent = sure_trajectory(1, 5, seed=20), trajectory_of(1, steps=2)
    both = Trajectory.joined([first, silent, second])
    assert first.confidence is not None
    assert second.confidence is not None
    assert both.confidence is not None
    assert both.covariance is not None
    torch.testing.assert_close(both.confidence[:3, 0], first.confidence[:, 0], rtol=0, atol=0, equal_nan=True)
    assert bool(both.confidence[3:, 0].isnan().all())
    assert bool(both.confidence[:, 1].isnan().all())
    torch.testing.assert_close(both.confidence[:, 2], second.confidence[:, 0], rtol=0, atol=0, equal_nan=True)
    assert both.covariance.shape == (3, 6, 6)
    assert bool(both.covariance[1].isnan().all())
    assert Trajectory.joined([silent, silent]).confidence is None
