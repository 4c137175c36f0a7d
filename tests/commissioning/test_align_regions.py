"""Regions of the reference."""

from __future__ import annotations

import numpy as np
import pytest

from siame_se3.commissioning.align_picture import Optics, Picture
from siame_se3.commissioning.align_regions import Region, Regions
from siame_se3.errors import InputError
from siame_se3.geometry.camera import Camera


def test_regions_count_or_are_left_out() -> None:
    picture = Picture.of(np.zeros((960, 1280, 3), np.uint8), Optics())
    mask = Regions.parse(("50%,0,50%,100%",), ("640,0,320,480",)).counting(picture)
    assert mask.shape == (480, 640)
    assert mask[:, :320].max() == 0
    assert mask[:240, 320:480].max() == 0
    assert mask[240:, 320:].min() == mask[:, 480:].min() == 1


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,x", "0,0,0,5", "-1,0,5,5", "nan,0,5,5", "1,2,3,4,5"])
def test_what_is_no_region(text: str) -> None:
    with pytest.raises(InputError, match="left,top,width,height"):
        Region.parse(text, "roi")


def test_regions_outside_or_that_leave_nothing() -> None:
    picture = Picture.of(np.zeros((96, 128, 3), np.uint8), Optics())
    with pytest.raises(InputError, match="outside the reference of 128 x 96"):
        Regions.parse(("128,0,5,5",), ()).counting(picture)
    with pytest.raises(InputError, match="next to nothing"):
        Regions.parse((), ("0,0,100%,99%",)).counting(picture)


@pytest.mark.parametrize("quarters", range(4))
def test_regions_are_those_of_the_picture_as_a_viewer_shows_it(quarters: int) -> None:
    """A mark in a corner of the photo, which was held upright, upside down or on its side."""
    shown = np.zeros((320, 240) if quarters % 2 else (240, 320), np.uint8)
    shown[20:60, 10:80] = 255
    raster = np.ascontiguousarray(np.rot90(shown, quarters))
    picture = Picture.of(raster, Optics(Camera(250, 250, 159.5, 119.5, 320, 240)), quarters=quarters)
    counts = Regions.parse(("10,20,70,40",), ()).counting(picture)
    assert (counts == picture.grey).all()
    with pytest.raises(InputError, match=f"outside the reference of {shown.shape[1]} x {shown.shape[0]} px"):
        Regions.parse((f"{shown.shape[1]},0,9,9",), ()).counting(picture)


def test_regions_bend_as_the_picture_is_rectified() -> None:
    camera = Camera(300, 300, 159.5, 119.5, 320, 240, (-0.3, 0.1, 0.0, 0.0, 0.0))
    marked = np.zeros((240, 320), np.uint8)
    marked[0:60, 0:80] = 255
    picture = Picture.of(marked, Optics(camera))
    assert (Regions.parse(("0,0,80,60",), ()).counting(picture) == (picture.grey > 0.5)).mean() > 0.999
