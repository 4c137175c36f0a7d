"""ROS 2's images and camera_info messages: from and to pixels and cameras."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from siame_se3.errors import SiameError
from siame_se3.geometry.camera import Camera
from siame_se3.plants.robots.bus import messages

_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1, "8UC3": 3}


def rgb_of(message: Any) -> np.ndarray:
    """Pixels (h, w, 3) uint8 of an Image or a CompressedImage.

    Raises:
        SiameError: an unknown encoding, or data that do not fit.
    """
    data = np.frombuffer(memoryview(bytes(message.data)), np.uint8)
    if not hasattr(message, "encoding"):
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
        if bgr is None:
            raise SiameError(f"compressed image: format '{message.format}' cannot be read; send jpeg or png")
        return np.ascontiguousarray(bgr[..., ::-1])
    channels = _CHANNELS.get(message.encoding)
    if channels is None:
        raise SiameError(f"image: encoding '{message.encoding}' is not known; send one of {', '.join(_CHANNELS)}")
    h, w, step = message.height, message.width, message.step or message.width * channels
    if len(data) < h * step or step < w * channels or not h * w:
        raise SiameError(
            f"image: {len(data)} bytes for {w} x {h} px of {message.encoding}; the camera's driver is at fault"
        )
    pixels = data[: h * step].reshape(h, step)[:, : w * channels].reshape(h, w, channels)
    if channels == 1:
        return np.repeat(pixels, 3, 2)
    pixels = pixels[..., :3]
    return np.ascontiguousarray(
        pixels[..., ::-1] if message.encoding.startswith("bgr") or message.encoding == "8UC3" else pixels
    )


def camera_of(info: Any) -> Camera:
    """Of a CameraInfo.

    Raises:
        SiameError: not calibrated, or a distortion that is not known.
    """
    k = list(info.k)
    if not k[0] > 0:
        raise SiameError("camera_info: K is zero, the camera is not calibrated; calibrate it (siame calibrate camera)")
    return Camera(k[0], k[4], k[2], k[5], info.width, info.height, tuple(info.d), info.distortion_model or "plumb_bob")


def info_of(camera: Camera, header: Any) -> Any:
    """A CameraInfo of a camera."""
    p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    d = list(camera.distortion) or [0.0] * 5
    K = camera.K.flatten().tolist()
    return messages().CameraInfo(header, camera.height, camera.width, camera.distortion_model, d, K, p=p)
