"""Where the goal may be after a step of a run that goes home: on PBVS's path, at some shares of the way that was left before it."""

from __future__ import annotations

import numpy as np
import torch

from siame_se3.geometry import lie

# shares of the way that the first step may leave
_FIRST = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5, 0.4, 0.3)
# and those of a robot that gathers speed, over a relief, where an alignment leads back from less far than on a plane
_FASTER = (0.99, 0.98, 0.965, 0.95)


def after_a_step(last: np.ndarray, before: np.ndarray | None, relief: bool) -> list[np.ndarray]:
    """Places T_cd (4, 4) [m] after a step.

    Args:
        last: T_cd before the step. before: and before the step before that; None for none.
        relief: the goal has a map of depths.
    """
    shares = (*_shares(last, before), *(_FASTER if relief else ()))
    return [_part(last, share) for share in shares]


def _shares(last: np.ndarray, before: np.ndarray | None) -> tuple[float, ...]:
    """Of the way home that may be left after a step: all (the robot stands), as much as of the step before (the gain's exponential decrease), or
    as much less (its largest speed). A step too far or too near and what repeats itself is taken for its neighbour."""
    if before is None:
        return _FIRST
    left = _length(last) / max(1e-9, _length(before))
    return 1.0, min(1.0, left), min(1.0, max(0.0, 2 - 1 / max(1e-9, left)))


def _length(T: np.ndarray) -> float:
    """Of a motion, metres and radians alike."""
    return float(np.linalg.norm(T[:3, 3])) + float(lie.so3_log(torch.from_numpy(T[:3, :3])).norm())


def _part(T: np.ndarray, share: float) -> np.ndarray:
    """T_cd once that share of the way is left: t_dc, on a straight line, and the rotation vector fall alike. t_cd = -R_cd t_dc turns on the way."""
    if share == 1.0:
        return T
    rotation = lie.so3_log(torch.from_numpy(T[:3, :3]))
    part = np.eye(4)
    part[:3, :3] = lie.so3_exp(share * rotation).numpy()
    part[:3, 3] = share * lie.so3_exp((share - 1) * rotation).numpy() @ T[:3, 3]
    return part
