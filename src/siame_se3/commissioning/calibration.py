"""Calibration: intrinsics from pictures of a board, and where the camera sits in the hand from pictures and the robot's poses (OpenCV's methods)."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Board:
    """A calibration board.

    Attributes:
        kind: checkerboard, or charuco (which may be seen in part).
        columns, rows: inner corners of a checkerboard; squares of a ChArUco board.
        square: side of a square [m].
        marker: side of a ChArUco board's markers [m].
        dictionary: OpenCV's name of the markers' dictionary.
    """

    kind: str = "checkerboard"
    columns: int = 9
    rows: int = 6
    square: float = 0.025
    marker: float = 0.018
    dictionary: str = "DICT_4X4_50"

    def __post_init__(self) -> None:
        if self.kind not in ("checkerboard", "charuco"):
            raise SiameError(f"--board.kind {self.kind}: use checkerboard or charuco")
        if min(self.columns, self.rows) < 3 or not 0 < self.square < math.inf:
            raise SiameError("board: give at least 3 columns and rows, and squares above 0 m")
        if self.kind == "charuco" and not 0 < self.marker < self.square:
            raise SiameError("board: --board.marker is between 0 and --board.square")
        if self.kind == "charuco" and not hasattr(cv2.aruco, self.dictionary):
            raise SiameError(f"--board.dictionary {self.dictionary}: not one of OpenCV's, such as DICT_4X4_50")

    def _charuco(self) -> Any:
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, self.dictionary))
        return cv2.aruco.CharucoBoard((self.columns, self.rows), self.square, self.marker, dictionary)

    def find(self, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Points (n, 3) on the board [m] and where the picture has them (n, 2) [px]; None where it is not seen."""
        if self.kind == "charuco":
            corners, ids, _, _ = cv2.aruco.CharucoDetector(self._charuco()).detectBoard(grey)
            if ids is None or len(ids) < 6:
                return None
            points = np.asarray(self._charuco().getChessboardCorners(), np.float32)[ids.ravel()]
            return points, corners.reshape(-1, 2)
        found, corners = cv2.findChessboardCornersSB(grey, (self.columns, self.rows), flags=cv2.CALIB_CB_ACCURACY)
        if not found:
            return None
        x, y = np.meshgrid(np.arange(self.columns), np.arange(self.rows))
        points = np.stack((x.ravel(), y.ravel(), 0 * x.ravel()), 1).astype(np.float32) * np.float32(self.square)
        return points, corners.reshape(-1, 2)

    def picture(self, pixels: int = 60) -> np.ndarray:
        """The board, to print: uint8, `pixels` a square, with a margin of a square."""
        if self.kind == "charuco":
            size = ((self.columns + 2) * pixels, (self.rows + 2) * pixels)
            return self._charuco().generateImage(size, marginSize=pixels)
        across, down = self.columns + 1, self.rows + 1
        squares = (np.add.outer(np.arange(down), np.arange(across)) % 2 * 255).astype(np.uint8)
        return np.pad(np.kron(squares, np.ones((pixels, pixels), np.uint8)), pixels, constant_values=255)


def pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, by name.

    Raises:
        SiameError: no such folder, or none in it.
    """
    if not folder.is_dir():
        raise SiameError(f"{folder}: no such folder; give one with pictures of the board")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS)
    if not found:
        raise SiameError(f"{folder}: no pictures ({', '.join(_ENDINGS)})")
    return found


@dataclass(frozen=True)
class Seen:
    """A board in a picture."""

    path: Path
    size: tuple[int, int]  # height, width [px]
    points: np.ndarray  # (n, 3) [m]
    corners: np.ndarray  # (n, 2) [px]


def look(paths: Sequence[Path], board: Board) -> list[Seen]:
    """The pictures that show the board.

    Raises:
        SiameError: a file is not a picture, or sizes differ.
    """
    seen: list[Seen] = []
    size: tuple[int, int] | None = None
    for path in paths:
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if grey is None:
            raise SiameError(f"{path}: not an image; take it out of the folder")
        if size is not None and grey.shape != size:
            raise SiameError(
                f"{path}: {grey.shape[1]} x {grey.shape[0]} px, others {size[1]} x {size[0]}; take all alike"
            )
        size = (grey.shape[0], grey.shape[1])
        if found := board.find(grey):
            seen.append(Seen(path, size, *found))
    return seen


def calibrate_camera(seen: Sequence[Seen], model: str = "plumb_bob") -> tuple[Camera, float, list[float]]:
    """Intrinsics and distortion (Zhang 2000, as OpenCV does it).

    Args:
        model: plumb_bob (five coefficients) or equidistant (fisheye lenses, four).

    Returns:
        The camera, the root mean square reprojection error [px], and that of each picture.

    Raises:
        SiameError: fewer than five pictures, or views too much alike.
    """
    if len(seen) < 5:
        raise SiameError(f"camera calibration: the board is seen in {len(seen)} pictures; 5 are needed, 15 are good")
    h, w = seen[0].size
    try:
        if model == "equidistant":
            points = [s.points.reshape(1, -1, 3).astype(np.float64) for s in seen]
            corners = [s.corners.reshape(1, -1, 2).astype(np.float64) for s in seen]
            names = ("CALIB_RECOMPUTE_EXTRINSIC", "CALIB_FIX_SKEW")  # of cv2.fisheye before OpenCV 5
            flags = sum(getattr(cv2.fisheye, name, getattr(cv2, name, 0)) for name in names)
            rms, K, d, rs, ts = cv2.fisheye.calibrate(
                points, corners, (w, h), np.zeros((3, 3)), np.zeros((4, 1)), flags=flags
            )
            project: Any = cv2.fisheye.projectPoints
        elif model == "plumb_bob":
            points, corners = [s.points for s in seen], [s.corners for s in seen]
            # two radial coefficients, as ROS's calibration: a third fits noise where no corner was seen
            rms, K, d, rs, ts = cv2.calibrateCamera(points, corners, (w, h), None, None, flags=cv2.CALIB_FIX_K3)  # type: ignore[call-overload]  # OpenCV's stubs
            project = cv2.projectPoints
        else:
            raise SiameError(f"--model {model}: use plumb_bob or equidistant")
    except cv2.error as error:
        raise SiameError(
            f"camera calibration: OpenCV cannot ({str(error).splitlines()[0]}); tilt the board more from picture to picture"
        ) from None
    fx, fy, cx, cy = (float(K[k]) for k in ((0, 0), (1, 1), (0, 2), (1, 2)))
    camera = Camera(fx, fy, cx, cy, w, h, tuple(float(x) for x in np.ravel(d)), model)
    errors = []
    for s, r, t in zip(seen, rs, ts, strict=True):
        back = project(s.points.reshape(-1, 1, 3).astype(np.float64), r, t, K, d)[0].reshape(-1, 2)
        errors.append(float(np.sqrt(((back - s.corners) ** 2).sum(1).mean())))
    return camera, float(rms), errors


def board_pose(s: Seen, camera: Camera) -> Float[Tensor, "4 4"]:
    """The board in the camera's frame."""
    corners = s.corners.reshape(-1, 1, 2).astype(np.float64)
    d = np.asarray(camera.distortion or (0.0,) * 5)
    K = camera.K.numpy()
    if camera.distortion_model in ("equidistant", "fisheye"):
        corners = np.asarray(cv2.fisheye.undistortPoints(corners, K, d, P=K), np.float64).reshape(-1, 1, 2)
        d = np.zeros(5)
    ok, r, t = cv2.solvePnP(s.points.astype(np.float64), corners, K, d)
    if not ok:
        raise SiameError(f"{s.path}: no pose of the board; take it out of the folder")
    return lie.pose_from_vector(torch.from_numpy(np.concatenate((t.ravel(), r.ravel()))))


def read_poses(path: Path) -> dict[str, Float[Tensor, "4 4"]]:
    """Tool poses by picture: a CSV with lines name,x,y,z,rx,ry,rz (the tool in the base's frame [m], rotation vector [rad]).

    Raises:
        SiameError: naming the bad line.
    """
    if not path.is_file():
        raise SiameError(f"{path}: no such file; give a CSV with lines picture,x,y,z,rx,ry,rz")
    poses = {}
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        for number, line in enumerate(csv.reader(stream), 1):
            if not line or line[0].startswith("#") or (number == 1 and line[0].strip().lower() in ("name", "picture")):
                continue
            try:
                values = [float(x) for x in line[1:]]
            except ValueError:
                values = []
            if len(values) != 6 or not all(map(math.isfinite, values)):
                raise SiameError(f"{path}, line {number}: give picture,x,y,z,rx,ry,rz in metres and radians")
            if max(map(abs, values[:3])) > 10 or max(map(abs, values[3:])) > 7:
                raise SiameError(f"{path}, line {number}: give metres and radians, not millimetres or degrees")
            poses[line[0].strip()] = lie.pose_from_vector(torch.tensor(values, dtype=torch.float64))
    return poses


def calibrate_hand_eye(
    T_bt: Sequence[Float[Tensor, "4 4"]], T_co: Sequence[Float[Tensor, "4 4"]]
) -> tuple[Float[Tensor, "4 4"], float, float]:
    """The camera in the tool's frame, T_tc, from poses of the tool in the base's and of the board in the camera's frame (after Park and
    Martin 1994).

    Returns:
        T_tc, and how much the board's place in the base differs from picture to picture: root mean square [m], [rad].

    Raises:
        SiameError: fewer than five poses, or turns about less than two axes.
    """
    if len(T_bt) < 5:
        raise SiameError(f"hand-eye: {len(T_bt)} pictures with poses; 5 are needed, 15 are good")
    turns = torch.stack([lie.so3_log((lie.inverse(T_bt[0]) @ T)[:3, :3]) for T in T_bt[1:]])
    if float(torch.linalg.svdvals(turns)[1]) < 0.15:
        raise SiameError(
            "hand-eye: the tool turned about one axis only, or hardly; turn it by 20 deg and more about two"
        )
    # For each pair of pictures A X = X B, with A the tool's and B the camera's motion: first R (log R_A = R log R_B), then t.
    pairs = [(i, j) for i in range(len(T_bt)) for j in range(i)]
    A = torch.stack([lie.inverse(T_bt[i]) @ T_bt[j] for i, j in pairs])
    B = torch.stack([T_co[i] @ lie.inverse(T_co[j]) for i, j in pairs])
    U, _, Vh = torch.linalg.svd(lie.so3_log(A[:, :3, :3]).mT @ lie.so3_log(B[:, :3, :3]))
    R = U @ torch.diag(torch.tensor([1.0, 1.0, float(torch.linalg.det(U @ Vh))], dtype=torch.float64)) @ Vh
    left = (A[:, :3, :3] - torch.eye(3, dtype=torch.float64)).reshape(-1, 3)
    right = (B[:, :3, 3] @ R.mT - A[:, :3, 3]).reshape(-1, 1)
    T_tc = lie.pose(R, torch.linalg.lstsq(left, right).solution[:, 0])
    T_bo = torch.stack([a @ T_tc @ c for a, c in zip(T_bt, T_co, strict=True)])
    spread_t = (T_bo[:, :3, 3] - T_bo[:, :3, 3].mean(0)).square().sum(1).mean().sqrt()
    apart = lie.so3_log(T_bo[0, :3, :3].mT @ T_bo[:, :3, :3])
    spread_r = (apart - apart.mean(0)).square().sum(1).mean().sqrt()
    return T_tc, float(spread_t), float(spread_r)


def hand_eye_to_yaml(T_tc: Float[Tensor, "4 4"], path: Path) -> None:
    """Write what `hand_eye_from_yaml` reads."""
    import yaml

    p = lie.vector_from_pose(T_tc).tolist()
    text = yaml.safe_dump({"camera_in_tool": {"translation": p[:3], "rotation_vector": p[3:]}}, sort_keys=False)
    path.write_text("# the camera (optical frame) in the tool's frame [m, rad]\n" + text, encoding="utf-8")


def hand_eye_from_yaml(path: Path) -> Float[Tensor, "4 4"]:
    """T_tc of a file that `siame calibrate hand-eye` wrote, or somebody by hand.

    Raises:
        SiameError: no such file, or another content.
    """
    import yaml

    if not path.is_file():
        raise SiameError(f"{path}: no such file; 'siame calibrate hand-eye' writes one")
    wrong = SiameError(
        f"{path}: not a hand-eye file; it has camera_in_tool with translation and rotation_vector, three numbers each"
    )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))["camera_in_tool"]
        values = [float(x) for name in ("translation", "rotation_vector") for x in content[name]]
    except Exception:  # PyYAML's and those of any wrong content
        raise wrong from None
    if len(values) != 6 or not all(map(math.isfinite, values)):
        raise wrong
    if max(map(abs, values[:3])) > 1:
        raise SiameError(
            f"{path}: a camera {max(map(abs, values[:3])):g} m from the tool; give metres, not millimetres"
        )
    return lie.pose_from_vector(torch.tensor(values, dtype=torch.float64))
