"""ROS 2's images and camera_info messages: from and to pixels and cameras."""

from __future__ import annotations

from typing import Any

import numpy as np

from siame_se3.geometry.camera import Camera
from siame_se3.geometry.camera_info import info_from_message
from siame_se3.images.messages import ImageReader
from siame_se3.plants.robots.bus import messages


def rgb_of(message: Any) -> np.ndarray:
    """Pixels (h, w, 3) uint8 of an Image or a CompressedImage by itself; a topic's images are read by one `ImageReader`.

    Raises:
        CameraError: an unknown encoding, or data that do not fit.
    """
    return ImageReader()(message)


def camera_of(info: Any, rectified: bool = False) -> Camera:
    """The camera of a CameraInfo; `rectified` of images that are rectified already.

    Raises:
        CameraError: not calibrated, or a distortion that is not known.
    """
    return Camera.from_info(info_from_message(info), rectified)


def info_of(camera: Camera, header: Any) -> Any:
    """A CameraInfo of a camera."""
    d = list(camera.distortion) or [0.0] * 5
    K = camera.K.flatten().tolist()
    return messages().CameraInfo(
        header, camera.height, camera.width, camera.distortion_model, d, K, p=camera.projection
    )
