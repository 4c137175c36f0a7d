"""The two protocols of control, and the test that each law must pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry.camera import Camera
from siame_se3.images.contrast import contrast


@dataclass(frozen=True)
class View:
    """One image a run and what else the plant knows; None where it does not.

    Attributes:
        image: RGB in [0, 1].
        T_wc: camera pose, camera to the scene's world [m].
        depth: distance of the plane along z at the image's middle [m].
        camera: intrinsics of the image.
        age: of the image, from the shutter to when the view was handed out [s].
        fault: what is wrong by the plant's own report, such as a joint near its limit; '' for nothing.
        T_bc: camera pose, camera to the robot's base [m]: not the scene's world, which a robot does not know.
        time: when the view was handed out, by the plant's clock [s]; None for a plant whose time is the number of its steps.
    """

    image: Float[Tensor, "*B 3 h w"] | None = None
    T_wc: Float[Tensor, "*B 4 4"] | None = None
    depth: Float[Tensor, "*B"] | None = None
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

    def __getitem__(self, index: Any) -> View:
        parts = (None if x is None else x[index] for x in (self.image, self.T_wc, self.depth, self.T_bc))
        image, T_wc, depth, T_bc = parts
        return View(image, T_wc, depth, self.camera, self.age, self.fault, T_bc)


@runtime_checkable
class Law(Protocol):
    """Velocity of the camera from what it sees now, at gain 1. Pure: the same view gives the same velocity."""

    def __call__(self, view: View) -> Float[Tensor, "*B 6"]:
        """v = (v, omega) in the current camera frame [m/s, rad/s]."""

    def __getitem__(self, index: Any) -> Law:
        """The law of some runs of the batch."""


@dataclass(frozen=True, eq=False)
class Advice:
    """What a law has to say at one iteration.

    Attributes:
        v: velocity at gain 1 [m/s, rad/s]; zero where there is a fault.
        faults: of each run, in the order of the flattened batch, why it has no valid velocity; '' where it has one.
        law: the law of the next iteration, with what it remembers.
        stage: which part of a law made of several gave the velocity, 0 for the first.
        cost: what the law minimises, of each run, where there is such a thing.
    """

    v: Float[Tensor, "*B 6"]
    faults: tuple[str, ...]
    law: Law
    stage: Int[Tensor, "n"]
    cost: Float[Tensor, "n"] | None = None


@runtime_checkable
class StatefulLaw(Law, Protocol):
    """A law that knows when it has no valid velocity, or that remembers: a counter, a stage. Still pure: the memory is in
    the law that it gives for the next iteration."""

    def advise(self, view: View) -> Advice:
        """Velocity, faults, and the law of the next iteration."""

    def updated(self, runs: Int[Tensor, "k"], part: Any) -> Law:
        """This law, with what `part`, the law of some runs, remembers of them; for a law of one batch axis."""


def advise(law: Law, view: View) -> Advice:
    """What any law says of a view."""
    if isinstance(law, StatefulLaw):
        return law.advise(view)
    v = law(view)
    n = v[..., 0].numel()
    return Advice(v, ("",) * n, law, torch.zeros(n, dtype=torch.long))


def images_of(view: View, name: str, camera: Camera | None = None) -> tuple[Float[Tensor, "n c h w"], torch.Size]:
    """The view's images with one batch axis, and the axes that they had.

    Args:
        name: of the law, for the error.
        camera: of the desired image, whose size they must have; None for any.

    Raises:
        SiameError: no images, or of another size.
    """
    if view.image is None:
        raise SiameError(f"{name}: the view has no image; use a plant that provides images")
    h, w = view.image.shape[-2:]
    if camera is not None and (h, w) != camera.size:
        wanted = f"{camera.width} x {camera.height}"
        raise SiameError(f"{name}: an image of {w} x {h} px, the desired one's camera has {wanted}; take all alike")
    return view.image.reshape(-1, *view.image.shape[-3:]), view.image.shape[:-3]


def image_faults(
    image: Float[Tensor, "n c h w"], white: float = 1.0, desired: Float[Tensor, "n"] | None = None
) -> tuple[str, ...]:
    """Of each image, why no law can use it: values that are not finite, no contrast (under 0.1 % of `white`), or less than a tenth of the
    contrast of its desired image (`desired`, by `contrast`); '' where it is fine."""
    flat = image.detach().flatten(2)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    # A sum with one NaN or infinity is not finite, and quicker than a test of each. On CPUs by NumPy: PyTorch's threads, once
    # woken, spin for a millisecond and hold up OpenVINO's.
    with np.errstate(invalid="ignore", over="ignore"):
        finite = (flat.sum((1, 2)).cpu() if flat.is_cuda else torch.from_numpy(flat.numpy().sum((1, 2)))).isfinite()
    whole = finite.tolist()
    found = contrast(image if all(whole) else image.nan_to_num(0.0)).tolist()
    wanted = [0.0] * len(found) if desired is None else desired.expand(len(found)).tolist()

    def fault(ok: bool, has: float, goal: float) -> str:
        if not ok:
            return "the image has values that are not finite"
        if has <= 1e-3 * white:
            return "the image has no contrast"
        return "the image has less than a tenth of the desired one's contrast" if has < 0.1 * goal else ""

    return tuple(map(fault, whole, found, wanted))


def standing_still(v: Float[Tensor, "n 6"], faults: tuple[str, ...]) -> tuple[Float[Tensor, "n 6"], tuple[str, ...]]:
    """v, zero in the runs that have a fault; a velocity that is not finite is one too."""
    finite = v.isfinite().all(1).tolist()
    faults = tuple(
        f or ("" if ok else "the law's velocity is not finite") for f, ok in zip(faults, finite, strict=True)
    )
    if not any(faults):
        return v, faults
    valid = torch.tensor([not fault for fault in faults], device=v.device)
    return torch.where(valid[:, None], v, torch.zeros_like(v)), faults


@runtime_checkable
class Controller(Protocol):
    """A way to servo: makes a Law for a desired view.

    Attributes:
        needs: which of image, pose, depth a view must have; `servo` refuses a plant that does not provide them.
    """

    @property
    def needs(self) -> frozenset[str]:
        """See above."""

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
