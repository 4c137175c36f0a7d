"""Pictures in files: raster, depth, and limits before anything is allocated."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from siame_se3.errors import InputError
from siame_se3.images.decode import read_grey, read_picture, to_bytes
from siame_se3.images.headers import Header, header_of

RGB = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
LEVELS = np.linspace(0, 4080, 24 * 32).reshape(24, 32).astype(np.uint16)  # 12 bits
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def png(width: int, height: int, colour: int, bits: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG by hand: a header's claim, chunks, and whatever rows."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    body = b"".join(chunk(*c) for c in (*chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + head + body


def jpeg(quality: int = 95, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, "JPEG", quality=quality, **options)
    return stream.getvalue()


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".ppm"])
def test_pixels_are_kept(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    Image.fromarray(RGB).save(path)
    picture = read_picture(path)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, RGB)
    assert np.array_equal(read_grey(path), cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY))


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_a_cameras_raster_ignores_how_it_was_held_and_a_photo_obeys(
    tmp_path: Path, orientation: int, format: str
) -> None:
    path, exif = tmp_path / f"a.{format.lower()}", Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(
        path, format, exif=exif, **({"quality": 100, "subsampling": 0} if format == "JPEG" else {})
    )
    raster = read_picture(path)
    assert np.abs(raster.astype(int) - RGB).max() <= (12 if format == "JPEG" else 0)
    assert np.array_equal(read_picture(path, upright=True), TURNS[orientation](raster))


@pytest.mark.parametrize("orientation", TURNS)
def test_deep_photos_are_turned_too(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    deep = (RGB.astype(">u2") * 257).tobytes()
    rows = b"".join(b"\0" + deep[k * 192 : (k + 1) * 192] for k in range(24))
    (tmp_path / "a.png").write_bytes(png(32, 24, 2, 16, rows, (b"eXIf", exif.tobytes()[6:])))
    picture = read_picture(tmp_path / "a.png", upright=True)
    assert np.abs(255 * picture - TURNS[orientation](RGB)).max() < 1e-3
    assert np.abs(255 * read_picture(tmp_path / "a.png") - RGB).max() < 1e-3


def deep_tiff(orientation: int) -> bytes:
    """RGB of 16 bits, by hand."""
    rgb = (RGB.astype("<u2") * 257).tobytes()
    tags = [(256, 3, 1, 32), (257, 3, 1, 24), (258, 3, 3, 134), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 140)]
    tags += [(274, 3, 1, orientation), (277, 3, 1, 3), (278, 3, 1, 24), (279, 4, 1, len(rgb))]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + struct.pack("<HHH", 16, 16, 16) + rgb


@pytest.mark.parametrize("orientation", TURNS)
def test_deep_tiffs_are_turned_by_us_alone(tmp_path: Path, orientation: int) -> None:
    (tmp_path / "a.tif").write_bytes(deep_tiff(orientation))
    assert np.abs(255 * read_picture(tmp_path / "a.tif") - RGB).max() < 1e-3
    upright = read_picture(tmp_path / "a.tif", upright=True)
    assert np.abs(255 * upright - TURNS[orientation](RGB)).max() < 1e-3


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("colour", [False, True])
def test_sixteen_bits_keep_their_levels(tmp_path: Path, ending: str, colour: bool) -> None:
    path = tmp_path / f"a{ending}"
    deep = np.random.default_rng(1).integers(0, 65536, (24, 32, 3) if colour else (24, 32)).astype(np.uint16)
    cv2.imwrite(str(path), deep[..., ::-1] if colour else deep)
    picture = read_picture(path)
    assert picture.dtype == np.float32
    assert np.abs(65535 * picture - (deep if colour else deep[..., None])).max() < 0.01


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_twelve_bits_in_sixteen_are_seen_and_noted(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"a{ending}"
    cv2.imwrite(str(path), LEVELS)
    with caplog.at_level(logging.WARNING):
        picture = read_picture(path)
    assert np.abs(4095 * picture - LEVELS[..., None]).max() < 0.01
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: samples up to 4080; 4095 is taken for white"
    ]


def test_significant_bits_of_a_png_are_obeyed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dark = (LEVELS // 16).astype(">u2")  # 0 to 255 of 1023
    rows = b"".join(b"\0" + row.tobytes() for row in dark)
    (tmp_path / "a.png").write_bytes(png(32, 24, 0, 16, rows, (b"sBIT", b"\x0a")))
    with caplog.at_level(logging.WARNING):
        picture = read_picture(tmp_path / "a.png")
    assert np.abs(1023 * picture - dark[..., None]).max() < 0.01
    assert not caplog.records


@pytest.mark.parametrize("most", [1.0, 0.3, 255.0, 65535.0])
@pytest.mark.parametrize("colour", [False, True])
def test_floating_point_tiffs(tmp_path: Path, most: float, colour: bool) -> None:
    values = np.linspace(0, most, 24 * 32 * 3, dtype=np.float32).reshape(24, 32, 3)
    values = values if colour else values[..., 0]
    cv2.imwrite(str(tmp_path / "a.tif"), values[..., ::-1] if colour else values)
    full = 1.0 if most <= 1 else most
    picture = read_picture(tmp_path / "a.tif")
    assert np.abs(picture - (values if colour else values[..., None]) / full).max() < 1e-6


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full((24, 32), np.nan, np.float32), "nan"),
        (np.full((24, 32), np.inf, np.float32), "inf"),
        (np.full((24, 32), -1.0, np.float32), "-1"),
        (np.full((24, 32), -5, np.int32), "-5"),
    ],
)
def test_samples_that_are_no_picture_are_refused(tmp_path: Path, values: np.ndarray, words: str) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=f"{words}.*no picture"):
        read_picture(tmp_path / "a.tif")


def tiff(width: int, height: int) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def giant_jpeg() -> bytes:
    data = bytearray(jpeg())
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", 65000, 65000)
    return bytes(data)


BOMBS = {
    "png": png(65000, 65000, 2, 8, bytes(1000)),
    "png below Pillow's limit": png(13300, 13300, 2, 8, bytes(10_000)),
    "grey png": png(32700, 32700, 0, 8, bytes(10_000)),
    "png of 80 megapixels": png(10_000, 8_000, 2, 8, bytes(10_000)),
    "tiff": tiff(60_000, 60_000),
    "jpeg": giant_jpeg(),
    "bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, 50_000, 50_000, 1, 24, 0, 0, 0, 0, 0, 0),
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_a_claim_is_refused_before_it_is_allocated(
    tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decodes(*args: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", decodes)
    monkeypatch.setattr(Image.Image, "load", decodes)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"megapixels|is not a photo") as error:
        read_picture(path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n",
        jpeg()[:300],
        png(32, 24, 2, 8, b"short"),
        png(0, 24, 2, 8, b""),
        png(32, 24, 2, 16, b"short"),
        png(32, 24, 7, 8, b""),
        png(32, 24, 2, 16, bytes(24 * 193), (b"tEXt", b"long")).replace(b"\0\0\0\x04tEXt", b"\xf0\0\0\x04tEXt"),
    ],
)
def test_what_is_no_picture_is_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(InputError, match="not an image that can be read") as error:
        read_picture(path)
    assert str(error.value).startswith(f"{path}: ")
    assert len(str(error.value).splitlines()) == 1


def test_no_file_and_too_many_pixels(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_picture(tmp_path / "a.png")
    assert header_of(jpeg(), "a", most_pixels=768) == Header("JPEG", 32, 24)
    with pytest.raises(InputError, match="32 x 24 px"):
        header_of(jpeg(), "a", most_pixels=767)


def test_to_bytes_rounds() -> None:
    assert to_bytes(np.array([[0.0, 0.4999 / 255, 0.5001 / 255, 1.0]], np.float32)).tolist() == [[0, 0, 1, 255]]
    assert to_bytes(RGB) is RGB
