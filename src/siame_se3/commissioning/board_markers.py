"""What a picture shows in place of the board that is sought: markers, of which dictionary, and checkerboards of any size."""

from __future__ import annotations

import cv2
import numpy as np

FEWEST_MARKERS = 4  # fewer may be chance
_SIZES = (100, 250)  # of OpenCV's families of dictionaries; one of 50 is the first half of that of 100
_FEWEST_CIRCLES = 12  # of a grid
_ROUND = 0.83  # circularity; a square has 0.79, an ellipse twice as long as wide 0.84
_ALIKE = 0.35  # share by which sizes and distances of a tilted grid's circles differ from the median
_SEPARATE = 1.4  # diameters from a circle to the next one: squares of a checkerboard, small and blurred, have 1.25
_MOST_ALIKE = 0.8  # of the circles, that are so
_SIDE_BY_SIDE = 1.45  # sides of a marker to the nearest one's centre: 1.3 in an AprilGrid, 1.5 to 2 on a ChArUco board


def markers(grey: np.ndarray, own: str | None) -> tuple[int, str]:
    """How many markers a picture has, of which dictionary: the board's `own` if it has some."""
    best = (0, "")
    families = sorted({name.rpartition("_")[0] for name in dir(cv2.aruco) if name.endswith("_250") and "DICT" in name})
    rare = sorted(
        {name.lower(): name for name in dir(cv2.aruco) if name.startswith(("DICT_APRIL", "DICT_ARUCO"))}.values()
    )
    first = [own] if own else []
    for name in (*first, *(f"{family}_250" for family in families), *rare):
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))
        _, ids, _ = cv2.aruco.ArucoDetector(dictionary).detectMarkers(grey)
        distinct = 0 if ids is None else len(np.unique(ids))
        if name == own and distinct >= FEWEST_MARKERS:
            return distinct, name
        if name in rare and best[0] >= FEWEST_MARKERS:
            break
        if distinct > best[0]:
            assert ids is not None
            if name.endswith("_250"):
                name = f"{name[:-4]}_{next(size for size in _SIZES if size > ids.max())}"
            best = (distinct, name)
    return best


def checkerboard(grey: np.ndarray) -> tuple[int, int]:
    """Columns and rows of the inner corners of a checkerboard of any size, the larger first: OpenCV gives them in either order, by its random
    numbers; (0, 0) where there is none."""
    flags = cv2.CALIB_CB_LARGER | cv2.CALIB_CB_EXHAUSTIVE
    found, _, meta = cv2.findChessboardCornersSBWithMeta(grey, (3, 3), flags)
    return (max(meta.shape), min(meta.shape)) if found else (0, 0)


def flipped(grey: np.ndarray) -> np.ndarray:
    """Left and right exchanged."""
    return np.ascontiguousarray(grey[:, ::-1])


def april_grid(grey: np.ndarray) -> int:
    """How many tags of an AprilGrid a picture shows, which lie side by side; 0 for other boards."""
    return max(side_by_side(grey, "DICT_APRILTAG_36h11", bits) for bits in (1, 2))  # Kalibr prints two


def side_by_side(grey: np.ndarray, dictionary: str, bits: int = 1) -> int:
    """How many markers of a dictionary a picture shows that lie side by side, without a chessboard between them; 0 for other boards.

    Args:
        grey: the picture.
        dictionary: OpenCV's name.
        bits: of the black border.
    """
    parameters = cv2.aruco.DetectorParameters()
    parameters.markerBorderBits = bits
    family = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary))
    corners, ids, _ = cv2.aruco.ArucoDetector(family, parameters).detectMarkers(grey)
    if ids is None or len(np.unique(ids)) < FEWEST_MARKERS:
        return 0
    squares = np.array(corners, np.float64).reshape(-1, 4, 2)
    sides = np.linalg.norm(squares - np.roll(squares, 1, axis=1), axis=2).mean(1)
    apart = _nearest(squares.mean(1))
    return len(np.unique(ids)) if float(np.median(apart / sides)) < _SIDE_BY_SIDE else 0


def circles(grey: np.ndarray) -> int:
    """How many circles of a circle grid a picture shows; 0 for anything else: they are alike, and each has neighbours at about the same distance."""
    most = 0
    for colour in (0, 255):
        parameters = cv2.SimpleBlobDetector.Params()
        parameters.blobColor = colour
        parameters.filterByCircularity, parameters.minCircularity = True, _ROUND
        parameters.maxArea = grey.size / _FEWEST_CIRCLES
        found = cv2.SimpleBlobDetector.create(parameters).detect(grey)
        if len(found) < _FEWEST_CIRCLES:
            continue
        apart, sizes = _nearest(np.array([blob.pt for blob in found])), np.array([blob.size for blob in found])
        alike = [np.abs(x / np.median(x) - 1) < _ALIKE for x in (apart, sizes)]
        if min(float(a.mean()) for a in alike) > _MOST_ALIKE and np.median(apart / sizes) > _SEPARATE:
            most = max(most, len(found))
    return most


def _nearest(points: np.ndarray) -> np.ndarray:
    """From each point (n, 2) to the nearest other one (n,)."""
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return np.asarray(apart.min(1))
