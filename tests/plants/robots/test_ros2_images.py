"""A camera's topics, without a bus: which calibration its images get."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from siame_se3.errors import SiameError
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_image
from siame_se3.plants.robots.bus import Publisher
from siame_se3.plants.robots.ros2_camera import Ros2Camera

if not importlib.util.find_spec("cyclonedds"):
    pytest.skip("CycloneDDS is not installed", allow_module_level=True)

from siame_se3.plants.robots import ros2_messages as m

K = [61.0, 0.0, 31.0, 0.0, 62.0, 23.5, 0.0, 0.0, 1.0]
P = [50.0, 0.0, 30.0, 0.0, 0.0, 51.0, 24.0, 0.0, 0.0, 0.0, 1.0, 0.0]
INFO = m.CameraInfo(m.Header(), 48, 64, "plumb_bob", [-0.3, 0.1, 0.0, 0.0, 0.0], K, p=P)
PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


class OneCamera:
    """A bus with one CameraInfo; images are published by hand."""

    def __init__(self, info: Any) -> None:
        self.info = info
        self.heard: Callable[[Any], None] = lambda message: None

    def subscribe(self, topic: str, kind: type, heard: Callable[[Any], None], reliable: bool = False) -> None:
        if kind is m.CameraInfo:
            heard(self.info)
        else:
            self.heard = heard

    def publisher(self, topic: str, kind: type) -> Publisher:
        raise NotImplementedError("a camera hears nothing")

    def close(self) -> None:
        """There is nothing to leave."""

    def image(self, eye: Ros2Camera, pixels: np.ndarray) -> torch.Tensor:
        h, w = pixels.shape[:2]
        before = time.monotonic()
        self.heard(m.Image(m.Header(), h, w, "rgb8", 0, 3 * w, pixels.tobytes()))
        frame = eye.latest(before - 1, 1.0)
        assert frame is not None
        return frame.image


@pytest.mark.parametrize("topic", ["/camera/image_rect", "/camera/image_rect_color"])
def test_a_rectified_topic_is_not_rectified_again_and_takes_p(topic: str) -> None:
    bus = OneCamera(INFO)
    eye = Ros2Camera(bus, topic, "info", stamps="receipt")
    assert eye.camera == Camera(50.0, 51.0, 30.0, 24.0, 64, 48).square()
    assert torch.equal(bus.image(eye, PIXELS), as_image(PIXELS[:, 8:56]))


def test_a_raw_topic_is_rectified_with_k_and_d() -> None:
    bus = OneCamera(INFO)
    eye = Ros2Camera(bus, "/camera/image_raw", "info", stamps="receipt")
    raw = Camera(61.0, 62.0, 31.0, 23.5, 64, 48, (-0.3, 0.1, 0.0, 0.0, 0.0))
    assert eye.camera == raw.square()
    assert torch.equal(bus.image(eye, PIXELS), as_image(raw.rectify(PIXELS)[:, 8:56]))


def test_said_explicitly_it_counts_more_than_the_name() -> None:
    rectified = Ros2Camera(OneCamera(INFO), "/camera/image", "info", rectified=True)
    assert rectified.camera.fx == 50.0
    raw = Ros2Camera(OneCamera(INFO), "/camera/image_rect", "info", rectified=False)
    assert raw.camera.fx == 61.0


def test_a_binned_camera_is_the_size_of_its_images() -> None:
    k = [120.0, 0.0, 63.5, 0.0, 120.0, 47.5, 0.0, 0.0, 1.0]
    bus = OneCamera(m.CameraInfo(m.Header(), 96, 128, "plumb_bob", [], k, binning_x=2, binning_y=2))
    eye = Ros2Camera(bus, "/camera/image_raw", "info", stamps="receipt")
    assert eye.camera == Camera(60.0, 60.0, 31.5, 23.5, 64, 48).square()
    assert torch.equal(bus.image(eye, PIXELS), as_image(PIXELS[:, 8:56]))


def test_images_that_cannot_be_used_are_said() -> None:
    bus = OneCamera(INFO)
    eye = Ros2Camera(bus, "/camera/image_raw", "info", stamps="receipt")
    bus.heard(m.Image(m.Header(), 48, 64, "yuv444", 0, 192, PIXELS.tobytes()))
    with pytest.raises(SiameError, match=r"'yuv444' is not known.*pixel_format"):
        eye.latest(time.monotonic(), 0.01)
