"""What belongs to the runs of a photometric law (see `photometric`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from siame_se3.laws.types import State


@dataclass(frozen=True, eq=False)
class DVSState(State):
    """Of each run: the desired features and what their interaction matrix gives, and how often the law has been asked.

    Attributes:
        inverse_Z: 1/Z, one number a run or one a pixel [1/m].
        s_desired: s*.
        L_desired: L^T of the desired view (n, 6, N), empty where the normal equations come from moments...
        gradients: ...of the desired image's gradients (n, 2, y, x), which are empty elsewhere.
        trust: of each pixel how far its depth can be relied on, where there is a map of depths.
        factors: with L of the desired image alone: from L^T e (with moments, that at Z = 1) to v, for the early and the late mu.
        contrast: of the desired image.
        iteration: count.
    """

    inverse_Z: Tensor
    s_desired: Float[Tensor, "n N"]
    L_desired: Tensor
    gradients: Tensor
    factors: Float[Tensor, "n 2 6 6"] | None
    trust: Float[Tensor, "n P"] | None
    contrast: Float[Tensor, "n"]
    iteration: Tensor
    FIXED: ClassVar[frozenset[str]] = frozenset(
        {"inverse_Z", "s_desired", "L_desired", "gradients", "factors", "trust", "contrast"}
    )
