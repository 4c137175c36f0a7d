from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry.camera import Camera

FUZZ = settings(derandomize=True, deadline=None, max_examples=60)
CAMERA = Camera(300.0, 310.0, 155.0, 118.0, 320, 240)
DISTORTIONS = {
    "plumb_bob-4": ("plumb_bob", (-0.25, 0.08, 0.001, -0.0005)),
    "plumb_bob-5": ("plumb_bob", (-0.25, 0.08, 0.001, -0.0005, 0.01)),
    "rational_polynomial": ("rational_polynomial", (0.1, -0.2, 0.001, 0.001, 0.05, 0.2, -0.1, 0.02)),
    "equidistant": ("equidistant", (-0.03, 0.01, -0.004, 0.001)),
    "fisheye": ("fisheye", (-0.03, 0.01, -0.004, 0.001)),
}
GOOD = """image_width: 320
image_height: 240
camera_matrix:
  rows: 3
  cols: 3
  data: [300, 0, 155, 0, 310, 118, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.25, 0.08, 0.001, -0.0005, 0]}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("camera") / "camera_info.yaml"


def pixels(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(*shape, 2, generator=generator, dtype=torch.float64) * 240


def is_one_line_about(path: Path, error: SiameError) -> bool:
    return str(error).startswith(f"{path}: ") and len(str(error).splitlines()) == 1


def camera_or_error(path: Path) -> Camera | SiameError:
    try:
        return Camera.from_yaml(path)
    except SiameError as error:
        return error


def assert_camera_or_one_line(path: Path) -> None:
    found = camera_or_error(path)
    assert isinstance(found, Camera) or is_one_line_about(path, found)


def test_from_focal_puts_the_principal_point_in_the_middle() -> None:
    assert Camera.from_focal(240, 224) == Camera(240, 240, 111.5, 111.5, 224, 224)
    assert Camera.from_focal(240, 5, 4) == Camera(240, 240, 2.0, 1.5, 5, 4)


@pytest.mark.parametrize("fov", [1e-3, 0.5, math.pi / 2, 3.0])
def test_from_fov_spans_the_image_from_edge_to_edge(fov: float) -> None:
    camera = Camera.from_fov(fov, 640, 480)
    edges = camera.rays(torch.tensor([[-0.5, camera.cy], [639.5, camera.cy]], dtype=torch.float64))
    angles = torch.atan2(edges[:, 0], edges[:, 2])
    torch.testing.assert_close(angles, torch.tensor([-fov / 2, fov / 2], dtype=torch.float64), rtol=1e-13, atol=0)
    assert camera.fx == camera.fy
    assert camera.size == (480, 640)


@pytest.mark.parametrize("fov", [0, -1, math.pi, 4, math.nan, math.inf])
def test_from_fov_refuses(fov: float) -> None:
    with pytest.raises(SiameError, match="between 0 and pi"):
        Camera.from_fov(fov, 640)


@pytest.mark.parametrize("shape", [(), (1,), (3, 2)], ids=str)
def test_project_undoes_rays(shape: tuple[int, ...]) -> None:
    uv = pixels(*shape)
    rays = CAMERA.rays(uv)
    assert rays.shape == (*shape, 3)
    assert torch.equal(rays[..., 2], torch.ones(shape, dtype=torch.float64))
    torch.testing.assert_close(CAMERA.project(rays * 2.5), uv, rtol=0, atol=1e-12)


def test_project_is_the_calibration_matrix() -> None:
    X = torch.cat((pixels(20) - 100, pixels(20)[:, :1] + 1), 1)
    mapped = X @ CAMERA.K.mT
    torch.testing.assert_close(CAMERA.project(X), mapped[:, :2] / mapped[:, 2:], rtol=1e-13, atol=0)


def test_pixel_grid_counts_from_the_centre_of_the_top_left_pixel() -> None:
    grid = Camera.from_focal(10, 3, 2).pixel_grid()
    assert grid.tolist() == [[[0, 0], [1, 0], [2, 0]], [[0, 1], [1, 1], [2, 1]]]


@pytest.mark.parametrize("size", [(160, 120), (640, 480), (100, 200)])
def test_resized_keeps_the_rays(size: tuple[int, int]) -> None:
    small = CAMERA.resized(*size)
    assert (small.width, small.height) == size
    uv = pixels(20)
    scale = torch.tensor([size[0] / 320, size[1] / 240], dtype=torch.float64)
    torch.testing.assert_close(small.rays((uv + 0.5) * scale - 0.5), CAMERA.rays(uv), rtol=0, atol=1e-14)


def test_resized_keeps_the_distortion() -> None:
    model, d = DISTORTIONS["equidistant"]
    resized = replace(CAMERA, distortion=d, distortion_model=model).resized(64)
    assert (resized.distortion_model, resized.distortion) == (model, d)


@pytest.mark.parametrize(("width", "height"), [(320, 240), (240, 320), (321, 240), (224, 224)])
def test_square_is_the_middle_of_the_image(width: int, height: int) -> None:
    camera = replace(CAMERA, width=width, height=height, distortion=(0.1,) * 5)
    side = min(width, height)
    crop = camera.square()
    assert crop.size == (side, side)
    assert crop.distortion == ()
    offset = torch.tensor([(width - side) // 2, (height - side) // 2], dtype=torch.float64)
    torch.testing.assert_close(crop.rays(pixels(20)), camera.rays(pixels(20) + offset), rtol=0, atol=1e-14)
    assert camera.square(100) == crop.resized(100)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"width": 1}, "1 x 240"),
        ({"height": 0}, "320 x 0"),
        ({"fx": 0.0}, "fx"),
        ({"fy": -1.0}, "fy"),
        ({"fx": math.nan}, "fx"),
        ({"fy": math.inf}, "fy"),
        ({"fx": 1e-300}, "fx is 1e-300 px, which is no lens's focal length"),
        ({"fy": 1e300}, "fy"),
        ({"distortion": (0.1, 1e308, 0.0, 0.0)}, "a distortion coefficient is above"),
        ({"cx": math.nan}, "principal point"),
        ({"cy": math.inf}, "principal point"),
        ({"distortion": (math.nan,) * 5}, "distortion"),
        ({"distortion": (0.1,) * 3}, "4 or 5 or 8 or 12 or 14"),
        ({"distortion": (0.1,) * 5, "distortion_model": "equidistant"}, "takes 4"),
        ({"distortion": (0.1,) * 4, "distortion_model": "kannala"}, "kannala"),
    ],
)
def test_a_camera_that_cannot_be_is_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(SiameError, match=named) as error:
        replace(CAMERA, **change)
    assert len(str(error.value).splitlines()) == 1


def test_from_yaml_reads_ros1(file: Path) -> None:
    file.write_text(GOOD)
    assert Camera.from_yaml(file) == replace(CAMERA, distortion=(-0.25, 0.08, 0.001, -0.0005, 0.0))
    assert Camera.from_yaml(str(file)) == Camera.from_yaml(file)


def test_from_yaml_reads_ros2_messages(file: Path) -> None:
    """`ros2 topic echo`: flat lists, short names."""
    k = [300.0, 0.0, 155.0, 0.0, 310.0, 118.0, 0.0, 0.0, 1.0]
    info = {"height": 240, "width": 320, "distortion_model": "equidistant", "d": [0.1, 0.2, 0.3, 0.4], "k": k}
    file.write_text(yaml.safe_dump(info))
    assert Camera.from_yaml(file) == replace(CAMERA, distortion=(0.1, 0.2, 0.3, 0.4), distortion_model="equidistant")


def test_from_yaml_without_distortion(file: Path) -> None:
    file.write_text(GOOD.split("distortion_model")[0])
    assert Camera.from_yaml(file) == CAMERA


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("image_width: 320", "", "image_width"),
        ("image_height: 240", "", "image_height"),
        ("camera_matrix", "matrix", "camera_matrix"),
        ("data: [300, ", "data: [", "8 values"),
        ("data: [300, ", "data: [1, 300, ", "10 values"),
        ("data: [300", "data: [f", "not a number"),
        ("data: [300", "data: [[300]", "not a number"),
        ("data: [300", "data: [.nan", "fx"),
        ("data: [300", "data: [.inf", "fx"),
        ("data: [300", "data: [-300", "fx"),
        ("155", ".nan", "principal point"),
        ("data: [300", "data: [1.0e-300", "fx"),
        ("[300, 0, 155", "[300, 9, 155", "a skew of 9 px"),
        ("0, 310,", "2, 310,", "a skew of 2 px"),
        ("-0.25", "-1.0e+308", "a distortion coefficient is above"),
        ("data: [300, 0, 155, 0, 310, 118, 0, 0, 1]", "data:", "list of numbers"),
        ("data: [300, 0, 155, 0, 310, 118, 0, 0, 1]", "data: 300", "list of numbers"),
        ("image_width: 320", "image_width: wide", "whole number"),
        ("image_width: 320", "image_width: .nan", "whole number"),
        ("image_width: 320", "image_width: .inf", "whole number"),
        ("image_width: 320", "image_width: [320]", "whole number"),
        ("image_width: 320", "image_width: 320.7", "whole number"),
        ("image_width: 320", "image_width: 320000", "above 65535"),
        ("image_width: 320", "image_width: -320", "-320"),
        ("-0.0005, 0]", "-0.0005, 0, 0]", "4 or 5 or 8 or 12 or 14"),
        ("plumb_bob", "equidistant", "takes 4"),
        ("image_width: 320", f"image_width: 320\nx: &a [{'1, ' * 300}]\ny: &b [{'*a, ' * 300}]", "aliases"),
        ("plumb_bob", "kannala", "kannala"),
        ("plumb_bob", '"two\\nlines"', "distortion_model"),
        ("[-0.25, 0.08, ", "[", "4 or 5"),
        ("-0.25", ".nan", "distortion"),
        ("-0.25", "none", "not a number"),
        ("image_width: 320", "image_width: [320", "not a YAML"),
        ("image_width: 320", "image_width: !!bool 320", "not a YAML"),
        ("image_width: 320", "image_width: !!int ''", "not a YAML"),
        ("image_width: 320", "image_width: !!timestamp 320", "not a YAML"),
        ("image_width: 320", "image_width: 2001-99-99", "not a YAML"),
        ("image_width: 320", f"image_width: {'9' * 5000}", "not a YAML"),
        ("image_width: 320", "image_width: " + "[" * 2000, "not a YAML"),
    ],
)
def test_bad_yaml_is_one_line_about_the_file(file: Path, before: str, after: str, named: str) -> None:
    assert before in GOOD
    file.write_text(GOOD.replace(before, after, 1))
    with pytest.raises(SiameError, match=named) as error:
        Camera.from_yaml(file)
    assert is_one_line_about(file, error.value)


@pytest.mark.parametrize("content", [b"", b"320", b"- 320\n- 240\n", b"\xff\xfe\x00", b"\x00", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_camera_info_is_one_line(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(SiameError, match="YAML") as error:
        Camera.from_yaml(file)
    assert is_one_line_about(file, error.value)


def test_no_file_and_a_folder_are_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(SiameError, match="no such file") as error:
            Camera.from_yaml(path)
        assert is_one_line_about(path, error.value)


coefficients = st.floats(-10, 10).filter(bool)
models = st.one_of(
    st.just(("plumb_bob", ())),
    *(
        st.tuples(st.just(model), st.tuples(*[coefficients] * count))
        for model, counts in {
            "plumb_bob": (4, 5, 8, 12, 14),
            "rational_polynomial": (8, 12, 14),
            "equidistant": (4,),
        }.items()
        for count in counts
    ),
)
focal, ratio = st.floats(0.11, 1e4), st.floats(0.5, 2.0)  # of the longer side; of the other focal length
across, down = st.floats(0.4, 0.6), st.floats(0.4, 0.6)  # where the principal point is in the image
side = st.integers(10, 10_000)


@FUZZ
@given(st.tuples(focal, ratio, across, down, side, side), models)
def test_yaml_round_trip(
    file: Path, pinhole: tuple[float, float, float, float, int, int], model: tuple[str, tuple[float, ...]]
) -> None:
    """To the last bit; no distortion comes back as zeros, as ROS writes it."""
    f, ratio, x, y, width, height = pinhole
    fx, fy = f * max(width, height), f * max(width, height) * ratio
    camera = Camera(fx, fy, x * width - 0.5, y * height - 0.5, width, height, model[1], model[0])
    camera.to_yaml(file)
    assert Camera.from_yaml(file) == replace(camera, distortion=camera.distortion or (0.0,) * 5)


@FUZZ
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_camera_or_one_line(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert_camera_or_one_line(file)


tokens = ["image_width", "k", ":", ": ", " ", "\n", "\n  ", "- ", "[", "]", "{", "}", ",", "? ", "&a ", "*a", "'", '"']
tokens += [
    "!!int",
    "!!float",
    "!!bool",
    "!!timestamp",
    "!!binary",
    "!!set",
    "!!omap",
    "!!null",
    "---",
    "|",
    "0x",
    "1",
    "a",
]


@settings(FUZZ, max_examples=300)
@given(st.lists(st.sampled_from(tokens), max_size=12).map("".join))
def test_any_yaml_syntax_is_a_camera_or_one_line(file: Path, content: str) -> None:
    file.write_text(content)
    assert_camera_or_one_line(file)


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates() | st.binary(max_size=3)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.sampled_from(["data", "rows"]), inner)
)


@FUZZ
@given(
    st.dictionaries(st.sampled_from(["image_width", "image_height", "camera_matrix", "d", "distortion_model"]), values)
)
def test_any_value_of_a_field_is_a_camera_or_one_line(file: Path, change: dict[str, Any]) -> None:
    k = [300.0, 0.0, 155.0, 0.0, 310.0, 118.0, 0.0, 0.0, 1.0]
    info = {
        "image_height": 240,
        "image_width": 320,
        "distortion_model": "plumb_bob",
        "d": [0.1] * 5,
        "camera_matrix": k,
    }
    file.write_text(yaml.safe_dump(info | change, allow_unicode=True), encoding="utf-8")
    assert_camera_or_one_line(file)


def dots(places: np.ndarray) -> np.ndarray:
    """A frame of CAMERA's size with a Gaussian dot, sigma 2 px, at each place."""
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    d2 = (u[..., None] - places[:, 0]) ** 2 + (v[..., None] - places[:, 1]) ** 2
    grey = np.exp(-d2 / 8).sum(-1).clip(0, 1)
    return np.repeat(np.round(255 * grey).astype(np.uint8)[..., None], 3, -1)


def centroids(frame: np.ndarray, near: np.ndarray) -> np.ndarray:
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    found = []
    for x, y in near:
        weight = frame[..., 0] * ((abs(u - x) <= 9) & (abs(v - y) <= 9)).astype(float)
        found.append(((weight * u).sum() / weight.sum(), (weight * v).sum() / weight.sum()))
    return np.array(found)


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_rectify_puts_the_dots_where_project_says(kind: str) -> None:
    model, d = DISTORTIONS[kind]
    camera = replace(CAMERA, distortion=d, distortion_model=model)
    u, v = np.meshgrid(np.arange(30, 300, 40), np.arange(20, 230, 40))
    X = camera.rays(torch.from_numpy(np.stack((u, v), -1).reshape(-1, 2)).double())
    project = cv2.fisheye.projectPoints if model in ("equidistant", "fisheye") else cv2.projectPoints
    distorted = project(X.numpy()[:, None], np.zeros(3), np.zeros(3), camera.K.numpy(), np.array(d))[0].reshape(-1, 2)
    straight = camera.project(X).numpy()
    assert np.abs(distorted - straight).max() > 4
    frame = dots(distorted)
    found = centroids(camera.rectify(frame), straight)
    assert np.linalg.norm(found - straight, axis=1).max() < 0.1


def test_rectify_without_distortion_is_the_frame_itself() -> None:
    frame = dots(np.array([[100.0, 100.0]]))
    assert np.array_equal(CAMERA.rectify(frame), frame)
    assert np.array_equal(replace(CAMERA, distortion=(0.0,) * 5).rectify(frame), frame)


@pytest.mark.parametrize("shape", [(320, 240, 3), (120, 160, 3), (240, 321, 3)])
@pytest.mark.parametrize("distortion", [(), (0.1,) * 5])
def test_rectify_refuses_a_frame_of_another_size(shape: tuple[int, ...], distortion: tuple[float, ...]) -> None:
    camera = replace(CAMERA, distortion=distortion)
    with pytest.raises(SiameError, match=f"{shape[1]} x {shape[0]} px"):
        camera.rectify(np.zeros(shape, np.uint8))
