"""What the tests of trajectories share: random ones, the arrays of their files, and how a file is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from siame_se3.errors import InputError, SiameError
from siame_se3.geometry import lie
from siame_se3.servo.trajectory import Trajectory

SETTINGS = {"law": "pbvs", "servo": {"gain": 5.0}, "camera": None, "note": "naïve, 漢字"}


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trajectory_of(*shape: int, steps: int = 4) -> Trajectory:
    n = math.prod(shape)
    return Trajectory(
        T_wc=lie.exp(randn(steps + 1, *shape, 6)),
        T_wd=lie.exp(randn(*shape, 6, seed=1)),
        twist=randn(steps, *shape, 6, seed=2),
        applied=randn(steps, *shape, 6, seed=3),
        active=randn(steps, *shape, seed=4) > 0,
        stage=(randn(steps, *shape, seed=6) > 0).long(),
        iterations=torch.arange(n).reshape(shape),
        reason=["settled"] * n,
        step_seconds=randn(steps, seed=5).abs(),
        dt=0.04,
        settings=SETTINGS,
    )


def assert_refused(path: Path) -> None:
    with pytest.raises(SiameError) as caught:
        Trajectory.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {k: file[k] for k in file.files}


def refusal(path: Path) -> str:
    assert_refused(path)
    with pytest.raises(InputError) as caught:
        Trajectory.load(path)
    return str(caught.value)
