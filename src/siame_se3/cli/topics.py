"""Where a camera's pictures are on ROS 2: the options that commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from siame_se3.plants.robots.ros2_names import info_beside


@dataclass(frozen=True)
class ImageTopics:
    """Topics of a camera."""

    image: str = "/camera/image_raw"
    """sensor_msgs/Image; a name that ends with /compressed is a CompressedImage."""
    info: str = ""
    """sensor_msgs/CameraInfo; default: camera_info in the image topic's namespace (/camera/camera_info of /camera/image_raw). Not used with --camera."""
    bus: Literal["auto", "rclpy", "dds"] = "auto"
    """rclpy where ROS 2 is installed, else CycloneDDS; both need pip install 'siame-se3[ros2]'."""
    domain: int | None = None
    """Default: ROS_DOMAIN_ID, else 0."""
    stamps: Literal["header", "receipt"] = "header"
    """How old an image or a command is: by its sender's time (clocks must agree), or from when it came."""

    @property
    def info_topic(self) -> str:
        """The topic of CameraInfo: as given, else the one beside the images."""
        return self.info or info_beside(self.image)
