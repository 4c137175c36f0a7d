"""Blocks of one picture in another."""

from __future__ import annotations

import cv2
import numpy as np

from align_helpers import seen
from siame_se3.commissioning.align_blocks import found_blocks


def grey(pixels: np.ndarray) -> np.ndarray:
    found: np.ndarray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    return found


GOAL = grey(seen())
EVERYWHERE = np.ones_like(GOAL)


def test_a_shift_is_found_to_a_part_of_a_pixel() -> None:
    move = np.array([[1, 0, 3.3], [0, 1, -1.7]])
    now = cv2.warpAffine(GOAL, move, GOAL.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    now = now * 0.7 + 0.1 + 0.01 * np.random.default_rng(0).standard_normal(now.shape).astype(np.float32)
    near = np.array([[1, 0, 3.0], [0, 1, -2.0], [0, 0, 1]])
    pixels, at, covariance = found_blocks(GOAL, EVERYWHERE, now, near, 30).mapped(near)
    off = at - pixels - (3.3, -1.7)
    assert len(pixels) > 40
    assert np.abs(np.median(off, axis=0)).max() < 0.06
    size, spread = np.linalg.norm(off, axis=1), np.trace(covariance, axis1=1, axis2=2)
    surer = spread < np.median(spread)
    assert np.median(size[surer]) < 0.7 * np.median(size[~surer]), "those with more texture are nearer"


def test_some_pixels_are_found_from_coarse_copies() -> None:
    move = np.array([[1, 0, 7.0], [0, 1, -5.0]])
    now = cv2.warpAffine(GOAL, move, GOAL.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    pixels, at, _ = found_blocks(GOAL, EVERYWHERE, now, np.eye(3), 30).mapped(np.eye(3))
    assert np.abs(np.median(at - pixels - (7, -5), axis=0)).max() < 0.2


def test_what_is_left_out_or_occluded_is_not_found() -> None:
    mask = EVERYWHERE.copy()
    mask[:, :160] = 0
    now = GOAL.copy()
    now[:120] = 0.5
    pixels = found_blocks(GOAL, mask, now, np.eye(3), 30).pixels
    assert len(pixels) > 10
    assert pixels[:, 0].min() > 155
    assert (pixels[:, 1] < 100).mean() < 0.1, "by chance, one that fits no pose"


def test_blocks_behind_the_camera_are_left_out() -> None:
    blocks = found_blocks(GOAL, EVERYWHERE, GOAL, np.eye(3), 30)
    behind = np.array([[1, 0, 0], [0, 1, 0], [-1 / 160, 0, 1]])  # from x = 160 on
    pixels, at, covariance = blocks.mapped(behind)
    assert pixels[:, 0].max() < 165
    assert np.isfinite(at).all()
    assert (np.linalg.eigvalsh(covariance) > 0).all()
