"""Names of a camera's topics on ROS 2, as image_transport and camera drivers have them."""

from __future__ import annotations

_TRANSPORTS = ("compressed", "compressedDepth", "theora", "ffmpeg", "zstd", "avif")  # of image_transport


def without_transport(image: str) -> str:
    """An image topic's name without image_transport's ending: /a/image of /a/image/compressed."""
    name = image.rstrip("/")
    return name.removesuffix(next((f"/{x}" for x in _TRANSPORTS if name.endswith(f"/{x}")), ""))


def info_beside(image: str) -> str:
    """The CameraInfo topic of an image topic: camera_info in its own namespace, as image_transport has it."""
    namespace, slash, _ = without_transport(image).rpartition("/")
    return f"{namespace}{slash}camera_info"
