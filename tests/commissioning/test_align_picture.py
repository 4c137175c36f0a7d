"""The camera of a picture, as far as the picture or the user says it; regions."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from siame_se3.commissioning.align_picture import Optics, Picture, Region, counting, focal_by_exif
from siame_se3.errors import CameraError, InputError
from siame_se3.geometry.camera import Camera


def jpeg(size: tuple[int, int], orientation: int = 1, **tags: object) -> bytes:
    """A photo of (width, height) with EXIF tags by their numbers ('x920A')."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8769).update({int(name[1:], 16): value for name, value in tags.items()})
    ramp = np.linspace(0, 255, size[0] * size[1]).astype(np.uint8).reshape(size[1], size[0])
    stream = io.BytesIO()
    Image.fromarray(ramp).convert("RGB").save(stream, "jpeg", exif=exif)
    return stream.getvalue()


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


def test_exif_by_the_sensors_resolution() -> None:
    """4 mm before pixels of 1/250 mm: 1000 px, at the size that the sensor has."""
    tags = {"x920A": 4.0, "xA20E": 250.0, "xA210": 4, "xA002": 800, "xA003": 600}
    found = focal_by_exif(jpeg((400, 300), **tags), (300, 400))
    assert found is not None
    assert found[0] == pytest.approx(1.0)


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


def test_regions_count_or_are_left_out() -> None:
    picture = Picture.of(np.zeros((960, 1280, 3), np.uint8), Optics())
    mask = counting(picture, (Region.parse("50%,0,50%,100%", "roi"),), (Region.parse("640,0,320,480", "ignore"),))
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
        counting(picture, (Region.parse("128,0,5,5", "roi"),))
    with pytest.raises(InputError, match="next to nothing"):
        counting(picture, (), (Region.parse("0,0,100%,99%", "ignore"),))
