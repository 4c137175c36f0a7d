"""How much matches of keypoints speak for a guess: an a-contrario measure (Moisan and Stival 2004), of which the score of a guess knows nothing."""

from __future__ import annotations

import math

import numpy as np

from siame_se3.laws.hypotheses import Matches

_AGREES = 1 / 45  # of the image's side, by which a match may be off


def support(found: Matches, mapped: np.ndarray, size: tuple[int, int]) -> float:
    """How much distinct matches speak for a pose that takes their desired pixels to `mapped` (n, 2): -log10 of a bound of the chance (Hoeffding's) that so
    many agree with a pose that has nothing to do with them. Matches of one place count once, in either image."""
    if not len(found.ratio):
        return 0.0
    side = min(size)
    with np.errstate(invalid="ignore"):
        agree = np.linalg.norm(mapped - found.seen, axis=1) < _AGREES * side
    n, k = (
        min(len(np.unique((at[some] / (side / 64)).astype(int), axis=0)) for at in (found.desired, found.seen))
        for some in (np.ones_like(agree), agree)
    )
    # of one place, with several matches, one of which may agree
    chance = min(0.5, math.pi * (_AGREES * side) ** 2 / (size[0] * size[1]) * len(found.ratio) / n)
    share = k / n
    if share <= chance:
        return 0.0
    rest = (1 - share) * math.log((1 - share) / (1 - chance)) if share < 1 else 0.0
    return n * (share * math.log(share / chance) + rest) / math.log(10)
