"""Poses above a print: square to it, near there, and spread widely."""

from __future__ import annotations

import torch
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.laws.types import Controller, Output, View

AWAY = torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=torch.float64))  # turns a camera to look the other way


def frontal(distance: float) -> Tensor:
    """One camera, square to the print."""
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -distance
    return T


def above(*shape: int) -> Tensor:
    """Cameras 0.6 m above the print, square to it."""
    return frontal(0.6).repeat(*shape, 1, 1)


def _spread(sigma: list[float], *shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    p = torch.randn(*shape, 6, generator=generator, dtype=torch.float64)
    return lie.pose_from_vector(p * torch.tensor(sigma, dtype=torch.float64))


def near(*shape: int, spread: float = 1.0, seed: int = 0) -> Tensor:
    """About 1.5 cm and 2 deg from above, at spread 1."""
    return above(*shape) @ _spread([0.01 * spread] * 3 + [0.02 * spread] * 3, *shape, seed=seed)


def around(*shape: int, seed: int = 0, distance: float = 0.6) -> Tensor:
    """Views of which most see the print and some of its border."""
    return frontal(distance) @ _spread([0.1, 0.1, 0.1, 0.2, 0.2, 0.5], *shape, seed=seed)


def ask(controller: Controller, target: View, view: View) -> Output:
    """What a law gives at its first iteration, of views with any batch axes, which become one."""
    law, state = controller.aim(target.flat())
    return law(view.flat(), state)[0]


def velocity(controller: Controller, target: View, view: View) -> Tensor:
    """Its velocities, with the view's batch axes."""
    return ask(controller, target, view).v.reshape(*view.batch, 6)
