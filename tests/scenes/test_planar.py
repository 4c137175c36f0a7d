from __future__ import annotations

import io
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from siame_se3.errors import SiameError
from siame_se3.scenes.planar import Extent, Scene, load_scenes

FUZZ = settings(derandomize=True, deadline=None, max_examples=100)
ORIENTATION = 0x0112  # EXIF tag


def picture(height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth_picture(height: int, width: int) -> np.ndarray:
    v, u = np.mgrid[:height, :width]
    return np.stack((255 * u / width, 255 * v / height, 0 * u + 40), -1).astype(np.uint8)


def encoded(format: str, image: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format, **options)
    return stream.getvalue()


def as_array(scene: Scene) -> np.ndarray:
    return (255 * scene.texture.permute(1, 2, 0)).numpy()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scene") / "photo.png"


def is_one_line_about(path: Path, error: SiameError) -> bool:
    return str(error).startswith(f"{path}: ") and len(str(error).splitlines()) == 1


def scene_or_error(path: Path) -> Scene | SiameError:
    try:
        return Scene.from_photo(path)
    except SiameError as error:
        return error


def assert_scene_or_one_line(path: Path) -> None:
    found = scene_or_error(path)
    if isinstance(found, SiameError):
        assert is_one_line_about(path, found)
    else:
        assert found.texture.shape[0] == 3
        assert 0 <= float(found.texture.min()) < float(found.texture.max()) <= 1


def test_from_photo_keeps_the_pixels(file: Path) -> None:
    file.write_bytes(encoded("PNG", picture()))
    scene = Scene.from_photo(file, 0.4, fill="mean", extent="centres")
    assert scene.texture.dtype == torch.float32
    assert np.abs(as_array(scene) - picture()).max() < 1e-4
    assert (scene.name, scene.fill, scene.extent) == ("photo", "mean", "centres")


@pytest.mark.parametrize(("height", "width"), [(24, 32), (32, 24), (30, 30)])
def test_height_follows_the_aspect(file: Path, height: int, width: int) -> None:
    file.write_bytes(encoded("PNG", picture(height, width)))
    assert Scene.from_photo(file, 0.8).height == pytest.approx(0.8 * height / width, rel=1e-15)
    assert Scene.from_photo(file, 0.8, 0.5).height == 0.5


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_exif_orientation_is_obeyed(file: Path, orientation: int, turn: Any, format: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = smooth_picture(24, 32)
    options: dict[str, Any] = {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    file.write_bytes(encoded(format, image, exif=exif, **options))
    scene, upright = Scene.from_photo(file, 0.8), turn(image)
    assert scene.texture.shape == (3, *upright.shape[:2])
    assert np.abs(as_array(scene) - upright).max() < (8 if format == "JPEG" else 1e-4)
    assert scene.height == pytest.approx(0.8 * upright.shape[0] / upright.shape[1], rel=1e-15)


@pytest.mark.parametrize("mode", ["L", "1", "RGBA", "LA", "P"])
def test_other_modes_become_rgb(file: Path, mode: str) -> None:
    image = Image.fromarray(picture()).convert(mode)
    image.save(file, "PNG")
    assert np.abs(as_array(Scene.from_photo(file)) - np.asarray(image.convert("RGB"))).max() < 1e-4


def test_a_palette_with_transparency_is_read_without_a_warning(file: Path) -> None:
    image = Image.fromarray(picture()).convert("P")
    image.save(file, "PNG", transparency=bytes([0] * 128 + [255] * 128))
    assert np.abs(as_array(Scene.from_photo(file)) - np.asarray(image.convert("RGB"))).max() < 1e-4


def test_sixteen_bits_keep_their_levels(file: Path) -> None:
    levels = np.linspace(0, 65535, 24 * 32).reshape(24, 32).astype(np.uint16)
    file.write_bytes(encoded("PNG", levels))
    assert np.abs(as_array(Scene.from_photo(file)) - levels[..., None] / 257).max() <= 1


CONSTANT = np.full((24, 32, 3), 90, np.uint8)
BAD_PHOTOS = {
    "empty": (b"", "not an image"),
    "text": (b"a photo", "not an image"),
    "truncated JPEG": (encoded("JPEG", picture(64, 64))[:1500], "not an image"),
    "truncated PNG": (encoded("PNG", picture(64, 64))[:1500], "not an image"),
    "header alone": (encoded("PNG", picture())[:40], "not an image"),
    "unknown DDS": (encoded("DDS", picture())[:80] + b"\0" * 2000, "not an image"),
    "black": (encoded("PNG", 0 * CONSTANT), "all black"),
    "nearly black": (encoded("PNG", picture() // 64), "all black"),
    "constant": (encoded("PNG", CONSTANT), "constant"),
    "nearly constant": (encoded("PNG", CONSTANT + picture() // 64), "constant"),
    "constant colour": (encoded("PNG", CONSTANT * np.array([0, 1, 2], np.uint8)), "constant"),
    "narrow": (encoded("PNG", picture(24, 7)), "7 x 24 px"),
    "low": (encoded("PNG", picture(1, 32)), "32 x 1 px"),
}


@pytest.mark.parametrize("kind", BAD_PHOTOS)
def test_a_bad_photo_is_one_line_about_the_file(file: Path, kind: str) -> None:
    content, named = BAD_PHOTOS[kind]
    file.write_bytes(content)
    with pytest.raises(SiameError, match=named) as error:
        Scene.from_photo(file)
    assert is_one_line_about(file, error.value)


def test_the_smallest_photo_is_taken(file: Path) -> None:
    file.write_bytes(encoded("PNG", picture(8, 8)))
    assert Scene.from_photo(file).texture.shape == (3, 8, 8)


def test_no_file_and_a_folder_are_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.jpg", tmp_path):
        with pytest.raises(SiameError, match="no such file") as error:
            Scene.from_photo(path)
        assert is_one_line_about(path, error.value)


@FUZZ
@given(st.binary(max_size=300))
def test_any_bytes_are_a_scene_or_one_line(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert_scene_or_one_line(file)


PHOTOS = {format: encoded(format, picture()) for format in ("PNG", "JPEG", "WEBP", "TIFF")}


@settings(FUZZ, max_examples=400)
@given(
    st.sampled_from(sorted(PHOTOS)),
    st.lists(st.tuples(st.integers(0, 300) | st.integers(0, 5000), st.integers(0, 255)), max_size=4),
    st.none() | st.integers(0, 3000),
)
def test_a_damaged_photo_is_a_scene_or_one_line(
    file: Path, format: str, changes: list[tuple[int, int]], length: int | None
) -> None:
    content = bytearray(PHOTOS[format])
    for place, byte in changes:
        content[place % len(content)] = byte
    file.write_bytes(content[:length])
    assert_scene_or_one_line(file)


@pytest.mark.parametrize("size", [0, -1, math.nan, math.inf])
def test_a_size_that_cannot_be_is_refused(size: float) -> None:
    texture = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(SiameError, match="width"):
        Scene(texture, size, 1)
    with pytest.raises(SiameError, match="height"):
        Scene(texture, 1, size)


def scene(height: int = 24, width: int = 32, **options: Any) -> Scene:
    texture = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    return Scene(texture, 0.8, 0.5, **options)


def test_corners_start_top_left_and_go_round() -> None:
    assert scene().corners.tolist() == [[-0.4, -0.25, 0], [0.4, -0.25, 0], [0.4, 0.25, 0], [-0.4, 0.25, 0]]


@pytest.mark.parametrize(
    ("extent", "corners"),
    [
        ("edges", [[-0.5, -0.5], [31.5, -0.5], [31.5, 23.5], [-0.5, 23.5]]),
        ("centres", [[0, 0], [31, 0], [31, 23], [0, 23]]),
    ],
)
def test_texels_of_the_prints_corners(extent: Extent, corners: list[list[float]]) -> None:
    s = scene(extent=extent)
    homogeneous = s.corners.clone()
    homogeneous[:, 2] = 1
    mapped = homogeneous @ s.texels_from_plane().mT
    assert mapped[:, 2].tolist() == [1] * 4
    torch.testing.assert_close(mapped[:, :2], torch.tensor(corners, dtype=torch.float64), rtol=0, atol=1e-14)


@pytest.mark.parametrize("extent", ["edges", "centres"])
@pytest.mark.parametrize("level_size", [(12, 16), (6, 8), (5, 9)])
def test_a_reduced_copy_covers_the_same_outer_edges(extent: Extent, level_size: tuple[int, int]) -> None:
    s = scene(extent=extent)
    full, reduced = s.texels_from_plane(), s.texels_from_plane(level_size)
    X = torch.tensor([[-0.4, 0.1, 1], [0.3, -0.2, 1], [0, 0, 1]], dtype=torch.float64)
    share = (X @ full.mT + 0.5)[:, :2] / torch.tensor([32, 24])
    reduced_share = (X @ reduced.mT + 0.5)[:, :2] / torch.tensor([level_size[1], level_size[0]])
    torch.testing.assert_close(reduced_share, share, rtol=0, atol=1e-14)


def test_pyramid_halves_down_to_a_few_pixels() -> None:
    shapes = [tuple(level.shape) for level in scene(33, 40).pyramid(torch.device("cpu"))]
    assert shapes == [(3, 33, 40), (3, 17, 20), (3, 9, 10), (3, 5, 5)]


def test_pyramid_is_a_box_filter() -> None:
    s = scene(32, 64)
    levels = s.pyramid(torch.device("cpu"))
    assert levels[0] is s.texture
    for fine, coarse in pairwise(levels):
        h, w = coarse.shape[1:]
        means = fine.reshape(3, h, 2, w, 2).mean((2, 4))
        torch.testing.assert_close(coarse, means, rtol=0, atol=1e-6)


def test_pyramid_levels_stay_where_they_are_on_the_plane() -> None:
    """A ramp has the same value at the same place of the plane on each level."""
    h, w = 32, 64
    ramp = (torch.arange(w, dtype=torch.float32) + 0.5) / w
    s = Scene(ramp.expand(3, h, w).contiguous(), 0.8, 0.4)
    for level in s.pyramid(torch.device("cpu")):
        lh, lw = level.shape[1:]
        texels = torch.stack((torch.arange(lw), torch.zeros(lw), torch.ones(lw)), -1).double()
        X = texels @ torch.linalg.inv(s.texels_from_plane((lh, lw))).mT
        torch.testing.assert_close(level[0, 0].double(), X[:, 0] / 0.8 + 0.5, rtol=0, atol=1e-6)


def test_pyramid_is_made_once() -> None:
    s = scene()
    assert s.pyramid(torch.device("cpu")) is s.pyramid(torch.device("cpu"))


def test_fill_colour() -> None:
    assert scene().fill_colour.tolist() == [0, 0, 0]
    assert scene(fill=0.5).fill_colour.tolist() == [0.5] * 3
    assert scene(fill=(0.25, 0.5, 0.75)).fill_colour.tolist() == [0.25, 0.5, 0.75]
    mean = scene().texture.mean((1, 2))
    assert torch.equal(scene(fill="mean").fill_colour, mean)
    assert torch.equal(scene(fill="edge").fill_colour, mean)


def test_an_unknown_fill_is_refused() -> None:
    s = scene()
    object.__setattr__(s, "fill", "wall")  # not by the constructor, whose types may be checked first
    with pytest.raises(SiameError, match="unknown fill 'wall'"):
        s.__post_init__()


def test_grey_is_luma_in_three_channels() -> None:
    s = scene(fill="mean", extent="centres", name="desk")
    grey = s.grey()
    r, g, b = s.texture
    for channel in grey.texture:
        torch.testing.assert_close(channel, 0.299 * r + 0.587 * g + 0.114 * b, rtol=0, atol=1e-6)
    assert (grey.width, grey.height, grey.name, grey.fill, grey.extent) == (0.8, 0.5, "desk", "mean", "centres")
    torch.testing.assert_close(grey.grey().texture, grey.texture, rtol=0, atol=1e-6)


def test_load_scenes_reads_folders_in_name_order(tmp_path: Path) -> None:
    folder, single = tmp_path / "photos", tmp_path / "a.png"
    folder.mkdir()
    single.write_bytes(encoded("PNG", picture()))
    (folder / "c.JPG").write_bytes(encoded("JPEG", picture()))
    (folder / "b.png").write_bytes(encoded("PNG", picture()))
    (folder / "notes.txt").write_text("not a photo")
    (folder / "._b.png").write_bytes(b"what macOS puts beside a photo on other file systems")
    scenes = load_scenes([folder, str(single)], 0.4, fill="edge")
    assert [s.name for s in scenes] == ["b", "c", "a"]
    assert {(s.width, s.height, s.fill) for s in scenes} == {(0.4, 0.4 * 24 / 32, "edge")}


def test_load_scenes_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(SiameError, match="no photo in this folder"):
        load_scenes([tmp_path])
    (tmp_path / "bad.jpg").write_bytes(b"")
    with pytest.raises(SiameError, match=r"bad\.jpg: not an image"):
        load_scenes([tmp_path])
    with pytest.raises(SiameError, match="missing: no such file"):
        load_scenes([tmp_path / "missing"])
