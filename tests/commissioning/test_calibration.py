"""Pictures of a board are rendered with known intrinsics and poses, and both found again; the commands."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from boards_helpers import T_TC, all_over, project, shot, tool_poses, views
from siame_se3 import cli
from siame_se3.cli.calibrate import Calibrate
from siame_se3.commissioning import boards
from siame_se3.commissioning.boards import Board
from siame_se3.commissioning.camera import calibrate_camera
from siame_se3.commissioning.hand_eye import calibrate_hand_eye
from siame_se3.commissioning.hand_eye_data import hand_eye_of_boards, hand_eye_of_pictures
from siame_se3.commissioning.hand_eye_file import hand_eye_from_yaml
from siame_se3.commissioning.poses import read_poses
from siame_se3.errors import InputError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera

TRUE = Camera(520.0, 515.0, 322.0, 236.0, 640, 480, (-0.12, 0.05, 0.001, -0.0005, 0.0))
FISHEYE = Camera(300.0, 302.0, 318.0, 241.0, 640, 480, (-0.01, 0.003, -0.001, 0.0), "equidistant")
BOARDS = {"checkerboard": Board(), "charuco": Board("charuco", 8, 6, 0.03, 0.022)}
Session = tuple[Board, Path, list[Tensor]]


def write_poses(path: Path, T_bt: Tensor) -> None:
    lines = ["picture,x,y,z,rx,ry,rz"]
    for k, p in enumerate(lie.vector_from_pose(T_bt).tolist()):
        lines.append(",".join([f"{k:02d}.png", *(f"{x:.9f}" for x in p)]))
    path.write_text("\n".join(lines))


@pytest.fixture(scope="module", params=list(BOARDS))
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    board = BOARDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    poses = all_over(board, TRUE, 12, 2, 0.3)
    for k, T in enumerate(poses):
        cv2.imwrite(str(folder / f"{k:02d}.png"), shot(board, TRUE, T))
    cv2.imwrite(str(folder / "none.png"), np.full((480, 640), 128, np.uint8))
    write_poses(folder / "poses.csv", tool_poses(poses))
    return board, folder, poses


@pytest.fixture(scope="module")
def few(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Seven of the pictures: commands read them in less than a second."""
    board, folder, poses = session
    few = tmp_path_factory.mktemp("few")
    for name in (*(f"{k:02d}.png" for k in range(7)), "none.png"):
        shutil.copy(folder / name, few / name)
    write_poses(few / "poses.csv", tool_poses(poses[:7]))
    return board, few, poses[:7]


@pytest.fixture(scope="module")
def seen(session: Session) -> list[boards.Seen]:
    return boards.look(boards.pictures(session[1]), session[0])


def test_the_camera_is_found(session: Session, seen: list[boards.Seen]) -> None:
    board = session[0]
    assert len(seen) >= 10
    fit = calibrate_camera(seen)
    assert fit.rms < 0.3
    assert len(fit.errors) == len(seen)
    assert max(fit.errors) < 1
    rough = 0.008 if board.kind == "checkerboard" else 0.02  # OpenCV finds a ChArUco board's corners less precisely
    for name, tolerance in (("fx", rough), ("fy", rough), ("cx", 2 * rough), ("cy", 2 * rough)):
        assert getattr(fit.camera, name) == pytest.approx(getattr(TRUE, name), rel=tolerance)
    # Coefficients trade off with each other: what counts is where the rectified pixels come from.
    picture = shot(board, TRUE, views(board, 1, 9)[0])
    assert float(np.abs(fit.camera.rectify(picture).astype(float) - TRUE.rectify(picture)).mean()) < 2


def test_a_fisheye_is_found(tmp_path: Path) -> None:
    board = BOARDS["checkerboard"]
    for k, T in enumerate(all_over(board, FISHEYE, 8, 2, 0.17)):
        cv2.imwrite(str(tmp_path / f"{k:02d}.png"), shot(board, FISHEYE, T))
    fit = calibrate_camera(boards.look(boards.pictures(tmp_path), board), "equidistant")
    assert fit.rms < 0.5
    assert fit.camera.fx == pytest.approx(FISHEYE.fx, rel=0.02)
    assert fit.camera.cx == pytest.approx(FISHEYE.cx, abs=5)


def test_hand_eye_is_found(session: Session, seen: list[boards.Seen]) -> None:
    table = read_poses(session[1] / "poses.csv")
    rows = table.of_pictures([s.path for s in seen])
    T_bt = table.poses()[[rows[s.path] for s in seen]]
    fit = calibrate_hand_eye(T_bt, [boards.board_pose(s, TRUE) for s in seen])
    error_t, error_r = lie.error_norms(lie.inverse(T_TC) @ fit.T_tc)
    assert float(error_t) < 3e-3
    assert math.degrees(float(error_r)) < 0.3
    assert fit.spread.t < 3e-3
    assert math.degrees(fit.spread.r) < 0.5


@pytest.mark.parametrize(("columns", "rows"), [(8, 6), (7, 7)])
def test_pictures_of_boards_that_look_alike_when_turned(tmp_path: Path, columns: int, rows: int) -> None:
    board = Board(columns=columns, rows=rows)
    poses = views(board, 7, 4, roll=2.6)
    for k, T in enumerate(poses):
        cv2.imwrite(str(tmp_path / f"{k:02d}.png"), shot(board, TRUE, T))
    write_poses(tmp_path / "poses.csv", tool_poses(poses))
    TRUE.to_yaml(tmp_path / "camera.yaml")
    _, fit, notes = hand_eye_of_pictures(tmp_path / "poses.csv", tmp_path, tmp_path / "camera.yaml", board)
    assert float(lie.error_norms(lie.inverse(T_TC) @ fit.T_tc)[0]) < 3e-3
    assert "looks the same turned" in notes[-1]


def test_poses_of_the_board_need_no_pictures(tmp_path: Path) -> None:
    """ViSP's folder with pose_cPo_*.yaml; without these the pictures are asked for."""

    def visp(T: Tensor) -> str:
        values = lie.vector_from_pose(T).tolist()
        return "rows: 6\ncols: 1\ndata:\n" + "".join(f"  - [{x!r}]\n" for x in values)

    poses = views(Board(), 8, 4)
    for k, (T_bt, T_co) in enumerate(zip(tool_poses(poses), poses, strict=True), 1):
        (tmp_path / f"pose_fPe_{k}.yaml").write_text(visp(T_bt))
        (tmp_path / f"pose_cPo_{k}.yaml").write_text(visp(T_co))
    names, fit, _ = hand_eye_of_boards(tmp_path)
    assert names == [str(k) for k in range(1, 9)]
    torch.testing.assert_close(fit.T_tc, T_TC, atol=1e-9, rtol=0)
    (tmp_path / "pose_cPo_3.yaml").unlink()
    assert hand_eye_of_boards(tmp_path)[0] == [str(k) for k in range(1, 9) if k != 3]
    for path in tmp_path.glob("pose_cPo_*"):
        path.unlink()
    with pytest.raises(InputError, match="poses of the tool alone; give the pictures"):
        hand_eye_of_boards(tmp_path)


def command(*words: str, status: int = 0) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([*words])
    assert end.value.code == status


def board_words(board: Board) -> list[str]:
    words = ["--board.kind", board.kind, "--board.columns", str(board.columns), "--board.rows", str(board.rows)]
    return [*words, "--board.square", str(board.square), "--board.marker", str(board.marker)]


def test_commands(few: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board, folder, _ = few
    words = board_words(board)
    camera, hand_eye = tmp_path / "camera.yaml", tmp_path / "hand-eye.yaml"
    command("calibrate", "camera", "--pictures", str(folder), "--out", str(camera), *words)
    said = capsys.readouterr().out
    assert "none.png: board not found" in said
    assert "00.png: " in said
    assert "without it fx moves by" in said
    assert " +- " in said
    assert Camera.from_yaml(camera).fx == pytest.approx(520, rel=0.02 if board.kind == "checkerboard" else 0.04)
    TRUE.to_yaml(camera)
    options = ["--pictures", str(folder), "--camera", str(camera), "--poses", str(folder / "poses.csv")]
    command("calibrate", "hand-eye", *options, "--out", str(hand_eye), *words)
    said = capsys.readouterr().out
    assert "the board's place differs by" in said
    assert "standard deviation" in said
    assert "without it the camera moves by" in said
    assert float(lie.error_norms(lie.inverse(T_TC) @ hand_eye_from_yaml(hand_eye))[0]) < 0.004
    command("calibrate", "board", "--out", str(tmp_path / "b.png"), *words)
    picture = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_GRAYSCALE)
    assert board.find(picture) is not None
    with pytest.raises(SystemExit):
        cli.main(["calibrate", "hand-eye", "--pictures", str(folder)])
    assert "give --camera camera.yaml and --poses" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "out", "option"),
    [
        (("camera",), "00.png", "--pictures"),
        (("hand-eye",), "02.png", "--pictures"),
        (("hand-eye",), "camera.yaml", "--camera"),
        (("hand-eye",), "poses.csv", "--poses"),
    ],
)
def test_what_is_read_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], out: str, option: str
) -> None:
    TRUE.to_yaml(tmp_path / "camera.yaml")
    for name in ("00.png", "02.png", "poses.csv"):
        (tmp_path / name).write_text("kept")
    (tmp_path / "sub").mkdir()
    given = ["--pictures", str(tmp_path), "--out", str(tmp_path / "sub" / ".." / out)]
    if words == ("hand-eye",):
        given += ["--camera", str(tmp_path / "camera.yaml"), "--poses", str(tmp_path / "poses.csv")]
    before = (tmp_path / out).read_bytes()
    with pytest.raises(SystemExit) as ended:
        cli.main(["calibrate", *words, *given])
    assert ended.value.code == 2
    assert f"{out}: the file to write is read too, by {option}; give another place" in capsys.readouterr().err
    assert (tmp_path / out).read_bytes() == before


def test_poses_of_a_folder_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "pose_fPe_1.yaml").write_text("rows: 6\n")
    (tmp_path / "camera.yaml").write_text("image_width: 6\n")
    with pytest.raises(InputError, match=r"pose_fPe_1\.yaml: the file to write is read too"):
        Calibrate("hand-eye", out=tmp_path / "pose_fPe_1.yaml", poses=tmp_path)()
    with pytest.raises(InputError, match="no poses of the tool"):
        Calibrate("hand-eye", out=tmp_path / "camera.yaml", poses=tmp_path)()


def test_a_file_that_is_replaced_is_said_to_be(
    few: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board, folder, _ = few
    if board.kind == "charuco":
        return
    TRUE.to_yaml(tmp_path / "true.yaml")
    hand_eye = ("--camera", str(tmp_path / "true.yaml"), "--poses", str(folder / "poses.csv"))
    for words, name in ((("board",), "board.png"), (("camera",), "camera.yaml"), (("hand-eye", *hand_eye), "he.yaml")):
        out = tmp_path / name
        out.write_text("old")
        command("calibrate", *words, "--pictures", str(folder), "--out", str(out), *board_words(board))
        said = capsys.readouterr().out
        assert f"replaced: {out}\n" in said
        assert "written" not in said


def test_pictures_square_on_end_with_status_2_and_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The camera comes nearer and turns about its axis, and the board is never tilted."""
    board, pictures = BOARDS["checkerboard"], tmp_path / "pictures"
    pictures.mkdir()
    half = torch.tensor([board.columns - 1, board.rows - 1, 0.0], dtype=torch.float64) * board.square / 2
    for k in range(6):
        R = lie.so3_exp(torch.tensor([0.0, 0.0, 0.15 * k], dtype=torch.float64))
        T_co = lie.pose(R, torch.tensor([0.005 * k, -0.003 * k, 0.6 - 0.03 * k], dtype=torch.float64) - R @ half)
        cv2.imwrite(str(pictures / f"{k:02d}.png"), shot(board, TRUE, T_co))
    out = tmp_path / "camera.yaml"
    command("calibrate", "camera", "--pictures", str(pictures), "--out", str(out), *board_words(board), status=2)
    assert "the focal length is not determined" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("slip", "words"),
    [("inverse", "base-from-tool poses"), ("late", "the next picture"), ("swapped", "without 02.png and 03.png")],
)
def test_a_contradiction_ends_with_status_2_and_no_file(
    few: Session,
    slip: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    board, folder, poses = few
    T_bt = tool_poses(poses)
    T_bt = {"inverse": lie.inverse(T_bt), "late": T_bt.roll(-1, 0), "swapped": T_bt[[0, 1, 3, 2, *range(4, 7)]]}[slip]
    write_poses(tmp_path / "poses.csv", T_bt)
    TRUE.to_yaml(tmp_path / "camera.yaml")
    options = ["--pictures", str(folder), "--camera", str(tmp_path / "camera.yaml")]
    options += ["--poses", str(tmp_path / "poses.csv"), "--out", str(tmp_path / "hand-eye.yaml")]
    command("calibrate", "hand-eye", *options, *board_words(board), status=2)
    assert words in capsys.readouterr().err
    assert not (tmp_path / "hand-eye.yaml").exists()


def test_rectified_pictures_are_taken_by_p(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The camera's P has another focal length than K, as camera_calibration writes it; taken by K and D, they fit nothing."""
    straight = Camera(480.0, 480.0, 318.0, 238.0, 640, 480)
    board, poses = BOARDS["checkerboard"], all_over(BOARDS["checkerboard"], straight, 10, 1)
    write_poses(tmp_path / "poses.csv", tool_poses(poses))
    for k in range(10):
        (tmp_path / f"{k:02d}.png").touch()
    TRUE.to_yaml(tmp_path / "camera.yaml")
    text = (tmp_path / "camera.yaml").read_text().split("projection_matrix")[0]
    P = [480.0, 0.0, 318.0, 0.0, 0.0, 480.0, 238.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    (tmp_path / "camera.yaml").write_text(text + f"projection_matrix: {{rows: 3, cols: 4, data: {P}}}\n")

    def look(paths: list[Path], board: Board, least: int = 0) -> list[boards.Seen]:
        x, y = np.meshgrid(np.arange(board.columns), np.arange(board.rows))
        points = np.stack((x.ravel(), y.ravel(), 0 * x.ravel()), 1).astype(np.float32) * np.float32(board.square)
        corners = [project(straight, poses[int(path.stem)], points).astype(np.float32) for path in paths]
        return [boards.Seen(path, (480, 640), points, c) for path, c in zip(paths, corners, strict=True)]

    monkeypatch.setattr(boards, "look", look)
    files = tmp_path / "poses.csv", tmp_path, tmp_path / "camera.yaml", board
    _, fit, _ = hand_eye_of_pictures(*files, rectified=True)
    assert float(lie.error_norms(lie.inverse(T_TC) @ fit.T_tc)[0]) < 1e-3
    with pytest.raises(InputError, match=r"with the pictures taken as rectified, by P of camera\.yaml") as error:
        hand_eye_of_pictures(*files)
    assert error.value.settings == ("rectified",)
    with pytest.raises(InputError, match="rectified pictures need the camera's calibration"):
        Calibrate("hand-eye", out=tmp_path / "h.yaml", poses=tmp_path / "poses.csv", rectified=True)()
