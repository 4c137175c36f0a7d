"""Poses that stand with other pictures: which order is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from boards_helpers import T_TC, noisy, tool_poses, views
from siame_se3.commissioning import hand_eye_data
from siame_se3.commissioning.boards import Board, Seen
from siame_se3.commissioning.hand_eye import calibrate_hand_eye
from siame_se3.commissioning.hand_eye_data import hand_eye_of_pictures
from siame_se3.commissioning.hand_eye_order import in_order
from siame_se3.errors import InputError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera

N = 12
T_CO = torch.stack(views(Board(), N, 3, roll=1.0))
T_BT = noisy(tool_poses(T_CO), 3e-4, 5e-4, 1)
SEEN = noisy(T_CO, 5e-4, 1e-3, 2)
NAMES = [f"img_{k}.png" for k in range(1, N + 1)]
BY_LETTERS = sorted(range(N), key=lambda k: NAMES[k])
ORDERS = {
    "two late": ([*range(2, N), 0, 1], "taken for the picture two after the one that it is given for"),
    "two early": ([N - 2, N - 1, *range(N - 2)], "taken for the picture two before"),
    "three late": ([*range(3, N), 0, 1, 2], "taken for the picture three after"),
    "three early": ([*range(N - 3, N), *range(N - 3)], "taken for the picture three before"),
    "backwards": ([*range(N)][::-1], "with the poses in reversed order"),
    "by letters": (BY_LETTERS, "in the order of letters .*, each picture with its own"),
    "by numbers": (sorted(range(N), key=lambda k: BY_LETTERS[k]), "in the order of letters .*names with leading zeros"),
    "a pose lost": ([0, 1, 2, 3, *range(5, N), 0], r"each pose from img_5\.png on taken for the next picture, as if that of img_5\.png were lost"),
    "a picture lost": ([0, 1, 2, 3, 0, *range(4, N - 1)], r"each pose after img_5\.png taken for the previous picture"),
}  # fmt: skip


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("slip", ORDERS)
def test_other_orders_are_named(slip: str, inverted: bool) -> None:
    order, words = ORDERS[slip]
    T_bt = T_BT[order]
    with pytest.raises(InputError, match=words) as error:
        calibrate_hand_eye(lie.inverse(T_bt) if inverted else T_bt, SEEN, NAMES)
    assert ("and the poses inverted" in str(error.value)) == inverted
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(("late", "words"), [(1, "the next picture"), (-1, "the previous picture")])
def test_late_poses_of_pictures_of_which_some_are_gone_are_named(late: int, words: str) -> None:
    """Nothing tells which: rows without a picture are gone with it."""
    kept = [k for k in range(N) if k not in (4, 8)]
    with pytest.raises(InputError, match=f"with each pose taken for {words}, without img_[0-9].png and img_[0-9]"):
        calibrate_hand_eye(T_BT.roll(-late, 0)[kept], SEEN[kept], [NAMES[k] for k in kept])


def written(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    T_bt: Tensor,
    names: list[str],
    not_seen: tuple[int, ...] = (),
    gone: tuple[int, ...] = (),
) -> tuple[Path, Path, Path, Board]:
    """Files of a session whose board is found without a look at the pictures."""
    lines = [
        ",".join([name, *map(str, p)]) for name, p in zip(names, lie.vector_from_pose(T_bt).tolist(), strict=False)
    ]
    (folder / "poses.csv").write_text("\n".join(["picture,x,y,z,rx,ry,rz", *lines]))
    for k, name in enumerate(NAMES):
        if k not in gone:
            (folder / name).touch()
    camera = Camera(520.0, 515.0, 322.0, 236.0, 640, 480)
    camera.to_yaml(folder / "camera.yaml")
    number = {name: k for k, name in enumerate(NAMES)}

    def look(paths: list[Path], board: Board, least: int = 0) -> list[Seen]:
        corners = Board().square * torch.ones(1, 2).numpy()
        return [Seen(p, (480, 640), corners, corners) for p in paths if number[p.name] not in not_seen]

    monkeypatch.setattr(hand_eye_data.boards, "look", look)
    monkeypatch.setattr(hand_eye_data.boards, "board_pose", lambda seen, camera: SEEN[number[seen.path.name]])
    return folder / "poses.csv", folder, folder / "camera.yaml", Board()


@pytest.mark.parametrize(
    ("late", "words"),
    [(1, "previous picture"), (-1, "next picture"), (2, "picture two before"), (-3, "picture three after")],
)
@pytest.mark.parametrize("gaps", [(4,), (2, 3, 7)])
def test_a_shift_runs_over_pictures_without_the_board_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: int, words: str, gaps: tuple[int, ...]
) -> None:
    files = written(tmp_path, monkeypatch, T_BT.roll(late, 0), NAMES, gaps)
    with pytest.raises(
        InputError, match=f"place differs by .* with each pose taken for the {words}.*own pose$"
    ) as error:
        hand_eye_of_pictures(*files)
    assert "without" not in str(error.value)


def test_a_shift_runs_over_poses_whose_pictures_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = written(tmp_path, monkeypatch, T_BT.roll(1, 0), NAMES, gone=(3, 5, 8))
    with pytest.raises(InputError, match="with each pose taken for the previous picture, the spread is"):
        hand_eye_of_pictures(*files)


def test_a_shift_runs_over_pictures_without_a_pose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last two poses are missing, and the others are those of two pictures later"""
    files = written(tmp_path, monkeypatch, T_BT[2:], NAMES)
    with pytest.raises(InputError, match="with each pose taken for the picture two after"):
        hand_eye_of_pictures(*files)


def test_the_right_order_is_taken_with_pictures_without_the_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, found, notes = hand_eye_of_pictures(*written(tmp_path, monkeypatch, T_BT, NAMES, (4,)))
    assert names == [name for k, name in enumerate(NAMES) if k != 4]
    assert notes == ["img_5.png: board not found"]
    assert float(lie.error_norms(lie.inverse(T_TC) @ found.T_tc)[0]) < 3e-3


def test_pictures_by_the_numbers_in_their_names() -> None:
    paths = [Path(name) for name in ("b_1.png", "a_10.png", "a_9.png", "a.png", "a_9_2.png")]
    assert [path.name for path in in_order(paths)] == ["a.png", "a_9.png", "a_9_2.png", "a_10.png", "b_1.png"]
