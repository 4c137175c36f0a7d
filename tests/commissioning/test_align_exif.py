"""What EXIF says of a photo's lens, and how far that is believed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from align_helpers import jpeg
from siame_se3.commissioning.align_exif import focal_by_exif
from siame_se3.commissioning.align_picture import Optics, Picture


def test_exif_by_the_sensors_resolution() -> None:
    """4 mm before pixels of 1/250 mm: 1000 px, at the size that the sensor has."""
    tags = {"x920A": 4.0, "xA20E": 250.0, "xA210": 4, "xA002": 800, "xA003": 600}
    found = focal_by_exif(jpeg((400, 300), **tags), (300, 400))
    assert found is not None
    assert found.share == pytest.approx(1.0)
    assert found.spread == 0.03


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ({}, "nothing"),
        ({"xA405": 0}, "zero is not known"),
        ({"xA405": 26, "xA002": 800, "xA003": 300}, "cropped since"),
        ({"x920A": 4.0}, "a focal length without a resolution"),
        ({"xA405": 60000}, "no lens"),
    ],
)
def test_exif_that_says_nothing(tags: dict[str, object], why: str, tmp_path: Path) -> None:
    assert focal_by_exif(jpeg((400, 300), **tags), (300, 400)) is None, why
    (tmp_path / "x.jpg").write_bytes(jpeg((400, 300), **tags))
    picture = Picture.read(tmp_path / "x.jpg", Optics())
    assert picture.guessed
    assert "not known" in picture.known


def test_damaged_exif_is_none() -> None:
    data = jpeg((40, 30), xA405=26)
    assert focal_by_exif(data[:30] + b"\xff" * 40 + data[70:], (30, 40)) is None


def photo(path: Path, size: tuple[int, int] = (400, 300), **tags: object) -> Picture:
    path.write_bytes(jpeg(size, **tags))
    return Picture.read(path, Optics())


def test_a_digital_zoom_is_not_the_lens(tmp_path: Path) -> None:
    """A photo at 2x beside one at 1x with the same focal length: whether the entries have it in them is not known."""
    plain = photo(tmp_path / "1.jpg", xA405=26, xA404=1.0)
    twice = photo(tmp_path / "2.jpg", xA405=26, xA404=2.0)
    assert not plain.guessed
    assert plain.lens.like(photo(tmp_path / "0.jpg", xA405=26, xA404=0).lens), "0 is none"
    assert twice.guessed
    assert "digital zoom of 2" in twice.known
    ratio = plain.lens.fx / twice.lens.fx
    for true in (1.0, 0.5):  # what the ratio is, where the entries have the zoom in them, or not
        assert abs(math.log(ratio / true)) < 2 * twice.lens.focal_sd
    assert twice.lens.focal_sd >= 0.25
    assert not twice.lens.like(plain.lens)


def test_pictures_of_two_digital_zooms_are_not_of_one_lens(tmp_path: Path) -> None:
    one, other = (photo(tmp_path / f"{z}.jpg", xA405=26, xA404=z) for z in (1.01, 1.02))
    assert one.lens.fx == pytest.approx(other.lens.fx, rel=0.006)
    assert not one.lens.like(other.lens)
    assert one.lens.like(photo(tmp_path / "again.jpg", xA405=26, xA404=1.01).lens)


@pytest.mark.parametrize(
    ("size", "spread"),
    [((400, 300), 0.03), ((300, 400), 0.03), ((600, 400), 0.03), ((640, 360), 0.15), ((300, 300), 0.15)],
)
def test_what_was_cut_from_a_sensor_is_known_less(size: tuple[int, int], spread: float, tmp_path: Path) -> None:
    """Modes of 16:9 and 1:1, and crops whose sides were written again, keep the focal length of the whole sensor: 9 and 18 % off."""
    picture = photo(tmp_path / "cut.jpg", size, xA405=26, xA002=size[0], xA003=size[1])
    assert picture.lens.focal_sd == spread
    assert not picture.guessed


@pytest.mark.parametrize(("side", "said"), [(4000, True), (400, False)])
def test_a_resolution_of_no_sensor_says_nothing(side: int, said: bool) -> None:
    """A phone's 4000 px of 1/700 mm, made smaller by a program that writes the new sides and leaves the resolution: 0.7 mm across."""
    tags = {"x920A": 4.3, "xA20E": 700.0, "xA210": 4, "xA002": side, "xA003": side * 3 // 4}
    assert (focal_by_exif(jpeg((400, 300), **tags), (300, 400)) is not None) == said
