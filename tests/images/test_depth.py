"""Depth maps from files and ROS messages: units, holes, byte orders, and what is no depth map."""

from __future__ import annotations

import io
import struct
import tracemalloc
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from siame_se3.errors import CameraError, InputError
from siame_se3.images.depth import depth_of, read_depth

METRES = np.array([[0.5, 1.25, 2.0], [3.001, 0.777, 9.999]], np.float32)
MM = np.rint(1000 * METRES).astype(np.uint16)
HOLES = np.array([[0, 500, 65535], [1000, 0, 2000]], np.uint16)
EXPECTED = np.array([[np.nan, 0.5, np.nan], [1.0, np.nan, 2.0]], np.float32)


def png(path: Path, samples: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), samples)
    return path


def npy(path: Path, samples: np.ndarray) -> Path:
    np.save(path, samples)
    return path


def npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


# files


def test_a_png_has_millimetres_and_holes(tmp_path: Path) -> None:
    found = read_depth(png(tmp_path / "d.png", HOLES))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-6)


def test_another_scale(tmp_path: Path) -> None:
    path = png(tmp_path / "d.png", (5000 * METRES).astype(np.uint16))
    np.testing.assert_allclose(read_depth(path, 1 / 5000), METRES, atol=1.1 / 5000)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.uint32, np.int64, ">u2"])
def test_whole_numbers_of_any_kind_are_millimetres(tmp_path: Path, kind: Any) -> None:
    np.testing.assert_allclose(read_depth(npy(tmp_path / "d.npy", MM.astype(kind))), METRES, rtol=1e-6)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4"])
def test_floating_point_numbers_are_metres(tmp_path: Path, kind: Any) -> None:
    np.testing.assert_allclose(read_depth(npy(tmp_path / "d.npy", METRES.astype(kind))), METRES, rtol=1e-3)


def test_what_floating_point_maps_say_for_unknown(tmp_path: Path) -> None:
    samples = np.array([[np.nan, np.inf, -np.inf], [0.0, -1.0, 0.5]], np.float32)
    found = read_depth(npy(tmp_path / "d.npy", samples))
    assert np.isnan(found.ravel()[:5]).all()
    assert found[1, 2] == 0.5


def test_what_is_too_small_for_a_number_is_unknown(tmp_path: Path) -> None:
    """A positive number that becomes 0 in metres."""
    found = read_depth(npy(tmp_path / "d.npy", np.array([[1e-300, 0.5], [1e-46, 0.6]])))
    np.testing.assert_allclose(found, [[np.nan, 0.5], [np.nan, 0.6]], rtol=1e-6)


def test_negative_whole_numbers_are_unknown(tmp_path: Path) -> None:
    found = read_depth(npy(tmp_path / "d.npy", np.array([[-1, 500], [32767, 600]], np.int16)))
    np.testing.assert_allclose(found, [[np.nan, 0.5], [np.nan, 0.6]], rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 2])
def test_an_axis_of_length_one_is_dropped(tmp_path: Path, axis: int) -> None:
    assert read_depth(npy(tmp_path / "d.npy", np.expand_dims(METRES, axis))).shape == METRES.shape


def test_archives(tmp_path: Path) -> None:
    np.testing.assert_allclose(read_depth(npz(tmp_path / "a.npz", anything=METRES)), METRES)
    np.testing.assert_allclose(read_depth(npz(tmp_path / "b.npz", rgb=MM, depth=METRES)), METRES)
    with pytest.raises(InputError, match=r"c\.npz: 2 arrays, none called 'depth'"):
        read_depth(npz(tmp_path / "c.npz", a=METRES, b=METRES))


def test_tiffs(tmp_path: Path) -> None:
    np.testing.assert_allclose(read_depth(png(tmp_path / "d.tiff", MM)), METRES, rtol=1e-6)
    np.testing.assert_allclose(read_depth(png(tmp_path / "f.tif", METRES)), METRES)
    Image.fromarray(METRES, "F").save(tmp_path / "pillow.tif")
    np.testing.assert_allclose(read_depth(tmp_path / "pillow.tif"), METRES)


def test_a_tiffs_orientation_is_not_obeyed(tmp_path: Path) -> None:
    """The map belongs to the sensor's raster, as the camera's pictures do."""
    Image.fromarray(METRES, "F").save(tmp_path / "d.tif", tiffinfo={274: 6})
    np.testing.assert_allclose(read_depth(tmp_path / "d.tif"), METRES)


def claims(path: Path, shape: tuple[int, ...]) -> Path:
    """A .npy that claims more than it has."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    path.write_bytes(stream.getvalue() + bytes(64))
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda p: p / "d.png", r"d\.png: no such file"),
    "missing npy": (lambda p: p / "d.npy", r"d\.npy: no such file"),
    "folder": (lambda p: p, r"no such file"),
    "jpeg": (lambda p: png(p / "d.jpg", np.zeros((4, 4), np.uint8)), r"d\.jpg: depth is not read from \.jpg"),
    "8 bits": (lambda p: png(p / "d.png", np.full((4, 4), 9, np.uint8)), r"a picture of 1 x 8 bits a pixel"),
    "colours": (lambda p: png(p / "d.png", np.full((4, 4, 3), 9, np.uint16)), r"a picture of 3 x 16 bits a pixel"),
    "a jpeg's bytes": (
        lambda p: written(p / "d.png", cv2.imencode(".jpg", np.zeros((4, 4), np.uint8))[1].tobytes()),
        r"a picture of 1 x 8 bits a pixel",
    ),
    "no picture": (lambda p: written(p / "d.png", b"nothing at all"), r"d\.png: not an image"),
    "empty": (lambda p: written(p / "d.png", b""), r"d\.png: not an image"),
    "half a png": (
        lambda p: written(p / "d.png", cv2.imencode(".png", np.tile(MM, (9, 9)))[1].tobytes()[:70]),
        r"d\.png: not ",
    ),
    "text as npy": (lambda p: written(p / "d.npy", b"1 2 3"), r"d\.npy: not a \.npy file"),
    "claims": (lambda p: claims(p / "d.npy", (10**6, 10**6)), r"d\.npy: not a \.npy file"),
    "negative claims": (lambda p: claims(p / "d.npy", (-1, -8)), r"d\.npy: not a \.npy file"),
    "a pickle": (lambda p: npy(p / "d.npy", np.array([[{}]], object)), r"d\.npy: not a \.npy file"),
    "no zip": (lambda p: written(p / "d.npz", b"PK"), r"d\.npz: not a \.npz file"),
    "line": (lambda p: npy(p / "d.npy", METRES[0]), r"shape \(3,\) is no depth map"),
    "stack": (lambda p: npy(p / "d.npy", np.ones((2, 4, 4))), r"shape \(2, 4, 4\) is no depth map"),
    "nothing": (lambda p: npy(p / "d.npy", np.ones((0, 4))), r"shape \(0, 4\) is no depth map"),
    "complex": (lambda p: npy(p / "d.npy", METRES.astype(complex)), r"complex128 is too little"),
    "words": (lambda p: npy(p / "d.npy", np.array([["a", "b"]])), r"<U1 is too little"),
    "all unknown": (lambda p: png(p / "d.png", np.zeros((4, 4), np.uint16)), r"d\.png: no pixel has a depth"),
    "millimetres as metres": (lambda p: npy(p / "d.npy", 1000 * METRES), r"of 1625 m .* another unit; give the scale"),
    "metres as millimetres": (lambda p: npy(p / "d.npy", np.ones((4, 4), np.int32)), r"of 0\.001 m .*give the scale"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_what_is_no_depth_map_is_one_line(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    path = make(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        read_depth(path)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("scale", [0.0, -0.001, float("nan"), float("inf"), 1e9])
def test_a_scale_that_is_none(tmp_path: Path, scale: float) -> None:
    with pytest.raises(InputError, match=r"a depth scale of .*; give metres a unit"):
        read_depth(png(tmp_path / "d.png", MM), scale)


def test_claimed_sizes_allocate_nothing(tmp_path: Path) -> None:
    """100,000 x 100,000 pixels in a few bytes."""
    data = bytearray(cv2.imencode(".png", MM)[1].tobytes())
    data[16:24] = struct.pack(">II", 100_000, 100_000)
    for path in (written(tmp_path / "d.png", bytes(data)), claims(tmp_path / "d.npy", (100_000, 100_000))):
        tracemalloc.start()
        with pytest.raises(InputError):
            read_depth(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
        tracemalloc.stop()


# messages


def image(encoding: str, samples: np.ndarray, **changes: Any) -> Any:
    h, w = samples.shape
    fields = {"height": h, "width": w, "encoding": encoding, "is_bigendian": 0, "step": 0, "data": samples.tobytes()}
    return types.SimpleNamespace(**{**fields, **changes})


@pytest.mark.parametrize(("big", "order"), [(0, "<"), (1, ">")])
def test_raw_messages_in_both_byte_orders(big: int, order: str) -> None:
    for encoding in ("16UC1", "mono16"):
        found = depth_of(image(encoding, HOLES.astype(order + "u2"), is_bigendian=big))
        np.testing.assert_allclose(found, EXPECTED, rtol=1e-6)
    for encoding, kind in (("32FC1", "f4"), ("64FC1", "f8")):
        found = depth_of(image(encoding, EXPECTED.astype(order + kind), is_bigendian=big))
        np.testing.assert_allclose(found, EXPECTED)


def test_rows_with_padding() -> None:
    rows = np.pad(MM.view(np.uint8).reshape(2, 6), ((0, 0), (0, 5)), constant_values=77)
    np.testing.assert_allclose(depth_of(image("16UC1", MM, step=11, data=rows.tobytes())), METRES, rtol=1e-6)
    np.testing.assert_allclose(depth_of(image("16UC1", MM, step=11, data=rows.tobytes()[:-5])), METRES, rtol=1e-6)


def compressed(form: str, samples: np.ndarray, a: float = 0.0, b: float = 0.0) -> Any:
    data = struct.pack("<iff", 0, a, b) + cv2.imencode(".png", samples)[1].tobytes()
    return types.SimpleNamespace(format=form, data=data)


def test_compressed_depth() -> None:
    np.testing.assert_allclose(depth_of(compressed("16UC1; compressedDepth png", HOLES)), EXPECTED, rtol=1e-6)
    # compressed_depth_image_transport's defaults: up to 10 m, 100 levels at 1 m
    a = 100 * 101.0
    b = 1 - a / 10
    levels = np.where(np.isnan(EXPECTED), 0, a / EXPECTED + b).astype(np.uint16)
    np.testing.assert_allclose(depth_of(compressed("32FC1; compressedDepth", levels, a, b)), EXPECTED, rtol=2e-3)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (image("rgb8", MM), "encoding 'rgb8' is no depth; give the topic of a depth image"),
        (image("8UC1", MM), "encoding '8UC1' is no depth"),
        (image("16UC1", MM, data=b"123"), "3 bytes for 3 x 2 px of 16UC1"),
        (image("16UC1", MM, step=2), "bytes for 3 x 2 px"),
        (image("16UC1", MM, height=0), "bytes for 3 x 0 px"),
        (image("32FC1", MM, height=2**31, width=2**31), "more than 100 megapixels"),
        (compressed("bgr8; jpeg compressed bgr8", MM), "format 'bgr8; jpeg compressed bgr8' is not read"),
        (compressed("16UC1; compressedDepth rvl", MM), "'16UC1; compressedDepth rvl' is not read"),
        (types.SimpleNamespace(format="16UC1; compressedDepth", data=b"short"), "5 bytes"),
        (types.SimpleNamespace(format="16UC1; compressedDepth", data=bytes(40)), "not an image"),
        (compressed("16UC1; compressedDepth", MM.astype(np.uint8)), "a picture of 1 x 8 bits a pixel"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_messages_that_are_no_depth(message: Any, words: str) -> None:
    with pytest.raises(CameraError, match=words) as error:
        depth_of(message)
    assert len(str(error.value).splitlines()) == 1


def test_a_message_that_knows_nothing_is_a_map() -> None:
    """Of a camera too near: who takes a goal says so, the camera is not broken."""
    assert np.isnan(depth_of(image("16UC1", np.zeros((2, 3), np.uint16)))).all()


def test_the_largest_number_is_not_known_also_as_older_pillow_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 10.3 it opens 16 bits as 32."""
    samples = np.full((4, 6), 500, np.uint16)
    samples[0, 0] = 65535
    Image.fromarray(samples).save(tmp_path / "d.png")
    plain = np.asarray

    def widened(a: Any, *args: Any, **options: Any) -> Any:
        return plain(a, np.int32) if isinstance(a, Image.Image) else plain(a, *args, **options)

    monkeypatch.setattr(np, "asarray", widened)
    depth = read_depth(tmp_path / "d.png")
    assert np.isnan(depth[0, 0])
    assert depth[1, 1] == np.float32(0.5)
