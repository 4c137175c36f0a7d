"""What a ROS CameraInfo says, as a message or in the files that people have (`Camera.from_info` makes the camera of it).

A CameraInfo describes the full sensor (`width`, `height`, `K`, `D` of the raw image, `P` of the rectified one) and which part of it the
image is (`roi`, in full pixels, then `binning`). A raw image takes K and D; a rectified one takes P and nothing else (image_geometry's rules).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siame_se3.errors import CameraError, InputError
from siame_se3.files import require_types
from siame_se3.geometry.camera_lens import (
    COMMA_HINT,
    coefficients_of,
    is_term,
    listed,
    matrix,
    model_name,
    named_coefficients,
    number,
    refuse_commas,
)
from siame_se3.geometry.camera_text import content_of

_K = ("camera_matrix", "k", "cameramatrix", "intrinsic_matrix", "camera_intrinsics", "mtx")
_D = ("distortion_coefficients", "d", "distortion_coeffs", "distortion_coefficient", "distortion", "distortion_parameters", "dist_coeffs",
      "dist_coeff", "distcoeffs", "distcoef", "dist", "coeffs")  # fmt: skip
_FLAT = (("fx", "fy", "cx", "cy"), ("fx", "fy", "ppx", "ppy"))  # librealsense's
_STEREO = re.compile("(m|k|d|p|camera_?matrix|dist_?coeffs)([12])")  # of OpenCV's stereo samples
_MOST_SIDE = 65_535  # [px]


@dataclass(frozen=True)
class CameraInfo:
    """The fields of sensor_msgs/CameraInfo.

    Attributes:
        width, height: of the full sensor [px].
        k, p: K (3 x 3) and P (3 x 4), row by row [px]; zeros where not calibrated.
        d: distortion coefficients in OpenCV's order.
        model: distortion_model, by ROS's name.
        binning: how many pixels of the sensor are one of the image, across and down; 0 is 1.
        roi: the part of the sensor that is sent: left, top, width, height [px]; zeros for all of it.
    """

    width: int
    height: int
    k: tuple[float, ...]
    d: tuple[float, ...] = ()
    model: str = "plumb_bob"
    p: tuple[float, ...] = (0.0,) * 12
    binning: tuple[int, int] = (0, 0)
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        require_types(self, "camera_info", CameraError)


def is_rectified(topic: str) -> bool:
    """Whether a topic's images are rectified, by the words of its name (image_proc's image_rect, image_rect_color, rectified/image, ...)."""
    raw = "image_raw" in topic.split("/")
    return not raw and not {"rect", "rectified"}.isdisjoint(re.split("[/_]", topic))


def info_from_message(message: Any) -> CameraInfo:
    """Of a sensor_msgs/CameraInfo, from whatever ROS library."""
    model = message.distortion_model.strip()
    roi = getattr(message, "roi", None)
    return CameraInfo(
        message.width,
        message.height,
        tuple(map(float, message.k)),
        coefficients_of(model, tuple(map(float, message.d))),
        model_name(model),
        tuple(map(float, getattr(message, "p", ()))) or (0.0,) * 12,
        (getattr(message, "binning_x", 0), getattr(message, "binning_y", 0)),
        (roi.x_offset, roi.y_offset, roi.width, roi.height) if roi is not None else (0, 0, 0, 0),
    )


def info_from_yaml(path: Path) -> CameraInfo:
    """Of a file: ROS's camera_info YAML, a message that `ros2 topic echo` or `rostopic echo` printed, OpenCV's FileStorage, Kalibr's
    camchain, ORB-SLAM's or camodocal's settings, librealsense's intrinsics, COLMAP's cameras.txt, the calibrator's ost.txt; of one camera.

    Raises:
        CameraError: none of these, or a value that cannot be; the message begins with the file's name.
    """
    if not path.is_file():
        raise CameraError(f"{path}: no such file; give a ROS camera_info YAML")
    try:
        return _Fields(content_of(path)).info()
    except InputError as error:
        text = str(error)
        raise CameraError(text if text.startswith(f"{path}: ") else f"{path}: {text}") from None


class _Fields:
    """The content of a file, asked for by the several names that a field has."""

    def __init__(self, content: Any) -> None:
        if isinstance(content, list) and len(content) == 1:
            content = content[0]
        while isinstance(content, dict) and len(content) == 1 and isinstance(next(iter(content.values())), dict):
            content = next(iter(content.values()))  # {cam0: {...}}, {camera_info: {...}}
        if not isinstance(content, dict):
            raise CameraError("not a camera_info YAML (no keys); it needs image_width, image_height, camera_matrix")
        self._content: Mapping[Any, Any] = {str(key).lower(): value for key, value in content.items()}
        cameras = [key for key in self._content if re.fullmatch(r"cam\d+", key)]
        if len(cameras) > 1:
            raise CameraError(f"it has {len(cameras)} cameras ({', '.join(cameras)}); keep one of them in the file")
        self._take_one_of_two()
        self._take_word_of_lens()

    def _take_word_of_lens(self) -> None:
        """librealsense's 'Distortion: Brown Conrady', which is the model; the coefficients are its 'Coeffs'."""
        lens = self._content.get("distortion")
        if not isinstance(lens, str) or not re.fullmatch(r"\s*[A-Za-z][\w\s.-]*", lens):
            return
        others = {key: value for key, value in self._content.items() if key != "distortion"}
        if lens.strip().lower() != "none" and not {"k1", *_D} & set(others):
            raise CameraError(f"distortion is {lens[:40]!r} without coefficients; give distortion_coefficients")
        self._content = {"distortion_model": lens, **others}

    def _take_one_of_two(self) -> None:
        """M1 and D1 as the camera's, and M2 and D2 where they are alone.

        Raises:
            CameraError: both are there.
        """
        parts = {key: part for key in self._content if (part := _STEREO.fullmatch(key)) and self._is_matrix(key)}
        cameras = {part[2]: key.upper() for key, part in parts.items() if part[1] not in "dp" and "dist" not in key}
        if len(cameras) > 1:
            raise CameraError(f"it has two cameras ({', '.join(cameras.values())}); keep one of them in the file")
        for key, (name, number_of_camera) in ((key, part.groups()) for key, part in parts.items()):
            if number_of_camera in cameras:
                self._content = {"camera_matrix" if name == "m" else name: self._content[key], **self._content}

    def _is_matrix(self, key: str) -> bool:
        return isinstance(self._content[key], dict | list)

    def get(self, *names: str) -> Any:
        """The first of these that is there; of a matrix its data."""
        value = next((self._content[name] for name in names if self._content.get(name) is not None), None)
        return value.get("data") if isinstance(value, dict) and "data" in value else value

    def numbers(self, *names: str) -> tuple[float, ...]:
        """A list or a matrix of numbers, row by row."""
        value = self.get(*names)
        if isinstance(value, str):
            value = listed(value)
        if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
            value = [x for row in value for x in row]
        if not isinstance(value, list):
            raise CameraError(f"{names[0]} is not a list of numbers; see ROS camera_info")
        return tuple(number(x, names[0]) for x in value)

    def whole(self, *names: str, default: int | None = None) -> int:
        """A whole number of pixels, also as 640.0."""
        value = self.get(*names)
        if value is None and default is not None:
            return default
        if value is None:
            raise CameraError(f"no '{names[0]}'; a ROS camera_info YAML has one")
        if isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}(\.0*)?\s*", value):
            value = float(value)
        if isinstance(value, float) and math.isfinite(value) and value == int(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise CameraError(f"{names[0]} is {str(value)[:40]!r}; give a whole number of pixels")
        if value > _MOST_SIDE:
            raise CameraError(f"{names[0]} is above {_MOST_SIDE} px; give a whole number of pixels")
        return value

    def info(self) -> CameraInfo:
        k, d, model = self._lens()
        width, height = self._size()
        roi = self._content.get("roi")
        region = _Fields({"": None, **roi}) if isinstance(roi, dict) else None
        return CameraInfo(
            width,
            height,
            k,
            d,
            model,
            self.numbers("projection_matrix", "p") if self.get("projection_matrix", "p") is not None else (0.0,) * 12,
            (self.whole("binning_x", default=0), self.whole("binning_y", default=0)),
            (0, 0, 0, 0)
            if region is None
            else tuple(region.whole(name, default=0) for name in ("x_offset", "y_offset", "width", "height")),  # type: ignore[arg-type]  # four
        )

    def _size(self) -> tuple[int, int]:
        resolution = self.get("resolution", "image_size", "imagesize")  # Kalibr's, OpenCV's
        if isinstance(resolution, list) and len(resolution) == 2:
            return tuple(_Fields({"image_width": x, "": None}).whole("image_width") for x in resolution)  # type: ignore[return-value]  # two
        return self.whole("image_width", "width", "camera.width"), self.whole("image_height", "height", "camera.height")

    def _lens(self) -> tuple[tuple[float, ...], tuple[float, ...], str]:
        """K, the distortion coefficients, and the model's name."""
        if isinstance(self.get("intrinsics"), list) and self.get(*_K) is None:
            return self._kalibr()
        for prefix in ("camera.", "camera1."):
            if f"{prefix}fx" in self._content:
                return self._orb_slam(prefix)
        if isinstance(self._content.get("projection_parameters"), dict):
            return self._camodocal()
        return self._matrix(), *self._distortion()

    def _matrix(self) -> tuple[float, ...]:
        """K; zeros where only P is there."""
        if any(self._content.get(name) is not None for name in _K):
            values = self.numbers(*_K)
            if len(values) > 9:
                raise CameraError(f"camera_matrix has {len(values)} values; it needs 9, row by row ({COMMA_HINT})")
            return values
        for names in _FLAT:
            if all(name in self._content for name in names):
                return matrix(*(number(self._content[name], name) for name in names))
        if self.get("projection_matrix", "p") is None:
            raise CameraError("no 'camera_matrix'; a ROS camera_info YAML has one")
        return (0.0,) * 9

    def _distortion(self) -> tuple[tuple[float, ...], str]:
        """The coefficients, under one of their names, and the model's name.

        Raises:
            CameraError: what looks like coefficients has a name that is not known; to leave them out would be a wrong lens.
        """
        stated = self.get("distortion_model", "distortion_type", "model")
        stated = stated or ("equidistant" if self.get("fisheye_model") else None)
        given = next((self._content[name] for name in _D if self._content.get(name) is not None), None)
        if given is None:
            terms = {key: x for key, x in self._content.items() if is_term(key) and not self._is_matrix(key)}
        else:
            terms = {str(key).lower(): x for key, x in given.items()} if isinstance(given, dict) else {}
            own = [terms.pop(name, None) for name in ("distortion_model", "model", "type")]
            stated = stated or next(filter(None, own), None)
        model = model_name(str(stated)) if stated else ""
        if any(map(is_term, terms)):
            return named_coefficients(terms, model)
        model = model or "plumb_bob"
        if given is not None:
            d = self.numbers(*_D)
            refuse_commas(d)
            return coefficients_of(str(stated), d), model
        known = ("distortion_model", "distortion_type", *_D)
        if others := [
            key for key in self._content if key.startswith(("dist", "k1", "k_1", "radial")) and key not in known
        ]:
            raise CameraError(f"'{others[0][:40]}' is not a name of ROS; call the distortion distortion_coefficients")
        return (), model

    def _kalibr(self) -> tuple[tuple[float, ...], tuple[float, ...], str]:
        kind, values = str(self.get("camera_model") or "pinhole"), self.numbers("intrinsics")
        if kind == "pinhole" and len(values) != 4:
            raise CameraError(f"intrinsics has {len(values)} values; it needs 4: fx, fy, cx, cy ({COMMA_HINT})")
        if kind != "pinhole":
            raise CameraError(
                f"camera_model {kind[:40]!r} is not known; calibrate with Kalibr's pinhole-radtan or pinhole-equi"
            )
        return matrix(*values), *self._distortion()

    def _orb_slam(self, prefix: str) -> tuple[tuple[float, ...], tuple[float, ...], str]:
        def value(name: str) -> float:
            return number(self._content.get(prefix + name, 0.0), prefix + name)

        kind = str(self._content.get("camera.type", "PinHole"))
        if kind.lower() not in ("pinhole", "kannalabrandt8", "rectified"):
            raise CameraError(f"Camera.type {kind[:40]!r} is not known; use PinHole or KannalaBrandt8")
        fisheye = kind.lower() == "kannalabrandt8"
        K = matrix(*(value(name) for name in ("fx", "fy", "cx", "cy")))
        named = {key.removeprefix(prefix): x for key, x in self._content.items() if key.startswith(prefix)}
        terms = {key: x for key, x in named.items() if is_term(key)}
        return K, *named_coefficients(terms, "equidistant" if fisheye else "plumb_bob")

    def _camodocal(self) -> tuple[tuple[float, ...], tuple[float, ...], str]:
        kind = str(self.get("model_type")).upper()
        tables = {
            "PINHOLE": (("fx", "fy", "cx", "cy"), "distortion_parameters", ("k1", "k2", "p1", "p2"), "plumb_bob"),
            "KANNALA_BRANDT": (
                ("mu", "mv", "u0", "v0"),
                "projection_parameters",
                ("k2", "k3", "k4", "k5"),
                "equidistant",
            ),
        }
        if kind not in tables:
            raise CameraError(f"model_type {kind[:40]!r} is not known; use {' or '.join(tables)}")
        intrinsics, place, names, model = tables[kind]
        projection, distortion = self._content["projection_parameters"], self._content.get(place)
        K = matrix(*(number(projection.get(name), name) for name in intrinsics))
        d = tuple(number(distortion.get(name), name) for name in names) if isinstance(distortion, dict) else ()
        return K, d, model
