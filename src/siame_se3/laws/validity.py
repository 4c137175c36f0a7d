"""What no law may overlook: images that cannot be used, and velocities that are not finite."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import LawError
from siame_se3.geometry.camera import Camera
from siame_se3.images.contrast import contrast
from siame_se3.laws.types import View


def require_batch(view: View, name: str, goals: int | None = None) -> None:
    """Refuse a view that has not one batch axis, or not one view for each of `goals`.

    Args:
        name: of the law, for the error.

    Raises:
        LawError: another batch.
    """
    if len(view.batch) != 1:
        raise LawError(f"{name}: a view with {len(view.batch)} batch axes; laws take one, which View.flat() gives")
    if goals is not None and view.batch != (goals,):
        raise LawError(f"{name}: {view.batch[0]} views for {goals} goals; give each run a goal of its own")


def images_of(
    view: View, name: str, camera: Camera | None = None, goals: int | None = None
) -> Float[Tensor, "n 3 h w"]:
    """The view's images.

    Args:
        name: of the law, for the error.
        camera: of the goal image, whose size they must have; None for any.
        goals: how many there must be; None for any number.

    Raises:
        LawError: no images, of another size, or of another number.
    """
    if view.image is None:
        raise LawError(f"{name}: the view has no image; use a plant that provides images")
    h, w = view.image.shape[-2:]
    if camera is not None and (h, w) != camera.size:
        wanted = f"{camera.width} x {camera.height}"
        raise LawError(f"{name}: an image of {w} x {h} px, the goal image's camera has {wanted}; take all alike")
    require_batch(view, name, goals)
    return view.image


def image_faults(
    image: Float[Tensor, "n c h w"], white: float = 1.0, desired: Float[Tensor, "n"] | None = None
) -> tuple[str, ...]:
    """Of each image, why no law can use it: values that are not finite, no contrast (under 0.1 % of `white`), or less than a tenth of the
    contrast of its goal image (`desired`, by `contrast`); '' where it is fine."""
    flat = image.detach().flatten(2)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    # A sum with one NaN or infinity is not finite, and quicker than a test of each. On CPUs by NumPy: PyTorch's threads, once
    # woken, spin for a millisecond and hold up OpenVINO's.
    with np.errstate(invalid="ignore", over="ignore"):
        finite = (flat.sum((1, 2)).cpu() if flat.is_cuda else torch.from_numpy(flat.numpy().sum((1, 2)))).isfinite()
    whole = finite.tolist()
    found = contrast(image if all(whole) else image.nan_to_num(0.0)).tolist()
    wanted = [0.0] * len(found) if desired is None else desired.tolist()

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
