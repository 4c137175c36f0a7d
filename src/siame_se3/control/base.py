"""The two protocols of control, and the test that each law must pass."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.view import View


@runtime_checkable
class Law(Protocol):
    """Velocity of the camera from what it sees now, at gain 1. Pure: the same view gives the same velocity."""

    def __call__(self, view: View) -> Float[Tensor, "*B 6"]:
        """v = (v, omega) in the current camera frame [m/s, rad/s]."""

    def __getitem__(self, index: Any) -> Law:
        """The law of some runs of the batch."""


@runtime_checkable
class Controller(Protocol):
    """A way to servo: makes a Law for a desired view.

    Attributes:
        needs: which of image, pose, depth a view must have; `servo` refuses a plant that does not provide them.
    """

    needs: frozenset[str]

    def aim(self, target: View) -> Law:
        """Compute what depends on the desired view alone, once."""


def check_law(controller: Controller, target: View, view: View, zero_at_goal: float | None = 1e-6) -> None:
    """Raise AssertionError unless the law keeps the house's promises on this input.

    Shape (*B, 6); finite; pure; a subset of the batch gives the subset of the velocities; zero at the goal (within
    `zero_at_goal`, None to skip) where the view is the target.
    """
    law = controller.aim(target)
    v = law(view)
    batch = next(x for x in (view.T_wc, view.image, view.depth) if x is not None)
    shape = batch.shape[: -2 if view.T_wc is not None else -3] if batch is not view.depth else batch.shape
    assert v.shape == (*shape, 6), f"law gave {tuple(v.shape)}, not {(*shape, 6)}"
    assert bool(torch.isfinite(v).all()), "law gave a velocity that is not finite"
    assert torch.equal(v, law(view)), "law is not pure: the same view gave two velocities"
    if shape:
        index = torch.arange(shape[0])[::2]
        torch.testing.assert_close(law[index](view[index]), v[index], rtol=1e-4, atol=1e-5)
    if zero_at_goal is not None:
        at_goal = law(target)
        assert float(at_goal.abs().max()) <= zero_at_goal, f"law commands {float(at_goal.abs().max()):.2e} at the goal"
