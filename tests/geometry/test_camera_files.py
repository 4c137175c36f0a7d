"""Camera files: coefficients by their names, and the forms that are no camera_info YAML."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from siame_se3.errors import CameraError
from siame_se3.geometry.camera import Camera

SIZE = "image_width: 640\nimage_height: 480\n"
BASE = f"{SIZE}camera_matrix: {{rows: 3, cols: 3, data: [610, 0, 330, 0, 612, 235, 0, 0, 1]}}\n"
FLAT = "width: 640\nheight: 480\nfx: 610\nfy: 612\ncx: 330\ncy: 235\n"
TERMS = {"k1": 0.5, "k2": -2.6, "k3": 1.5, "k4": 0.37, "k5": -2.4, "k6": 1.45, "p1": 0.0007, "p2": -0.0002}
RATIONAL = (0.5, -2.6, 0.0007, -0.0002, 1.5, 0.37, -2.4, 1.45)  # in OpenCV's order
BENT = (-0.2, 0.05, 0.001, 0.002, 0.01)
TAKEN = Camera(610.0, 612.0, 330.0, 235.0, 640, 480, BENT)
LIST = "[-0.2, 0.05, 0.001, 0.002, 0.01]"
ECHO = f"height: 480\nwidth: 640\ndistortion_model: plumb_bob\nd: {LIST}\nk: [610, 0, 330, 0, 612, 235, 0, 0, 1]\n---\n"
LOST = "A message was lost!!!\n\ttotal count change:1\n\ttotal count: 1---\n"


def read(folder: Path, text: str | bytes) -> Camera:
    path = folder / "camera.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Camera.from_yaml(path)


def refused(folder: Path, text: str) -> str:
    """The line that refuses a file, without its name."""
    with pytest.raises(CameraError) as caught:
        read(folder, text)
    line = str(caught.value)
    assert line.startswith(f"{folder / 'camera.yaml'}: ")
    assert "\n" not in line
    return line.removeprefix(f"{folder / 'camera.yaml'}: ")


def keys(terms: dict[str, float], indent: str = "") -> str:
    return "".join(f"{indent}{name}: {value}\n" for name, value in terms.items())


@pytest.mark.parametrize("model", ["", "distortion_model: rational_polynomial\n", "distortion_model: plumb_bob\n"])
@pytest.mark.parametrize("form", ["by name", "at top level", "in capitals", "Azure Kinect"])
def test_coefficients_by_name_are_in_opencvs_order(tmp_path: Path, model: str, form: str) -> None:
    text = {
        "by name": BASE + model + "distortion_coefficients:\n" + keys(TERMS, "  "),
        "at top level": FLAT + model + keys(TERMS),
        "in capitals": BASE + model + "distortion:\n" + keys(TERMS, "  ").upper(),
        "Azure Kinect": FLAT + model + keys({"codx": 0.0, "cody": 0.0, "metric_radius": 1.7} | TERMS),
    }[form]
    camera = read(tmp_path, text)
    assert (camera.distortion, camera.distortion_model) == (RATIONAL, "rational_polynomial")


def test_a_plain_lens_by_all_names_is_rectified_as_opencv_does(tmp_path: Path) -> None:
    """k4 = k5 = k6 = 0: p1 and p2 count."""
    given = dict(zip(("k1", "k2", "p1", "p2", "k3"), BENT, strict=True)) | {"k4": 0, "k5": 0, "k6": 0}
    for text in (BASE + "distortion:\n" + keys(given, "  "), FLAT + keys(given)):
        camera = read(tmp_path, text)
        assert camera == TAKEN
        points = np.array([[[0.0, 0]], [[639, 0]], [[320, 0]]])
        K = camera.K.numpy()
        expected = cv2.undistortPoints(points, K, np.array(BENT), P=K)
        assert np.array_equal(cv2.undistortPoints(points, K, np.array(camera.distortion), P=K), expected)


def test_k1_to_k4_alone_are_a_fisheyes_where_the_file_says_so(tmp_path: Path) -> None:
    four = {"k1": 0.1, "k2": 0.02, "k3": 0.003, "k4": 0.0004}
    for model in ("distortion_model: equidistant\n", "distortion_type: fisheye\n", "model: Kannala Brandt4\n"):
        for text in (BASE + model + "D:\n" + keys(four, "  "), FLAT + model + keys(four | {"p1": 0, "p2": 0})):
            camera = read(tmp_path, text)
            assert (camera.distortion, camera.distortion_model) == ((0.1, 0.02, 0.003, 0.0004), "equidistant")
    assert read(tmp_path, BASE + "D:\n  model: fisheye\n" + keys(four, "  ")).distortion_model == "equidistant"
    rational = read(tmp_path, FLAT + "distortion_model: rational_polynomial\n" + keys(four))
    assert rational.distortion == (0.1, 0.02, 0.0, 0.0, 0.003, 0.0004, 0.0, 0.0)
    for model in ("", "distortion_model: plumb_bob\n"):
        assert "k1 to k4 alone may be a fisheye's; give distortion_model" in refused(
            tmp_path, FLAT + model + keys(four)
        )
    assert read(tmp_path, FLAT + keys(dict.fromkeys(four, 0))).distortion == (0.0,) * 5
    assert "p1 is no coefficient of a fisheye" in refused(
        tmp_path, FLAT + "model: fisheye\n" + keys(four | {"p1": 0.1})
    )


def test_names_that_are_not_known_are_refused_unless_zero(tmp_path: Path) -> None:
    for name in ("s1", "s4", "tau_x", "tauy", "k7", "p3", "codx"):
        for text in (FLAT + keys(TERMS | {name: 0.1}), BASE + "D:\n" + keys(TERMS | {name: 0.1}, "  ")):
            assert f"distortion coefficient '{name}' is not known" in refused(tmp_path, text)
        assert read(tmp_path, FLAT + keys(TERMS | {name: 0.0})).distortion == RATIONAL
    assert "'skew' is not known" in refused(tmp_path, BASE + "D:\n" + keys(TERMS | {"skew": 0.1}, "  "))
    assert "k2 without k1" in refused(tmp_path, FLAT + "k2: 0.1\n")


def test_orb_slam_settings_leave_no_coefficient_out(tmp_path: Path) -> None:
    text = "Camera.fx: 610\nCamera.fy: 612\nCamera.cx: 330\nCamera.cy: 235\nCamera.width: 640\nCamera.height: 480\n"
    assert (
        read(tmp_path, text + "".join(f"Camera.{line}\n" for line in keys(TERMS).split("\n")[:-1])).distortion
        == RATIONAL
    )
    assert "'k7' is not known" in refused(tmp_path, text + "Camera.k1: 0.1\nCamera.k7: 0.1\n")


FS = f"""%YAML:1.0
---
M1: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 610., 0., 330., 0., 612., 235., 0., 0., 1. ]
D1: !!opencv-matrix
   rows: 1
   cols: 5
   dt: d
   data: {LIST}
"""
RS = "Width: 640\nHeight: 480\nPPX: 330\nPPY: 235\nFx: 610\nFy: 612\n"
TABS = """ Intrinsic of "Color" / 640x480 / {YUYV/RGB8/BGR8}
  Width:      \t640
  Height:     \t480
  PPX:        \t330
  PPY:        \t235
  Fx:         \t610
  Fy:         \t612
  Distortion: \tBrown Conrady
  Coeffs:     \t-0.2  \t0.05  \t0.001  \t0.002  \t0.01
  FOV (deg):  \t55.3 x 42.8
"""
OST = """# oST version 5.0 parameters


[image]

width
640

height
480

[narrow_stereo]

camera matrix
610 0 330
0 612 235
0 0 1

distortion
-0.2 0.05 0.001 0.002 1e-2

rectification
1 0 0
0 1 0
0 0 1

projection
590 0 331 0
0 592 236 0
0 0 1 0
"""
NUMPY = "array([[610.,   0., 330.],\n          [  0., 612., 235.],\n          [  0.,   0.,   1.]])"
FORMS: dict[str, str | bytes] = {
    "ros2 topic echo after a lost message": LOST + ECHO,
    "lost messages between": ECHO + LOST + ECHO,
    "M1 of a stereo file": FS + "image_size: [ 640, 480 ]\n",
    "M2 alone": FS.replace("M1", "M2").replace("D1", "D2") + SIZE,
    "K1 and P1": FS.replace("M1", "K1") + "P1: {data: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]}\n" + SIZE,
    "image_size": BASE.replace(SIZE, "image_size: [640, 480]\n") + f"D: {LIST}\n",
    "librealsense": RS + f"Distortion: Brown Conrady\nCoeffs: {LIST}\n",
    "pyrealsense2": RS.lower() + f"model: distortion.brown_conrady\ncoeffs: {LIST}\n",
    "rs-enumerate-devices": TABS,
    "numpy": f"{SIZE}K: {NUMPY}\nD: array({LIST}, dtype=float32)\n",
    "numpy in one line": f"{SIZE}K: array([610.,   0., 330.,   0., 612., 235.,   0.,   0.,   1.])\nD: {LIST}\n",
    "ost.txt": OST,
    "ost.txt from Windows": OST.replace("\n", "\r\n"),
    "UTF-16 without a mark": ECHO.encode("utf-16-le"),
    "UTF-16 without a mark, high byte first": ECHO.encode("utf-16-be"),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_forms_that_people_have(tmp_path: Path, text: str | bytes) -> None:
    assert read(tmp_path, text) == TAKEN


def test_an_ost_txt_has_the_rectified_camera_too(tmp_path: Path) -> None:
    (tmp_path / "ost.txt").write_text(OST)
    expected = Camera(590.0, 592.0, 331.0, 236.0, 640, 480)
    assert Camera.from_yaml(tmp_path / "ost.txt", rectified=True) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("SIMPLE_PINHOLE 640 480 610 330.5 235.5", Camera(610, 610, 330, 235, 640, 480)),
        ("PINHOLE 640 480 610 612 330.5 235.5", Camera(610, 612, 330, 235, 640, 480)),
        ("SIMPLE_RADIAL 640 480 610 330.5 235.5 -0.2", Camera(610, 610, 330, 235, 640, 480, (-0.2, 0, 0, 0, 0))),
        ("RADIAL 640 480 610 330.5 235.5 -0.2 0.05", Camera(610, 610, 330, 235, 640, 480, (-0.2, 0.05, 0, 0, 0))),
        (
            "OPENCV 640 480 610 612 330.5 235.5 -0.2 0.05 0.001 0.002",
            Camera(610, 612, 330, 235, 640, 480, (*BENT[:4], 0)),
        ),
        (
            "FULL_OPENCV 640 480 610 612 330.5 235.5 0.5 -2.6 0.0007 -0.0002 1.5 0.37 -2.4 1.45",
            Camera(610, 612, 330, 235, 640, 480, RATIONAL, "rational_polynomial"),
        ),
        (
            "OPENCV_FISHEYE 640 480 610 612 330.5 235.5 0.1 0.02 0.003 0.0004",
            Camera(610, 612, 330, 235, 640, 480, (0.1, 0.02, 0.003, 0.0004), "equidistant"),
        ),
    ],
)
def test_a_camera_of_colmap(tmp_path: Path, line: str, expected: Camera) -> None:
    head = "# Camera list with one line of data per camera:\n#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]\n"
    found = read(tmp_path, f"{head}1 {line}\n")
    if not any(expected.distortion):
        assert not any(found.distortion)
        found = Camera(found.fx, found.fy, found.cx, found.cy, found.width, found.height)
    assert found == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 PINHOLE 640 480 610 612 330 235\n2 PINHOLE 640 480 610 612 330 235\n", "COLMAP's, with 2 cameras"),
        ("1 FOV 640 480 610 612 330 235 0.9\n", "COLMAP's model FOV is not known; use one of SIMPLE_PINHOLE"),
        ("1 OPENCV 640 480 610 612 330 235\n", "COLMAP's OPENCV has 8 parameters (fx, "),
        (FS + FS.replace("M1", "M2").replace("D1", "D2").split("---\n")[1] + SIZE, "it has two cameras (M1, M2)"),
        (TABS + TABS, "intrinsics of several streams"),
        (RS + f"Distortion: Inverse Brown Conrady\nCoeffs: {LIST}\n", "distortion_model 'inverse_brown_conrady'"),
        (RS + "Distortion: Brown Conrady\n", "distortion is 'Brown Conrady' without coefficients"),
        (OST.replace("0.002 1e-2", "0.002"), "an ost.txt, but not of one camera"),
        (OST + OST, "an ost.txt, but not of one camera with 5 or 8 coefficients; give the ost.yaml"),
        (FLAT.replace("610", "610,3"), "fx: '610,3' has a decimal comma; write a point: 610.3"),
        (BASE.replace("610,", "610,3,"), "camera_matrix has 10 values; it needs 9, row by row (where numbers have a decimal comma"),
        (BASE + "D: [-0,25, 0,05, 0,001, 0,002]\n", "whole numbers, which no lens has; where numbers have a decimal comma"),
        (BASE + "D: -0,25 0,05 0,001 0,002\n", "'-0,25' has a decimal comma"),
        (BASE + "D: calibrated in spring\n", "distortion_coefficients is not a list of numbers"),
    ],
)  # fmt: skip
def test_what_is_refused_says_what_to_do(tmp_path: Path, text: str, words: str) -> None:
    assert words in refused(tmp_path, text)


EUROC = """resolution: [752, 480]
camera_model: pinhole
intrinsics: [458.654, 457.296, 367.215, 248.375] #fu, fv, cu, cv
distortion_model: radial-tangential
distortion_coefficients: [-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05]
"""
T265 = """Width: 848
Height: 800
PPX: 424.5
PPY: 408.2
Fx: 285.6
Fy: 286.7
Distortion: Kannala Brandt4
Coeffs: -0.0022 0.0376 -0.0364 0.0059 0
"""


def test_eurocs_sensor_has_its_distortion(tmp_path: Path) -> None:
    camera = read(tmp_path, EUROC)
    assert camera.distortion == (-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05)
    assert (camera.fx, camera.cy, camera.distortion_model) == (458.654, 248.375, "plumb_bob")


def test_librealsenses_fisheye_has_four_coefficients(tmp_path: Path) -> None:
    camera = read(tmp_path, T265)
    assert (camera.distortion, camera.distortion_model) == ((-0.0022, 0.0376, -0.0364, 0.0059), "equidistant")
    assert "equidistant takes 4 coefficients" in refused(tmp_path, T265.replace("0.0059 0", "0.0059 0.1"))


def test_opencvs_calibration_with_all_its_points_is_read(tmp_path: Path) -> None:
    points = ", ".join(f"{k}.12345678, {k}.87654321" for k in range(8000))
    text = BASE + f"distortion_coefficients: {LIST}\nImage_points: {{rows: 80, cols: 100, dt: 2f, data: [{points}]}}\n"
    assert len(text) > 150_000
    assert read(tmp_path, text).distortion == BENT
