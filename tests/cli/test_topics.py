"""Where a camera's topics are."""

from __future__ import annotations

import pytest

from siame_se3.cli.robot import Robot, Ros2
from siame_se3.cli.topics import ImageTopics
from siame_se3.geometry.camera import Camera


@pytest.mark.parametrize(
    ("image", "info"),
    [
        ("/camera/image_raw", "/camera/camera_info"),
        ("/cam2/image_raw", "/cam2/camera_info"),
        ("/camera/color/image_raw/compressed", "/camera/color/camera_info"),
        ("/camera/image_rect/", "/camera/camera_info"),
        ("/image", "/camera_info"),
        ("image", "camera_info"),
    ],
)
def test_the_camera_info_is_that_beside_the_images(image: str, info: str) -> None:
    for made in (ImageTopics(image=image), Ros2(image=image)):
        assert made.info_topic == info
    assert ImageTopics(image=image, info="/other/info").info_topic == "/other/info"


def test_a_robots_images_are_rectified_by_it() -> None:
    pytest.importorskip("cyclonedds")
    from robot_bus import FakeBus, header
    from siame_se3.plants.robots.ros2 import info_of

    cameras = {f"{name}/camera_info": Camera.from_focal(f, 64) for name, f in (("camera", 90), ("cam2", 60))}
    bus = FakeBus(**{name: info_of(camera, header()) for name, camera in cameras.items()})
    source = Robot(ros2=Ros2(image="/cam2/image_raw"))._source(bus, None)
    assert source.camera.fx == 60


def test_by_default_it_is_the_cameras() -> None:
    assert ImageTopics().info_topic == "/camera/camera_info"
