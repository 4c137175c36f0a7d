"""The checks of laws, plants and scenes hold under `python -O` too, where `assert` does nothing."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from siame_se3.laws import types as laws
from siame_se3.laws.types import Output, State, View
from siame_se3.plants import types as plants
from siame_se3.scenes import types as scenes

ONE = torch.eye(4, dtype=torch.float64)[None]


def optimised(module: ModuleType) -> dict[str, Any]:
    """What a module defines under -O."""
    names: dict[str, Any] = {"__name__": module.__name__}
    path = Path(str(module.__file__))
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec", optimize=1), names)
    return names


class Wrong:
    """A law that commands something at the goal; a plant, and a scene, that is none."""

    name, width, height = "wrong", 0.0, 0.0
    needs = frozenset({"pose"})

    def aim(self, target: View) -> tuple[Any, Any]:
        return lambda view, state: (Output.of(torch.ones(*view.batch, 6)), state), State()


@pytest.mark.parametrize(
    ("module", "check", "given", "line"),
    [
        (laws, "check_law", (View(T_wc=ONE), View(T_wc=ONE)), "at the goal"),
        (plants, "check_plant", (ONE,), "a plant has provides"),
        (scenes, "check_scene", (ONE,), "an extent of 0"),
    ],
)
def test_checks_refuse_under_o(module: ModuleType, check: str, given: tuple[Any, ...], line: str) -> None:
    for names in (vars(module), optimised(module)):
        with pytest.raises(AssertionError, match=line):
            names[check](Wrong(), *given)


def test_a_plant_that_loses_its_pose_is_refused() -> None:
    view = View(T_wc=ONE)
    views = iter([view, view, View(image=torch.zeros(1, 3, 4, 4))])
    plant = SimpleNamespace(
        provides=frozenset(),
        dt=0.04,
        camera=None,
        T_tc=None,
        reset=lambda start: next(views),
        step=lambda v: (next(views), v),
        stop=lambda: None,
        close=lambda: None,
    )
    with pytest.raises(AssertionError, match="gave its pose before a step"):
        plants.check_plant(plant, ONE)
