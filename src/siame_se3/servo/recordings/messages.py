"""Topics and messages of a recording: Foxglove's schemas where it has one, and ours, all in JSON.

Foxglove's are those of github.com/foxglove/foxglove-sdk (schemas/jsonschema): its image and 3-D panels, plots and log show them as they are.
Numbers that are not finite, which JSON does not have, are null.
"""

from __future__ import annotations

import base64
import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from siame_se3.geometry.camera import Camera
from siame_se3.plants.robots.ros2_poses import quaternion

VERSION = 1
IMAGE, CALIBRATION, POSE, DEPTH = "/camera/image", "/camera/calibration", "/camera/pose", "/camera/depth"
GOAL_IMAGE, GOAL_POSE, GOAL_DEPTH = "/goal/image", "/goal/pose", "/goal/depth"
TF, EVENT = "/tf", "/siame/event"
RUN, VIEW, LAW, TWIST = "/siame/run", "/siame/view", "/siame/law", "/siame/twist"
CAMERA_FRAME, GOAL_FRAME = "camera", "goal"
ENDS = ("settled", "stop", "halt", "error")  # names of events that end a run
INFO, WARNING, ERROR = 2, 3, 4  # foxglove.Log's levels

_INTEGER, _NUMBER, _TEXT = {"type": "integer"}, {"type": "number"}, {"type": "string"}
_BYTES = {"type": "string", "contentEncoding": "base64"}
_ANY = {"type": "object"}
_TIME = {
    "type": "object",
    "title": "time",
    "properties": {
        "sec": {"type": "integer", "minimum": 0},
        "nsec": {"type": "integer", "minimum": 0, "maximum": 999999999},
    },
}


def _maybe(kind: dict[str, Any]) -> dict[str, Any]:
    return {"oneOf": [kind, {"type": "null"}]}


def _numbers(count: int | None = None) -> dict[str, Any]:
    size = {} if count is None else {"minItems": count, "maxItems": count}
    return {"type": "array", "items": _NUMBER, **size}


def _group(title: str = "", **properties: Any) -> dict[str, Any]:
    named = {"title": title} if title else {}
    return {"type": "object", **named, "properties": properties, "required": list(properties)}


_VECTOR = _group("foxglove.Vector3", x=_NUMBER, y=_NUMBER, z=_NUMBER)
_QUATERNION = _group("foxglove.Quaternion", x=_NUMBER, y=_NUMBER, z=_NUMBER, w=_NUMBER)
_POSE = _group("foxglove.Pose", position=_VECTOR, orientation=_QUATERNION)
_AXES = _group(x=_maybe(_NUMBER), y=_maybe(_NUMBER), z=_maybe(_NUMBER))
_TWIST = _group(v=_AXES, omega=_AXES)
_COMPRESSED = _group("foxglove.CompressedImage", timestamp=_TIME, frame_id=_TEXT, data=_BYTES, format=_TEXT)
_RAW = _group(
    "foxglove.RawImage",
    **{"timestamp": _TIME, "frame_id": _TEXT, "width": _INTEGER, "height": _INTEGER},
    **{"encoding": _TEXT, "step": _INTEGER, "data": _BYTES},
)
_CALIBRATION = _group(
    "foxglove.CameraCalibration",
    **{"timestamp": _TIME, "frame_id": _TEXT, "width": _INTEGER, "height": _INTEGER, "distortion_model": _TEXT},
    **{"D": _numbers(), "K": _numbers(9), "R": _numbers(9), "P": _numbers(12)},
)
_IN_FRAME = _group("foxglove.PoseInFrame", timestamp=_TIME, frame_id=_TEXT, pose=_POSE)
_TRANSFORM = _group(
    "foxglove.FrameTransform",
    **{"timestamp": _TIME, "parent_frame_id": _TEXT, "child_frame_id": _TEXT},
    **{"translation": _VECTOR, "rotation": _QUATERNION},
)
_LOG = _group("foxglove.Log", timestamp=_TIME, level=_INTEGER, message=_TEXT, name=_TEXT, file=_TEXT, line=_INTEGER)

SCHEMAS: dict[str, dict[str, Any]] = {
    IMAGE: _COMPRESSED,
    GOAL_IMAGE: _COMPRESSED,
    DEPTH: _RAW,
    GOAL_DEPTH: _RAW,
    CALIBRATION: _CALIBRATION,
    POSE: _IN_FRAME,
    GOAL_POSE: _IN_FRAME,
    TF: _TRANSFORM,
    EVENT: _LOG,
    RUN: _group("siame.Run", timestamp=_TIME, version=_INTEGER, number=_INTEGER, dt=_NUMBER, law=_ANY, goal=_ANY, settings=_ANY),
    VIEW: _group(
        "siame.View",
        **{"timestamp": _TIME, "index": _INTEGER, "image": {"type": "boolean"}, "depth": _maybe(_NUMBER), "age": _NUMBER},
        **{"depth_type": _maybe(_TEXT)},
        **{"time": _maybe(_NUMBER), "fault": _TEXT, "T_wc": _maybe(_numbers(16)), "T_bc": _maybe(_numbers(16))},
    ),
    LAW: _group(
        "siame.Law",
        **{"timestamp": _TIME, "index": _INTEGER, "twist": _TWIST, "fault": _TEXT, "stage": _INTEGER},
        **{"confidence": _maybe(_NUMBER), "cost": _maybe(_NUMBER)},
    ),
    TWIST: _group("siame.Twist", timestamp=_TIME, index=_INTEGER, asked=_TWIST, applied=_TWIST),
}  # fmt: skip
"""The JSON schema of each topic's messages; its title is the schema's name."""


@dataclass(frozen=True)
class Entry:
    """A message on its way to the file.

    Attributes:
        topic: of SCHEMAS.
        time: [ns].
        content: its fields; those of `pixels` are added when it is encoded.
        pixels: of an image (h, w, 3) uint8 RGB, or a depth map (h, w) float32 [m].
    """

    topic: str
    time: int
    content: dict[str, Any]
    pixels: np.ndarray | None = None

    @property
    def size(self) -> int:
        """About how much memory it takes [bytes]."""
        return 2000 + (0 if self.pixels is None else self.pixels.nbytes)

    def encoded(self) -> bytes:
        """As JSON."""
        content = {"timestamp": stamp(self.time)} | self.content
        if self.pixels is not None:
            content |= _png(self.pixels) if self.pixels.ndim == 3 else _raw(self.pixels)
        return json.dumps(finite(content), allow_nan=False, default=str).encode()


def _png(pixels: np.ndarray) -> dict[str, Any]:
    import cv2

    # Runs of equal bytes alone: of photos smaller than what zlib's first level makes, and faster.
    options = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
    done, data = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]), options)
    assert done, "OpenCV makes a PNG of any 8-bit image"
    return {"format": "png", "data": base64.b64encode(data.tobytes()).decode()}


def _raw(depth: np.ndarray) -> dict[str, Any]:
    h, w = depth.shape
    data = base64.b64encode(depth.astype("<f4").tobytes()).decode()
    return {"width": w, "height": h, "encoding": "32FC1", "step": 4 * w, "data": data}


def stamp(time: int) -> dict[str, int]:
    """A time [ns] as Foxglove has it."""
    return {"sec": time // 10**9, "nsec": time % 10**9}


def finite(value: Any) -> Any:
    """The same with null for each number that is not finite."""
    if isinstance(value, dict):
        return {str(name): finite(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return [finite(x) for x in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def axes(values: list[float]) -> dict[str, float]:
    """Three numbers by the names of their axes."""
    return dict(zip("xyz", values, strict=True))


def twist(v: Float[Tensor, "6"]) -> dict[str, Any]:
    """(v, omega) [m/s, rad/s]."""
    values = v.double().cpu().tolist()
    return {"v": axes(values[:3]), "omega": axes(values[3:])}


def rows(T: Float[Tensor, "1 4 4"] | None) -> list[float] | None:
    """A pose's 16 numbers, row by row; None where it is not known."""
    return None if T is None else T[0].double().cpu().flatten().tolist()


def calibration(camera: Camera) -> dict[str, Any]:
    """foxglove.CameraCalibration of rectified images."""
    return {
        "frame_id": CAMERA_FRAME,
        "width": camera.width,
        "height": camera.height,
        "distortion_model": "plumb_bob",
        "D": [0.0] * 5,
        "K": camera.K.flatten().tolist(),
        "R": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        "P": camera.projection,
    }


def _turned(T: Float[Tensor, "4 4"]) -> dict[str, float]:
    w, x, y, z = quaternion(T[:3, :3])
    return {"x": x, "y": y, "z": z, "w": w}


def pose_in_frame(T: Float[Tensor, "4 4"], frame: str) -> dict[str, Any]:
    """foxglove.PoseInFrame."""
    return {"frame_id": frame, "pose": {"position": axes(T[:3, 3].tolist()), "orientation": _turned(T)}}


def transform(T: Float[Tensor, "4 4"], parent: str, child: str) -> dict[str, Any]:
    """foxglove.FrameTransform."""
    return {
        "parent_frame_id": parent,
        "child_frame_id": child,
        "translation": axes(T[:3, 3].tolist()),
        "rotation": _turned(T),
    }


def log(level: int, kind: str, text: str) -> dict[str, Any]:
    """foxglove.Log of an event."""
    return {"level": level, "name": kind, "message": text, "file": "", "line": 0}


def camera_fields(camera: Camera | None) -> dict[str, Any] | None:
    """A camera as JSON has it; None where there is none."""
    return None if camera is None else asdict(camera)
