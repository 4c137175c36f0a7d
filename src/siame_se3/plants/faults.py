"""What goes wrong with cameras and laws, put on any plant or controller for tests: see docs/safety.md."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.laws.types import Controller, Law, Output, State, View
from siame_se3.plants.types import Plant, WrappedPlant

CAMERA_FAULTS = ("stops", "freezes", "flickers", "black", "late", "occluded")
ROBOT_FAULTS = ("carried", "pose NaN", "applied NaN")


class FaultyCamera(WrappedPlant):
    """A plant whose camera fails at a moment.

    Args:
        plant: the sound one, whose views have images.
        kind: 'stops': no image comes any more, the last one grows old. 'freezes': images come, always the same.
            'flickers': so, but for one pixel that changes, as a clock in the picture does. 'black'. 'late': images come `late` s late,
            and say so. 'occluded': a hand covers `covered` of the view.
        at: from this time after the reset on [s].
        late: see above [s]. covered: share of the view.
    """

    def __init__(
        self,
        plant: Plant,
        kind: Literal["stops", "freezes", "flickers", "black", "late", "occluded"],
        at: float,
        late: float = 0.3,
        covered: float = 0.6,
    ) -> None:
        if kind not in CAMERA_FAULTS:
            raise InputError(f"fault '{kind}': use one of {', '.join(CAMERA_FAULTS)}")
        super().__init__(plant)
        self.kind, self.at, self.late, self.covered = kind, at, late, covered
        self.time = 0.0
        self._past: deque[View] = deque(maxlen=round(late / plant.dt) + 1)

    def reset(self, start: Float[Tensor, "n 4 4"] | None) -> View:
        """See `Plant`."""
        self.time = 0.0
        self._past.clear()
        return self._seen(self.plant.reset(start))

    def step(self, v: Float[Tensor, "n 6"]) -> tuple[View, Float[Tensor, "n 6"]]:
        """See `Plant`."""
        view, applied = self.plant.step(v)
        self.time += self.dt
        return self._seen(view), applied

    def _seen(self, view: View) -> View:
        assert view.image is not None
        failing = self.time >= self.at - 1e-9
        if not failing or self.kind == "late":
            self._past.append(view)
        if not failing:
            return view
        last = self._past[-1 if self.kind != "late" else 0] if self._past else view
        if self.kind == "stops":
            return replace(view, image=last.image, age=last.age + self.time - self.at + self.dt)
        if self.kind == "freezes":
            return replace(view, image=last.image)
        if self.kind == "flickers":
            assert last.image is not None
            image = last.image.clone()
            image[..., 0, 0] = 0.5 * (round(self.time / self.dt) % 2)
            return replace(view, image=image)
        if self.kind == "late":
            return replace(view, image=last.image, age=view.age + (len(self._past) - 1) * self.dt)
        if self.kind == "black":
            return replace(view, image=torch.zeros_like(view.image))
        h, w = view.image.shape[-2:]
        image = view.image.clone()
        skin = image.new_tensor([0.75, 0.55, 0.45])[:, None, None]
        image[..., : round(self.covered * w)] = skin * (1 + 0.05 * torch.sin(torch.arange(h) / 9.0))[:, None]
        return replace(view, image=image)


class FaultyRobot(WrappedPlant):
    """A plant whose robot fails at a moment.

    Args:
        plant: the sound one, which measures its pose.
        kind: 'carried': the camera moves by `drift` on top of what is commanded. 'pose NaN', 'applied NaN': the robot reports a pose, or a
            motion, that is not finite.
        at: from this time after the reset on [s].
        drift: camera-frame twist [m/s, rad/s].
    """

    def __init__(
        self,
        plant: Plant,
        kind: Literal["carried", "pose NaN", "applied NaN"],
        at: float,
        drift: tuple[float, ...] = (0.0, 0.2, 0.0, 0.0, 0.0, 0.0),
    ) -> None:
        if kind not in ROBOT_FAULTS:
            raise InputError(f"fault '{kind}': use one of {', '.join(ROBOT_FAULTS)}")
        super().__init__(plant)
        self.kind, self.at, self.drift, self.time = kind, at, drift, 0.0

    def reset(self, start: Float[Tensor, "n 4 4"] | None) -> View:
        """See `Plant`."""
        self.time = 0.0
        return self.plant.reset(start)

    def step(self, v: Float[Tensor, "n 6"]) -> tuple[View, Float[Tensor, "n 6"]]:
        """See `Plant`."""
        failing = self.time >= self.at - 1e-9
        self.time += self.dt
        if not failing:
            return self.plant.step(v)
        if self.kind == "carried":
            return self.plant.step(v + v.new_tensor(self.drift))
        view, applied = self.plant.step(v)
        if self.kind == "applied NaN":
            return view, applied * torch.nan
        assert view.T_wc is not None
        return replace(view, T_wc=view.T_wc * torch.nan), applied


@dataclass(frozen=True)
class FaultyLaw:
    """A controller whose law gives NaN from the n-th iteration on."""

    controller: Controller
    at: int

    @property
    def needs(self) -> frozenset[str]:
        """See `Controller`."""
        return self.controller.needs

    def aim(self, target: View) -> tuple[Law, FaultyState]:
        """See `Controller`."""
        law, state = self.controller.aim(target)
        (n,) = target.batch
        return _FaultyLaw(law), FaultyState(state, torch.full((n,), self.at))


@dataclass(frozen=True, eq=False)
class FaultyState(State):
    """The sound law's state, and how many sound iterations are left, of each run."""

    state: Any
    left: Int[Tensor, "n"]


@dataclass(frozen=True)
class _FaultyLaw:
    law: Law

    def __call__(self, view: View, state: FaultyState) -> tuple[Output, FaultyState]:
        """The law's, or NaN."""
        output, after = self.law(view, state.state)
        v = torch.where(state.left[:, None] > 0, output.v, torch.nan)
        return replace(output, v=v), FaultyState(after, state.left - 1)
