"""A picture's grey levels, and its camera, as far as the picture or the user says it."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from align_helpers import jpeg
from siame_se3.commissioning.align import Reference
from siame_se3.commissioning.align_picture import Optics, Picture
from siame_se3.errors import CameraError
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import read_picture


def test_a_phone_photo_says_its_field_of_view_and_is_turned_upright(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    path.write_bytes(jpeg((1200, 900), orientation=6, xA405=26, xA002=1200, xA003=900))
    picture = Picture.read(path, Optics())
    assert picture.size == (1200, 900), "upright, it is taller than wide"
    assert picture.grey.shape == (640, 480)
    focal = 26 / math.hypot(36, 24) * math.hypot(1200, 900) * 640 / 1200
    assert picture.lens.fx == pytest.approx(focal)
    assert "EXIF" in picture.known
    assert not picture.guessed


def test_a_calibration_is_scaled_to_the_picture_and_refuses_another_format() -> None:
    camera = Camera(500, 510, 330, 250, 640, 480)
    picture = Picture.of(np.zeros((240, 320, 3), np.uint8), Optics(camera))
    assert (picture.lens.fx, picture.lens.fy) == (250, 255)
    with pytest.raises(CameraError, match="320 x 320 px, the camera is calibrated for 640 x 480"):
        Picture.of(np.zeros((320, 320, 3), np.uint8), Optics(camera))


def test_distortion_is_taken_out() -> None:
    camera = Camera(300, 300, 159.5, 119.5, 320, 240, (-0.3, 0.1, 0.0, 0.0, 0.0))
    lines = np.zeros((240, 320, 3), np.uint8)
    lines[:, 20:24] = 255
    straight, left = (Picture.of(lines, Optics(camera, rectified=r)).grey for r in (True, False))
    assert straight[:, 22].min() == 1
    assert left[:, 22].min() < 1, "a rectified picture is not rectified again, another one is"


@pytest.mark.parametrize(("orientation", "quarters"), [(1, 0), (3, 2), (6, 1), (8, 3)])
def test_a_calibrated_cameras_photo_keeps_its_raster_and_how_it_was_held(
    orientation: int, quarters: int, tmp_path: Path
) -> None:
    path = tmp_path / "phone.jpg"
    path.write_bytes(jpeg((320, 240), orientation))
    picture = Picture.read(path, Optics(Camera(250, 250, 159.5, 119.5, 320, 240)))
    assert picture.grey.shape == (240, 320), "the raster that is calibrated"
    shown = read_picture(path, upright=True)
    assert (picture.upright(picture.pixels) == shown).all()
    assert picture.quarters == quarters
    assert Picture.read(path, Optics(fov=1.0)).quarters == 0, "that one is upright already"


def deep(path: Path, samples: np.ndarray) -> Picture:
    """As a PNG of 16 bits."""
    assert cv2.imwrite(str(path), samples.astype(np.uint16))
    return Picture.read(path, Optics())


def test_pictures_of_12_bits_are_compared_in_one_scale_whatever_their_brightest_pixel(tmp_path: Path) -> None:
    """4095 is white of the one, by its own pixels, and 65535 of the other: 16 grey levels were left of that."""
    levels = np.linspace(100, 4000, 120 * 160).reshape(120, 160)
    bright = levels.copy()
    bright[60, 80] = 4200
    one, other = deep(tmp_path / "a.png", levels), deep(tmp_path / "b.png", bright)
    assert np.abs(one.grey - other.grey)[np.arange(120) != 60].max() < 0.01
    assert len(np.unique(other.grey)) > 200


def test_low_contrast_of_14_bits_is_no_plain_surface(tmp_path: Path) -> None:
    blobs = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 1, (120, 160)), (0, 0), 4)
    samples = 6000 + 40 * blobs / blobs.std()
    samples[5, 5] = 16383  # a hot pixel
    picture = deep(tmp_path / "cells.png", samples)
    Reference.of(picture)
    assert picture.grey.std() > 0.1
    assert deep(tmp_path / "plain.png", np.full((120, 160), 6000)).grey.std() == 0
