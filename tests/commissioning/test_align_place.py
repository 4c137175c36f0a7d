"""Where a reference is, about, and whether it could be elsewhere."""

from __future__ import annotations

import numpy as np

from align_helpers import OPTICS, blobs, dots, motion, reference, seen
from siame_se3.commissioning.align_picture import Picture
from siame_se3.commissioning.align_place import Sought


def sought(pixels: np.ndarray) -> Sought:
    picture = Picture.of(pixels, OPTICS)
    return Sought.of(picture, np.ones_like(picture.grey))


def test_turned_upside_down_it_is_found() -> None:
    """Far from where the camera was: by keypoints, or by the search."""
    now = Picture.of(seen(motion(0.02, 0, 0, 0, 0, np.pi)), OPTICS)
    found, elsewhere = reference().sought.place(now, np.eye(3))
    assert found is not None
    assert found.score > 0.8
    assert not elsewhere
    corner = found.H @ (0, 0, 1)
    assert np.hypot(*(corner[:2] / corner[2] - (319, 239))) < 20


def test_another_place_is_hardly_alike() -> None:
    found, _ = reference().sought.place(Picture.of(seen(of=blobs(1)), OPTICS), np.eye(3))
    assert found is None or found.score < 0.3


def test_what_repeats_itself_could_be_elsewhere() -> None:
    grid = sought(seen(of=dots()))
    period = 0.04 / 0.6 * 320
    assert grid.repeats
    shifts = np.array([S[:2, 2] for S in grid.repeats]) / period
    assert np.abs(shifts - shifts.round()).max() < 0.1, "by whole dots"
    found, elsewhere = grid.place(Picture.of(seen(motion(0.004, 0, 0, 0, 0, 0), dots()), OPTICS), np.eye(3))
    assert found is not None
    assert elsewhere
    assert not reference().sought.repeats
