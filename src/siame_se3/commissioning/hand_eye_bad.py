"""Single bad pictures of a hand-eye session: those that the others contradict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from siame_se3.commissioning.hand_eye_pairs import PairSums
from siame_se3.commissioning.hand_eye_solver import FEWEST, HandEye, board_places, estimate, solve
from siame_se3.geometry import lie

FALLS = 0.4  # what explains a contradiction brings the spread down to this share and less
_MOST_SUBSETS = 1500
_AT_ONCE = 16_000  # poses of choices of pictures: some 50 MB
_MOST_BAD = 3
_PER_BAD = 4  # pictures for each that is bad among such as noise explains: with fewer good ones it may be by chance
_APART = 5.0  # times the others' root mean square, that a bad picture's board lies away from theirs
_LEAST_APART = 1e-3, math.radians(0.1)  # and at least [m, rad]
_SURE = 3.0  # standard deviations that the result moves by without it, for a refusal
_LEAST_MOVED = 2e-3, math.radians(0.2)  # and at least [m, rad]


def bad_pictures(
    T_bt: Float[Tensor, "n 4 4"], T_co: Float[Tensor, "n 4 4"], found: HandEye, names: Sequence[str]
) -> str:
    """The few pictures without which noise explains the others' spread, and what they give; '' for none."""
    most = torch.tensor([found.spread.most_t, found.spread.most_r], dtype=torch.float64)
    for left_out, spreads in _choices(T_bt, T_co, most):
        size = (spreads / most).amax(1)
        best = int(size.argmin())
        if float(size[best]) <= min(1.0, FALLS * found.spread.size):
            return without(T_bt, T_co, found, names, left_out[best].tolist())
    return ""


def contradicted(T_bt: Float[Tensor, "n 4 4"], T_co: Float[Tensor, "n 4 4"], found: HandEye) -> tuple[list[int], bool]:
    """Of pictures that noise explains, the few that are far from what the others agree on.

    Returns:
        Their numbers, and whether the result is of them: it moves without them by far more than the others leave open.
    """
    n = len(T_bt)
    whole = torch.tensor([found.spread.t, found.spread.r], dtype=torch.float64).clamp(min=1e-12)
    for left_out, spreads in _choices(T_bt, T_co, whole):
        if left_out.shape[1] > n // _PER_BAD:
            break
        share = spreads / whole * math.sqrt((1 - 2 / n) / (1 - 2 / (n - left_out.shape[1])))  # degrees of freedom
        best, kind = divmod(int(share.argmin()), 2)
        out = left_out[best].tolist()
        if float(share[best, kind]) > FALLS or not _far(T_bt, T_co, out, kind):
            continue
        kept = [k for k in range(n) if k not in out]
        rest = estimate(T_bt[kept], T_co[kept])
        moved = [float(x) for x in lie.error_norms(lie.inverse(rest.T_tc) @ found.T_tc)]
        limits = [max(_SURE * max(std), m) for std, m in zip((rest.std_t, rest.std_r), _LEAST_MOVED, strict=True)]
        return out, any(a > b for a, b in zip(moved, limits, strict=True))
    return [], False


def farthest(T_bt: Float[Tensor, "n 4 4"], T_co: Float[Tensor, "n 4 4"], names: Sequence[str]) -> str:
    """The pictures whose board lies farthest from the others', where the worst ones do not count, in words."""
    out: list[int] = []
    for left_out, spreads in _choices(T_bt, T_co, torch.ones(2, dtype=torch.float64)):
        out = left_out[int(spreads[:, 0].argmin())].tolist()
    t, r = _away(T_bt, T_co, out)
    worst = t.argsort(descending=True)[:3].tolist()
    return ", ".join(f"{names[k]} ({1000 * float(t[k]):.0f} mm, {math.degrees(float(r[k])):.1f} deg)" for k in worst)


def without(
    T_bt: Float[Tensor, "n 4 4"],
    T_co: Float[Tensor, "n 4 4"],
    found: HandEye,
    names: Sequence[str],
    out: Sequence[int],
) -> str:
    """What the others give without some pictures, in words."""
    kept = [k for k in range(len(T_bt)) if k not in out]
    rest = estimate(T_bt[kept], T_co[kept])
    named = " and ".join(names[k] for k in out)
    moved = lie.error_norms(lie.inverse(rest.T_tc) @ found.T_tc)
    return (
        f"without {named} the spread is {rest.spread}, and the result moves by {1000 * float(moved[0]):.1f} mm, "
        f"{math.degrees(float(moved[1])):.2f} deg to {rest.line()}: take {'it' if len(out) == 1 else 'them'} out, or correct the poses"
    )


def _choices(
    T_bt: Float[Tensor, "n 4 4"], T_co: Float[Tensor, "n 4 4"], unit: Float[Tensor, "2"]
) -> Iterator[tuple[Int[Tensor, "m k"], Float[Tensor, "m 2"]]]:
    """One picture to leave out, two, three: all choices where these are few, else those that have the best one of before; and the others' spread
    [m, rad]. The best one has the smallest spread in units of `unit`."""
    n, pairs = len(T_bt), PairSums.of(T_bt, T_co)
    best: list[int] = []
    for bad in range(1, 1 + min(_MOST_BAD, n - FEWEST, n * 2 // 5)):
        if bad == 1 or math.comb(n, bad) <= _MOST_SUBSETS:
            left_out = torch.combinations(torch.arange(n), bad)
        else:
            left_out = torch.tensor([sorted((*best, k)) for k in range(n) if k not in best])
        spreads = torch.cat([_spreads(pairs, out) for out in left_out.split(max(1, _AT_ONCE // n))])
        best = left_out[int((spreads / unit).amax(1).argmin())].tolist()
        yield left_out, spreads


def _spreads(pairs: PairSums, out: Int[Tensor, "m k"]) -> Float[Tensor, "m 2"]:
    """Of each choice of pictures to leave out, the others' spread [m, rad]."""
    n, m = len(pairs.T_bt), len(out)
    T_tc, _ = pairs.without(out)
    mask = torch.ones(m, n, dtype=torch.bool).scatter_(1, out, False)
    kept = torch.arange(n).expand(m, n)[mask].reshape(m, -1)
    places = board_places(pairs.T_bt[kept], T_tc, pairs.T_co[kept])
    return torch.stack([x.square().sum(-1).mean(-1).sqrt() for x in places], -1)


def _away(
    T_bt: Float[Tensor, "n 4 4"], T_co: Float[Tensor, "n 4 4"], out: Sequence[int]
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """How far each picture's board is from the mean of those that are not left out, by the T_tc of these [m], [rad]."""
    kept = [k for k in range(len(T_bt)) if k not in out]
    places = board_places(T_bt, solve(T_bt[kept], T_co[kept])[0], T_co)
    t, r = ((x - x[kept].mean(0)).norm(dim=1) for x in places)
    return t, r


def _far(T_bt: Float[Tensor, "n 4 4"], T_co: Float[Tensor, "n 4 4"], out: Sequence[int], kind: int) -> bool:
    """Whether each of these pictures is far from the others, by place (0) or turn (1)."""
    away = _away(T_bt, T_co, out)[kind]
    kept = [k for k in range(len(T_bt)) if k not in out]
    least = max(_APART * float(away[kept].square().mean().sqrt()), _LEAST_APART[kind])
    return float(away[list(out)].min()) > least
