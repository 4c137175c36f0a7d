"""The protocol of plants, and the test that each must pass."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.laws.types import View


@runtime_checkable
class Plant(Protocol):
    """A camera (or a batch of them) that obeys twists.

    Attributes:
        provides: which of image, pose, depth its views have.
        dt: time between steps [s].
    """

    provides: frozenset[str]
    dt: float

    def reset(self, start: Float[Tensor, "*B 4 4"] | None) -> View:
        """Put the cameras at their start (a real robot takes None and stays) and look."""

    def step(self, v: Float[Tensor, "*B 6"]) -> tuple[View, Float[Tensor, "*B 6"]]:
        """Apply camera-frame twists for dt; the view after it, and the twists as they were applied."""

    def stop(self) -> None:
        """Stand still, at once."""


def check_plant(plant: Plant, start: Float[Tensor, "*B 4 4"], tolerance: float = 1e-9) -> None:
    """Raise AssertionError unless the plant keeps the house's promises.

    It provides what it says; a zero twist leaves the view as it is; T_wc <- T_wc exp(v dt) for what it says it applied.
    """
    view = plant.reset(start)
    assert view.provides >= plant.provides, f"plant promised {set(plant.provides)}, gave {set(view.provides)}"
    v = torch.zeros(*start.shape[:-2], 6, dtype=torch.float64)
    still, applied = plant.step(v)
    assert float(applied.abs().max()) == 0, "plant moved on a zero twist"
    if view.T_wc is not None and still.T_wc is not None:
        torch.testing.assert_close(still.T_wc, view.T_wc, rtol=0, atol=tolerance)
        v = v + torch.tensor([0.05, -0.03, 0.02, 0.1, 0.2, -0.3], dtype=torch.float64)
        moved, applied = plant.step(v)
        assert moved.T_wc is not None
        torch.testing.assert_close(moved.T_wc, still.T_wc @ lie.exp(applied * plant.dt), rtol=0, atol=tolerance)
    plant.stop()
