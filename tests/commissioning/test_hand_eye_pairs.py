"""Sums over pairs of pictures: what they give without some pictures, and what hundreds of poses need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from boards_helpers import T_TC, noisy, tool_poses, views
from siame_se3.commissioning.boards import Board
from siame_se3.commissioning.hand_eye import calibrate_hand_eye
from siame_se3.commissioning.hand_eye_pairs import PairSums, solve
from siame_se3.commissioning.hand_eye_solver import estimate, turns_agree
from siame_se3.commissioning.slips import resolve_turns
from siame_se3.errors import InputError
from siame_se3.geometry import lie


def session(n: int, board: Board | None = None) -> tuple[Tensor, Tensor]:
    T_co = torch.stack(views(board or Board(), n, 3, roll=1.0))
    return noisy(tool_poses(T_co), 3e-4, 5e-4, 1), noisy(T_co, 5e-4, 1e-3, 2)


def of_all_pairs(T_bt: Tensor, T_co: Tensor, any_scale: bool) -> tuple[Tensor, Tensor]:
    """T_tc and the unit by one equation of all pairs, as Park and Martin write it."""
    i, j = torch.tril_indices(len(T_bt), len(T_bt), -1)
    A, B = lie.inverse(T_bt[i]) @ T_bt[j], T_co[i] @ lie.inverse(T_co[j])
    a, b = lie.so3_log(A[:, :3, :3]), lie.so3_log(B[:, :3, :3])
    sure = (a.norm(dim=1) < 3.0) & (b.norm(dim=1) < 3.0)
    U, _, Vh = torch.linalg.svd(a[sure].T @ b[sure])
    R = U @ torch.diag(torch.tensor([1.0, 1.0, float(torch.linalg.det(U @ Vh))], dtype=U.dtype)) @ Vh
    left, turned = (A[:, :3, :3] - torch.eye(3, dtype=A.dtype)).flatten(0, 1), (B[:, :3, 3] @ R.T).flatten()
    right = -A[:, :3, 3].flatten()
    if any_scale:
        x = torch.linalg.lstsq(torch.cat((left, -turned[:, None]), 1), right[:, None]).solution[:, 0]
        return lie.pose(R, x[:3]), x[3]
    return lie.pose(R, torch.linalg.lstsq(left, (right + turned)[:, None]).solution[:, 0]), torch.tensor(1.0)


@pytest.mark.parametrize("any_scale", [False, True])
@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_sums_give_what_all_pairs_give(any_scale: bool, unit: float) -> None:
    T_bt, T_co = session(9)
    T_co[:, :3, 3] *= unit
    for found in (solve(T_bt, T_co, any_scale), PairSums.of(T_bt, T_co).solve(any_scale)):
        right = of_all_pairs(T_bt, T_co, any_scale)
        torch.testing.assert_close(found[0], right[0], atol=1e-9 * (1 if any_scale else unit), rtol=0)
        assert float(found[1]) == pytest.approx(float(right[1]), rel=1e-9)


@pytest.mark.parametrize("any_scale", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_without_some_pictures(count: int, any_scale: bool) -> None:
    T_bt, T_co = session(9)
    out = torch.combinations(torch.arange(9), count)
    T_tc, units = PairSums.of(T_bt, T_co).without(out, any_scale)
    for k in range(0, len(out), 7):
        kept = [x for x in range(9) if x not in out[k]]
        right = of_all_pairs(T_bt[kept], T_co[kept], any_scale)
        torch.testing.assert_close(T_tc[k], right[0], atol=1e-9, rtol=0)
        assert float(units[k]) == pytest.approx(float(right[1]), rel=1e-9)


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that is made."""

    elements = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else [out]:
            self.elements = max(self.elements, x.numel() if isinstance(x, Tensor) else 0)
        return out


def late(T_bt: Tensor, T_co: Tensor) -> None:
    with pytest.raises(InputError, match="taken for the previous picture"):
        calibrate_hand_eye(T_bt.roll(1, 0), T_co)


def bad(T_bt: Tensor, T_co: Tensor) -> None:
    T_bt = T_bt.clone()
    T_bt[7, 2, 3] += 0.5
    with pytest.raises(InputError, match="without picture 8 the spread is"):
        calibrate_hand_eye(T_bt, T_co)


def shuffled(T_bt: Tensor, T_co: Tensor) -> None:
    with pytest.raises(InputError, match="no usual slip and no few bad pictures"):
        calibrate_hand_eye(T_bt[torch.randperm(len(T_bt), generator=torch.Generator().manual_seed(0))], T_co)


def turned(T_bt: Tensor, T_co: Tensor) -> None:
    board = Board(columns=8)
    looks = T_co.clone()
    looks[::3] = looks[::3] @ board.turned(2)
    resolved, count = resolve_turns(T_bt, looks, board)
    assert count == len(range(0, len(T_bt), 3))
    assert float(lie.error_norms(lie.inverse(T_TC) @ solve(T_bt, resolved)[0])[0]) < 3e-3


def right(T_bt: Tensor, T_co: Tensor) -> None:
    found = calibrate_hand_eye(T_bt, T_co)
    assert float(lie.error_norms(lie.inverse(T_TC) @ found.T_tc)[0]) < 1e-3
    rest, _ = solve(T_bt[1:], T_co[1:])
    assert found.influence[0].tolist() == pytest.approx(
        [float(x) for x in lie.error_norms(lie.inverse(found.T_tc) @ rest)], rel=1e-6
    )


@pytest.mark.parametrize(("what", "n"), [(right, 200), (late, 150), (bad, 150), (shuffled, 54), (turned, 150)])
def test_memory_does_not_grow_with_the_third_power(what: Callable[[Tensor, Tensor], None], n: int) -> None:
    """16 MB a tensor; 200 left out of 200 by copies were 500 MB."""
    T_bt, T_co = session(n)
    with Largest() as largest:
        what(T_bt, T_co)
    assert largest.elements < 2_000_000


def test_too_many_poses_are_refused_at_once() -> None:
    T = torch.eye(4, dtype=torch.float64).expand(1001, 4, 4)
    with pytest.raises(InputError, match="1001 poses; take 1000 at most, such as every 11th"):
        calibrate_hand_eye(T, T)


def test_turns_that_agree_are_what_a_transform_needs() -> None:
    T_bt, T_co = session(10)
    assert turns_agree(T_bt, T_co)
    assert turns_agree(noisy(T_bt, 0.0, 0.01, 3), T_co)
    assert turns_agree(lie.inverse(T_bt), T_co)  # its turns are as large
    assert not turns_agree(T_bt.roll(1, 0), T_co)
    assert estimate(T_bt, T_co).spread.explained
