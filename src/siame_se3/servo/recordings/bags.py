"""Bags of ROS as runs without a law: an image topic, and a CameraInfo where there is one; rosbags reads them (MCAP, SQLite, and ROS 1's)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from siame_se3.errors import CameraError, InputError, SiameError
from siame_se3.files.optional import needs
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.camera_info import info_from_message, is_rectified
from siame_se3.images.crop import centred_square
from siame_se3.images.decode import as_image, read_picture, to_bytes
from siame_se3.images.messages import ImageReader
from siame_se3.laws.types import View
from siame_se3.plants.robots.ros2_names import info_beside, without_transport
from siame_se3.servo.recordings.reading import RecordedView

_IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_INFO = "sensor_msgs/msg/CameraInfo"
_SAME = 0.01  # of the focal length, or of the width: what may change in a CameraInfo, as autofocus does it
_HINT = "give a folder that 'ros2 bag record' wrote, or a recording of siame-se3"


@dataclass(frozen=True)
class Bag:
    """The images of one topic.

    Attributes:
        path: of the folder or file.
        topic: of the images.
        camera: calibrated, before rectification; None for one of the paper's field of view.
        given: where the camera's numbers come from, in words.
        count: how many images there are.
        depth: distance of the scene [m]; None where it is not known.
    """

    path: Path
    topic: str
    camera: Camera | None
    given: str
    count: int
    depth: float | None

    def views(self, first: int = 1) -> Iterator[RecordedView]:
        """From the first on, counted from 1, in order; rectified, the centred square.

        Raises:
            CameraError: an image that cannot be read, or of another size than the camera's. InputError: a damaged bag.
        """
        reader = ImageReader()
        with _opened(self.path) as bag:
            chosen = [c for c in bag.connections if c.topic == self.topic]
            for number, (connection, time, data) in enumerate(bag.messages(connections=chosen), 1):
                if number < first:
                    continue
                where = _place(self.path, bag, self.topic, number, time)
                with _named(where):
                    pixels = reader(bag.deserialize(data, connection.msgtype))
                h, w = pixels.shape[:2]
                camera = self.camera or Camera.from_focal(300 / 224 * min(w, h), w, h)
                if camera.size != (h, w):
                    raise CameraError(
                        f"{where}: images of {w} x {h} px, calibrated for {camera.width} x {camera.height}; give their calibration",
                        "camera",
                    )
                image = as_image(centred_square(camera.rectify(pixels)))[None]
                yield RecordedView(View(image, None, self._distance(), camera.square(), time=1e-9 * time))

    def prepared(self, picture: Path) -> View:
        """The desired view from a picture of this camera: as it came, or rectified and cut to the centred square.

        Raises:
            CameraError: not a picture, or of another size than the images.
        """
        first = next(self.views(), None)
        if first is None or first.view.image is None:
            raise InputError(f"{self.path}: topic {self.topic} has no image; name another", "topic")
        pixels = to_bytes(read_picture(picture))
        if pixels.shape[:2] == first.view.image.shape[-2:]:
            image = as_image(pixels)
        elif self.camera is not None and pixels.shape[:2] == self.camera.size:
            image = as_image(centred_square(self.camera.rectify(pixels)))
        else:
            side, (h, w) = first.view.image.shape[-1], pixels.shape[:2]
            raise CameraError(
                f"{picture}: {w} x {h} px, and the images are of {side} px when cut; take it with this camera"
            )
        return View(image[None], None, self._distance(), first.view.camera)

    def _distance(self) -> torch.Tensor | None:
        return None if self.depth is None else torch.tensor([self.depth], dtype=torch.float64)

    def last(self) -> View:
        """The last view.

        Raises:
            InputError: there is no image. Others: as `views`.
        """
        view = next(self.views(self.count), None)
        if view is None:
            raise InputError(f"{self.path}: topic {self.topic} has no image; name another", "topic")
        return view.view


def read_bag(
    path: Path, topic: str = "", info: str = "", calibration: Path | None = None, depth: float | None = None
) -> Bag:
    """What there is of a topic in a bag.

    Args:
        path: folder with a metadata.yaml, or one file of a bag.
        topic: of images; '' for the only one.
        info: topic of CameraInfo; '' for the one beside the images, or none where the bag has none at all.
        calibration: file of the camera, instead of that (`Camera.from_yaml`).
        depth: distance of the scene [m].

    Raises:
        InputError: no bag, a damaged one, no such topic, or several where one is to be named; the package rosbags is not installed.
        CameraError: a CameraInfo that cannot be used, or that changes; none of the CameraInfo is beside the images.
    """
    with _opened(path) as bag:
        images = {c.topic: c for c in bag.connections if c.msgtype in _IMAGES}
        infos = {c.topic: c for c in bag.connections if c.msgtype == _INFO}
        if not images:
            raise InputError(f"{path}: it has no images (topics: {_listed(c.topic for c in bag.connections)}); {_HINT}")
        if topic and topic not in images:
            raise InputError(f"{path}: no topic {topic} of images; it has {_listed(images)}", "topic")
        if not topic and len(images) > 1:
            raise InputError(f"{path}: images on {_listed(images)}; name one of them", "topic")
        topic = topic or next(iter(images))
        if info and info not in infos:
            raise InputError(f"{path}: no topic {info} of CameraInfo; it has {_listed(infos)}", "info")
        if not info and calibration is None:
            info = _beside(path, topic, list(infos))
        camera, given = None, "the paper's field of view"
        if calibration is not None:
            camera, given = Camera.from_yaml(calibration, is_rectified(topic)), str(calibration)
        elif info:
            camera, given = _camera(path, bag, infos[info], is_rectified(topic)), info
        count = sum(c.msgcount for c in bag.connections if c.topic == topic)
        return Bag(path, topic, camera, given, count, depth)


def _beside(path: Path, topic: str, infos: list[str]) -> str:
    """The CameraInfo of a topic, in its own namespace as image_transport has it; '' where the bag has none at all.

    Raises:
        CameraError: there are others only, of which nothing says that they are this camera's.
    """
    base = without_transport(topic)
    namespace, _, name = base.rpartition("/")
    names = [info_beside(topic), f"{base}/camera_info"]
    if found := [one for one in names if one in infos]:
        return found[0]
    before, image, _ = name.partition("image")  # left_image_raw has left_camera_info, image_rect camera_info_rect
    alike = re.compile(rf"{re.escape(f'{namespace}/{before}' if '/' in base else before)}(camera_)?info([^a-z/][^/]*)?")
    found = [one for one in infos if image and alike.fullmatch(one)]
    if len(found) == 1:
        return found[0]
    if not infos:
        return ""
    raise CameraError(
        f"{path}: no CameraInfo {names[0]} beside the images {topic}; it has {_listed(infos)}: name this camera's, or give its calibration",
        "info",
        "camera",
    )


def _camera(path: Path, bag: Any, connection: Any, rectified: bool) -> Camera:
    """Of the first CameraInfo that is not zero; all others have to say the same.

    Raises:
        CameraError: one that cannot be used, or another focal length, principal point or size. InputError: there is none.
    """
    camera, first, unset = None, None, None
    for number, (found, time, data) in enumerate(bag.messages(connections=[connection]), 1):
        where = _place(path, bag, connection.topic, number, time)
        with _named(where):
            info = info_from_message(_lower(bag.deserialize(data, found.msgtype)))
            if info == first:
                continue
            if not any(info.k[:1] + info.p[:1]):  # no f: a driver sends that before it has read its calibration
                unset = unset or (where, info)
                continue
            new = Camera.from_info(info, rectified)
        if camera is not None and (change := _change(camera, new)):
            raise CameraError(f"{where}: {change} (a zoom, or another mode); give one calibration for all", "camera")
        camera, first = camera or new, first or info
    if camera is None and unset is not None:
        with _named(unset[0]):
            return Camera.from_info(unset[1], rectified)
    if camera is None:
        raise InputError(f"{path}: {connection.topic} has no CameraInfo in it; give a calibration", "camera")
    return camera


def _change(first: Camera, later: Camera) -> str:
    """What is another one, in words; '' for the same camera."""
    if first.size != later.size:
        return f"the size changes from {first.width} x {first.height} to {later.width} x {later.height} px"
    for name in ("fx", "fy", "cx", "cy"):
        before, after = getattr(first, name), getattr(later, name)
        words, scale = ("focal length", before) if name[0] == "f" else ("principal point", first.width)
        if abs(after - before) > _SAME * scale:
            return f"the {words} ({name}) changes from {before:g} to {after:g} px"
    return ""


def _place(path: Path, bag: Any, topic: str, number: int, time: int) -> str:
    """Of a message, for errors."""
    return f"{path}: {topic}, message {number} ({1e-9 * (time - bag.start_time):.2f} s after the start)"


@contextlib.contextmanager
def _named(where: str) -> Iterator[None]:
    """What a message cannot be read for, with its place."""
    try:
        yield
    except SiameError as error:
        raise CameraError(f"{where}: {error}", *error.settings) from None
    except Exception as error:  # of a damaged message, from its reader
        reason = (str(error).splitlines() or [""])[0][:150] or type(error).__name__
        raise CameraError(f"{where}: a message that cannot be read ({reason}); record the bag again") from None


def _lower(message: Any) -> Any:
    """A CameraInfo with ROS 2's names of its matrices, which ROS 1 writes in capitals."""
    if hasattr(message, "k"):
        return message
    return SimpleNamespace(**{name.lower(): value for name, value in vars(message).items()})


def _listed(topics: Any) -> str:
    names = sorted(set(topics))
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "") or "none"


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A bag, open; what its reader raises is one line."""
    highlevel, typesys = needs("rosbags.highlevel", "record"), needs("rosbags.typesys", "record")
    if not path.exists():
        raise InputError(f"{path}: no such file; {_HINT}")
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        raise InputError(f"{path}: a folder without metadata.yaml, which is no bag; {_HINT}")
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    try:
        with highlevel.AnyReader([path], default_typestore=store) as bag:
            yield bag
    except SiameError:
        raise
    except Exception as error:  # a damaged bag may do anything to its readers: SQLite's, MCAP's, the messages' own
        reason = (str(error).splitlines() or [""])[0][:150] or type(error).__name__
        raise InputError(f"{path}: not a bag that can be read ({reason}); {_HINT}") from None
