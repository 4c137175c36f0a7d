"""Boards: found, printed, refused, and what is said where one is not found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from siame_se3.commissioning.boards import Board, look, pictures, what_is_seen
from siame_se3.errors import InputError

CHARUCO = Board("charuco", 8, 6, 0.02, 0.015, "DICT_5X5_100")


def printed(folder: Path, board: Board, count: int = 5) -> list[Path]:
    """Pictures of the print itself, on a grey table."""
    picture = np.pad(board.picture(30), 60, constant_values=200)
    for k in range(count):
        cv2.imwrite(str(folder / f"{k}.png"), picture)
    return pictures(folder)


@pytest.mark.parametrize(
    "board", [Board(), Board(columns=7, rows=7), CHARUCO, Board("charuco", 8, 6, 0.02, 0.015, "DICT_5X5_100", True)]
)
def test_a_printed_board_is_found_whole(tmp_path: Path, board: Board) -> None:
    seen = look(printed(tmp_path, board, 1), board)
    points, corners = seen[0].points, seen[0].corners
    assert len(points) == (board.columns * board.rows if board.kind == "checkerboard" else 35)
    # 30 pixels a square, whatever way it lies
    scale = 30 / board.square
    apart = np.linalg.norm(np.diff(corners, axis=0), axis=1), scale * np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert np.abs(apart[0] - apart[1]).max() < 0.5


@pytest.mark.parametrize(
    ("made", "given", "words", "settings"),
    [
        ({"legacy": True}, {}, "24 markers of DICT_5X5_100 seen, the legacy pattern", {"board.legacy"}),
        ({}, {"legacy": True}, "the legacy pattern of OpenCV before 4.6; set board.legacy", {"board.legacy"}),
        ({}, {"columns": 6, "rows": 8}, "columns and rows swapped", {"board.columns", "board.rows"}),
        (
            {},
            {"dictionary": "DICT_4X4_50"},
            "24 markers of DICT_5X5_100 seen; set board.dictionary",
            {"board.dictionary"},
        ),
        ({"dictionary": "DICT_APRILTAG_36h11"}, {}, "24 markers of DICT_APRILTAG_36h11 seen", {"board.dictionary"}),
        (
            {"columns": 10, "rows": 7},
            {},
            "35 markers of DICT_5X5_100 seen, which is.*check columns and rows",
            {"board.columns", "board.rows"},
        ),
        (
            {"legacy": True},
            {"dictionary": "DICT_4X4_50"},
            "24 markers of DICT_5X5_100 seen, the legacy pattern",
            {"board.dictionary", "board.legacy"},
        ),
        (
            {"legacy": True},
            {"columns": 6, "rows": 8},
            "columns and rows swapped, legacy pattern",
            {"board.columns", "board.rows", "board.legacy"},
        ),
        (
            {},
            {"dictionary": "DICT_6X6_250", "columns": 6, "rows": 8},
            "24 markers of DICT_5X5_100 seen, columns and rows swapped",
            {"board.dictionary", "board.columns", "board.rows"},
        ),
        (
            {},
            {"kind": "checkerboard"},
            "24 markers of DICT_5X5_100 seen; set board.kind",
            {"board.kind", "board.dictionary"},
        ),
        (
            {"kind": "checkerboard", "columns": 9, "rows": 6},
            {"kind": "checkerboard", "columns": 10, "rows": 7},
            "a checkerboard of 9 x 6 inner corners is seen; set board.columns, board.rows",
            {"board.columns", "board.rows"},
        ),
        (
            {"kind": "checkerboard", "columns": 9, "rows": 6},
            {},
            "a checkerboard of 9 x 6 inner corners is seen; set board.kind",
            {"board.kind", "board.columns", "board.rows"},
        ),
    ],
)
@pytest.mark.slow
def test_a_board_that_is_not_found_says_what_is_seen(
    tmp_path: Path, made: dict[str, Any], given: dict[str, Any], words: str, settings: set[str]
) -> None:
    fields = {"kind": "charuco", "columns": 8, "rows": 6, "square": 0.02, "marker": 0.015, "dictionary": "DICT_5X5_100"}
    paths = printed(tmp_path, Board(**{**fields, **made}), 1)
    with pytest.raises(InputError, match=f"is seen in 0 of 1 pictures; 1 are needed.*{words}") as error:
        look(paths, Board(**{**fields, **given}), least=1)
    assert {*error.value.settings} == settings


@pytest.mark.slow
def test_what_is_seen_does_not_depend_on_opencvs_random_numbers(tmp_path: Path) -> None:
    paths = printed(tmp_path, Board(columns=9, rows=6), 1)
    said = set()
    for seed in range(8):
        cv2.setRNGSeed(seed)
        said.add(what_is_seen(paths, Board(columns=10, rows=7)))
    assert said == {
        (
            "a checkerboard of 9 x 6 inner corners is seen; set board.columns, board.rows",
            ("board.columns", "board.rows"),
        )
    }


@pytest.mark.slow
def test_mirrored_pictures_are_named(tmp_path: Path) -> None:
    for path in printed(tmp_path, CHARUCO, 1):
        cv2.imwrite(str(path), cv2.flip(cv2.imread(str(path)), 1))
    with pytest.raises(InputError, match=r"the pictures are mirrored: 24 markers of DICT_5X5_100 .* flipped; turn"):
        look(pictures(tmp_path), CHARUCO, least=5)


@pytest.mark.parametrize(("bits", "board"), [(1, CHARUCO), (2, Board())])
def test_an_april_grid_is_not_taken(tmp_path: Path, bits: int, board: Board) -> None:
    tags = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    side, space = 60, 18
    grid = np.full((6 * (side + space) + space, 6 * (side + space) + space), 255, np.uint8)
    for k in range(36):
        y, x = (space + (side + space) * n for n in divmod(k, 6))
        grid[y : y + side, x : x + side] = cv2.aruco.generateImageMarker(tags, k, side, borderBits=bits)
    for y, x in np.ndindex(7, 7):
        top, left = (side + space) * y, (side + space) * x
        grid[top : top + space, left : left + space] = 0
    cv2.imwrite(str(tmp_path / "a.png"), np.pad(grid, 60, constant_values=230))
    with pytest.raises(InputError, match=r"an AprilGrid of \d+ tags is seen, which is not taken; give a checkerboard"):
        look(pictures(tmp_path), board, least=5)


@pytest.mark.parametrize("ending", ["pgm", "ppm", "webp", "TIF"])
def test_pictures_of_all_kinds_are_taken_and_folders_are_not(tmp_path: Path, ending: str) -> None:
    picture = np.pad(Board().picture(30), 60, constant_values=200)
    cv2.imwrite(
        str(tmp_path / f"a.{ending}"), picture if ending == "pgm" else cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    )
    (tmp_path / "sub.png").mkdir()
    assert [path.name for path in pictures(tmp_path)] == [f"a.{ending}"]
    assert len(look(pictures(tmp_path), Board())) == 1


def test_nothing_to_see_is_said(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((120, 160), 128, np.uint8))
    with pytest.raises(InputError, match="nothing like a board is seen"):
        look(pictures(tmp_path), CHARUCO, least=5)


def test_the_print_says_its_size() -> None:
    """Below the squares, in the margin: with 25 mm it is another picture than with 20 mm, and the squares are the same."""
    a, b = Board(square=0.025).picture(), Board(square=0.02).picture()
    assert not np.array_equal(a[-60:], b[-60:])
    assert np.array_equal(a[:-60], b[:-60])
    assert (a[-60:] < 100).sum() > 300
    assert (Board(columns=3, rows=3).picture(20)[-20:, -3:] == 255).all()  # it fits


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_pictures_are_read_in_the_sensors_raster(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(np.pad(Board().picture(30), 60, constant_values=200))
    for name, tags in (("a", Image.Exif()), ("b", exif)):
        picture.save(tmp_path / f"{name}.jpg", quality=97, exif=tags)
    a, b = look(pictures(tmp_path), Board())
    assert a.size == b.size
    assert np.array_equal(a.corners, b.corners)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "circles"}, "checkerboard or charuco"),
        ({"columns": 2}, "at least 3"),
        ({"columns": 1000}, "100 at most"),
        ({"square": 0.0}, "above 0 m"),
        ({"square": float("nan")}, "above 0 m"),
        ({"square": 20.0}, r"squares of 20 m; give metres, 20 mm are 0\.02"),
        ({"kind": "charuco", "marker": 0.03}, "between 0 and"),
        ({"kind": "charuco", "dictionary": "DICT_NO"}, "not one of OpenCV's"),
        ({"kind": "charuco", "dictionary": "ArucoDetector"}, "not one of OpenCV's"),
        ({"kind": "charuco", "columns": 14, "rows": 9}, "63 markers, and DICT_4X4_50 has 50"),
    ],
)
def test_bad_boards_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Board(**changes)


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        pictures(tmp_path / "no")
    with pytest.raises(InputError, match="no pictures"):
        pictures(tmp_path)
    (tmp_path / "a.png").write_text("no")
    with pytest.raises(InputError, match=r"a\.png: not an image"):
        look([tmp_path / "a.png"], Board())
    for k, shape in enumerate(((40, 50), (40, 60))):
        cv2.imwrite(str(tmp_path / f"{k}.png"), np.zeros(shape, np.uint8))
    with pytest.raises(InputError, match="take all alike"):
        look([tmp_path / "0.png", tmp_path / "1.png"], Board())


@pytest.mark.parametrize("dark", [True, False])
def test_a_grid_of_circles_is_not_taken(tmp_path: Path, dark: bool) -> None:
    """Symmetric and asymmetric ones; tilted."""
    for name, rows, shift in (("a", 7, 0), ("b", 11, 30)):
        grid = np.full((rows * 40 + 60, 420), 255, np.uint8)
        for y in range(rows):
            for x in range(5):
                cv2.circle(grid, (60 + 60 * x + shift * (y % 2), 50 + 40 * y), 13, (0,), -1, cv2.LINE_AA)
        corners = np.array([[0, 0], [419, 0], [419, len(grid) - 1], [0, len(grid) - 1]], np.float32)
        tilted = corners * (0.7, 0.9) + np.array([[100, 60], [60, 100], [90, 60], [80, 40]])
        H = cv2.getPerspectiveTransform(corners, tilted.astype(np.float32))
        picture = cv2.warpPerspective(grid, H, (480, 560), borderValue=(200,))
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture if dark else 255 - picture)
        with pytest.raises(InputError, match=r"a grid of \d+ circles is seen, which is not taken; give a checkerboard"):
            look([tmp_path / f"{name}.png"], Board(), least=5)


@pytest.mark.slow
def test_a_grid_of_markers_is_not_taken_for_a_charuco_board(tmp_path: Path) -> None:
    """It was 'check columns and rows' for ever."""
    family = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_100)
    grid = cv2.aruco.GridBoard((5, 4), 0.04, 0.01, family).generateImage((520, 420), marginSize=20)
    cv2.imwrite(str(tmp_path / "a.png"), np.pad(grid, 60, constant_values=255))
    for board in (CHARUCO, Board()):
        with pytest.raises(InputError, match=r"a grid of 20 markers of DICT_5X5_100 is seen, without a chessboard"):
            look(pictures(tmp_path), board, least=5)
