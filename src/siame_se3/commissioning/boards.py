"""Calibration boards: to print, to find in pictures, and to say what is seen where one is not found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.board_markers import (
    FEWEST_MARKERS,
    april_grid,
    checkerboard,
    circles,
    flipped,
    markers,
    side_by_side,
)
from siame_se3.errors import InputError, require_number
from siame_se3.files import require_types
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import read_grey

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".webp")
_TRIED = 2  # pictures that are looked at for what is seen instead of the board
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FEWEST = 6  # corners of a ChArUco board that give a pose


@dataclass(frozen=True)
class Board:
    """A calibration board."""

    kind: str = "checkerboard"
    """checkerboard, or charuco (which may be seen in part)."""
    columns: int = 9
    """Across: inner corners of a checkerboard (a board of 10 squares has 9), squares of a ChArUco board."""
    rows: int = 6
    """Down: inner corners of a checkerboard (a board of 7 squares has 6), squares of a ChArUco board."""
    square: float = 0.025
    """Side of a square [m]."""
    marker: float = 0.018
    """Side of a ChArUco board's markers [m]."""
    dictionary: str = "DICT_4X4_50"
    """OpenCV's name of the markers' dictionary."""
    legacy: bool = False
    """A ChArUco board as OpenCV before 4.6 made it: with an even number of rows it begins with a marker, not with a black square."""

    def __post_init__(self) -> None:
        require_types(self, "board")
        if self.kind not in ("checkerboard", "charuco"):
            raise InputError(f"board: kind {self.kind}; use checkerboard or charuco", "board.kind")
        if not 3 <= min(self.columns, self.rows) <= max(self.columns, self.rows) <= 100:
            raise InputError("board: give at least 3 columns and rows, and 100 at most", "board.columns", "board.rows")
        if not 0 < self.square < math.inf:
            raise InputError("board: give squares above 0 m", "board.square")
        if self.square > 1:
            raise InputError(f"board: squares of {self.square:g} m; give metres, 20 mm are 0.02", "board.square")
        require_number(self, "marker", 0)
        if self.kind == "checkerboard":
            return
        if not 0 < self.marker < self.square:
            raise InputError("board: a marker's side is between 0 and a square's", "board.marker", "board.square")
        if not self.dictionary.startswith("DICT_") or not hasattr(cv2.aruco, self.dictionary):
            raise InputError(f"board: dictionary {self.dictionary} is not one of OpenCV's", "board.dictionary")
        known, needed = len(self._dictionary().bytesList), self.columns * self.rows // 2
        if needed > known:
            raise InputError(f"board: {needed} markers, and {self.dictionary} has {known}", "board.dictionary")

    @property
    def size(self) -> tuple[float, float]:
        """Width and height over all its squares [m]."""
        across, down = (n + (self.kind == "checkerboard") for n in (self.columns, self.rows))
        return across * self.square, down * self.square

    @property
    def turns(self) -> int:
        """How many quarter turns make it look the same: 4 none (seen one way only), 2 a half turn, 1 each."""
        if self.kind == "charuco" or (self.columns + self.rows) % 2:
            return 4
        return 1 if self.columns == self.rows else 2

    def turned(self, quarters: int) -> Float[Tensor, "4 4"]:
        """The board's frame after quarter turns about its middle, in its own frame."""
        angle = torch.tensor([0.0, 0.0, quarters * math.pi / 2], dtype=torch.float64)
        middle = torch.tensor([self.columns - 1.0, self.rows - 1.0, 0.0], dtype=torch.float64) * self.square / 2
        R = lie.so3_exp(angle)
        return lie.pose(R, middle - R @ middle)

    def _dictionary(self) -> Any:
        return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, self.dictionary))

    def _charuco(self) -> Any:
        board = cv2.aruco.CharucoBoard((self.columns, self.rows), self.square, self.marker, self._dictionary())
        board.setLegacyPattern(self.legacy)
        return board

    def find(self, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Points (n, 3) on the board [m] and where the picture has them (n, 2) [px]; None where it is not seen."""
        if self.kind == "charuco":
            corners, ids, _, _ = cv2.aruco.CharucoDetector(self._charuco()).detectBoard(grey)
            if ids is None or len(ids) < _FEWEST:
                return None
            points = np.asarray(self._charuco().getChessboardCorners(), np.float32)[ids.ravel()]
            if np.linalg.matrix_rank(points - points.mean(0), 1e-6) < 2:  # on one line: no pose
                return None
            return points, corners.reshape(-1, 2)
        found, corners = cv2.findChessboardCornersSB(grey, (self.columns, self.rows), flags=cv2.CALIB_CB_ACCURACY)
        if not found:
            return None
        x, y = np.meshgrid(np.arange(self.columns), np.arange(self.rows))
        points = np.stack((x.ravel(), y.ravel(), 0 * x.ravel()), 1).astype(np.float32) * np.float32(self.square)
        return points, corners.reshape(-1, 2)

    def picture(self, pixels: int = 60) -> np.ndarray:
        """The board, to print: uint8, `pixels` a square, with a margin of a square in which its size is written."""
        if self.kind == "charuco":
            size = ((self.columns + 2) * pixels, (self.rows + 2) * pixels)
            picture = self._charuco().generateImage(size, marginSize=pixels)
        else:
            squares = (np.add.outer(np.arange(self.rows + 1), np.arange(self.columns + 1)) % 2 * 255).astype(np.uint8)
            picture = np.pad(np.kron(squares, np.ones((pixels, pixels), np.uint8)), pixels, constant_values=255)
        mm, (width, height) = 1000 * self.square, self.size
        counted = f"{round(width / self.square)} x {round(height / self.square)} squares of {mm:g} mm"
        text = f"{counted}: {1000 * width:g} x {1000 * height:g} mm, {self.name}"
        scale, margin = pixels / 75, pixels // 3
        while scale > 0.1 and cv2.getTextSize(text, _FONT, scale, 1)[0][0] > picture.shape[1] - 2 * margin:
            scale *= 0.95
        place = (margin, picture.shape[0] - margin)
        cv2.putText(picture, text, place, _FONT, scale, (0,), 1, cv2.LINE_AA)
        return picture

    @property
    def name(self) -> str:
        """In words."""
        if self.kind == "checkerboard":
            return f"checkerboard of {self.columns} x {self.rows} inner corners"
        pattern = "ChArUco board (legacy pattern)" if self.legacy else "ChArUco board"
        return f"{pattern} of {self.columns} x {self.rows} squares, {self.dictionary}"


@dataclass(frozen=True)
class Seen:
    """A board in a picture."""

    path: Path
    size: tuple[int, int]  # height, width [px]
    points: np.ndarray  # (n, 3) [m]
    corners: np.ndarray  # (n, 2) [px]


def pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, by name.

    Raises:
        InputError: no such folder, or none in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one with pictures of the board", "pictures")
    found = sorted(
        p for p in folder.iterdir() if p.suffix.lower() in ENDINGS and not p.name.startswith(".") and p.is_file()
    )
    if not found:
        raise InputError(f"{folder}: no pictures ({', '.join(ENDINGS)})", "pictures")
    return found


def look(paths: Sequence[Path], board: Board, least: int = 0) -> list[Seen]:
    """The pictures that show the board.

    Args:
        paths: pictures, each in its sensor's raster.
        board: what to find.
        least: how many have to show it.

    Raises:
        InputError: a file is not a picture, sizes differ, or fewer than `least` show the board; says what is seen instead.
    """
    seen: list[Seen] = []
    size: tuple[int, int] | None = None
    for path in paths:
        grey = read_grey(path)
        if size is not None and grey.shape != size:
            raise InputError(
                f"{path}: {grey.shape[1]} x {grey.shape[0]} px, others {size[1]} x {size[0]}; take all alike"
            )
        size = (grey.shape[0], grey.shape[1])
        if found := board.find(grey):
            seen.append(Seen(path, size, *found))
    if len(seen) < least:
        without = [path for path in paths if path not in {s.path for s in seen}]
        hint, settings = what_is_seen(without, board) if without else ("take more pictures, each with its pose", ())
        raise InputError(
            f"the {board.name} is seen in {len(seen)} of {len(paths)} pictures; {least} are needed, 15 are good; {hint}",
            *settings,
        )
    return seen


def what_is_seen(paths: Sequence[Path], board: Board) -> tuple[str, tuple[str, ...]]:
    """Why a board is not found: in words, and the settings that would find it."""
    greys = [read_grey(path) for path in paths[:: max(1, len(paths) // _TRIED)][:_TRIED]]
    if grid := max(map(april_grid, greys), default=0):
        return f"an AprilGrid of {grid} tags is seen, which is not taken; give a checkerboard or a ChArUco board", ()
    if grid := max(map(circles, greys), default=0):  # which looks like a checkerboard to OpenCV
        return f"a grid of {grid} circles is seen, which is not taken; give a checkerboard or a ChArUco board", ()
    corners = max((checkerboard(grey) for grey in greys), key=lambda size: size[0] * size[1], default=(0, 0))
    large = (
        board.kind == "checkerboard" and min(corners) >= 5
    )  # the white squares of a ChArUco board may look like a smaller one
    own = board.dictionary if board.kind == "charuco" else None
    count, dictionary = (0, "") if large else max((markers(grey, own) for grey in greys), default=(0, ""))
    if not large and count < FEWEST_MARKERS and (own or corners[0] * corners[1] <= 9):
        mirrored = max((markers(flipped(grey), own) for grey in greys), default=(0, ""))
        if mirrored[0] >= FEWEST_MARKERS:
            there = f"{mirrored[0]} markers of {mirrored[1]} are seen once a picture is flipped"
            return f"the pictures are mirrored: {there}; turn the camera's mirroring off, and take them again", ()
    large = large or (count < FEWEST_MARKERS and corners[0] * corners[1] > 9)
    if large:
        settings: tuple[str, ...] = ("board.columns", "board.rows")
        settings = settings if board.kind == "checkerboard" else ("board.kind", *settings)
        return (
            f"a checkerboard of {corners[0]} x {corners[1]} inner corners is seen; set {', '.join(settings)}",
            settings,
        )
    if count < FEWEST_MARKERS:
        return "nothing like a board is seen; is it sharp, lit, and whole in the picture?", ()
    if grid := max(side_by_side(grey, dictionary) for grey in greys):
        what = f"a grid of {grid} markers of {dictionary} is seen, without a chessboard between them"
        return f"{what}, which is not taken; give a checkerboard or a ChArUco board", ()
    counted = f"{count} markers of {dictionary} seen"
    if board.kind == "checkerboard":
        return f"{counted}; set board.kind and board.dictionary", ("board.kind", "board.dictionary")
    named = replace(board, dictionary=dictionary) if dictionary != board.dictionary else board
    changes = ("board.dictionary",) if named is not board else ()
    swapped = {"columns": board.rows, "rows": board.columns}
    for change_of, words, change in (
        ((), "", {}),
        (("board.columns", "board.rows"), "columns and rows swapped", swapped),
        (("board.legacy",), "the legacy pattern of OpenCV before 4.6", {"legacy": not board.legacy}),
        (("board.columns", "board.rows", "board.legacy"), "columns and rows swapped, legacy pattern", {"legacy": not board.legacy, **swapped}),
    ):  # fmt: skip
        if any(replace(named, **change).find(grey) for grey in greys):  # type: ignore[arg-type]  # of fields
            found = (*changes, *change_of)
            return f"{counted}{', ' + words if words else ''}; set {', '.join(found)}", found
    if named is not board:
        return f"{counted}; set board.dictionary", ("board.dictionary",)
    return f"{counted}, which is the board's dictionary; check columns and rows", ("board.columns", "board.rows")


def board_pose(s: Seen, camera: Camera) -> Float[Tensor, "4 4"]:
    """The board in the camera's frame.

    Raises:
        InputError: no pose fits.
    """
    corners = s.corners.reshape(-1, 1, 2).astype(np.float64)
    d = np.asarray(camera.distortion or (0.0,) * 5)
    K = camera.K.numpy()
    if camera.distortion_model in ("equidistant", "fisheye"):
        corners = np.asarray(cv2.fisheye.undistortPoints(corners, K, d, P=K), np.float64).reshape(-1, 1, 2)
        d = np.zeros(5)
    ok, r, t = cv2.solvePnP(s.points.astype(np.float64), corners, K, d)
    if not ok:
        raise InputError(f"{s.path}: no pose of the board; take it out of the folder")
    return lie.pose_from_vector(torch.from_numpy(np.concatenate((t.ravel(), r.ravel()))))
