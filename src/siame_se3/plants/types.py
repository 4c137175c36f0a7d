"""The protocol of plants, a base for plants around plants, and the test that each plant must pass."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from siame_se3.errors import RobotError, require_promise
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import View


@runtime_checkable
class Plant(Protocol):
    """n cameras that obey twists; a robot is n = 1.

    Attributes:
        provides: which of image, pose (in the scene's frame), base_pose (in the robot's), depth its views have.
        dt: time between steps [s].
        camera: intrinsics of its images; None for a plant without images.
        T_tc: the camera's pose in the frame of the tool that carries it, as assumed; None where there is no tool.
    """

    @property
    def provides(self) -> frozenset[str]:
        """Which of image, pose, base_pose, depth."""

    @property
    def dt(self) -> float:
        """Time between steps [s]."""

    @property
    def camera(self) -> Camera | None:
        """Intrinsics of the images."""

    @property
    def T_tc(self) -> Float[Tensor, "4 4"] | None:
        """Camera in the tool's frame."""

    def reset(self, start: Float[Tensor, "n 4 4"] | None) -> View:
        """Put the cameras at their start (a real robot takes None and stays), at rest, and look."""

    def step(self, v: Float[Tensor, "n 6"]) -> tuple[View, Float[Tensor, "n 6"]]:
        """Obey camera-frame twists for dt; the view after it, and the twists as they were applied."""

    def stop(self) -> None:
        """Stand still, at once."""

    def close(self) -> None:
        """Let go of what the plant holds: a device, a connection, a renderer."""


@runtime_checkable
class KnowsEnded(Protocol):
    """A plant that saves work for cameras whose runs have ended."""

    def runs_ended(self, runs: Bool[Tensor, "n"]) -> None:
        """Whose runs have ended until `reset`: once they stand, their views need not be new."""


def sound(view: View) -> View:
    """A robot's view, where nothing is wrong.

    Raises:
        RobotError: something is; it is reported once, so whoever goes on without looking goes on with a fault.
    """
    if view.fault:
        raise RobotError(view.fault)
    return view


class WrappedPlant:
    """A plant around another one, which it is but for what a subclass changes.

    Args:
        plant: the one inside.
    """

    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    @property
    def provides(self) -> frozenset[str]:
        """See `Plant`."""
        return self.plant.provides

    @property
    def dt(self) -> float:
        """See `Plant`."""
        return self.plant.dt

    @property
    def camera(self) -> Camera | None:
        """See `Plant`."""
        return self.plant.camera

    @property
    def T_tc(self) -> Float[Tensor, "4 4"] | None:
        """See `Plant`."""
        return self.plant.T_tc

    def reset(self, start: Float[Tensor, "n 4 4"] | None) -> View:
        """See `Plant`."""
        return self.plant.reset(start)

    def step(self, v: Float[Tensor, "n 6"]) -> tuple[View, Float[Tensor, "n 6"]]:
        """See `Plant`."""
        return self.plant.step(v)

    def runs_ended(self, runs: Bool[Tensor, "n"]) -> None:
        """See `KnowsEnded`."""
        if isinstance(self.plant, KnowsEnded):
            self.plant.runs_ended(runs)

    def stop(self) -> None:
        """See `Plant`."""
        self.plant.stop()

    def close(self) -> None:
        """See `Plant`."""
        self.plant.close()


def check_plant(plant: Plant, start: Float[Tensor, "n 4 4"], tolerance: float = 1e-9) -> None:
    """Raise AssertionError unless the plant keeps the promises of `Plant`.

    It provides what it says, for as many cameras as there are starts; a zero twist leaves the pose as it is;
    T_wc <- T_wc exp(v dt) for what it says it applied.
    """
    require_promise(isinstance(plant, Plant), "a plant has provides, dt, camera, T_tc, reset, step, stop and close")
    view = plant.reset(start)
    require_promise(view.provides >= plant.provides, f"plant promised {set(plant.provides)}, gave {set(view.provides)}")
    require_promise(
        view.batch == (len(start),), f"plant gave views of batch {tuple(view.batch)} for {len(start)} starts"
    )
    require_promise(view.camera == plant.camera, "the view's camera is not the plant's")
    v = torch.zeros(len(start), 6, dtype=torch.float64)
    still, applied = plant.step(v)
    require_promise(applied.shape == v.shape, f"plant gave {tuple(applied.shape)} as applied, not {tuple(v.shape)}")
    require_promise(float(applied.abs().max()) == 0, "plant moved on a zero twist")
    if view.T_wc is not None and still.T_wc is not None:
        torch.testing.assert_close(still.T_wc, view.T_wc, rtol=0, atol=tolerance)
        v = v + torch.tensor([0.05, -0.03, 0.02, 0.1, 0.2, -0.3], dtype=torch.float64)
        moved, applied = plant.step(v)
        if moved.T_wc is None:
            raise AssertionError("plant gave its pose before a step, and not after it")
        torch.testing.assert_close(moved.T_wc, still.T_wc @ lie.exp(applied * plant.dt), rtol=0, atol=tolerance)
    plant.stop()
