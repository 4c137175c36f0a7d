"""What laws take and give: View, State, Output; the protocols Law and Controller; and `check_law`, the test that each law must pass.

    law, state = controller.aim(target)   # once: S(I*), the desired interaction matrix, ...
    output, state = law(view, state)      # at each iteration; output.v (N, 6): camera frame, m/s and rad/s, at gain 1

A law is pure, with one batch axis: a row of each tensor is a run. What belongs to a run, its goal and its memory, is in the state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from siame_se3.errors import LawError, require_promise
from siame_se3.geometry.camera import Camera


@dataclass(frozen=True)
class View:
    """One image a run and what else the plant knows; None where it does not.

    Attributes:
        image: RGB in [0, 1].
        T_wc: camera pose, camera to the scene's world [m].
        depth: along z [m]: a number a run, that of the image's middle (all that a plane square to the view needs), or a map, that of each pixel's
            centre, NaN where it is not known.
        camera: intrinsics of the image.
        age: of the image, from the shutter to when the view was handed out [s].
        fault: what is wrong by the plant's own report, such as a joint near its limit; '' for nothing.
        T_bc: camera pose, camera to the robot's base [m]: not the scene's world, which a robot does not know.
        time: when the view was handed out, by the plant's clock [s]; None for a plant whose time is the number of its steps.
    """

    image: Float[Tensor, "*B 3 h w"] | None = None
    T_wc: Float[Tensor, "*B 4 4"] | None = None
    depth: Float[Tensor, "*B"] | Float[Tensor, "*B h w"] | None = None
    camera: Camera | None = None
    age: float = 0.0
    fault: str = ""
    T_bc: Float[Tensor, "*B 4 4"] | None = None
    time: float | None = None

    @property
    def provides(self) -> frozenset[str]:
        """Which of image, pose, base_pose, depth are there."""
        given = {"image": self.image, "pose": self.T_wc, "depth": self.depth, "base_pose": self.T_bc}
        return frozenset(name for name, value in given.items() if value is not None)

    @property
    def depth_map(self) -> Float[Tensor, "*B h w"] | None:
        """The depth of each pixel; None where there is none, or one number for all."""
        return self.depth if self.depth is not None and self._own_depth else None

    @property
    def distance(self) -> Float[Tensor, "*B"] | None:
        """The depth as a number a run: of a map, the median of what is known of the image's middle ninth, else of all; NaN where nothing is."""
        if self.depth is None or not self._own_depth:
            return self.depth
        h, w = self.depth.shape[-2:]
        known = self.depth.masked_fill(~((self.depth > 0) & self.depth.isfinite()), torch.nan)
        middle = known[..., h // 3 : h - h // 3, w // 3 : w - w // 3].flatten(-2).nanmedian(-1).values
        return torch.where(middle.isnan(), known.flatten(-2).nanmedian(-1).values, middle)

    @property
    def _own_depth(self) -> int:
        """Axes of `depth` that are not the batch's: 2 of a map, 0 of numbers."""
        if self.depth is None:
            return 0
        for value, own in ((self.image, 3), (self.T_wc, 2), (self.T_bc, 2)):
            if value is not None:
                return self.depth.ndim - (value.ndim - own)
        return 0

    @property
    def batch(self) -> torch.Size:
        """Batch axes.

        Raises:
            LawError: an empty view.
        """
        for value, own in ((self.image, 3), (self.T_wc, 2), (self.T_bc, 2), (self.depth, 0)):
            if value is not None:
                return value.shape[: value.ndim - own]
        raise LawError("a view without image, pose and depth; give it one of them")

    def flat(self) -> View:
        """The same with one batch axis; without any, one of length 1."""
        n = math.prod(self.batch)

        def shaped(value: Tensor | None, own: int) -> Tensor | None:
            return None if value is None else value.reshape(n, *value.shape[value.ndim - own :])

        return replace(
            self,
            image=shaped(self.image, 3),
            T_wc=shaped(self.T_wc, 2),
            depth=shaped(self.depth, self._own_depth),
            T_bc=shaped(self.T_bc, 2),
        )

    def of(self, runs: Int[Tensor, "k"]) -> View:
        """The views of some runs, by their numbers in rising order; without a copy where these are all.

        A copy of one image is enough to wake PyTorch's threads, which then hold up OpenVINO's for a millisecond.
        """
        return self if len(runs) == self.batch[0] else self[runs]

    def __getitem__(self, index: Any) -> View:
        image, T_wc, depth, T_bc = (
            None if x is None else x[index] for x in (self.image, self.T_wc, self.depth, self.T_bc)
        )
        return replace(self, image=image, T_wc=T_wc, depth=depth, T_bc=T_bc)


AnyState = TypeVar("AnyState", bound="State")


@dataclass(frozen=True, eq=False)
class State:
    """What belongs to the runs of a law: a dataclass whose fields are tensors with one row a run, tuples with one entry a run, other
    states, or None; those of FIXED may be anything that gives the rows of some runs by its index.

    Attributes:
        FIXED: fields that depend on the goal alone: a law never changes them.
        CACHED: fields that can be made again from the others: they are dropped where the runs change.
    """

    FIXED: ClassVar[frozenset[str]] = frozenset()
    CACHED: ClassVar[frozenset[str]] = frozenset()

    def __getitem__(self: AnyState, runs: Tensor | slice) -> AnyState:
        """The state of some runs, in that order."""

        def rows(value: Any) -> Any:
            if value is None:
                return None
            if isinstance(value, tuple):
                return value[runs] if isinstance(runs, slice) else tuple(value[k] for k in runs.tolist())
            return value[runs]

        kept = {f.name: rows(getattr(self, f.name)) for f in fields(self) if f.name not in self.CACHED}
        return type(self)(**kept)

    def put(self: AnyState, runs: Int[Tensor, "k"], part: AnyState) -> AnyState:
        """This state with `part`, that of some runs, in their places."""

        def placed(value: Any, new: Any) -> Any:
            if value is None:
                return None
            if isinstance(value, State):
                return value.put(runs, new)
            if isinstance(value, tuple):
                entries = dict(zip(runs.tolist(), new, strict=True))
                return tuple(entries.get(k, old) for k, old in enumerate(value))
            return value.index_put((runs,), new)

        names = {f.name for f in fields(self)} - self.FIXED - self.CACHED
        changed = {name: placed(getattr(self, name), getattr(part, name)) for name in names}
        return replace(self, **changed, **dict.fromkeys(self.CACHED))


@dataclass(frozen=True, eq=False)
class Output:
    """What a law gives at one iteration.

    Attributes:
        v: velocity (v, omega) in the current camera frame at gain 1 [m/s, rad/s]; zero where there is a fault.
        faults: of each run, why it has no valid velocity; '' where it has one.
        stage: which part of a law made of several gave the velocity, 0 for the first.
        cost: what the law minimises, of each run, where there is such a thing.
        confidence: of each run, the chance that what the law takes for the goal's place is it; None of laws that do not know.
    """

    v: Float[Tensor, "n 6"]
    faults: tuple[str, ...]
    stage: Int[Tensor, "n"]
    cost: Float[Tensor, "n"] | None = None
    confidence: Float[Tensor, "n"] | None = None

    @staticmethod
    def of(v: Float[Tensor, "n 6"], faults: tuple[str, ...] | None = None, cost: Tensor | None = None) -> Output:
        """Of a law with one stage; no faults where none are given."""
        return Output(v, ("",) * len(v) if faults is None else faults, torch.zeros(len(v), dtype=torch.long), cost)


@runtime_checkable
class Law(Protocol):
    """Velocities of n runs from what their cameras see now, at gain 1. Pure: the same view and state give the same output."""

    def __call__(self, view: View, state: Any) -> tuple[Output, Any]:
        """The output, and the state of the next iteration."""


@runtime_checkable
class Controller(Protocol):
    """A way to servo: gives a law and its state for desired views.

    Attributes:
        needs: which of image, pose, depth a view must have; `servo` refuses a plant that does not provide them. A law that needs the
            pose needs it in the scene's frame (T_wc).
    """

    @property
    def needs(self) -> frozenset[str]:
        """Which of image, pose, depth."""

    def aim(self, target: View) -> tuple[Law, Any]:
        """Compute what depends on the desired views (n runs) alone, once."""


def check_law(controller: Controller, target: View, view: View, zero_at_goal: float | None = 1e-6) -> None:
    """Raise AssertionError unless the law keeps the promises of `Law` on this input, a batch of n >= 1 runs.

    Shape (n, 6); finite; pure; some of the runs give some of the velocities; zero at the goal (within `zero_at_goal`, None to
    skip) where the view is the target.
    """
    law, state = controller.aim(target)
    output, after = law(view, state)
    (n,) = view.batch
    v = output.v
    require_promise(v.shape == (n, 6), f"law gave {tuple(v.shape)}, not {(n, 6)}")
    require_promise(len(output.faults) == len(output.stage) == n, "law gave faults or stages of another number of runs")
    require_promise(bool(torch.isfinite(v).all()), "law gave a velocity that is not finite")
    again, _ = law(view, state)
    require_promise(torch.equal(v, again.v), "law is not pure: the same view and state gave two velocities")
    runs = torch.arange(n)[::2]
    for whole in (state, after):
        some, everything = law(view[runs], whole[runs])[0].v, law(view, whole)[0].v
        torch.testing.assert_close(some, everything[runs], rtol=1e-4, atol=1e-5)
    back = after.put(runs, after[runs])
    require_promise(
        torch.equal(law(view, back)[0].v, law(view, after)[0].v), "rows of the state, put back, changed the law"
    )
    if zero_at_goal is not None:
        at_goal = law(target, state)[0].v
        require_promise(
            float(at_goal.abs().max()) <= zero_at_goal, f"law commands {float(at_goal.abs().max()):.2e} at the goal"
        )
