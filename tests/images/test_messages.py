"""ROS's image messages, each encoding against OpenCV's conversion the other way or pixels made by hand."""

from __future__ import annotations

import io
import logging
import tracemalloc
import types
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from siame_se3.errors import CameraError
from siame_se3.images.messages import ImageReader


def smooth(height: int = 48, width: int = 64) -> np.ndarray:
    v, u = np.mgrid[:height, :width]
    red, green, blue = 127 + 110 * np.sin(u / 9), 127 + 110 * np.cos(v / 8), 127 + 110 * np.sin((u + v) / 11)
    return np.stack((red, green, blue), -1).astype(np.uint8)


RGB = smooth()
BGR = RGB[..., ::-1]
GREY = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)
ALPHA = np.full((48, 64, 1), 7, np.uint8)


def image(encoding: str, data: np.ndarray | bytes, **changes: Any) -> Any:
    raw = data if isinstance(data, bytes) else data.tobytes()
    fields = {"height": 48, "width": 64, "encoding": encoding, "is_bigendian": 0, "step": 0, "data": raw}
    return types.SimpleNamespace(**{**fields, **changes})


def compressed(format: str, ending: str, pixels: np.ndarray) -> Any:
    return types.SimpleNamespace(format=format, data=cv2.imencode(ending, pixels)[1].tobytes())


def mosaic(pattern: str) -> np.ndarray:
    """What a sensor behind colour filters sees: pattern is the first row's two filters and the second's."""
    bayer = np.zeros((48, 64), np.uint8)
    for k, letter in enumerate(pattern):
        row, column = divmod(k, 2)
        bayer[row::2, column::2] = RGB[row::2, column::2, "rgb".index(letter)]
    return bayer


def yuv422(order: str) -> np.ndarray:
    """Packed, BT.601 in video range: OpenCV's 4:2:0 conversion gives Y, and the formula U and V."""
    r, g, b = (RGB[..., k].astype(float) for k in range(3))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
    v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
    chroma = np.zeros_like(y)
    chroma[:, 0::2], chroma[:, 1::2] = (u[:, 0::2] + u[:, 1::2]) / 2, (v[:, 0::2] + v[:, 1::2]) / 2
    return np.stack((y, chroma) if order == "yuyv" else (chroma, y), -1).round().astype(np.uint8)


def semi_planar(order: str) -> np.ndarray:
    """NV12 or NV21 from OpenCV's I420."""
    i420 = cv2.cvtColor(RGB, cv2.COLOR_RGB2YUV_I420).ravel()
    y, u, v = i420[: 48 * 64], i420[48 * 64 : 48 * 80], i420[48 * 80 :]
    return np.concatenate((y, np.stack((v, u) if order == "nv21" else (u, v), -1).ravel()))


def nv24() -> np.ndarray:
    """BT.601 in video range, as cameras have it."""
    matrix = np.array([[0.257, 0.504, 0.098], [-0.148, -0.291, 0.439], [0.439, -0.368, -0.071]])
    yuv = np.rint(RGB @ matrix.T + (16, 128, 128)).astype(np.uint8)
    return np.concatenate((yuv[..., 0].ravel(), yuv[..., 1:].ravel()))


EXACT = {
    "rgb8": RGB,
    "bgr8": BGR,
    "rgba8": np.dstack((RGB, ALPHA)),
    "bgra8": np.dstack((BGR, ALPHA)),
    "8UC3": BGR,
    "8UC4": np.dstack((BGR, ALPHA)),
    "RGB8": RGB,
    "rgb16": RGB.astype("<u2") * 257,
    "bgr16": BGR.astype("<u2") * 257,
}
NEARLY = {
    "yuv422": yuv422("uyvy"),
    "uyvy": yuv422("uyvy"),
    "yuv422_yuy2": yuv422("yuyv"),
    "yuyv": yuv422("yuyv"),
    "nv12": semi_planar("nv12"),
    "nv21": semi_planar("nv21"),
    "nv24": nv24(),
    **{f"bayer_{pattern}8": mosaic(pattern) for pattern in ("rggb", "bggr", "gbrg", "grbg")},
    **{f"bayer_{pattern}16": mosaic(pattern).astype("<u2") * 257 for pattern in ("rggb", "bggr", "gbrg", "grbg")},
}


@pytest.mark.parametrize("encoding", EXACT)
def test_colours(encoding: str) -> None:
    assert np.array_equal(ImageReader()(image(encoding, EXACT[encoding])), RGB)


@pytest.mark.parametrize("encoding", NEARLY)
def test_encodings_that_lose_something(encoding: str) -> None:
    found = ImageReader()(image(encoding, NEARLY[encoding]))
    assert found.shape == RGB.shape
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - RGB)[2:-2, 2:-2].mean() < 5  # red and blue swapped: 70


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey(encoding: str) -> None:
    assert np.array_equal(ImageReader()(image(encoding, GREY)), np.repeat(GREY[..., None], 3, 2))


@pytest.mark.parametrize(("big", "kind"), [(0, "<u2"), (1, ">u2")])
def test_sixteen_bits_in_both_byte_orders(big: int, kind: str) -> None:
    found = ImageReader()(image("mono16", GREY.astype(kind) * 257, is_bigendian=big))
    assert np.array_equal(found[..., 0], GREY)


def test_padded_rows_and_a_last_row_without_padding() -> None:
    padded = np.pad(BGR.reshape(48, -1), ((0, 0), (0, 20)), constant_values=9)
    assert np.array_equal(ImageReader()(image("bgr8", padded, step=212)), RGB)
    assert np.array_equal(ImageReader()(image("bgr8", padded.tobytes()[:-20], step=212)), RGB)
    deep = np.pad((GREY.astype("<u2") * 257).view(np.uint8), ((0, 0), (0, 6)))
    assert np.array_equal(ImageReader()(image("mono16", deep, step=134))[..., 0], GREY)


def test_a_step_that_claims_gigabytes_allocates_nothing() -> None:
    tracemalloc.start()
    try:
        found = ImageReader()(image("rgb8", RGB[0], height=1, step=2**32 - 1))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal(found, RGB[:1])
    assert peak < 1e6


def test_twelve_bits_in_sixteen_and_a_dark_image_that_stays_dark() -> None:
    reader = ImageReader()
    twelve = image("mono16", GREY.astype("<u2") * 16)
    assert np.abs(reader(twelve)[..., 0].astype(int) - GREY).max() <= 1
    bright, dark = image("mono16", GREY.astype("<u2") * 257), image("mono16", GREY.astype("<u2"))
    assert np.array_equal(reader(bright)[..., 0], GREY)
    assert reader(dark).max() <= 1  # this topic has 16 bits


def test_ten_bits_in_sixteen_are_dark_always_alike_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """What a message does not say is not guessed: the same scene has the same grey levels, bright or dark."""
    reader = ImageReader()
    ten = GREY.astype("<u2") * 4
    with caplog.at_level(logging.WARNING):
        full, shaded = (reader(image("mono16", levels))[..., 0].astype(int) for levels in (ten, ten // 2))
    assert np.abs(4 * full - GREY).max() <= 3
    assert np.abs(2 * shaded - full).max() <= 2
    (warning,) = caplog.records
    assert "4095 is taken for white (a camera of 10 bits gives dark images so" in warning.getMessage()


def test_depth_is_not_colour_unless_asked_for() -> None:
    deep = image("16UC1", GREY.astype("<u2") * 257)
    with pytest.raises(CameraError, match=r"16UC1.*depth"):
        ImageReader()(deep)
    assert np.array_equal(ImageReader(depth_as_grey=True)(deep)[..., 0], GREY)
    with pytest.raises(CameraError, match=r"16UC1.*depth"):
        ImageReader()(compressed("16UC1; png compressed ", ".png", GREY.astype(np.uint16)))


@pytest.mark.parametrize(
    "encoding", ["", "jpeg", "32FC1", "16SC1", "bayer_rgbg8", "bayer_rggb12", "yuv444", "x" * 10_000]
)
def test_an_unknown_encoding_is_named_with_what_helps(encoding: str) -> None:
    with pytest.raises(CameraError, match=r"is not known.*pixel_format.*image_proc") as error:
        ImageReader()(image(encoding, RGB))
    assert f"'{encoding[:40]}" in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    "bad",
    [
        image("rgb8", b"0" * 100),
        image("rgb8", RGB, step=100),
        image("rgb8", b"", height=0, width=0),
        image("rgb8", RGB, height=2**32 - 1, width=2**32 - 1),
        image("rgb8", RGB, height=20_000, width=20_000),
        image("yuyv", RGB, width=63),
        image("nv21", RGB, height=47),
        image("nv21", b"0" * 100),
        image("nv24", b"0" * 100),
        image("bayer_rggb8", RGB, height=2, width=2),
        image("mono16", GREY),
    ],
)
def test_data_that_do_not_fit_are_refused(bad: Any) -> None:
    with pytest.raises(CameraError, match=r"driver is at fault|megapixels"):
        ImageReader()(bad)


def test_formats_of_compressed_images() -> None:
    assert np.array_equal(ImageReader()(compressed("rgb8; png compressed bgr8", ".png", BGR)), RGB)
    assert np.array_equal(ImageReader()(compressed("png", ".png", BGR)), RGB)
    grey = ImageReader()(compressed("mono8; png compressed ", ".png", GREY))
    assert np.array_equal(grey, np.repeat(GREY[..., None], 3, 2))
    lossy = ImageReader()(compressed("rgb8; jpeg compressed bgr8", ".jpg", BGR))
    assert np.abs(lossy.astype(int) - RGB).mean() < 4


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_a_compressed_mosaic_has_colours(pattern: str, ending: str) -> None:
    message = compressed(f"bayer_{pattern}8; {ending[1:]} compressed ", ending, mosaic(pattern))
    assert np.abs(ImageReader()(message).astype(int) - RGB)[2:-2, 2:-2].mean() < 8


def test_compressed_sixteen_bits() -> None:
    full = compressed("mono16; png compressed ", ".png", GREY.astype(np.uint16) * 257)
    assert np.array_equal(ImageReader()(full)[..., 0], GREY)
    twelve = compressed("mono16; png compressed ", ".png", GREY.astype(np.uint16) * 16)
    assert np.abs(ImageReader()(twelve)[..., 0].astype(int) - GREY).max() <= 1
    colour = compressed("rgb16; png compressed bgr16", ".png", BGR.astype(np.uint16) * 257)
    assert np.array_equal(ImageReader()(colour), RGB)


def test_a_jpeg_keeps_the_sensors_raster() -> None:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(stream, "JPEG", quality=98, exif=exif)
    found = ImageReader()(types.SimpleNamespace(format="jpeg", data=stream.getvalue()))
    assert np.abs(found.astype(int) - RGB).mean() < 4


@pytest.mark.parametrize(
    ("format", "data", "words"),
    [
        ("jpeg", b"", "'jpeg': not an image"),
        ("jpeg", b"nothing", "'jpeg': not an image"),
        ("h264", b"\0\0\0\1", "'h264' is not a colour picture"),
        ("16UC1; compressedDepth png", b"\0" * 12, "is not a colour picture"),
        ("png", cv2.imencode(".png", np.zeros((2, 2), np.uint8))[1].tobytes()[:40], "not an image that can be read"),
        ("x" * 10_000, b"", "not an image that can be read"),
    ],
)
def test_compressed_images_that_cannot_be_read(format: str, data: bytes, words: str) -> None:
    with pytest.raises(CameraError, match=words) as error:
        ImageReader()(types.SimpleNamespace(format=format, data=data))
    assert len(str(error.value)) < 200


def test_a_compressed_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(cv2.imencode(".png", GREY)[1].tobytes())
    data[16:24] = (65_000).to_bytes(4, "big") * 2
    monkeypatch.setattr(cv2, "imdecode", lambda *args: pytest.fail("decoded"))
    with pytest.raises(CameraError, match="megapixels"):
        ImageReader()(types.SimpleNamespace(format="png", data=bytes(data)))


@pytest.mark.parametrize("longer", [2.0, 3.0])
def test_a_buffer_of_another_encoding_is_refused(longer: float) -> None:
    """Colours called mono8, or rows that are padded and do not say so, gave a sheared part of the picture."""
    grey = RGB[..., 0]
    data = np.zeros(int(grey.size * longer), np.uint8).tobytes()
    with pytest.raises(CameraError, match=r"bytes for 64 x 48 px of mono8"):
        ImageReader()(image("mono8", data))
    assert ImageReader()(image("mono8", grey.tobytes() + bytes(3000))).shape == (48, 64, 3)  # whole pages
