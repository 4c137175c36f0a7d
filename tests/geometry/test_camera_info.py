"""What a CameraInfo means, as a message and as people save it."""

from __future__ import annotations

import json
import re
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from siame_se3.errors import CameraError
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.camera_info import CameraInfo, info_from_message, is_rectified

K = (511.1, 0.0, 321.2, 0.0, 512.3, 243.4, 0.0, 0.0, 1.0)
P = (500.0, 0.0, 320.0, 0.0, 0.0, 501.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0)
D = (-0.2, 0.1, 0.001, -0.002, 0.0)
INFO = CameraInfo(640, 480, K, D, "plumb_bob", P)
RAW = Camera(511.1, 512.3, 321.2, 243.4, 640, 480, D)


def message(**changes: Any) -> Any:
    """A CameraInfo message, without a ROS library."""
    roi = types.SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False)
    fields = {"height": 480, "width": 640, "distortion_model": "plumb_bob", "d": D, "k": K, "p": P}
    return types.SimpleNamespace(**{**fields, "binning_x": 0, "binning_y": 0, "roi": roi, **changes})


def test_a_raw_image_takes_k_and_d_and_a_rectified_one_p() -> None:
    assert info_from_message(message()) == INFO
    assert Camera.from_info(INFO) == RAW
    assert Camera.from_info(INFO, rectified=True) == Camera(500.0, 501.0, 320.0, 240.0, 640, 480)


def test_a_rectified_image_is_left_as_it_is() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert np.array_equal(Camera.from_info(INFO, rectified=True).rectify(frame), frame)
    assert np.abs(Camera.from_info(INFO).rectify(frame).astype(int) - frame).mean() > 10


@pytest.mark.parametrize(
    ("topic", "rectified"),
    [
        ("/camera/image_rect", True),
        ("/camera/image_rect_color", True),
        ("image_rect/compressed", True),
        ("/cam/image_rectified", True),
        ("/camera/infra1/image_rect_raw", True),
        ("/left/image_color_rect/compressed", True),
        ("rectified/left/image", True),
        ("/zed/rgb/color/rect/image", True),
        ("/camera/rect/image_raw", False),
        ("/camera/unrectified/image", False),
        ("/camera/image_rectangle", False),
        ("/camera/image_raw", False),
        ("/camera/image_raw/compressed", False),
        ("/my_image_rectangle/image_raw", False),
    ],
)
def test_rectified_topics_are_known_by_their_names(topic: str, rectified: bool) -> None:
    assert is_rectified(topic) is rectified


def test_k_zero_takes_p() -> None:
    assert Camera.from_info(replace(INFO, k=(0.0,) * 9, d=())) == Camera(500.0, 501.0, 320.0, 240.0, 640, 480)
    with pytest.raises(CameraError, match="not calibrated"):
        Camera.from_info(replace(INFO, k=(0.0,) * 9, p=(0.0,) * 12))


def test_a_rectified_image_without_p_is_refused_unless_it_never_was_distorted() -> None:
    with pytest.raises(CameraError, match="P is zero"):
        Camera.from_info(replace(INFO, p=(0.0,) * 12), rectified=True)
    assert Camera.from_info(replace(INFO, p=(0.0,) * 12, d=(0.0,) * 5), rectified=True) == replace(RAW, distortion=())


@pytest.mark.parametrize("binning", [(1, 1), (2, 2), (4, 2), (3, 3)])
@pytest.mark.parametrize("roi", [(0, 0, 0, 0), (100, 40, 320, 240), (0, 0, 640, 480), (7, 5, 333, 241)])
def test_binning_and_roi_keep_the_rays(binning: tuple[int, int], roi: tuple[int, int, int, int]) -> None:
    camera = Camera.from_info(replace(INFO, d=(), binning=binning, roi=roi))
    width, height = roi[2] or 640, roi[3] or 480
    assert (camera.width, camera.height) == (width // binning[0], height // binning[1])
    # the mean of the rays of the sensor's pixels that one pixel of the image is made of
    u, v = camera.width // 3, camera.height // 2
    across = torch.arange(binning[0]) + u * binning[0] + roi[0]
    down = torch.arange(binning[1]) + v * binning[1] + roi[1]
    sensor = torch.stack(torch.meshgrid(across, down, indexing="ij"), -1).double()
    expected = RAW.rays(sensor).mean((0, 1))
    torch.testing.assert_close(camera.rays(torch.tensor([u, v]).double()), expected, rtol=0, atol=1e-12)


def test_binned_and_cropped_cameras_keep_their_distortion() -> None:
    """The undistorted picture of a binned image is the binned one of the undistorted picture."""
    u, v = np.meshgrid(np.arange(640.0), np.arange(480.0))
    frame = np.repeat((127 + 60 * np.sin(u / 40) + 60 * np.cos(v / 30))[..., None], 3, 2).astype(np.uint8)
    binned = cv2.resize(frame, (320, 240), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(RAW.rectify(frame), (320, 240), interpolation=cv2.INTER_AREA)
    got = Camera.from_info(replace(INFO, binning=(2, 2))).rectify(binned)
    assert np.abs(got.astype(int) - expected)[20:-20, 20:-20].max() <= 3


@pytest.mark.parametrize(("k", "d"), [(K, D), ((0.0,) * 9, ())], ids=["all", "only P"])
def test_binning_and_roi_are_those_of_the_rectified_image_too(k: tuple[float, ...], d: tuple[float, ...]) -> None:
    info = replace(INFO, k=k, d=d, binning=(2, 4), roi=(40, 60, 400, 360))
    assert Camera.from_info(info, rectified=True) == Camera(250.0, 125.25, 139.75, 44.625, 200, 90)


@pytest.mark.parametrize("roi", [(600, 0, 100, 100), (0, 470, 0, 20), (640, 0, 0, 0)])
def test_a_roi_outside_the_sensor_is_refused(roi: tuple[int, int, int, int]) -> None:
    with pytest.raises(CameraError, match="not inside the sensor"):
        Camera.from_info(replace(INFO, roi=roi))


@pytest.mark.parametrize(
    ("size", "k", "words"),
    [
        ((3840, 2160), (13489.9, 0, 11447.9, 0, 13487.8, 6276.5, 0, 0, 1), "is that of about"),
        ((640, 480), (500, 0, 0, 0, 500, 0, 0, 0, 1), "far from its middle"),
        ((640, 480), (500, 0, -900, 0, 500, 239.5, 0, 0, 1), "far from its middle"),
        ((640, 480), (1000, 0, 639.5, 0, 1000, 479.5, 0, 0, 1), "about 1280 x 960 px"),
        ((640, 480), (500, 0, 159.5, 0, 500, 119.5, 0, 0, 1), "about 320 x 240 px"),
        ((640, 480), (900, 0, 639.5, 0, 900, 359.5, 0, 0, 1), "about 1280 x 720 px"),
        ((1280, 720), (500, 0, 319.5, 0, 500, 239.5, 0, 0, 1), "about 640 x 480 px"),
        ((640, 480), (0.8, 0, 0.5, 0, 0.8, 0.5, 0, 0, 1), "give pixels, not millimetres"),
        ((640, 480), (4.2, 0, 319.5, 0, 4.2, 239.5, 0, 0, 1), "give pixels, not millimetres"),
        ((640, 480), (500, 0, 319.5, 0, 50, 239.5, 0, 0, 1), "pixels are about square"),
        ((480, 640), (500, 0, 319.5, 0, 500, 239.5, 0, 0, 1), "width and height are exchanged"),
        ((640, 480), (500, 0, 319.5, 0, 500, 239.5, 0, 0, 2), "last row of K"),
        ((640, 480), (500, 0, 0, 0, 500, 0, 319.5, 239.5, 1), "last row of K"),
    ],
)
def test_a_matrix_of_another_size_is_refused(size: tuple[int, int], k: tuple[float, ...], words: str) -> None:
    with pytest.raises(CameraError, match=words):
        Camera.from_info(CameraInfo(*size, tuple(map(float, k))))


@pytest.mark.parametrize("centre", [(280.0, 250.0), (400.0, 200.0), (320.0, 100.0), (500.0, 239.5)])
def test_a_principal_point_off_the_middle_is_taken(centre: tuple[float, float]) -> None:
    k = (500.0, 0.0, centre[0], 0.0, 500.0, centre[1], 0.0, 0.0, 1.0)
    assert Camera.from_info(CameraInfo(640, 480, k)) == Camera(500.0, 500.0, *centre, 640, 480)


def info_text(**changes: Any) -> str:
    fields: dict[str, Any] = {"height": 480, "width": 640, "distortion_model": "plumb_bob", "d": [*D], "k": [*K]}
    return yaml.safe_dump({**fields, "r": [1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0], "p": [*P], **changes}, sort_keys=False)


ZERO_ROI = {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False}
OPENCV = """%YAML:1.0
---
calibration_time: "Tue 03 Mar 2020 10:11:12 AM CET"
image_width: 640
image_height: 480
flags: 0
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 511.1, 0., 321.2, 0., 512.3, 243.4, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ -0.2, 0.1, 0.001, -0.002, 0. ]
"""
ORB_SLAM = """%YAML:1.0
Camera.type: "PinHole"
Camera.fx: 511.1
Camera.fy: 512.3
Camera.cx: 321.2
Camera.cy: 243.4
Camera.k1: -0.2
Camera.k2: 0.1
Camera.p1: 0.001
Camera.p2: -0.002
Camera.width: 640
Camera.height: 480
"""
CAMODOCAL = """%YAML:1.0
---
model_type: PINHOLE
camera_name: cam
image_width: 640
image_height: 480
distortion_parameters: {k1: -0.2, k2: 0.1, p1: 0.001, p2: -0.002}
projection_parameters: {fx: 511.1, fy: 512.3, cx: 321.2, cy: 243.4}
"""
KALIBR = """cam0:
  cam_overlaps: []
  camera_model: pinhole
  distortion_coeffs: [-0.2, 0.1, 0.001, -0.002]
  distortion_model: radtan
  intrinsics: [511.1, 512.3, 321.2, 243.4]
  resolution: [640, 480]
  rostopic: /cam0/image_raw
"""
OPENCV_JSON = {
    "image_width": 640,
    "image_height": 480,
    "camera_matrix": {"type_id": "opencv-matrix", "rows": 3, "cols": 3, "dt": "d", "data": [*K]},
    "distortion_coefficients": {"type_id": "opencv-matrix", "rows": 5, "cols": 1, "dt": "d", "data": [*D]},
}
OST = """# oST version 5.0 parameters


[image]

width
640

height
480

[narrow_stereo]

camera matrix
511.1 0.0 321.2
0.0 512.3 243.4
0.0 0.0 1.0

distortion
-0.2 0.1 0.001 -0.002 0.0
"""
SAVED = {
    "ros2 topic echo": info_text(header={"frame_id": "c"}, binning_x=0, binning_y=0, roi=ZERO_ROI) + "---\n",
    "two messages": info_text() + "---\n" + info_text() + "---\n",
    "rostopic echo": info_text().replace("\nd:", "\nD:").replace("\nk:", "\nK:").replace("\np:", "\nP:") + "---\n",
    "OpenCV": OPENCV,
    "OpenCV in capitals": re.sub("[a-z]+_[a-z]+:", lambda key: key[0].title(), OPENCV),
    "OpenCV, from Windows": OPENCV.replace("\n", "\r\n"),
    "OpenCV's JSON": json.dumps(OPENCV_JSON),
    "one line": yaml.safe_dump(yaml.safe_load(info_text()), default_flow_style=True),
    "Kalibr": KALIBR,
    "Kalibr's second camera alone": KALIBR.replace("cam0", "cam1"),
    "ORB-SLAM": ORB_SLAM,
    "camodocal": CAMODOCAL,
    "whole-number floats": info_text(width=640.0, height=480.0),
    "rows of a matrix": info_text(k=[list(K[:3]), list(K[3:6]), list(K[6:])]),
    "a wrapper": yaml.safe_dump({"camera_info": yaml.safe_load(info_text())}),
    "numbers with exponents": info_text().replace("511.1", "5.111e2").replace("-0.2", "-2.e-01"),
    "numbers as text": info_text(d=["-2e-1", "1e-1", "1e-3", "-2e-3", "0"]),
}


@pytest.mark.parametrize("text", SAVED.values(), ids=SAVED)
def test_files_as_people_save_them(tmp_path: Path, text: str) -> None:
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    camera = Camera.from_yaml(path)
    assert replace(camera, distortion=camera.distortion[:4]) == replace(RAW, distortion=D[:4])
    assert not any(camera.distortion[4:])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16"])
def test_comments_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "camera.yaml").write_text("# kalibriert für Kamera 3\n" + info_text(), encoding=encoding)
    assert Camera.from_yaml(tmp_path / "camera.yaml") == RAW


def test_a_saved_message_has_its_binning_roi_and_p(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(info_text(binning_x=2, binning_y=2, roi={**ZERO_ROI, "width": 640, "height": 480}))
    assert Camera.from_yaml(tmp_path / "c.yaml") == Camera.from_info(replace(INFO, binning=(2, 2)))
    (tmp_path / "p.yaml").write_text(info_text())
    assert Camera.from_yaml(tmp_path / "p.yaml", rectified=True) == Camera.from_info(INFO, rectified=True)


def test_kalibr_and_orb_slam_fisheyes(tmp_path: Path) -> None:
    (tmp_path / "k.yaml").write_text(KALIBR.replace("radtan", "equidistant"))
    assert Camera.from_yaml(tmp_path / "k.yaml") == replace(RAW, distortion=D[:4], distortion_model="equidistant")
    text = ORB_SLAM.replace("PinHole", "KannalaBrandt8").replace("p1", "k3").replace("p2", "k4")
    (tmp_path / "o.yaml").write_text(text)
    assert Camera.from_yaml(tmp_path / "o.yaml") == replace(RAW, distortion=D[:4], distortion_model="equidistant")


@pytest.mark.parametrize("count", [4, 5, 8, 12, 14])
@pytest.mark.parametrize("model", ["plumb_bob", "rational_polynomial"])
def test_as_many_coefficients_as_opencv_takes(count: int, model: str) -> None:
    d = (-0.2, 0.1, 0.001, -0.002, *[0.01] * 10)[:count]
    camera = Camera.from_info(replace(INFO, d=d, model=model))
    point = np.array([[[0.3, -0.2, 1.0]]])
    expected = cv2.projectPoints(point, np.zeros(3), np.zeros(3), camera.K.numpy(), np.array(d))[0].ravel()
    u, v = np.meshgrid(np.arange(640.0), np.arange(480.0))
    ramp = np.stack((u / 4, v / 4, 0 * u), -1).astype(np.float32)
    rectified = camera.rectify(ramp)  # at each pixel, where in the raw image it comes from
    x, y = camera.project(torch.from_numpy(point.reshape(3))).tolist()
    got = (
        cv2.getRectSubPix(rectified[..., 0], (1, 1), (x, y))[0, 0],
        cv2.getRectSubPix(rectified[..., 1], (1, 1), (x, y))[0, 0],
    )
    assert 4 * np.array(got) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (KALIBR + KALIBR.replace("cam0", "cam1"), r"2 cameras \(cam0, cam1\)"),
        (KALIBR.replace("pinhole", "omni"), "camera_model 'omni' is not known"),
        (ORB_SLAM.replace("PinHole", "Omni"), "Camera.type 'Omni' is not known"),
        (CAMODOCAL.replace("PINHOLE", "MEI"), "model_type 'MEI' is not known"),
        (KALIBR.replace("radtan", "fov"), "distortion_model 'fov'"),
        (info_text(p=[1.0]), "projection_matrix has 1 values"),
        (info_text(binning_x=100), "binning 100"),
        (info_text(binning_x="two"), "binning_x is 'two'"),
        ("<?xml version='1.0'?>\n<opencv_storage/>", "an XML file, not a camera_info YAML; .*yaml"),
        (OST, r"an ost\.txt, but not of one camera .*; give the ost\.yaml"),
        ("sensor_msgs.msg.CameraInfo(height=480, width=640)", "no keys"),
        (OPENCV.replace("image_width: 640\n", ""), "no 'image_width'"),
        (info_text().replace("511.1", "511,1"), "camera_matrix: '511,1' has a decimal comma; write a point: 511.1"),
        (info_text(k=[K[0], 0, 0, 0, K[4], 0, K[2], K[5], 1.0]), "last row of K"),
        (info_text(k=[float("nan")] * 9), "K is not finite: fx nan"),
        (info_text(k=[1e-300, *K[1:]]), "fx is 1e-300 px, which is no lens's"),
        (info_text(d=[1e308] * 5), "distortion coefficient is above"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    with pytest.raises(CameraError, match=words) as error:
        Camera.from_yaml(path)
    assert str(error.value).startswith(f"{path}: ")
    assert len(str(error.value).splitlines()) == 1


def test_a_file_that_grows_is_refused_at_once(tmp_path: Path) -> None:
    """482 bytes of aliases, which were 9^9 values; a file of a megabyte; deep nesting."""
    lists = "".join(f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 9))
    for field in ("image_width: *a8", "distortion_model: *a8"):
        (tmp_path / "c.yaml").write_text("a0: &a0 [x,x,x]\n" + lists + field)
        with pytest.raises(CameraError, match="aliases") as error:
            Camera.from_yaml(tmp_path / "c.yaml")
        assert len(str(error.value)) < 300
    (tmp_path / "large.yaml").write_text(info_text() + "#" * 1_000_000)
    with pytest.raises(CameraError, match="too many"):
        Camera.from_yaml(tmp_path / "large.yaml")
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 50 + "]" * 50)
    with pytest.raises(CameraError, match="nested too deep"):
        Camera.from_yaml(tmp_path / "deep.yaml")


_SIZE = "image_width: '640'\nimage_height: 480\n"
_MATRIX = "[[600, 0, 319.5], [0, 605, 239.5], [0, 0, 1]]"
_BENT = "[[-0.12, 0.05, 0.001, -0.0005, 0]]"


@pytest.mark.parametrize(
    "text",
    [
        *(f"camera_matrix: {_MATRIX}\n{name}: {_BENT}" for name in ("dist_coeff", "distCoeffs", "distortion", "dist")),
        f"mtx: {_MATRIX}\ndist: {_BENT}",
        f"cameraMatrix: {_MATRIX}\ndistCoeffs: {_BENT}\ndistortion_model: Brown Conrady",
        f"K: {_MATRIX}\nk1: -0.12\nk2: 0.05\np1: 0.001\np2: -0.0005\ndistortion_model: PLUMB_BOB",
        f"K: {_MATRIX}\nD: {{k1: -0.12, k2: 0.05, p1: 0.001, p2: -0.0005}}",
        f"fx: 600\nfy: 605\ncx: 319.5\ncy: 239.5\ncoeffs: {_BENT}\nmodel: 'brown-conrady'",
    ],
)
def test_the_names_that_other_programs_give(tmp_path: Path, text: str) -> None:
    """A lens that was left out because of its name would be a wrong one."""
    (tmp_path / "c.yaml").write_text(_SIZE + text)
    expected = Camera(600, 605, 319.5, 239.5, 640, 480, (-0.12, 0.05, 0.001, -0.0005, 0.0))
    assert Camera.from_yaml(tmp_path / "c.yaml") == expected


@pytest.mark.parametrize("name", ["distorsion", "dist_params", "radial"])
def test_a_distortion_of_a_name_that_is_not_known_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "c.yaml").write_text(f"{_SIZE}camera_matrix: {_MATRIX}\n{name}: {_BENT}")
    with pytest.raises(
        CameraError, match=f"'{name}' is not a name of ROS; call the distortion distortion_coefficients"
    ):
        Camera.from_yaml(tmp_path / "c.yaml")


def test_a_file_with_p_alone_and_a_fisheyes_flat_terms(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"{_SIZE}P: [500, 0, 319.5, 0, 0, 500, 239.5, 0, 0, 0, 1, 0]")
    assert Camera.from_yaml(tmp_path / "c.yaml") == Camera(500, 500, 319.5, 239.5, 640, 480)
    (tmp_path / "c.yaml").write_text(
        f"{_SIZE}K: {_MATRIX}\nk1: 0.1\nk2: 0.02\nk3: 0.003\nk4: 0.0004\ndistortion_model: FISHEYE"
    )
    found = Camera.from_yaml(tmp_path / "c.yaml")
    assert (found.distortion, found.distortion_model) == ((0.1, 0.02, 0.003, 0.0004), "equidistant")
