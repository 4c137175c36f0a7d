"""A bus without a network: what is subscribed can be called, what is sent is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from siame_se3.plants.robots import ros2_messages as m
from siame_se3.plants.robots.bus import Publisher


class FakeBus:
    """Args: first: messages that come as soon as their topic is subscribed to."""

    def __init__(self, **first: Any) -> None:
        self.first = {f"/{name}": message for name, message in first.items()}
        self.heard: dict[str, Callable[[Any], None]] = {}
        self.sent: list[Any] = []
        self.hearing = 1

    def subscribe(self, topic: str, kind: type, heard: Callable[[Any], None], reliable: bool = False) -> None:
        self.heard[topic] = heard
        if topic in self.first:
            heard(self.first[topic])

    def commands(self, topic: str, heard: Callable[[str, float], None]) -> None:
        self.heard[topic] = lambda message: heard(message.data, 0.0)

    def publisher(self, topic: str, kind: type) -> Publisher:
        return Publisher(self.sent.append, lambda: self.hearing)

    def fault(self) -> str:
        return ""

    def close(self) -> None:
        pass


def header(age: float = 0.0) -> m.Header:
    t = time.time() - age
    return m.Header(m.Time(int(t), int((t % 1) * 1e9)), "c")


def image(pixels: np.ndarray, age: float = 0.0) -> m.Image:
    h, w = pixels.shape[:2]
    return m.Image(header(age), h, w, "rgb8", 0, 3 * w, pixels.tobytes())


def pose(position: tuple[float, ...], orientation: tuple[float, ...] = (0.0, 0.0, 0.0, 1.0)) -> m.PoseStamped:
    return m.PoseStamped(header(), m.Pose(m.Point(*position), m.Quaternion(*orientation)))
