"""Pixels of ROS's image messages: sensor_msgs/Image by its encoding, sensor_msgs/CompressedImage by its format."""

from __future__ import annotations

from typing import Any

import numpy as np

from siame_se3.errors import CameraError, InputError
from siame_se3.images.decode import decode, full_scale, to_bytes
from siame_se3.images.headers import MOST_PIXELS, header_of

_RGB, _BGR, _GREY = slice(0, 3), slice(2, None, -1), slice(0, 1)  # where red, green and blue are among the channels
_COLOURS = {  # encoding: channels, and which are the colours
    "rgb8": (3, _RGB), "bgr8": (3, _BGR), "rgba8": (4, _RGB), "bgra8": (4, _BGR),
    "8uc3": (3, _BGR), "8uc4": (4, _BGR), "mono8": (1, _GREY), "8uc1": (1, _GREY),
    "rgb16": (3, _RGB), "bgr16": (3, _BGR), "rgba16": (4, _RGB), "bgra16": (4, _BGR),
    "mono16": (1, _GREY), "16uc1": (1, _GREY), "16uc3": (3, _BGR), "16uc4": (4, _BGR),
}  # fmt: skip
_YUV = {  # encoding: bytes of a pixel, rows of the buffer over rows of the image, OpenCV's name of the conversion
    "yuv422": (2, 1.0, "COLOR_YUV2RGB_UYVY"), "uyvy": (2, 1.0, "COLOR_YUV2RGB_UYVY"),
    "yuv422_yuy2": (2, 1.0, "COLOR_YUV2RGB_YUYV"), "yuyv": (2, 1.0, "COLOR_YUV2RGB_YUYV"),
    "nv21": (1, 1.5, "COLOR_YUV2RGB_NV21"), "nv12": (1, 1.5, "COLOR_YUV2RGB_NV12"),
}  # fmt: skip
_BAYER = ("rggb", "bggr", "gbrg", "grbg")
_HINT = (
    "set the driver's pixel format to rgb8 (usb_cam: pixel_format; camera_ros: format; pylon, spinnaker: image_encoding or "
    "PixelFormat), or put image_proc between"
)

_PAGE = 65_536  # [bytes] that a buffer may be longer than its image, at most
_ROWS = 64  # that are converted at a time


class ImageReader:
    """Reads the images of one topic.

    One topic's images have one depth: where only the largest value seen says it, that of all images so far counts, so that a dark image is
    not brightened.

    Args:
        depth_as_grey: take 16UC1, which depth cameras send, for grey levels.
    """

    def __init__(self, depth_as_grey: bool = False) -> None:
        self._depth_as_grey, self._full = depth_as_grey, 0.0

    def __call__(self, message: Any) -> np.ndarray:
        """RGB (h, w, 3) uint8 of an Image or a CompressedImage.

        Raises:
            CameraError: an encoding or a format that is not known, or data that do not fit.
        """
        try:
            return self._raw(message) if hasattr(message, "encoding") else self._compressed(message)
        except CameraError:
            raise
        except InputError as error:
            raise CameraError(str(error).replace("give a JPEG", "send a JPEG")) from None

    def _raw(self, message: Any) -> np.ndarray:
        name, h, w = message.encoding.strip().lower(), message.height, message.width
        if h * w > MOST_PIXELS:
            raise CameraError(f"image: {w} x {h} px are more than {MOST_PIXELS / 1e6:g} megapixels; send smaller ones")
        if name == "16uc1" and not self._depth_as_grey:
            raise CameraError(
                "image: encoding '16UC1' is a depth image's as a rule; give the topic of the colour image"
            )
        if name == "nv24":
            return self._nv24(message)
        if name in _YUV:
            bytes_each, rows, conversion = _YUV[name]
            if w % 2 or (rows != 1 and h % 2):
                raise CameraError(f"image: {w} x {h} px cannot be {name}; the camera's driver is at fault")
            samples = buffer_rows(message, round(h * rows), bytes_each * w).reshape(round(h * rows), w, bytes_each)
            return _converted(samples, conversion)
        if name in _COLOURS:
            channels, colours = _COLOURS[name]
            samples = self._samples(message, channels, 2 if "16" in name else 1)[..., colours]
            return np.repeat(samples, 3, 2) if channels == 1 else np.ascontiguousarray(samples)
        pattern = name.removeprefix("bayer_")[:4]
        if pattern in _BAYER and name in (f"bayer_{pattern}8", f"bayer_{pattern}16"):
            return _demosaiced(self._samples(message, 1, 2 if name.endswith("16") else 1), pattern)
        known = ", ".join([*_COLOURS, *_YUV, "nv24", "bayer_rggb8"])
        raise CameraError(f"image: encoding '{message.encoding[:40]}' is not known; {_HINT}; known are {known}")

    def _samples(self, message: Any, channels: int, size: int) -> np.ndarray:
        """(h, w, channels) uint8, of 8 or 16 bits."""
        h, w = message.height, message.width
        flat = buffer_rows(message, h, w * channels * size)
        if size == 1:
            return flat.reshape(h, w, channels)
        deep = np.ascontiguousarray(flat).view(">u2" if message.is_bigendian else "<u2").reshape(h, w, channels)
        return self._levels(deep)

    def _levels(self, samples: np.ndarray, significant: int = 0) -> np.ndarray:
        """8 bits of 16."""
        if not 8 < significant <= 16 and self._full < 65535.0:
            self._full = 65535.0 if samples.max() > 4095 else (self._full or full_scale(samples, 0, "image"))
        full = 2.0**significant - 1 if 8 < significant <= 16 else self._full
        levels = np.empty(samples.shape, np.uint8)
        for k in range(0, len(samples), _ROWS):  # a few rows at a time: in float32 a large image takes gigabytes
            part = samples[k : k + _ROWS].astype(np.float32) * np.float32(255 / full)
            levels[k : k + _ROWS] = np.rint(np.minimum(part, 255))
        return levels

    def _nv24(self, message: Any) -> np.ndarray:
        h, w = message.height, message.width
        flat = buffer_rows(message, 3 * h, w)
        Y, (Cb, Cr) = flat[:h].astype(np.float32), np.moveaxis(flat[h:].reshape(h, w, 2).astype(np.float32), -1, 0)
        Y, Cb, Cr = 1.164 * (Y - 16), Cb - 128, Cr - 128  # ITU-R BT.601, limited range, as OpenCV reads NV12
        rgb = np.stack((Y + 1.596 * Cr, Y - 0.813 * Cr - 0.391 * Cb, Y + 2.018 * Cb), -1)
        return np.rint(np.clip(rgb, 0, 255)).astype(np.uint8)

    def _compressed(self, message: Any) -> np.ndarray:
        """image_transport's format: 'ENCODING; CODEC compressed ORDER', or the codec alone."""
        import cv2

        data, shown = bytes(message.data), message.format[:60]
        encoding, _, codec = (part.strip() for part in message.format.lower().partition(";"))
        if "compresseddepth" in codec or "h264" in message.format.lower() or "hevc" in message.format.lower():
            raise CameraError(f"compressed image: format '{shown}' is not a colour picture; send jpeg or png")
        where = f"compressed image: format '{shown}'"
        try:
            header = header_of(data, where)
            samples = cv2.imdecode(
                np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED
            )  # which ignores EXIF's orientation
        except cv2.error:
            samples = None
        if samples is None:  # a format that OpenCV was built without, or one that is broken
            samples = to_bytes(decode(data, where))[..., ::-1]
        if samples.dtype == np.uint16:
            if encoding == "16uc1" and not self._depth_as_grey:
                raise CameraError("compressed image: 16UC1 is a depth image's as a rule; give the colour image's topic")
            samples = self._levels(samples, header.significant)
        if samples.dtype != np.uint8:
            raise CameraError(f"compressed image: format '{shown}' has samples of {samples.dtype}; send jpeg or png")
        pattern = encoding.removeprefix("bayer_")[:4]
        if encoding.startswith("bayer_") and pattern in _BAYER and "bgr" not in codec and "rgb" not in codec:
            grey = samples if samples.ndim == 2 else samples[..., 1]
            return _demosaiced(grey[..., None], pattern)
        if samples.ndim == 2:
            return np.repeat(samples[..., None], 3, 2)
        return np.ascontiguousarray(samples[..., 2::-1])


def buffer_rows(message: Any, rows: int, used: int) -> np.ndarray:
    """The buffer (rows, used) [bytes], without the padding of its rows.

    Raises:
        CameraError: it is too short, or so long that it is of another encoding or step.
    """
    data = bytes(message.data)
    step = message.step or used
    short = step < used or len(data) < (rows - 1) * step + used
    other = len(data) >= 2 * rows * step or len(data) > rows * step + _PAGE  # of another step, or another encoding
    if not message.height * message.width or short or other:
        raise CameraError(
            f"image: {len(data)} bytes for {message.width} x {message.height} px of {message.encoding[:40]}; "
            "the camera's driver is at fault"
        )
    # a view: the last row may come without its padding, and the step of an only row may claim any size
    return np.ndarray((rows, used), np.uint8, buffer=data, strides=(step if rows > 1 else used, 1))


def _converted(samples: np.ndarray, conversion: str) -> np.ndarray:
    import cv2

    return cv2.cvtColor(np.ascontiguousarray(samples), getattr(cv2, conversion))


def _demosaiced(samples: np.ndarray, pattern: str) -> np.ndarray:
    """RGB of a Bayer mosaic (h, w, 1) uint8."""
    if min(samples.shape[:2]) < 4:
        raise CameraError("image: a Bayer mosaic of less than 4 x 4 px; the camera's driver is at fault")
    return _converted(samples[..., 0], f"COLOR_Bayer{pattern.upper()}2RGB")
