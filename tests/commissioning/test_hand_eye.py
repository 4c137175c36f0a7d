"""The hand-eye transform, how well it is known, and what is refused: poses with the usual slips, and bad ones among good ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from boards_helpers import T_TC, noisy, tool_poses, views
from siame_se3.commissioning.boards import Board
from siame_se3.commissioning.hand_eye import calibrate_hand_eye
from siame_se3.commissioning.hand_eye_data import poses_of
from siame_se3.commissioning.hand_eye_solver import solve
from siame_se3.commissioning.poses import PoseTable
from siame_se3.commissioning.slips import resolve_turns
from siame_se3.errors import InputError
from siame_se3.geometry import lie

T_CO = torch.stack(views(Board(), 10, 3, roll=1.0))
T_BT = noisy(tool_poses(T_CO), 3e-4, 5e-4, 1)
SEEN = noisy(T_CO, 5e-4, 1e-3, 2)
NAMES = [f"{k:02d}.png" for k in range(10)]


def off(T_tc: Tensor) -> tuple[float, float]:
    t, r = lie.error_norms(lie.inverse(T_TC) @ T_tc)
    return float(t), float(r)


def test_exact_poses_give_the_exact_transform() -> None:
    found = calibrate_hand_eye(tool_poses(T_CO), T_CO)
    torch.testing.assert_close(found.T_tc, T_TC, atol=1e-9, rtol=0)
    assert max(found.spread.t, found.spread.r, *found.std_t, *found.std_r, float(found.influence.max())) < 1e-8


def test_half_turns_between_pictures_do_no_harm() -> None:
    """log R has either sign there; such pairs are left out."""
    T_co = torch.stack([T @ Board().turned(2 * (k % 2)) for k, T in enumerate(views(Board(), 8, 5, roll=0.1))])
    found = calibrate_hand_eye(noisy(tool_poses(T_co), 3e-4, 5e-4, 1), noisy(T_co, 5e-4, 1e-3, 2))
    assert off(found.T_tc)[0] < 3e-3
    assert off(found.T_tc)[1] < 3e-3


def test_standard_deviations_are_those_of_many_calibrations() -> None:
    true = tool_poses(T_CO)
    found = [calibrate_hand_eye(noisy(true, 0.0, 0.0, 0), noisy(T_CO, 5e-4, 1e-3, seed)) for seed in range(60)]
    errors = torch.stack([lie.log(lie.inverse(T_TC) @ f.T_tc) for f in found])
    stated = torch.stack([torch.tensor((*f.std_t, *f.std_r), dtype=torch.float64) for f in found]).mean(0)
    ratio = errors.square().mean(0).sqrt() / stated
    assert float(ratio.min()) > 0.5
    assert float(ratio.max()) < 2.0


def test_influence_is_what_leaving_a_picture_out_does() -> None:
    found = calibrate_hand_eye(T_BT, SEEN)
    rest = calibrate_hand_eye(T_BT[1:], SEEN[1:])
    t, r = lie.error_norms(lie.inverse(found.T_tc) @ rest.T_tc)
    assert found.influence[0].tolist() == pytest.approx([float(t), float(r)], rel=1e-6)
    assert found.residuals.shape == (10, 2)
    assert float(found.residuals[:, 0].square().mean().sqrt()) == pytest.approx(found.spread.t, rel=1e-9)


def test_it_needs_turns_and_pictures() -> None:
    with pytest.raises(InputError, match="5 are needed"):
        calibrate_hand_eye(T_BT[:4], SEEN[:4])
    with pytest.raises(InputError, match="5 are needed"):
        calibrate_hand_eye([], [])
    slide = [lie.pose_from_vector(torch.tensor([0.1 * k, 0, 0, 0, 0, 0.2 * k], dtype=torch.float64)) for k in range(6)]
    with pytest.raises(InputError, match="about one axis only"):
        calibrate_hand_eye(slide, T_CO[:6])


def vectors(T: Tensor) -> Tensor:
    return lie.vector_from_pose(T)


def euler(R: Tensor, axes: str) -> Tensor:
    """a, b, c of R = R_axes[0](a) R_axes[1](b) R_axes[2](c), for the six orders of three different axes."""
    i, j, k = ("xyz".index(axis) for axis in axes)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    b = torch.asin((sign * R[:, i, k]).clamp(-1, 1))
    a = torch.atan2(-sign * R[:, j, k], R[:, k, k])
    c = torch.atan2(-sign * R[:, i, j], R[:, i, i])
    return torch.stack((a, b, c), 1)


def angles(axes: str, scale: float = 1.0, fixed: bool = False) -> Callable[[Tensor], Tensor]:
    def numbers(T: Tensor) -> Tensor:
        e = euler(T[:, :3, :3], axes[::-1] if fixed else axes)
        return torch.cat((T[:, :3, 3], scale * (e.flip(1) if fixed else e)), 1)

    return numbers


def quaternions(T: Tensor, order: str) -> Tensor:
    w = torch.sqrt((1 + T.diagonal(dim1=1, dim2=2)[:, :3].sum(1)).clamp(min=1e-12)) / 2
    R = T[:, :3, :3]
    xyz = torch.stack((R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]), 1) / (4 * w[:, None])
    parts = dict(zip("xyzw", (*xyz.T, w), strict=True))
    return torch.cat((T[:, :3, 3], torch.stack([parts[axis] for axis in order], 1)), 1)


DEGREE = 180 / math.pi
MIRROR = torch.diag(torch.tensor([1.0, 1.0, -1.0, 1.0], dtype=torch.float64))
SLIPS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "inverse": (lambda T: vectors(lie.inverse(T)), "with the poses inverted, .*base-from-tool poses"),
    "one late": (lambda T: vectors(T.roll(-1, 0)), "taken for the next picture"),
    "one early": (lambda T: vectors(T.roll(1, 0)), "taken for the previous picture"),
    "roll pitch yaw": (angles("xyz", fixed=True), "roll, pitch, yaw about the fixed axes x, y, z.*rotation vectors"),
    "KUKA": (angles("zyx"), "KUKA's A, B, C"),
    "KUKA, small degrees": (lambda T: torch.cat((T[:, :3, 3], DEGREE * euler(T[:, :3, :3], "zyx")), 1), "degrees.*KUKA"),
    "x, new y, new z": (angles("xyz"), "about x, then the new y, then the new z"),
    "fixed z, y, x": (angles("zyx", fixed=True), "x, then the new y, then the new z|fixed axes z, y, x"),
    "degrees": (lambda T: vectors(T) * torch.tensor([1, 1, 1, DEGREE, DEGREE, DEGREE]), "rotation vectors in degrees.*radians"),
    "millimetres": (lambda T: vectors(T) * torch.tensor([1e3, 1e3, 1e3, 1, 1, 1]), "millimetres.*metres"),
    "mm and KUKA degrees": (
        lambda T: angles("zyx", DEGREE)(T) * torch.tensor([1e3, 1e3, 1e3, 1, 1, 1]),
        "millimetres and Euler angles in degrees .KUKA",
    ),
    "w first": (lambda T: quaternions(T, "wxyz"), "quaternion read as w, x, y, z.*give x, y, z, w"),
    "left-handed": (lambda T: vectors(MIRROR @ T @ MIRROR), "of a left-handed frame .or the pictures as mirrored.*a right-handed one"),
    "rotation inverted": (lambda T: vectors(lie.pose(T[:, :3, :3].mT, T[:, :3, 3])), "with the rotation inverted.*its conjugate"),
    "inverse and w first": (lambda T: quaternions(lie.inverse(T), "wxyz"), "w, x, y, z and with the poses inverted"),
}  # fmt: skip


@pytest.mark.parametrize("slip", SLIPS)
def test_the_usual_slips_are_named(slip: str) -> None:
    numbers, words = SLIPS[slip]
    values = numbers(T_BT)
    rows = tuple(map(tuple, values.tolist()))
    table = PoseTable("poses.csv", tuple(NAMES), rows, tuple(f"poses.csv, line {k + 1}" for k in range(10)))
    with pytest.raises(InputError, match=words) as error:
        calibrate_hand_eye(poses_of(table, list(range(10)), SEEN, NAMES)[1], SEEN, NAMES, values)
    assert len(str(error.value).splitlines()) == 1


UNUSUAL: dict[str, Callable[[Tensor], Tensor]] = {
    "turned the other way": lambda T: vectors(T) * torch.tensor([1.0, 1, 1, -1, -1, -1]),
    "x and y swapped": lambda T: vectors(T)[:, [1, 0, 2, 3, 4, 5]],
    "mirrored": lambda T: vectors(T) * torch.tensor([1.0, -1, 1, 1, 1, 1]),
    "rotation first": lambda T: vectors(T)[:, [3, 4, 5, 0, 1, 2]],
    "z, y, x of the rotation": lambda T: vectors(T)[:, [0, 1, 2, 5, 4, 3]],
    "centimetres": lambda T: vectors(T) * torch.tensor([100.0, 100, 100, 1, 1, 1]),
    "one pose for all": lambda T: vectors(T[:1]).expand(10, 6),
}


@pytest.mark.parametrize("slip", UNUSUAL)
def test_other_slips_are_refused_too(slip: str) -> None:
    values = UNUSUAL[slip](T_BT)
    rows = tuple(map(tuple, values.tolist()))
    table = PoseTable("poses.csv", tuple(NAMES), rows, tuple(f"poses.csv, line {k + 1}" for k in range(10)))
    with pytest.raises(
        InputError, match=r"contradict each other|give metres|about one axis only|9 more are copies"
    ) as error:
        calibrate_hand_eye(poses_of(table, list(range(10)), SEEN, NAMES)[1], SEEN, NAMES, values)
    assert len(str(error.value).splitlines()) == 1


def test_right_quaternions_are_taken() -> None:
    rows = tuple(map(tuple, quaternions(T_BT, "xyzw").tolist()))
    table = PoseTable("p", tuple(NAMES), rows, tuple(NAMES))
    torch.testing.assert_close(table.poses(), T_BT, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [1000.0, 0.1, 1.1, 0.96, 1.03])
def test_a_board_of_another_size_is_named(size: float) -> None:
    """Lengths on the board are `size` times what they are."""
    wrong = SEEN.clone()
    wrong[:, :3, 3] *= size
    with pytest.raises(InputError, match=r"lengths on the board .*as large.*true square in metres") as error:
        calibrate_hand_eye(T_BT, wrong, NAMES)
    stated = str(error.value).split("lengths on the board ")[1].split(" times")[0].split(" as")[0]
    factor = 1 / float(stated[2:]) if stated.startswith("1/") else float(stated)
    assert factor == pytest.approx(1 / size, rel=0.01)


@pytest.mark.parametrize(
    "bad", [{5: (0.05, 0, 0, 0, 0, 0)}, {2: (0, 0, 0, 0.2, 0, 0)}, {1: (0, 0.04, 0, 0, 0, 0), 7: (0, 0, 0, 0, 0.3, 0)}]
)
def test_bad_poses_are_named_with_the_result_without_them(bad: dict[int, tuple[float, ...]]) -> None:
    wrong = T_BT.clone()
    for k, change in bad.items():
        wrong[k] = wrong[k] @ lie.pose_from_vector(torch.tensor(change, dtype=torch.float64))
    keep = [k for k in range(10) if k not in bad]
    right = calibrate_hand_eye(T_BT[keep], SEEN[keep])
    named = " and ".join(NAMES[k] for k in bad)
    with pytest.raises(InputError, match=f"without {named} the spread is .*the result moves by") as error:
        calibrate_hand_eye(wrong, SEEN, NAMES)
    assert right.line() in str(error.value)


def test_two_swapped_poses_are_named() -> None:
    order = [0, 1, 2, 4, 3, 5, 6, 7, 8, 9]
    with pytest.raises(InputError, match=r"without 03\.png and 04\.png the spread is"):
        calibrate_hand_eye(T_BT[order], SEEN, NAMES)


def test_poses_of_another_session_are_refused_without_a_guess() -> None:
    other = tool_poses(views(Board(), 10, 77, roll=1.0))
    with pytest.raises(InputError, match="no usual slip and no few bad pictures explain it"):
        calibrate_hand_eye(other, SEEN, NAMES, vectors(other))


@pytest.mark.parametrize("seed", range(5))
def test_a_robot_that_is_2_mm_off_is_taken(seed: int) -> None:
    found = calibrate_hand_eye(noisy(tool_poses(T_CO), 1.5e-3, 3e-3, seed), noisy(T_CO, 1e-3, 3e-3, seed + 100), NAMES)
    t, r = off(found.T_tc)
    assert t < 4 * max(found.std_t) * 1.8
    assert r < 4 * max(found.std_r) * 1.8


@pytest.mark.parametrize(("columns", "rows"), [(8, 6), (7, 7), (6, 6), (7, 5)])
@pytest.mark.parametrize("seed", range(3))
def test_boards_that_look_alike_when_turned_are_resolved_by_the_motion(columns: int, rows: int, seed: int) -> None:
    """Each picture's pose is that of one of the board's looks, by chance."""
    board = Board(columns=columns, rows=rows)
    T_co = torch.stack(views(board, 10, seed + 20, roll=2.5))
    T_bt = noisy(tool_poses(T_co), 3e-4, 5e-4, 1)
    generator = torch.Generator().manual_seed(seed)
    turns = [board.turns * int(k) for k in torch.randint(4 // board.turns, (10,), generator=generator)]
    looks = torch.stack([T @ board.turned(k) for T, k in zip(noisy(T_co, 5e-4, 1e-3, 2), turns, strict=True)])
    resolved, turned = resolve_turns(T_bt, looks, board)
    assert off(calibrate_hand_eye(T_bt, resolved).T_tc)[0] < 3e-3
    assert turned == 10 - max(turns.count(k) for k in {*turns})
    T_tc, _ = solve(T_bt, looks)
    assert off(T_tc)[0] > 0.01  # what it was before


@pytest.mark.parametrize(("columns", "rows", "turns"), [(9, 6, 4), (8, 6, 2), (7, 7, 1), (7, 5, 2), (6, 6, 1)])
def test_which_boards_look_alike(columns: int, rows: int, turns: int) -> None:
    """By the printed picture itself."""
    board = Board(columns=columns, rows=rows)
    assert board.turns == turns
    squares = board.picture(30)[30:-30, 30:-30]
    half = abs(squares.astype(int) - squares[::-1, ::-1]).mean() < 1
    assert half == (turns < 4)


def test_a_motion_that_does_not_tell_is_refused() -> None:
    """The camera tilts about one of the board's axes only, and rolls by a quarter turn, the board's middle in one place: a half turn of the
    camera about that axis agrees as well, with the rolled pictures turned."""
    board = Board(columns=8, rows=6)
    middle = board.turned(2)[:3, 3] / 2
    T_co = []
    for tilt, roll in itertools.product((-0.4, -0.1, 0.3), (0.0, math.pi / 2)):
        R = lie.so3_exp(torch.tensor([tilt, 0.0, 0.0], dtype=torch.float64))
        R = R @ lie.so3_exp(torch.tensor([0.0, 0.0, roll], dtype=torch.float64))
        T_co.append(lie.pose(R, torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64) - R @ middle))
    with pytest.raises(InputError, match="the motion does not show which way it lies"):
        resolve_turns(tool_poses(T_co), torch.stack(T_co), board)
    T_co.append(views(board, 1, 1)[0])  # one tilted otherwise tells
    resolved, _ = resolve_turns(tool_poses(T_co), torch.stack(T_co), board)
    torch.testing.assert_close(resolved, torch.stack(T_co), atol=1e-9, rtol=0)


def beside_the_robot() -> tuple[Tensor, Tensor, Tensor]:
    """Eye to hand: T_bt, and the board, which the tool carries, in a camera that stands beside the robot; and T_bc."""
    T_bc = lie.pose_from_vector(torch.tensor([0.9, 0.5, 0.7, 0.4, -2.0, 0.3], dtype=torch.float64))
    T_to = lie.pose_from_vector(torch.tensor([0.02, 0.05, 0.12, 0.1, 0.0, 0.4], dtype=torch.float64))
    noise = lie.inverse(T_CO) @ SEEN
    return T_BT, lie.inverse(T_bc) @ T_BT @ T_to @ noise, T_bc


@pytest.mark.parametrize("boards_read", [False, True])
def test_a_camera_beside_the_robot_is_named(boards_read: bool) -> None:
    """Inverting the poses, which makes them agree, would give the camera's place in the base."""
    T_bt, T_co, T_bc = beside_the_robot()
    with pytest.raises(
        InputError, match=r"the camera stands beside the robot and the board is on the tool \(eye to hand\)"
    ):
        calibrate_hand_eye(T_bt, T_co, NAMES, vectors(T_bt), boards_read)
    # what following that advice, or a session of easy_handeye for such a camera, would give
    assert float(lie.error_norms(lie.inverse(T_bc) @ solve(lie.inverse(T_bt), T_co)[0])[0]) < 0.05
    with pytest.raises(InputError, match=r"m from the tool, and the board at the base: as if the camera stands beside"):
        calibrate_hand_eye(lie.inverse(T_bt), T_co, NAMES, None, boards_read)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("place", [(0.2, 0.1, 0.25), (0.28, 0.0, 0.28), (0.12, 0.1, 0.05)])
def test_a_camera_beside_a_small_arm_is_named(place: tuple[float, float, float], inverted: bool) -> None:
    """Some tools store the base in the tool for such a camera: then the poses agree as they are."""
    T_bc = lie.pose_from_vector(torch.tensor([*place, 2.6, 0.4, -0.3], dtype=torch.float64))
    T_to = lie.pose_from_vector(torch.tensor([0.01, 0.02, 0.05, 0.0, 0.1, 0.2], dtype=torch.float64))
    T_co = SEEN.clone()
    T_co[:, :3, 3] /= 2
    T_bt = T_bc @ T_co @ lie.inverse(T_to)
    with pytest.raises(InputError, match="the camera stands beside the robot and the board is on the tool"):
        calibrate_hand_eye(lie.inverse(T_bt) if inverted else T_bt, T_co, NAMES)


@pytest.mark.parametrize("far", [0.1, 0.15, 0.2])
@pytest.mark.parametrize("board", [0.3, 0.5])
def test_a_camera_on_a_long_bracket_is_taken(far: float, board: float) -> None:
    T_tc = lie.pose_from_vector(torch.tensor([0.6 * far, 0.0, 0.8 * far, 0.1, -0.2, 0.8], dtype=torch.float64))
    T_bo = lie.pose_from_vector(torch.tensor([board, 0.0, 0.0, math.pi, 0.0, 0.0], dtype=torch.float64))
    T_bt = T_bo @ lie.inverse(T_CO) @ lie.inverse(T_tc)
    found = calibrate_hand_eye(T_bt, SEEN, NAMES)
    assert float(lie.error_norms(lie.inverse(T_tc) @ found.T_tc)[0]) < 5e-3


def test_mirrored_pictures_are_named() -> None:
    """The board, found in a picture whose left is right, and with its corners counted from the other side."""
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    with pytest.raises(InputError, match=r"or the pictures as mirrored: .*or pictures that are not mirrored"):
        calibrate_hand_eye(T_BT, mirror @ SEEN @ mirror, NAMES)


def test_inverted_poses_of_the_board_are_named() -> None:
    with pytest.raises(InputError, match=r"with the board's poses inverted, .*give the board in the camera's frame"):
        calibrate_hand_eye(T_BT, lie.inverse(SEEN), NAMES, vectors(T_BT), True)


@pytest.mark.parametrize("size", [0.985, 1.015])
def test_lengths_that_clearly_do_not_fit_are_in_the_standard_deviation(size: float) -> None:
    """A square, or a focal length, that is off by too little to be refused."""
    wrong = SEEN.clone()
    wrong[:, :3, 3] *= size
    right, found = calibrate_hand_eye(T_BT, SEEN), calibrate_hand_eye(T_BT, wrong)
    assert not right.misfit
    assert found.misfit
    assert found.scale == pytest.approx(1 / size, abs=3 * found.scale_std)
    assert off(found.T_tc)[0] < 2 * max(found.std_t)
    assert max(found.std_t) > 3 * max(right.std_t)


@pytest.mark.parametrize("size", [0.98, 1.02])
def test_lengths_that_would_move_the_camera_by_more_than_noise_are_refused(size: float) -> None:
    wrong = SEEN.clone()
    wrong[:, :3, 3] *= size
    with pytest.raises(InputError, match=r"lengths contradict each other.*measure a square"):
        calibrate_hand_eye(T_BT, wrong)


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        ([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]], r"a camera's body frame \(x forward\); measure in the optical frame"),
        ([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]], "these are inverted, or of another frame"),
        ([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]], "these are of another frame; give the board in the camera's optical"),
    ],
    ids=["body", "behind", "y"],
)
def test_poses_of_the_board_in_another_frame_of_the_camera_are_named(turn: list[list[float]], words: str) -> None:
    """They agree as well as those in the optical frame, and the result was said to be of that."""
    frame = lie.pose(torch.tensor(turn, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    with pytest.raises(InputError, match=rf"the board's poses are not along z, in front of the camera: .*{words}"):
        calibrate_hand_eye(T_BT, frame @ SEEN, NAMES, vectors(T_BT), True)


@pytest.mark.parametrize("n", [8, 12])
def test_one_bad_pose_that_noise_could_explain_is_named(n: int) -> None:
    """Of eight poses one 20 mm off moved the camera by 5 mm, and was taken."""
    T_co = torch.stack(views(Board(), n, 3, roll=1.0))
    seen = noisy(T_co, 5e-4, 1e-3, 2)
    T_bt = noisy(tool_poses(T_co), 3e-4, 5e-4, 1)
    T_bt[3, :3, 3] += torch.tensor([0.02, 0.0, 0.0], dtype=torch.float64)
    with pytest.raises(InputError, match=r"contradict each other: .*without 03\.png the spread is .* take it out"):
        calibrate_hand_eye(T_bt, seen, [f"{k:02d}.png" for k in range(n)])
    T_bt[3, 0, 3] -= 0.014  # 6 mm are left, which hardly move it
    found = calibrate_hand_eye(T_bt, seen) if n == 12 else None
    assert found is None or off(found.T_tc)[0] < 2e-3


def test_a_bad_pose_that_hardly_moves_the_result_is_said() -> None:
    T_co = torch.stack(views(Board(), 20, 3, roll=1.0))
    T_bt = noisy(tool_poses(T_co), 3e-4, 5e-4, 1)
    T_bt[7, :3, 3] += torch.tensor([0.0, 0.014, 0.0], dtype=torch.float64)
    found = calibrate_hand_eye(T_bt, noisy(T_co, 5e-4, 1e-3, 2))
    assert found.odd == (7,)
    assert off(found.T_tc)[0] < 3e-3


@pytest.mark.parametrize(("t", "r"), [(2e-4, 2e-4), (1e-3, 2e-3)])
def test_no_picture_of_good_ones_is_odd(t: float, r: float) -> None:
    for seed in range(12):
        T_co = torch.stack(views(Board(), 6 + seed, seed, roll=1.0))
        found = calibrate_hand_eye(noisy(tool_poses(T_co), t, r, seed), noisy(T_co, 5e-4, 1e-3, seed + 100))
        assert found.odd == ()


def test_three_bad_pictures_of_many_are_named_and_of_hopeless_ones_the_farthest() -> None:
    """There are 4060 choices of three pictures of 30: the worst are left out one by one."""
    T_co = torch.stack(views(Board(), 30, 3, roll=1.0))
    names = [f"{k:02d}.png" for k in range(30)]
    seen, T_bt = noisy(T_co, 5e-4, 1e-3, 2), noisy(tool_poses(T_co), 3e-4, 5e-4, 1)
    far = torch.tensor([[0.3, 0.1, 0.0], [-0.2, 0.2, 0.1], [0.0, -0.3, 0.2], [0.2, 0.2, 0.3], [-0.3, 0, 0.3]])
    T_bt[[4, 11, 25], :3, 3] += far[:3]
    with pytest.raises(InputError, match=r"without 04\.png and 11\.png and 25\.png the spread is"):
        calibrate_hand_eye(T_bt, seen, names)
    T_bt[[7, 18], :3, 3] += far[3:]
    with pytest.raises(InputError, match=r"no few bad pictures explain it.*farthest from the others' in") as error:
        calibrate_hand_eye(T_bt, seen, names)
    said = str(error.value).split("farthest")[1]
    assert {name for name in names if name in said} <= {"04.png", "07.png", "11.png", "18.png", "25.png"}


def test_pictures_of_one_place_count_once() -> None:
    """Poses and boards with the noise of a second look, at the same places."""
    again, seen = noisy(T_BT, 5e-5, 5e-5, 5), noisy(T_CO, 5e-4, 1e-3, 9)
    once = calibrate_hand_eye(T_BT, SEEN)
    twice = calibrate_hand_eye(torch.cat((T_BT, again)), torch.cat((SEEN, seen)))
    assert (once.places, twice.places) == (10, 10)
    assert twice.std_t == pytest.approx(once.std_t, rel=0.5)
    assert float(twice.influence[:, 0].max()) > 0.5 * float(once.influence[:, 0].max())
    torch.testing.assert_close(twice.influence[:10], twice.influence[10:])
    with pytest.raises(InputError, match="4 places of the tool, 4 more are copies; 5 are needed"):
        calibrate_hand_eye(torch.cat((T_BT[:4], again[:4])), torch.cat((SEEN[:4], seen[:4])))


def test_influence_of_a_place_is_what_leaving_it_out_does() -> None:
    A, C = torch.cat((T_BT, T_BT[:3])), torch.cat((SEEN, noisy(T_CO[:3], 5e-4, 1e-3, 9)))
    found = calibrate_hand_eye(A, C)
    kept = [k for k in range(13) if k not in (1, 11)]
    t, r = lie.error_norms(lie.inverse(found.T_tc) @ solve(A[kept], C[kept])[0])
    assert found.influence[11].tolist() == pytest.approx([float(t), float(r)], rel=1e-6)


def test_one_image_for_several_poses_is_named() -> None:
    seen = SEEN.clone()
    seen[5] = seen[6] = SEEN[4]
    with pytest.raises(
        InputError, match=r"04\.png and 05\.png, 06\.png show the board in the same pose .*sent one image"
    ):
        calibrate_hand_eye(T_BT, seen, NAMES)


def test_a_frame_near_the_board_can_be_said_to_be_one() -> None:
    """Poses in a user frame at the board, and a camera 0.18 m from the tool, look as if it stood beside the robot."""
    T_tc = lie.pose_from_vector(torch.tensor([0.1, 0.0, 0.15, 0.1, -0.2, 0.8], dtype=torch.float64))
    T_bo = lie.pose_from_vector(torch.tensor([0.1, 0.0, 0.0, math.pi, 0.0, 0.0], dtype=torch.float64))
    T_bt = noisy(T_bo @ lie.inverse(T_CO) @ lie.inverse(T_tc), 3e-4, 5e-4, 1)
    with pytest.raises(InputError, match="the poses are in a frame near the board, say so") as error:
        calibrate_hand_eye(T_bt, SEEN, NAMES)
    assert error.value.settings == ("eye_in_hand",)
    found = calibrate_hand_eye(T_bt, SEEN, NAMES, on_tool=True)
    assert float(lie.error_norms(lie.inverse(T_tc) @ found.T_tc)[0]) < 5e-3
