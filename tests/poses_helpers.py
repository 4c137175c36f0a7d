"""Poses above a print, and near there: for the tests of photometric laws."""

from __future__ import annotations

import torch
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.laws.types import Controller, Output, View


def above(*shape: int) -> Tensor:
    T = torch.eye(4, dtype=torch.float64).repeat(*shape, 1, 1)
    T[..., 2, 3] = -0.6
    return T


def near(*shape: int, spread: float = 1.0, seed: int = 0) -> Tensor:
    """About 1.5 cm and 2 deg from above, at spread 1."""
    sigma = torch.tensor([0.01] * 3 + [0.02] * 3, dtype=torch.float64) * spread
    generator = torch.Generator().manual_seed(seed)
    return above(*shape) @ lie.pose_from_vector(
        torch.randn(*shape, 6, generator=generator, dtype=torch.float64) * sigma
    )


def ask(controller: Controller, target: View, view: View) -> Output:
    """What a law gives at its first iteration, of views with any batch axes, which become one."""
    law, state = controller.aim(target.flat())
    return law(view.flat(), state)[0]


def velocity(controller: Controller, target: View, view: View) -> Tensor:
    """Its velocities, with the view's batch axes."""
    return ask(controller, target, view).v.reshape(*view.batch, 6)
