"""A velocity driver on a ROS 2 topic of TwistStamped."""

from __future__ import annotations

import threading
import time
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import RobotError
from siame_se3.plants.robots.bus import Bus, messages, stamp_now
from siame_se3.plants.robots.checks import HardLimits
from siame_se3.plants.robots.interfaces import RobotState
from siame_se3.plants.robots.ros2_poses import pose_of
from siame_se3.plants.robots.text import printable

_PATIENCE = 5.0  # [s] for the controller and the first pose
_SILENT = 0.5  # [s] without a pose


class Ros2Driver:
    """Sends TwistStamped, as MoveIt Servo and Cartesian velocity controllers take them; these stand still by themselves when none comes
    (MoveIt Servo: incoming_command_timeout, which should be 0.1 s).

    Args:
        bus: of topics.
        twist: topic.
        frame: in which twists are sent, one of `geometry.twist.FRAMES`.
        frame_id: that frame's name, for the header.
        pose: topic of the tool's PoseStamped in the base's frame (ros2_controllers' pose_broadcaster), '' for none.
        dry: send nothing.
        limits: hard limits of what is sent.

    Raises:
        RobotError: nobody listens, or no pose comes, within five seconds.
    """

    def __init__(
        self,
        bus: Bus,
        twist: str,
        frame: str,
        frame_id: str,
        pose: str = "",
        dry: bool = False,
        limits: HardLimits | None = None,
    ) -> None:
        m = messages()
        self.frame, self._frame_id, self._twist_topic = frame, frame_id, twist
        self._limits = limits or HardLimits()
        self._send = None if dry else bus.publisher(twist, m.TwistStamped)
        until = time.monotonic() + _PATIENCE
        while self._send and not self._send.listeners():
            if time.monotonic() > until:
                raise RobotError(
                    f"{twist}: nobody listens; check the topic's name, ROS_DOMAIN_ID, and that the controller runs",
                    "ros2.twist",
                )
            time.sleep(0.02)
        self._T_bt: Tensor | None = None
        self._heard_at = time.monotonic()
        self._error = ""
        self._pose_topic = pose
        self._known = threading.Event()
        if pose:
            bus.subscribe(pose, m.PoseStamped, self._heard)
            if not self._known.wait(_PATIENCE):
                raise RobotError(
                    f"{pose}: {self._error or 'no PoseStamped'} within {_PATIENCE:g} s; check the topic's name and ROS_DOMAIN_ID",
                    "ros2.pose",
                )

    def _heard(self, message: Any) -> None:
        """The bus's thread: a pose has come; what is wrong with it is kept for `state`."""
        try:
            self._T_bt, self._heard_at = pose_of(message), time.monotonic()
        except RobotError as error:
            self._error = f"{self._pose_topic}: {printable(error)}"
            return
        self._known.set()

    def move(self, twist: Float[Tensor, "6"]) -> None:
        """See `VelocityDriver`.

        Raises:
            RobotError: a twist that must not be sent; zero is sent.
            OSError: the bus cannot send.
        """
        if fault := self._limits.fault_of(twist):
            self.stop()
            raise RobotError(f"ROS 2: {fault}; zero is sent")
        self._publish(twist)

    def _publish(self, twist: Float[Tensor, "6"]) -> None:
        if self._send is None:
            return
        m = messages()
        v = twist.tolist()
        self._send(m.TwistStamped(m.Header(stamp_now(), self._frame_id), m.Twist(m.Vector3(*v[:3]), m.Vector3(*v[3:]))))

    def stop(self) -> None:
        """See `VelocityDriver`."""
        self._publish(torch.zeros(6))

    def state(self) -> RobotState:
        """See `VelocityDriver`. A pose that is none is reported once."""
        error, self._error = self._error, ""
        age = time.monotonic() - self._heard_at
        if not error and self._pose_topic and age > _SILENT:
            error = f"lost connection: no pose on {self._pose_topic} for {age:.1f} s"
        if not error and self._send and not self._send.listeners():
            error = f"lost connection: nobody listens on {self._twist_topic}"
        return RobotState(self._T_bt, error)

    def close(self) -> None:
        """See `VelocityDriver`."""
        self.stop()
