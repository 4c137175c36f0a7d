"""What a picture shows in place of the board that is sought: markers, of which dictionary, and checkerboards of any size."""

from __future__ import annotations

import cv2
import numpy as np

FEWEST_MARKERS = 4  # fewer may be chance
_SIZES = (100, 250)  # of OpenCV's families of dictionaries; one of 50 is the first half of that of 100
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
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    for bits in (1, 2):  # of the black border; Kalibr prints two
        parameters = cv2.aruco.DetectorParameters()
        parameters.markerBorderBits = bits
        corners, ids, _ = cv2.aruco.ArucoDetector(dictionary, parameters).detectMarkers(grey)
        if ids is None or len(np.unique(ids)) < FEWEST_MARKERS:
            continue
        squares = np.array(corners, np.float64).reshape(-1, 4, 2)
        sides = np.linalg.norm(squares - np.roll(squares, 1, axis=1), axis=2).mean(1)
        middles = squares.mean(1)
        apart = np.linalg.norm(middles[:, None] - middles[None], axis=2)
        np.fill_diagonal(apart, np.inf)
        if float(np.median(apart.min(1) / sides)) < _SIDE_BY_SIDE:
            return len(np.unique(ids))
    return 0
