"""Depth of each pixel, from files and ROS messages: (h, w) float32 along the optical axis [m], NaN where it is not known.

A camera says 'not known' in many ways: 0, the largest whole number, NaN, infinity, a negative number. All of them are NaN here. Whole
numbers are millimetres and floating-point numbers metres unless a scale is given (ROS REP 118, 7-Scenes and most cameras' recorders; TUM's
folders have 1/5000 m). To bring a map into another camera's raster, or to another size, see `registration`.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np

from siame_se3.errors import CameraError, InputError
from siame_se3.files import read_bytes, read_npy, read_npz
from siame_se3.images.headers import MOST_PIXELS, header_of, without_orientation
from siame_se3.images.messages import buffer_rows

DEPTH_FILES = (".png", ".tif", ".tiff", ".npy", ".npz")
MILLIMETRE = 1e-3  # the scale of whole numbers [m]
_MOST_BYTES = 400_000_000  # of a file
_SANE = 0.005, 200.0  # medians of what a camera sees [m]; others are of another scale
_WRITTEN = "16-bit PNG, TIFF, .npy or .npz"
_CONFIG = struct.Struct(
    "<iff"
)  # before the PNG of a compressedDepth message: format, and two numbers of the quantisation


class NothingKnown(InputError):
    """A depth map that can be read, and knows no pixel."""


def read_depth(path: str | Path, scale: float | None = None) -> np.ndarray:
    """A depth map in a file.

    Args:
        path: PNG or TIFF of one channel of 16 bits, TIFF of floating-point numbers, .npy, or .npz (its array 'depth', or its only one).
        scale: metres a unit; None: 0.001 for whole numbers, 1 for floating-point ones.

    Returns:
        (h, w) float32 [m], NaN where it is not known.

    Raises:
        InputError: no such file, a picture that is no depth map, or numbers that are no metres of a camera's view.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in DEPTH_FILES and path.is_file():
        raise InputError(f"{path}: depth is not read from {kind or 'a file without an ending'}; give a {_WRITTEN}")
    if kind == ".npy":
        samples = read_npy(path, 8 * MOST_PIXELS, f"give a {_WRITTEN}")
    elif kind == ".npz":
        samples = _of_archive(path)
    else:
        samples = _of_picture(read_bytes(path, _MOST_BYTES, f"give a depth map: {_WRITTEN}"), str(path))
    return checked(metres(samples, str(path), scale), str(path))


def metres(samples: np.ndarray, where: str, scale: float | None = None) -> np.ndarray:
    """Depth as a file or a message has it -> (h, w) float32 [m], NaN for what is not known.

    Args:
        samples: (h, w), (h, w, 1) or (1, h, w), numbers of any kind.
        where: they are from, for errors.
        scale: metres a unit; None: 0.001 for whole numbers, 1 for floating-point ones.

    Raises:
        InputError: another shape, 8 bits a pixel, no real numbers, or a scale that is none.
    """
    if samples.ndim == 3 and 1 in (samples.shape[0], samples.shape[2]):
        samples = samples[..., 0] if samples.shape[2] == 1 else samples[0]
    if samples.ndim != 2 or min(samples.shape) < 1:
        raise InputError(f"{where}: an array of shape {samples.shape} is no depth map; give one of (height, width)")
    if samples.dtype.kind not in "iuf" or samples.dtype.itemsize < 2:
        raise InputError(f"{where}: {samples.dtype} is too little for depth; give 16 bits a pixel, or floating point")
    if scale is not None and not 1e-7 <= scale <= 1e3:
        raise InputError(f"{where}: a depth scale of {scale:g}; give metres a unit, such as 0.001 for millimetres")
    whole = samples.dtype.kind in "iu"
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        depth = samples.astype(np.float32) * np.float32((MILLIMETRE if whole else 1.0) if scale is None else scale)
        known = (samples > 0) & (depth > 0) & (depth < np.inf)
    if whole:
        known &= samples != np.iinfo(samples.dtype).max
    depth[~known] = np.nan
    return depth


def checked(depth: np.ndarray, where: str) -> np.ndarray:
    """The map, if it may be a camera's.

    Raises:
        NothingKnown: no pixel has a depth.
        InputError: what is known is so near or far that its scale must be another.
    """
    known = depth[np.isfinite(depth)]
    if not known.size:
        raise NothingKnown(f"{where}: no pixel has a depth; give a depth map that knows a part of the view")
    middle = float(np.median(known))
    if not _SANE[0] <= middle <= _SANE[1]:
        raise InputError(
            f"{where}: depths of {middle:g} m (the median) are of another unit; give the scale, metres a unit",
            "depth_scale",
        )
    return depth


def _of_archive(path: Path) -> np.ndarray:
    arrays = read_npz(path, 8 * MOST_PIXELS, f"give a {_WRITTEN}")
    if "depth" in arrays:
        return arrays["depth"]
    if len(arrays) != 1:
        raise InputError(f"{path}: {len(arrays)} arrays, none called 'depth'; call the depth map so")
    return next(iter(arrays.values()))


def _of_picture(data: bytes, where: str) -> np.ndarray:
    """Samples (h, w) of a PNG or TIFF, as they are stored."""
    import warnings

    from PIL import Image

    header = header_of(data, where)
    if header.samples != 1 or (header.bits < 16 and not header.floating):
        raise InputError(
            f"{where}: a picture of {header.samples} x {header.bits} bits a pixel, no depth map; give a {_WRITTEN} of one channel"
        )
    try:
        stream = io.BytesIO(without_orientation(data, header))
        with warnings.catch_warnings(action="ignore"), Image.open(stream, formats=("PNG", "TIFF")) as picture:
            samples = np.asarray(picture)
    except Exception:  # Pillow's decoders raise what they like: RuntimeError, NotImplementedError, struct.error
        raise InputError(f"{where}: not a depth map that can be read; give a {_WRITTEN}") from None
    if header.bits == 16 and samples.dtype == np.int32:  # as Pillow before 10.3 gives them
        samples = samples.astype(np.uint16)
    return samples


def depth_of(message: Any) -> np.ndarray:
    """The depth map of a sensor_msgs/Image (16UC1 or mono16 in mm, 32FC1 or 64FC1 in m), or of a CompressedImage of
    compressed_depth_image_transport (PNG), (h, w) float32 [m], NaN where it is not known.

    Raises:
        CameraError: another encoding, data that do not fit, or depths that are no metres of a camera's view.
    """
    try:
        depth = _raw(message) if hasattr(message, "encoding") else _compressed(message)
    except CameraError:
        raise
    except InputError as error:
        raise CameraError(str(error)) from None
    if not np.isfinite(depth).any():  # for this moment
        return depth
    try:
        return checked(depth, "depth image")
    except InputError as error:
        raise CameraError(f"{error}; 16UC1 is in millimetres, 32FC1 in metres (REP 118)") from None


_ENCODINGS = {"16uc1": "u2", "mono16": "u2", "32fc1": "f4", "64fc1": "f8"}


def _raw(message: Any) -> np.ndarray:
    name, h, w = message.encoding.strip().lower(), message.height, message.width
    if h * w > MOST_PIXELS:
        raise CameraError(
            f"depth image: {w} x {h} px are more than {MOST_PIXELS / 1e6:g} megapixels; send smaller ones"
        )
    if name not in _ENCODINGS:
        raise CameraError(
            f"depth image: encoding '{message.encoding[:40]}' is no depth; give the topic of a depth image, 16UC1 (mm) or 32FC1 (m)"
        )
    kind = np.dtype((">" if message.is_bigendian else "<") + _ENCODINGS[name])
    flat = np.ascontiguousarray(buffer_rows(message, h, w * kind.itemsize))
    return metres(flat.view(kind).reshape(h, w), "depth image")


def _compressed(message: Any) -> np.ndarray:
    """'ENCODING; compressedDepth png': 12 bytes, then a PNG, of millimetres, or of inverse depths: Z = a / (sample - b)."""
    data, form = bytes(message.data), message.format[:60]
    encoding, _, codec = (part.strip() for part in message.format.lower().partition(";"))
    if "compresseddepth" not in codec or "rvl" in codec or encoding not in ("16uc1", "32fc1"):
        raise CameraError(
            f"compressed depth image: format '{form}' is not read; send 16UC1 or 32FC1 by compressedDepth with png, or the raw image"
        )
    if len(data) <= _CONFIG.size:
        raise CameraError(f"compressed depth image: {len(data)} bytes; the camera's driver is at fault")
    _, a, b = _CONFIG.unpack(data[: _CONFIG.size])
    samples = _of_picture(data[_CONFIG.size :], "compressed depth image")
    if encoding == "16uc1":
        return metres(samples, "compressed depth image")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        depth = np.where(samples > 0, np.float32(a) / (samples.astype(np.float32) - np.float32(b)), np.float32(0))
    return metres(depth, "compressed depth image")
