"""Pictures of a board are rendered with known intrinsics and poses, and both found again."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from siame_se3 import cli
from siame_se3.commissioning import calibration
from siame_se3.commissioning.calibration import Board
from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera

TRUE = Camera(520.0, 515.0, 322.0, 236.0, 640, 480, (-0.12, 0.05, 0.001, -0.0005, 0.0))
FISHEYE = Camera(300.0, 302.0, 318.0, 241.0, 640, 480, (-0.01, 0.003, -0.001, 0.0), "equidistant")
BOARDS = {"checkerboard": Board(), "charuco": Board("charuco", 8, 6, 0.03, 0.022)}
T_TC = lie.pose_from_vector(torch.tensor([0.05, -0.03, 0.1, 0.1, -0.2, 0.8], dtype=torch.float64))
T_BO = lie.pose_from_vector(torch.tensor([0.5, 0.1, 0.0, math.pi, 0.0, 0.0], dtype=torch.float64))


def shot(board: Board, camera: Camera, T_co: Tensor) -> np.ndarray:
    """The board as the camera sees it: each pixel's ray, undistorted, meets the board's plane."""
    pixels = 40
    picture = board.picture(pixels)
    v, u = np.mgrid[0 : camera.height, 0 : camera.width].astype(np.float64)
    points = np.stack((u.ravel(), v.ravel()), 1)[:, None]
    d = np.asarray(camera.distortion)
    if camera.distortion_model == "equidistant":
        rays = np.asarray(cv2.fisheye.undistortPoints(points, camera.K.numpy(), d)).reshape(-1, 2)
    else:
        criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 50, 1e-9)
        rays = np.asarray(cv2.undistortPoints(points, camera.K.numpy(), d, None, None, None, criteria)).reshape(-1, 2)  # type: ignore[call-overload]
    T_oc = lie.inverse(T_co).numpy()
    directions = np.concatenate((rays, np.ones((len(rays), 1))), 1) @ T_oc[:3, :3].T
    scale = -T_oc[2, 3] / directions[:, 2]
    X = T_oc[:3, 3] + directions * scale[:, None]
    # a margin of a square, and a checkerboard's first inner corner a square inside
    inside = 2 if board.kind == "checkerboard" else 1
    x = (X[:, 0] / board.square + inside) * pixels - 0.5
    y = (X[:, 1] / board.square + inside) * pixels - 0.5
    seen = cv2.remap(
        picture,
        x.astype(np.float32).reshape(480, 640),
        y.astype(np.float32).reshape(480, 640),
        cv2.INTER_AREA,
        borderValue=255,
    )
    return cv2.GaussianBlur(seen, (0, 0), 0.7)


def views(board: Board, n: int, seed: int, near: float = 0.45) -> list[Tensor]:
    """Poses of the board in the camera's frame, its middle about the view's."""
    rng = np.random.default_rng(seed)
    half = torch.tensor([board.columns - 1, board.rows - 1, 0.0], dtype=torch.float64) * board.square / 2
    found = []
    for _ in range(n):
        turn = torch.tensor(rng.uniform(-0.6, 0.6, 3))
        T = lie.pose(
            lie.so3_exp(turn),
            torch.tensor([rng.uniform(-0.05, 0.05), rng.uniform(-0.04, 0.04), rng.uniform(near, near + 0.3)]),
        )
        T[:3, 3] -= T[:3, :3] @ half
        found.append(T)
    return found


@pytest.fixture(scope="module", params=list(BOARDS))
def session(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Board, Path, list[Tensor]]:
    board = BOARDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    poses = views(board, 16, 1)
    for k, T in enumerate(poses):
        cv2.imwrite(str(folder / f"{k:02d}.png"), shot(board, TRUE, T))
    cv2.imwrite(str(folder / "none.png"), np.full((480, 640), 128, np.uint8))
    lines = ["picture,x,y,z,rx,ry,rz"]
    for k, T_co in enumerate(poses):
        T_bt = T_BO @ lie.inverse(T_co) @ lie.inverse(T_TC)
        lines.append(",".join([f"{k:02d}.png", *(f"{x:.9f}" for x in lie.vector_from_pose(T_bt).tolist())]))
    (folder / "poses.csv").write_text("\n".join(lines))
    return board, folder, poses


def test_the_camera_is_found(session: tuple[Board, Path, list[Tensor]]) -> None:
    board, folder, _ = session
    seen = calibration.look(calibration.pictures(folder), board)
    assert len(seen) >= 14
    camera, rms, errors = calibration.calibrate_camera(seen)
    assert rms < 0.3
    assert len(errors) == len(seen)
    assert max(errors) < 1
    rough = 0.008 if board.kind == "checkerboard" else 0.02  # OpenCV finds a ChArUco board's corners less precisely
    for name, tolerance in (("fx", rough), ("fy", rough), ("cx", 0.01), ("cy", 0.01)):
        assert getattr(camera, name) == pytest.approx(getattr(TRUE, name), rel=tolerance)
    # Coefficients trade off with each other: what counts is where the rectified pixels come from.
    picture = shot(board, TRUE, views(board, 1, 9)[0])
    assert float(np.abs(camera.rectify(picture).astype(float) - TRUE.rectify(picture)).mean()) < 2


def test_a_fisheye_is_found(tmp_path: Path) -> None:
    board = BOARDS["checkerboard"]
    for k, T in enumerate(views(board, 12, 2, 0.25)):
        cv2.imwrite(str(tmp_path / f"{k:02d}.png"), shot(board, FISHEYE, T))
    camera, rms, _ = calibration.calibrate_camera(
        calibration.look(calibration.pictures(tmp_path), board), "equidistant"
    )
    assert rms < 0.5
    assert camera.fx == pytest.approx(FISHEYE.fx, rel=0.02)
    assert camera.cx == pytest.approx(FISHEYE.cx, abs=5)


def test_hand_eye_is_found(session: tuple[Board, Path, list[Tensor]]) -> None:
    board, folder, _ = session
    seen = calibration.look(calibration.pictures(folder), board)
    poses = calibration.read_poses(folder / "poses.csv")
    seen = [s for s in seen if s.path.name in poses]
    T_tc, t, r = calibration.calibrate_hand_eye(
        [poses[s.path.name] for s in seen], [calibration.board_pose(s, TRUE) for s in seen]
    )
    error_t, error_r = lie.error_norms(lie.inverse(T_TC) @ T_tc)
    assert float(error_t) < 3e-3
    assert math.degrees(float(error_r)) < 0.3
    assert t < 3e-3
    assert math.degrees(r) < 0.5


def test_hand_eye_of_exact_poses_is_exact() -> None:
    T_co = views(Board(), 6, 3)
    T_bt = [T_BO @ lie.inverse(T) @ lie.inverse(T_TC) for T in T_co]
    T_tc, t, r = calibration.calibrate_hand_eye(T_bt, T_co)
    torch.testing.assert_close(T_tc, T_TC, atol=1e-9, rtol=0)
    assert max(t, r) < 1e-9


def test_hand_eye_needs_turns_and_pictures() -> None:
    T_co = views(Board(), 6, 3)
    with pytest.raises(SiameError, match="5 are needed"):
        calibration.calibrate_hand_eye(T_co[:4], T_co[:4])
    slide = [lie.pose_from_vector(torch.tensor([0.1 * k, 0, 0, 0, 0, 0.2 * k], dtype=torch.float64)) for k in range(6)]
    with pytest.raises(SiameError, match="about one axis only"):
        calibration.calibrate_hand_eye(slide, T_co)


def test_hand_eye_files_there_and_back(tmp_path: Path) -> None:
    calibration.hand_eye_to_yaml(T_TC, tmp_path / "h.yaml")
    torch.testing.assert_close(calibration.hand_eye_from_yaml(tmp_path / "h.yaml"), T_TC)
    for text in (
        "",
        "a: [",
        "camera_in_tool: 3",
        "camera_in_tool: {translation: [1, 2], rotation_vector: [0, 0, 0]}",
        "camera_in_tool: {translation: [1, 2, .nan], rotation_vector: [0, 0, 0]}",
    ):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(SiameError, match="not a hand-eye file"):
            calibration.hand_eye_from_yaml(tmp_path / "bad.yaml")
    (tmp_path / "mm.yaml").write_text("camera_in_tool: {translation: [50, 0, 80], rotation_vector: [0, 0, 0]}")
    with pytest.raises(SiameError, match="not millimetres"):
        calibration.hand_eye_from_yaml(tmp_path / "mm.yaml")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "circles"}, "checkerboard or charuco"),
        ({"columns": 2}, "at least 3"),
        ({"square": 0.0}, "above 0 m"),
        ({"kind": "charuco", "marker": 0.03}, "between 0 and"),
        ({"kind": "charuco", "dictionary": "DICT_NO"}, "not one of OpenCV's"),
    ],
)
def test_bad_boards_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SiameError, match=words):
        Board(**changes)


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SiameError, match="no such folder"):
        calibration.pictures(tmp_path / "no")
    with pytest.raises(SiameError, match="no pictures"):
        calibration.pictures(tmp_path)
    (tmp_path / "a.png").write_text("no")
    with pytest.raises(SiameError, match=r"a\.png: not an image"):
        calibration.look([tmp_path / "a.png"], Board())
    for k, shape in enumerate(((40, 50), (40, 60))):
        cv2.imwrite(str(tmp_path / f"{k}.png"), np.zeros(shape, np.uint8))
    with pytest.raises(SiameError, match="take all alike"):
        calibration.look([tmp_path / "0.png", tmp_path / "1.png"], Board())
    with pytest.raises(SiameError, match="seen in 0 pictures"):
        calibration.calibrate_camera([])
    (tmp_path / "p.csv").write_text("# poses\na.png,1,2,3,0,0,0\nb.png,1,2,3,0,0\n")
    with pytest.raises(SiameError, match="line 3"):
        calibration.read_poses(tmp_path / "p.csv")
    (tmp_path / "mm.csv").write_text("a.png,400,200,300,0,0,0\n")
    with pytest.raises(SiameError, match="line 1: give metres"):
        calibration.read_poses(tmp_path / "mm.csv")
    with pytest.raises(SiameError, match="no such file"):
        calibration.read_poses(tmp_path / "q.csv")


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["siame", *words])
    cli.main()


def test_commands(
    session: tuple[Board, Path, list[Tensor]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    board, folder, _ = session
    words = ["--board.kind", board.kind, "--board.columns", str(board.columns), "--board.rows", str(board.rows)]
    words += ["--board.square", str(board.square), "--board.marker", str(board.marker)]
    camera, hand_eye = tmp_path / "camera.yaml", tmp_path / "hand-eye.yaml"
    command(monkeypatch, "calibrate", "camera", "--pictures", str(folder), "--out", str(camera), *words)
    assert "none.png: board not found" in capsys.readouterr().out
    assert Camera.from_yaml(camera).fx == pytest.approx(520, rel=0.02)
    options = [
        "--pictures",
        str(folder),
        "--camera",
        str(camera),
        "--poses",
        str(folder / "poses.csv"),
        "--out",
        str(hand_eye),
    ]
    command(monkeypatch, "calibrate", "hand-eye", *options, *words)
    assert "the board's place differs by" in capsys.readouterr().out
    assert float(lie.error_norms(lie.inverse(T_TC) @ calibration.hand_eye_from_yaml(hand_eye))[0]) < 0.012
    command(monkeypatch, "calibrate", "board", "--out", str(tmp_path / "b.png"), *words)
    picture = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_GRAYSCALE)
    assert board.find(picture) is not None
    with pytest.raises(SystemExit):
        command(monkeypatch, "calibrate", "hand-eye", "--pictures", str(folder))
    assert "give --camera camera.yaml and --poses" in capsys.readouterr().err
