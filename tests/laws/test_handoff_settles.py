"""When the coarse part of a hand-off has come to rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from siame_se3.laws.handoff import Handoff
from siame_se3.laws.types import Law, Output, State, View


@dataclass(frozen=True, eq=False)
class Turn(State):
    turn: Tensor


@dataclass(frozen=True)
class Asks:
    """A law that asks for these motions along x, one an iteration [m]; None: it has no velocity."""

    motions: tuple[float | None, ...]
    needs = frozenset({"image"})

    def aim(self, target: View) -> tuple[Law, State]:
        return self.law, Turn(torch.zeros(*target.batch, dtype=torch.long))

    def law(self, view: View, state: Any) -> tuple[Output, State]:
        motion = self.motions[min(int(state.turn[0]), len(self.motions) - 1)]
        v = torch.zeros(len(state.turn), 6, dtype=torch.float64)
        v[:, 0] = motion or 0.0
        fault = "too few matches" if motion is None else ""
        return Output.of(v, (fault,) * len(v), torch.zeros(len(v))), Turn(state.turn + 1)


def goes_over(motions: list[float | None], distance: float | None = 0.6) -> int | None:
    """The iteration at which it hands over."""
    depth = None if distance is None else torch.tensor([distance], dtype=torch.float64)
    view = View(torch.rand(1, 3, 8, 8), depth=depth)
    law, state = Handoff(Asks(tuple(motions)), Asks((1e-3,))).aim(view)
    for k in range(len(motions) + 1):
        output, state = law(view, state)
        if int(output.stage[0]) == 1:
            return k
    return None


def falling(ratio: float, n: int) -> list[float | None]:
    return [0.3 * ratio**k for k in range(n)]


def test_a_fault_on_the_way_is_no_rest() -> None:
    """Zero was the smallest motion from then on: it handed over as soon as 5 cm were left."""
    whole = falling(0.9, 60)
    assert goes_over([*whole[:5], None, *whole[5:]]) == goes_over(whole) + 1  # type: ignore[operator]  # it does
    assert goes_over([0.3, None, None, None, None, None, None]) is None


@pytest.mark.parametrize("ratio", [0.98, 0.985])
def test_a_slow_approach_is_no_rest(ratio: float) -> None:
    """A gain of 2 at 100 Hz, or a slow robot: it handed over at 5 cm, still on its way."""
    motions = falling(ratio, 500)
    k = goes_over(motions)
    assert k is not None
    assert motions[k] < 0.1 * 0.05  # type: ignore[operator]  # of near_t


def test_what_trembles_rests() -> None:
    motions: list[float | None] = [0.02 * (1 + 0.05 * (-1) ** k) for k in range(40)]
    k = goes_over(motions)
    assert k is not None
    assert k < 15


@pytest.mark.parametrize(("distance", "over"), [(0.6, True), (0.15, False), (3.0, True)])
def test_lengths_go_with_the_distance(distance: float, over: bool) -> None:
    """Four centimetres are much at 15 cm."""
    assert (goes_over([0.04] * 30, distance) is not None) == over


def test_far_away_a_decimetre_is_little() -> None:
    assert goes_over([0.2] * 30, 3.0) is not None
    assert goes_over([0.2] * 30, 0.6) is None
