"""Where the camera sits in the tool, from the tool's poses and those of a board that lies still; with how well that is known.

T_bt T_tc T_co = T_bo, the same for each picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.hand_eye_copies import places
from siame_se3.commissioning.hand_eye_pairs import PairSums, solve
from siame_se3.errors import InputError
from siame_se3.geometry import lie

FEWEST = 5  # pictures
MOST = 1000  # pictures: their pairs take seconds
_LEAST_TURN = 0.15  # the second singular value of the tool's turns [rad]
_POSE_NOISE = 0.002  # a robot's error of position [m]
_BOARD_NOISE = 0.015  # of the board's position, over its distance
_TURN_NOISE = math.radians(1.5)
# Of neighbours' turns; at most twice the noise, where each error is the last one's opposite.
_MOST_APART = 4 * _TURN_NOISE
_OTHER_SCALE = 0.025  # the board's size wrong by less may be the intrinsics'; it is reported
_SCALE_FALLS = 0.6  # with the board's true size the spread falls to this share and less
_SURE = (
    3.0  # standard deviations of that size from 1, from which on what it does to the camera's place is an error of it
)
_FAR = 0.15  # a camera farther from its tool [m] is looked at: it may stand beside the robot


@dataclass(frozen=True)
class Spread:
    """How much the board's place in the base differs from picture to picture: root mean squares.

    Attributes:
        t, r: [m], [rad].
        most_t, most_r: what noise of the robot and of the board's poses explains.
    """

    t: float
    r: float
    most_t: float
    most_r: float = _TURN_NOISE

    @property
    def explained(self) -> bool:
        """Whether noise explains it."""
        return self.t <= self.most_t and self.r <= self.most_r

    @property
    def size(self) -> float:
        """1 where it just is explained by noise."""
        return max(self.t / self.most_t, self.r / self.most_r)

    def __str__(self) -> str:
        return f"{1000 * self.t:.1f} mm, {math.degrees(self.r):.2f} deg"


@dataclass(frozen=True)
class HandEye:
    """The camera in the tool's frame, and what it rests on.

    Attributes:
        T_tc: the camera (optical frame) in the tool's frame.
        spread: of the board's place.
        std_t, std_r: standard deviations of T_tc's translation [m] and rotation [rad], about the camera's axes. Where the board's lengths, or the
            focal length, clearly do not fit the poses, the translation's have what the lengths that fit best would change.
        residuals: of each picture, how far the board is from its mean place (n, 2): [m], [rad].
        influence: how far T_tc moves without each picture, and others of the same place (n, 2): [m], [rad].
        scale: the factor on the board's lengths that would fit best; 1 where square and intrinsics are right.
        scale_std: its standard deviation, by leaving out each picture (jackknife).
        scale_moves: how far T_tc moves with the board's lengths that fit best [m].
        places: how many places of the tool the pictures are of.
        odd: pictures that the others contradict, though the result hardly is of them.
    """

    T_tc: Float[Tensor, "4 4"]
    spread: Spread
    std_t: tuple[float, float, float]
    std_r: tuple[float, float, float]
    residuals: Float[Tensor, "n 2"]
    influence: Float[Tensor, "n 2"]
    scale: float
    scale_std: float
    scale_moves: float
    places: int
    odd: tuple[int, ...] = ()

    @property
    def misfit(self) -> bool:
        """Whether the board's lengths or the focal length clearly do not fit the poses."""
        return abs(self.scale - 1) > max(_SURE * self.scale_std, 0.005)

    def line(self) -> str:
        """The transform in words."""
        p = lie.vector_from_pose(self.T_tc).tolist()
        mm, deg = (
            ", ".join(x) for x in ([f"{1000 * v:.1f}" for v in p[:3]], [f"{math.degrees(v):.2f}" for v in p[3:]])
        )
        return f"{mm} mm; rotation vector {deg} deg"


def board_places(
    T_bt: Float[Tensor, "*B n 4 4"], T_tc: Float[Tensor, "*B 4 4"], T_co: Float[Tensor, "*B n 4 4"]
) -> tuple[Float[Tensor, "*B n 3"], Float[Tensor, "*B n 3"]]:
    """Of each picture, the board's place in the base less the mean one: translation [m], rotation vector [rad]."""
    T_bo = T_bt @ T_tc[..., None, :, :] @ T_co
    apart = lie.so3_log(T_bo[..., :1, :3, :3].mT @ T_bo[..., :3, :3])
    t = T_bo[..., :3, 3]
    return t - t.mean(-2, keepdim=True), apart - apart.mean(-2, keepdim=True)


def spread_of(
    T_bt: Float[Tensor, "n 4 4"], T_tc: Float[Tensor, "4 4"], T_co: Float[Tensor, "n 4 4"], scale: float = 1.0
) -> Spread:
    """The board's spread, and what noise explains of it; lengths of T_co are in units of `scale` [m]."""
    T_co = scaled(T_co, scale)
    t, r = (float(x.square().sum(-1).mean().sqrt()) for x in board_places(T_bt, T_tc, T_co))
    return Spread(t, r, _POSE_NOISE + _BOARD_NOISE * float(T_co[:, :3, 3].norm(dim=1).mean()))


def scaled(T: Float[Tensor, "*B 4 4"], scale: float) -> Float[Tensor, "*B 4 4"]:
    """A pose whose lengths are in units of `scale`."""
    return lie.pose(T[..., :3, :3], T[..., :3, 3] * scale)


def true_scale(
    T_bt: Float[Tensor, "n 4 4"], T_co: Float[Tensor, "n 4 4"], before: float
) -> tuple[float, Spread] | None:
    """The unit of the board's lengths with which the spread [m] falls clearly, and that spread; None where the metre is right."""
    T_tc, scale = solve(T_bt, T_co, any_scale=True)
    unit = float(scale)
    if not 1e-6 < unit < 1e6 or abs(unit - 1) < _OTHER_SCALE:
        return None
    spread = spread_of(T_bt, T_tc, T_co, unit)
    return (unit, spread) if spread.explained and spread.t < _SCALE_FALLS * before else None


def turns_agree(T_bt: Float[Tensor, "n 4 4"], T_co: Float[Tensor, "n 4 4"]) -> bool:
    """Whether tool and camera turned by about the same angles from each picture to the next: without that no T_tc makes the spread one of noise."""
    cosines = ((T[1:, :3, :3] * T[:-1, :3, :3]).sum((-2, -1)) / 2 - 0.5 for T in (T_bt, T_co))
    a, b = (torch.acos(x.clamp(-1, 1)) for x in cosines)
    return float((a - b).square().mean().sqrt()) <= _MOST_APART


def check_number(n: int) -> None:
    """Refuse more poses than can be compared with each other in reasonable time.

    Raises:
        InputError: more than a thousand.
    """
    if n > MOST:
        raise InputError(
            f"hand-eye: {n} poses; take {MOST} at most, such as every {-(-n // 100)}th: 15 are good", "poses"
        )


def check_motion(T_bt: Float[Tensor, "n 4 4"]) -> None:
    """Refuse too few poses or too many, or turns that do not determine the transform.

    Raises:
        InputError: fewer than five places, more than a thousand poses, or turns about less than two axes.
    """
    check_number(len(T_bt))
    count = len(places(T_bt).unique())
    if count < FEWEST:
        if count < len(T_bt):
            kind = f"pictures from {count} place{'s' * (count > 1)} of the tool, {len(T_bt) - count} more are copies"
        else:
            kind = f"{count} pictures with poses"
        raise InputError(f"hand-eye: {kind}; {FEWEST} are needed, 15 are good")
    turns = lie.so3_log((lie.inverse(T_bt[:1]) @ T_bt[1:])[:, :3, :3])
    if float(torch.linalg.svdvals(turns)[1]) < _LEAST_TURN:
        raise InputError(
            "hand-eye: the tool turned about one axis only, or hardly; turn it by 20 deg and more about two"
        )


def estimate(T_bt: Float[Tensor, "n 4 4"], T_co: Float[Tensor, "n 4 4"]) -> HandEye:
    """T_tc with its uncertainty, from poses that are known to agree; `calibrate_hand_eye` checks that.

    The covariance is that of the normal equations of log(T_bo^-1 T_bt T_tc T_co) by T_tc and T_bo, with the residuals' variance; of pictures that
    were taken at the same place, the first counts.
    """
    of_place = places(T_bt)
    n = int(of_place.max()) + 1
    first = [int((of_place == place).nonzero()[0]) for place in range(n)]
    pairs = PairSums.of(T_bt, T_co)
    T_tc, _ = pairs.solve()
    t, r = board_places(T_bt, T_tc, T_co)
    J = lie.adjoint(lie.inverse(T_co))  # of the board's place, in its own frame, by a twist of the camera
    J = J[first] - J[first].mean(0)  # what T_bo takes up
    freedom = 3 * n - 6
    weights = torch.cat([freedom / x[first].square().sum().clamp(min=1e-24).expand(3) for x in (t, r)])
    covariance = torch.linalg.pinv((J.mT @ (weights[:, None] * J)).sum(0))
    std = covariance.diagonal().clamp(min=0).sqrt().tolist()
    others, _ = pairs.without_places(of_place)
    influence = torch.stack(lie.error_norms(lie.inverse(T_tc) @ others), -1)[of_place]
    best, scale = pairs.solve(any_scale=True)
    _, scales = pairs.without_places(of_place, any_scale=True)
    scale_std = math.sqrt(n - 1) * float(scales.std(unbiased=False))
    away = (lie.inverse(T_tc) @ best)[:3, 3]
    fit = HandEye(
        T_tc,
        spread_of(T_bt, T_tc, T_co),
        (std[0], std[1], std[2]),
        (std[3], std[4], std[5]),
        torch.stack((t.norm(dim=1), r.norm(dim=1)), -1),
        influence,
        float(scale),
        scale_std,
        float(away.norm()),
        n,
    )
    if not fit.misfit:
        return fit
    x, y, z = (math.hypot(a, b) for a, b in zip(std[:3], away.tolist(), strict=True))
    return replace(fit, std_t=(x, y, z))


def stands_beside(T_bt: Float[Tensor, "n 4 4"], T_tc: Float[Tensor, "4 4"], T_co: Float[Tensor, "n 4 4"]) -> bool:
    """Whether this is no camera on the tool: it is 0.15 m and more from it, and the board lies nearer the base's origin than that. So it looks where
    the camera stands beside the robot and the board is on the tool (eye to hand), or where the board's poses are inverted: what is called the base is
    the tool then, and the other way round."""
    T_bo = T_bt @ T_tc @ T_co
    far = float(T_tc[:3, 3].norm())
    return far >= _FAR and float(T_bo[:, :3, 3].mean(0).norm()) < far
