"""A camera source on ROS 2's image topics."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError, RobotError, SiameError
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.camera_info import is_rectified
from siame_se3.images.crop import centred_square
from siame_se3.images.decode import as_image
from siame_se3.images.messages import ImageReader
from siame_se3.plants.robots.bus import Bus, messages
from siame_se3.plants.robots.interfaces import Frame
from siame_se3.plants.robots.latest import LatestFrame
from siame_se3.plants.robots.ros2 import camera_of
from siame_se3.plants.robots.text import printable
from siame_se3.plants.robots.threads import describe

_PATIENCE = 5.0  # [s] for the first CameraInfo
_SAID = 1.0  # [s] for which an image that cannot be used is a fault
_OLDEST = 10.0  # [s]: by more than this clocks differ, and not the camera is slow


class Ros2Camera:
    """Images of a topic, rectified by a camera_info topic or a given camera; the centred square. Or the images as they come.

    Args:
        bus: of topics.
        image: topic; one that ends with /compressed has CompressedImage.
        info: topic of CameraInfo, '' for none.
        camera: instead of `info`.
        rectified: whether the images are rectified already; None: by the topic's name (image_rect...).
        as_it_comes: images are neither rectified nor cut, and need no camera; then there is no `camera` to ask for.
        stamps: 'header': an image is as old as its header says, which takes clocks that agree; 'receipt': as when it came.

    Raises:
        InputError: neither a camera nor its topic, or unknown stamps.
        RobotError: no CameraInfo within five seconds, or none that can be used.
    """

    def __init__(
        self,
        bus: Bus,
        image: str,
        info: str = "",
        camera: Camera | None = None,
        stamps: str = "header",
        rectified: bool | None = None,
        as_it_comes: bool = False,
    ) -> None:
        m = messages()
        if stamps not in ("header", "receipt"):
            raise InputError(f"stamps {stamps}: use header or receipt", "ros2.stamps")
        self._as_it_comes = as_it_comes
        if camera is None and not info and not as_it_comes:
            raise InputError("ROS 2 camera: give its camera_info topic, or a calibration", "ros2.info", "camera")
        self._stamps, self._latest, self._given = stamps, LatestFrame(), camera
        self._rgb, self._rectified = ImageReader(), is_rectified(image) if rectified is None else rectified
        self._known = threading.Event()
        self._error = ""  # of the CameraInfo
        self._bad = 0, -math.inf, ""  # how many images could not be used, when the last one came, and why
        self._heard_by = threading.local()  # the last number that each thread has heard of
        if camera is None and not as_it_comes:
            bus.subscribe(info, m.CameraInfo, self._informed)
            if not self._known.wait(_PATIENCE):
                raise RobotError(
                    f"{info}: no CameraInfo within {_PATIENCE:g} s; check the topic's name and ROS_DOMAIN_ID",
                    "ros2.info",
                )
            if self._given is None:
                raise RobotError(f"{info}: {self._error}")
        bus.subscribe(image, m.CompressedImage if image.endswith("/compressed") else m.Image, self._heard)

    def _informed(self, message: Any) -> None:
        if not self._known.is_set():
            try:
                self._given = camera_of(message, self._rectified)
            except SiameError as error:
                self._error = printable(error)
            self._known.set()

    @property
    def camera(self) -> Camera:
        """Of the rectified square that laws see."""
        assert self._given is not None
        return self._given.square()

    @property
    def sensor(self) -> Camera:
        """See `CameraSource`."""
        assert self._given is not None
        return self._given

    def _heard(self, message: Any) -> None:
        """The bus's thread: an image has come; what is wrong with it is kept for `latest`."""
        stamp = time.monotonic()
        try:
            if self._stamps == "header":
                t = message.header.stamp
                age = time.time() - (t.sec + 1e-9 * t.nanosec)
                if not -0.02 <= age <= _OLDEST:
                    raise RobotError(
                        f"{age:.2f} s old by their headers; set the clocks (NTP), or count from the receipt of images",
                        "ros2.stamps",
                    )
                stamp -= age
            self._latest.put(Frame(self.prepared(self._rgb(message)), stamp))
        except SiameError as error:
            self._keep(f"images: {printable(error)}")
        except Exception as error:  # a corrupt image may do anything to its decoder: that is a fault of the camera
            self._keep(f"images: one cannot be decoded ({describe(error)}); the camera's driver is at fault")

    def _keep(self, error: str) -> None:
        self._bad = self._bad[0] + 1, time.monotonic(), error

    def prepared(self, pixels: np.ndarray) -> Float[Tensor, "3 h w"]:
        """See `CameraSource`."""
        if self._as_it_comes:
            return as_image(pixels)
        assert self._given is not None
        return as_image(centred_square(self._given.rectify(pixels)))

    def latest(self, after: float, wait: float) -> Frame | None:
        """See `CameraSource`.

        Raises:
            RobotError: an image came that cannot be used; said once to each thread that asks: who only looks does not take it from a run.
        """
        frame = self._latest.get(after, wait)
        number, when, error = self._bad
        heard, self._heard_by.number = getattr(self._heard_by, "number", 0), number
        if number > heard and time.monotonic() - when < _SAID:
            raise RobotError(error, "ros2.stamps" if "headers" in error else "ros2.image")
        return frame

    def close(self) -> None:
        """The bus is closed by who made it."""
