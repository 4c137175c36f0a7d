"""Laws of 48 px that stop early, networks that train in a moment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from boxes_helpers import Room, poses
from rgbd_helpers import CAMERA, Views
from siame_se3.experiments import kept_cells, laws, perturb, runner, table1, wide
from siame_se3.experiments.laws import LAWS
from siame_se3.networks import engines
from siame_se3.training import driver


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """In all experiments."""
    few = {name: replace(law, size=48, iterations=7) for name, law in LAWS.items()}
    for module in (laws, runner, kept_cells, table1, perturb, wide):
        monkeypatch.setattr(module, "LAWS", few)
    monkeypatch.setattr(driver, "steps_in", lambda *rest: (2, None))
    # OpenVINO's conversion of each of these networks would take longer than all else here
    monkeypatch.setattr(engines, "engine_for", lambda network, engine="auto": engines.TorchEngine(network))


@pytest.fixture(scope="session")
def room() -> Views:
    """Four views of boxes, 2 to 15 cm apart; the first has a hole in its depth."""
    seen = [Room().look(CAMERA, T) for T in poses(4)]
    seen[0][1][10:20, 10:30] = np.nan
    return seen
