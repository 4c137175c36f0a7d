"""Which bus: rclpy where ROS 2 is installed, else CycloneDDS with ROS 2's topic and type names (extra `ros2`), which needs no ROS."""

from __future__ import annotations

import importlib.util
import os

from siame_se3.errors import InputError, RobotError
from siame_se3.plants.robots.bus import Bus, messages
from siame_se3.plants.robots.bus_dds import DdsBus
from siame_se3.plants.robots.bus_rclpy import RclpyBus
from siame_se3.plants.robots.text import printable


def bus_for(kind: str = "auto", domain: int | None = None) -> Bus:
    """A bus.

    Args:
        kind: 'rclpy', 'dds', or 'auto': rclpy where it is installed, else CycloneDDS.
        domain: None for ROS_DOMAIN_ID's, else 0.

    Raises:
        InputError: an unknown kind, or a domain that is none.
        RobotError: what it needs is not installed, or ROS's security is switched on and the bus would not obey it.
    """
    if kind == "auto":
        kind = "rclpy" if importlib.util.find_spec("rclpy") else "dds"
    if kind == "dds":
        text = os.environ.get("ROS_DOMAIN_ID", "") or "0"
        if domain is None and not (text.isascii() and text.isdecimal()):
            raise InputError(f"ROS_DOMAIN_ID is '{printable(text, 40)}'; give a whole number", "ros2.domain")
        return DdsBus(int(text) if domain is None else domain)
    if kind == "rclpy":
        messages()
        if not importlib.util.find_spec("rclpy"):
            raise RobotError(
                "ROS 2 is not on Python's path; source its setup.bash, or take the bus 'dds', which needs no ROS",
                "ros2.bus",
            )
        return RclpyBus(domain)
    raise InputError(f"bus '{kind}': use auto, rclpy or dds", "ros2.bus")
