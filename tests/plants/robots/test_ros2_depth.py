"""A depth topic without a network: which message belongs to an image, and in which raster its depth comes."""

from __future__ import annotations

import importlib.util
import struct
import threading
import time
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from siame_se3.errors import RobotError
from siame_se3.geometry.camera import Camera
from siame_se3.images.registration import registered

if not importlib.util.find_spec("cyclonedds"):
    pytest.skip("CycloneDDS is not installed", allow_module_level=True)

from robot_bus import FakeBus, header
from siame_se3.plants.robots import ros2_depth
from siame_se3.plants.robots import ros2_messages as m
from siame_se3.plants.robots.interfaces import DepthSource
from siame_se3.plants.robots.ros2 import info_of
from siame_se3.plants.robots.ros2_depth import Ros2Depth

SENSOR = Camera(61.0, 62.0, 31.0, 23.5, 64, 48)
DEPTH = np.linspace(0.4, 0.9, 64 * 48).reshape(48, 64)
MM = np.rint(1000 * DEPTH).astype(np.uint16)


def image(samples: np.ndarray = MM, age: float = 0.0, encoding: str = "16UC1") -> m.Image:
    h, w = samples.shape
    return m.Image(header(age), h, w, encoding, 0, w * samples.itemsize, samples.tobytes())


def source(bus: FakeBus, **options: Any) -> Ros2Depth:
    return Ros2Depth(bus, "/depth", **({"sensor": SENSOR} | options))


def test_aligned_depth_is_the_square_of_the_images() -> None:
    bus = FakeBus()
    found = source(bus)
    assert isinstance(found, DepthSource)
    for samples, encoding in ((MM, "16UC1"), (DEPTH.astype(np.float32), "32FC1")):
        bus.heard["/depth"](image(samples, encoding=encoding))
        depth = found.near(time.monotonic(), 0.0)
        assert depth is not None
        np.testing.assert_allclose(depth.numpy(), DEPTH[:, 8:56], atol=6e-4)


def test_the_map_nearest_to_the_image_is_taken() -> None:
    bus = FakeBus()
    found = source(bus)
    now = time.monotonic()
    for k, age in enumerate((0.30, 0.20, 0.12, 0.02)):
        bus.heard["/depth"](image(np.full((48, 64), 500 + k, np.uint16), age))
    for at, wanted in ((0.30, 500), (0.21, 501), (0.13, 502), (0.0, 503)):
        depth = found.near(now - at, 0.0)
        assert depth is not None
        assert float(depth[0, 0]) == pytest.approx(wanted / 1000)
    assert found.near(now - 0.45, 0.0) is None, "more than 0.1 s apart"
    assert found.near(now + 0.15, 0.0) is None


def test_a_map_that_comes_after_its_image_is_waited_for() -> None:
    bus = FakeBus()
    found = source(bus)
    bus.heard["/depth"](image(np.full((48, 64), 500, np.uint16), 0.08))
    stamp = time.monotonic()
    later = threading.Timer(0.05, lambda: bus.heard["/depth"](image(np.full((48, 64), 600, np.uint16))))
    later.start()
    depth = found.near(stamp, 5.0)
    assert depth is not None
    assert float(depth[0, 0]) == pytest.approx(0.6)
    later.join()
    assert source(FakeBus()).near(time.monotonic(), 0.01) is None


def test_by_receipt_a_header_does_not_count() -> None:
    bus = FakeBus()
    found = source(bus, stamps="receipt")
    bus.heard["/depth"](image(age=60.0))
    assert found.near(time.monotonic(), 0.0) is not None
    by_header = source(bus)
    bus.heard["/depth"](image(age=60.0))
    assert by_header.near(time.monotonic(), 0.0) is None


def test_aligned_depth_of_half_the_size_and_through_the_lens() -> None:
    lens = replace(SENSOR, distortion=(-0.2, 0.05, 0.0, 0.0, 0.0))
    small = cv2.resize(DEPTH, (32, 24), interpolation=cv2.INTER_AREA)
    bus = FakeBus()
    found = source(bus, sensor=lens)
    bus.heard["/depth"](image(small.astype(np.float32), encoding="32FC1"))
    depth = found.near(time.monotonic(), 0.0)
    assert depth is not None
    expected = registered(small.astype(np.float32), lens.resized(32, 24), lens)[:, 8:56]
    np.testing.assert_array_equal(depth.numpy(), expected)
    assert np.isfinite(expected).mean() > 0.9


def test_a_depth_camera_of_its_own_is_registered() -> None:
    own = Camera(50.0, 50.0, 19.5, 14.5, 40, 30)
    T_ci = torch.eye(4, dtype=torch.float64)
    T_ci[0, 3] = -0.05
    samples = np.full((30, 40), 800, np.uint16)
    samples[:, 20:] = 400
    bus = FakeBus(info=info_of(own, header()))
    found = source(bus, info="/info", T_ci=T_ci)
    bus.heard["/depth"](image(samples))
    depth = found.near(time.monotonic(), 0.0)
    assert depth is not None
    expected = registered((samples / 1000).astype(np.float32), own, SENSOR, T_ci)[:, 8:56]
    np.testing.assert_array_equal(depth.numpy(), expected)
    # the edge of the near half, at x = 0 of the depth camera: 61 * (0 - 0.05) / 0.4 + 31 = 23.4 px
    assert int(np.nanargmin(depth[24].numpy())) == pytest.approx(23.4 - 8, abs=1.5)


def test_compressed_depth() -> None:
    bus = FakeBus()
    found = Ros2Depth(bus, "/depth/compressedDepth", SENSOR)
    data = struct.pack("<iff", 0, 0, 0) + cv2.imencode(".png", MM)[1].tobytes()
    bus.heard["/depth/compressedDepth"](m.CompressedImage(header(), "16UC1; compressedDepth png", data))
    depth = found.near(time.monotonic(), 0.0)
    assert depth is not None
    np.testing.assert_allclose(depth.numpy(), DEPTH[:, 8:56], atol=6e-4)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (image(np.zeros((48, 64), np.uint8), encoding="mono8"), "/depth: depth image: encoding 'mono8' is no depth"),
        (m.Image(header(), 48, 64, "16UC1", 0, 128, b"short"), "/depth: image: 5 bytes for 64 x 48 px"),
        (image(np.full((48, 48), 500, np.uint16)), "/depth: 48 x 48 px beside images of 64 x 48 are not aligned"),
    ],
    ids=["encoding", "short", "shape"],
)
def test_depth_images_that_cannot_be_used(message: Any, words: str) -> None:
    bus = FakeBus()
    found = source(bus)
    bus.heard["/depth"](message)
    with pytest.raises(RobotError, match=words) as error:
        found.near(_stamp(message), 0.0)
    assert len(str(error.value).splitlines()) == 1


def _stamp(message: Any) -> float:
    t = message.header.stamp
    return time.monotonic() - (time.time() - (t.sec + 1e-9 * t.nanosec))


def test_a_size_that_is_not_the_camera_infos() -> None:
    bus = FakeBus(info=info_of(Camera(50.0, 50.0, 19.5, 14.5, 40, 30), header()))
    found = source(bus, info="/info")
    bus.heard["/depth"](image())
    with pytest.raises(RobotError, match="/depth: depth map of 64 x 48 px; its camera has 40 x 30"):
        found.near(time.monotonic(), 0.0)


def test_no_camera_info_and_none_that_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ros2_depth, "_PATIENCE", 0.01)
    with pytest.raises(RobotError, match="/info: no CameraInfo within"):
        source(FakeBus(), info="/info")
    with pytest.raises(RobotError, match="/info: K is zero"):
        source(FakeBus(info=m.CameraInfo(header(), 48, 64)), info="/info")
